//! Reports the progress of a running snapshot.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;
use tracing::info;

use super::super::status::Statuses;
use super::Job;

const UPDATE_EVERY: Duration = Duration::from_secs(1);
/// Updates of the status between two log lines.
const UPDATES_PER_LINE: u32 = 10;

/// Updates the status every second and logs a line every ten seconds, until it is dropped. An earlier failure is
/// cleared as soon as more documents have been read.
pub(crate) async fn report(job: &Job, statuses: &watch::Sender<Statuses>) -> Infallible {
    let documents_before = job.progress.borrow().documents;
    let mut updates: u32 = 0;
    loop {
        show(job, statuses);
        if job.progress.borrow().documents > documents_before {
            statuses.send_if_modified(|statuses| {
                let status = statuses.get_mut(&job.target.origin);
                status.is_some_and(|status| status.trouble.take().is_some())
            });
        }
        if updates > 0 && updates.is_multiple_of(UPDATES_PER_LINE) {
            let line = job.progress.borrow().line();
            info!(collection = %job.target.origin, "snapshot: {line}");
        }
        updates = updates.wrapping_add(1);
        tokio::time::sleep(UPDATE_EVERY).await;
    }
}

/// Updates the status once.
pub(crate) fn show(job: &Job, statuses: &watch::Sender<Statuses>) {
    let now_ms = job.edges.clock.now().monotonic_ms;
    job.progress.send_modify(|progress| progress.tick(now_ms));
    let progress = job.progress.borrow().clone();
    statuses.send_modify(|statuses| {
        let status = statuses.entry(job.target.origin.clone()).or_default();
        status.progress = progress;
    });
}
