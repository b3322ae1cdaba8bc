//! Works on one collection after another.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{error, warn};

use super::collection::{self, Pass};
use super::status::{Status, Statuses};
use super::{Shared, Target};
use crate::agenda::{Agenda, Task};
use silt_core::failure::{Disposition, Failure};
use silt_core::namespace::Namespace;

/// Nobody waits for the hours of the backlog: each has a pause after it.
const BACKLOG_PAUSE: Duration = Duration::from_secs(1);
/// Failures in a row after which the status shows what passes by itself.
const LASTING_FAILURES: u32 = 3;

impl Task for Target {
    fn origin(&self) -> &Namespace {
        &self.origin
    }

    fn retry_delay_ms(&self) -> u64 {
        self.retry_delay_ms
    }
}

/// The task of all closing.
#[derive(Debug)]
pub(super) struct Supervisor {
    shared: Shared,
    agenda: Agenda<Target>,
    statuses: watch::Sender<Statuses>,
}

impl Supervisor {
    pub(super) fn new(
        shared: Shared,
        targets: mpsc::UnboundedReceiver<Target>,
        statuses: watch::Sender<Statuses>,
    ) -> Self {
        Self {
            shared,
            agenda: Agenda::new(targets),
            statuses,
        }
    }

    /// Runs until all senders are gone.
    pub(super) async fn run(mut self) {
        while let Some(target) = self.agenda.next(|_| {}).await {
            let pass = collection::pass(&self.shared, &target).await;
            self.note(&target, |status| {
                status.closed += pass.closed;
                status.completeness = pass.completeness.or(status.completeness);
                status.failures += u64::from(pass.failure.is_some());
            });
            match pass {
                Pass {
                    failure: Some(failure),
                    ..
                } => self.failed(target, &failure),
                Pass { has_backlog, .. } => {
                    self.agenda.succeeded(&target.origin);
                    self.note(&target, |status| status.trouble = None);
                    if has_backlog {
                        self.agenda.continue_in(target, BACKLOG_PAUSE);
                    }
                }
            }
        }
    }

    fn note(&self, target: &Target, note: impl FnOnce(&mut Status)) {
        self.statuses
            .send_modify(|statuses| note(statuses.entry(target.origin.clone()).or_default()));
    }

    fn failed(&mut self, target: Target, failure: &Failure) {
        let (origin, message) = (target.origin.clone(), failure.message.clone());
        let is_halt = !matches!(
            failure.disposition,
            Disposition::Retry { .. } | Disposition::Reload
        );
        if is_halt {
            let mut is_new = false;
            self.note(&target, |status| {
                is_new = status.trouble.as_ref() != Some(&message);
                status.trouble = Some(message.clone());
            });
            if is_new {
                error!(
                    collection = %origin,
                    error = message,
                    "an hour can't be closed: manual action required; retrying every minute"
                );
            }
            self.agenda.halt(target);
            return;
        }
        let noted = target.clone();
        let retry = self.agenda.retry(target, failure.disposition);
        warn!(
            collection = %origin,
            error = message,
            delay_ms = retry.delay_ms,
            "closing failed, retrying"
        );
        if retry.failures >= LASTING_FAILURES {
            self.note(&noted, |status| status.trouble = Some(message));
        }
    }
}
