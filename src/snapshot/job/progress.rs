//! Tells how far a snapshot is, while it is under way.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;
use tracing::info;

use super::super::status::Statuses;
use super::Job;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks between two lines of the log.
const LOOKS_PER_LINE: u32 = 10;

/// Shows the figures every second and logs a line every ten, until it is dropped. What held it up is over as soon as
/// it has more documents than it began with.
pub(crate) async fn report(job: &Job, statuses: &watch::Sender<Statuses>) -> Infallible {
    let begun_with = job.progress.borrow().documents;
    let mut looks: u32 = 0;
    loop {
        show(job, statuses);
        if job.progress.borrow().documents > begun_with {
            statuses.send_if_modified(|statuses| {
                let status = statuses.get_mut(&job.target.origin);
                status.is_some_and(|status| status.trouble.take().is_some())
            });
        }
        if looks > 0 && looks.is_multiple_of(LOOKS_PER_LINE) {
            let line = job.progress.borrow().line();
            info!(collection = %job.target.origin, "snapshot: {line}");
        }
        looks = looks.wrapping_add(1);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Shows the figures of this moment.
pub(crate) fn show(job: &Job, statuses: &watch::Sender<Statuses>) {
    let now_ms = job.edges.clock.now().monotonic_ms;
    job.progress.send_modify(|progress| progress.tick(now_ms));
    let progress = job.progress.borrow().clone();
    statuses.send_modify(|statuses| {
        let status = statuses.entry(job.target.origin.clone()).or_default();
        status.progress = progress;
    });
}
