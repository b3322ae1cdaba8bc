//! Snapshots of what the feeds watch: begun when a feed is anchored, looked at again behind each gap.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::warn;

use super::Shared;
use crate::edges;
use crate::settings::{FeedSettings, Settings};
use crate::snapshot::{self, Statuses, Target, Unlisted};
use crate::source::Deployment;
use crate::worker::{Handle, Status};
use silt_core::backoff::Backoff;
use silt_core::failure::Failure;
use silt_core::namespace::Namespace;
use silt_core::namespace::selection::Watched;
use silt_core::snapshot::SnapshotMode;

/// First delay before collections are listed again that could not be.
const RETRY_DELAY_MS: u64 = 1000;

/// Snapshots at work. They stop when it is dropped, and the next start goes on with them.
#[derive(Debug)]
pub(super) struct Snapshots {
    /// How far each collection is.
    pub statuses: watch::Receiver<Statuses>,
    _tasks: JoinSet<()>,
}

impl Snapshots {
    /// Starts what the settings want, if they want any. `exits` is told if it breaks off.
    pub fn start(
        settings: &Settings,
        shared: &Shared,
        feeds: &[Handle],
        exits: mpsc::Sender<String>,
    ) -> Option<Self> {
        let wanted = settings.feeds.iter().zip(feeds);
        let wanted: Vec<_> = wanted
            .filter(|(feed, _)| feed.snapshot != SnapshotMode::Never)
            .collect();
        if wanted.is_empty() {
            return None;
        }
        let edges = snapshot::Edges {
            deployment: shared.deployment.clone(),
            lake: shared.lake.clone(),
            budget: shared.budget.clone(),
            processors: shared.processors.clone(),
            clock: shared.clock,
        };
        let how = snapshot::Settings {
            ranges: settings.snapshot.ranges,
            rate_limit_bytes: settings.snapshot.rate_limit_bytes_per_second,
        };
        let mut handle = snapshot::spawn(edges, how);
        let statuses = handle.statuses();
        let mut tasks = JoinSet::new();
        for (feed, running) in wanted {
            let follower = Follower {
                feed: feed.clone(),
                limits: super::limits(shared.lake.as_ref(), feed),
                deployment: shared.deployment.clone(),
                status: running.status.clone(),
                targets: handle.targets(),
                unlisted: handle.unlisted(),
            };
            tasks.spawn(follower.run());
        }
        tasks.spawn(async move {
            let bug = handle.ended().await;
            // A full channel says already that it is over.
            let _ = exits.try_send(bug);
        });
        Some(Self {
            statuses,
            _tasks: tasks,
        })
    }
}

/// Has the collections of one feed looked at.
struct Follower {
    feed: FeedSettings,
    limits: silt_core::limits::Limits,
    deployment: Deployment,
    status: watch::Receiver<Status>,
    targets: mpsc::UnboundedSender<Target>,
    unlisted: Unlisted,
}

impl Follower {
    async fn run(mut self) {
        let mut gaps = None;
        loop {
            // A stream that is open begins with a position that is saved.
            let is_due = |status: &Status| status.is_watching && Some(status.tally.gaps) != gaps;
            gaps = match self.status.wait_for(is_due).await {
                Ok(status) => Some(status.tally.gaps),
                Err(_) => return,
            };
            for origin in self.origins().await {
                // Who takes the snapshots ends the process if he breaks off.
                let _ = self.targets.send(self.target(origin));
            }
            if self.feed.snapshot != SnapshotMode::WhenLost {
                return;
            }
        }
    }

    /// The collections that there are now.
    async fn origins(&self) -> Vec<Namespace> {
        let (selection, layout) = match &self.feed.watched {
            Watched::Collection(origin) => return vec![origin.clone()],
            Watched::Many { selection, layout } => (selection, *layout),
        };
        let stream = self.feed.watched.namespace();
        let mut backoff = Backoff::new(RETRY_DELAY_MS, fastrand::u64(..));
        loop {
            match snapshot::collections(&self.deployment, selection, layout).await {
                Ok(origins) => {
                    self.unlisted.clear(&stream);
                    return origins;
                }
                Err(Failure {
                    disposition,
                    message,
                    ..
                }) => {
                    let delay_ms = backoff.failed(disposition);
                    warn!(
                        collection = stream.name(),
                        error = message,
                        delay_ms,
                        "can't list the collections for snapshots, tries again"
                    );
                    if backoff.failures() >= self.limits.retry_attempts {
                        let what = "the collections that it carries can't be listed for snapshots";
                        self.unlisted.report(&stream, format!("{what}: {message}"));
                    }
                    tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                }
            }
        }
    }

    fn target(&self, origin: Namespace) -> Target {
        let files = &self.feed.files;
        Target {
            origin,
            is_shared: matches!(self.feed.watched, Watched::Many { .. }),
            change_filters: self.feed.stream.change_filters(),
            mode: self.feed.snapshot,
            format: files.format,
            gzip_level: files.gzip_level,
            json_mode: edges::json_mode(files.json_mode),
            limits: self.limits.clone(),
        }
    }
}
