//! Has hours closed: whenever a feed's saved position enters another hour.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::Shared;
use crate::closing::{self, Statuses, Target};
use crate::lake::{Lake, LakeError, Walked};
use crate::settings::{FeedSettings, Settings};
use crate::worker::{Handle, Status};
use silt_core::backoff::Backoff;
use silt_core::closing::RecordedSettings;
use silt_core::failure::Failure;
use silt_core::file::hour_file::{Hour, HourFileName};
use silt_core::namespace::Namespace;
use silt_core::namespace::selection::Watched;
use silt_core::position::ClusterTime;

/// First delay before the lake is looked through again.
const RETRY_DELAY_MS: u64 = 1000;

/// Running closing. Dropping this stops it, and the next start continues it.
#[derive(Debug)]
pub(super) struct Closings {
    /// How far each collection is complete.
    pub statuses: watch::Receiver<Statuses>,
    _tasks: JoinSet<()>,
}

impl Closings {
    /// Starts closing unless the settings forbid it. A message on `exits` means that it panicked.
    pub fn start(
        settings: &Settings,
        shared: &Shared,
        feeds: &[Handle],
        exits: mpsc::Sender<String>,
    ) -> Option<Self> {
        if !settings.closing.is_on {
            return None;
        }
        let mut handle = closing::spawn(closing::Edges {
            lake: Arc::clone(&shared.lake),
            budget: shared.budget.clone(),
            clock: shared.clock,
            rate_limit_bytes: settings.closing.rate_limit_bytes_per_second,
        });
        let statuses = handle.statuses();
        let mut tasks = JoinSet::new();
        for (feed, running) in settings.feeds.iter().zip(feeds) {
            let follower = Follower {
                feed: feed.clone(),
                recorded: feed.recorded(),
                lake: Arc::clone(&shared.lake),
                status: running.status.clone(),
                targets: handle.targets(),
            };
            tasks.spawn(follower.run());
        }
        tasks.spawn(async move {
            let bug = handle.ended().await;
            // If the channel is full, another exit is in it already.
            let _ = exits.try_send(bug);
        });
        Some(Self {
            statuses,
            _tasks: tasks,
        })
    }
}

/// Sends the collections of one feed.
struct Follower {
    feed: FeedSettings,
    recorded: RecordedSettings,
    lake: Arc<dyn Lake>,
    status: watch::Receiver<Status>,
    targets: mpsc::UnboundedSender<Target>,
}

impl Follower {
    async fn run(mut self) {
        // Since when each collection has been archived, as far as this process knows.
        let mut known: BTreeMap<Namespace, ClusterTime> = BTreeMap::new();
        let mut closed_before = None;
        loop {
            let is_due = |status: &Status| {
                let hour = status.saved_until.map(Hour::of);
                hour.is_some() && hour != closed_before
            };
            let found = match self.status.wait_for(is_due).await {
                Ok(status) => status.saved_until.map(|until| (until, lanes(&status))),
                Err(_) => return,
            };
            let Some((durable_until, lanes)) = found else {
                continue;
            };
            debug!(
                collection = %self.feed.watched.namespace(),
                until = %durable_until,
                "looks for hours to close"
            );
            let is_first = closed_before.replace(Hour::of(durable_until)).is_none();
            let origins = match &self.feed.watched {
                Watched::Collection(origin) => vec![origin.clone()],
                Watched::Many { .. } if is_first => self.archived(lanes).await,
                Watched::Many { .. } => lanes,
            };
            for origin in origins {
                known.entry(origin).or_insert(durable_until);
            }
            for (origin, observed_from) in &known {
                // If the task has ended, the process is ending.
                let _ = self
                    .targets
                    .send(self.target(origin, *observed_from, durable_until));
            }
        }
    }

    fn target(
        &self,
        origin: &Namespace,
        observed_from: ClusterTime,
        durable_until: ClusterTime,
    ) -> Target {
        Target {
            origin: origin.clone(),
            is_shared: matches!(self.feed.watched, Watched::Many { .. }),
            observed_from,
            durable_until,
            settings: self.recorded.clone(),
            retry_delay_ms: self.feed.files.limits.retry_delay_ms,
        }
    }

    /// The collections of a shared stream that have files in the lake, and those of the lanes.
    async fn archived(&self, mut origins: Vec<Namespace>) -> Vec<Namespace> {
        let mut backoff = Backoff::new(RETRY_DELAY_MS, fastrand::u64(..));
        loop {
            match in_lake(self.lake.as_ref(), &self.feed.watched).await {
                Ok(found) => {
                    origins.extend(found);
                    return origins;
                }
                Err(error) => {
                    let Failure {
                        disposition,
                        message,
                        ..
                    } = Failure::from(&error);
                    let delay_ms = backoff.failed(disposition);
                    warn!(
                        collection = %self.feed.watched.namespace(),
                        error = message,
                        delay_ms,
                        "can't list the lake for the hours to be closed, retrying"
                    );
                    tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                }
            }
        }
    }
}

/// The collections of a shared stream with a change since the start.
fn lanes(status: &Status) -> Vec<Namespace> {
    status.lanes.keys().cloned().collect()
}

/// The watched collections that have hour files.
async fn in_lake(lake: &dyn Lake, watched: &Watched) -> Result<Vec<Namespace>, LakeError> {
    let mut found: BTreeMap<String, Namespace> = BTreeMap::new();
    let mut walked = lake.walk("");
    while let Some(walked) = walked.try_next().await? {
        let Walked::File(file) = walked else {
            continue;
        };
        let folder = &file.path.folder;
        if file.path.name.parse::<HourFileName>().is_err() || found.contains_key(folder) {
            continue;
        }
        if let Some(namespace) = watched.namespace_of_folder(folder) {
            found.insert(folder.clone(), namespace);
        }
    }
    Ok(found.into_values().collect())
}
