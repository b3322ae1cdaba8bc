//! Starts snapshots of the feeds' collections: once a feed has a saved position, and again after each gap.

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

/// First delay before listing the collections is retried.
const RETRY_DELAY_MS: u64 = 1000;

/// Running snapshots. Dropping this stops them, and the next start continues them.
#[derive(Debug)]
pub(super) struct Snapshots {
    /// The progress of each collection.
    pub statuses: watch::Receiver<Statuses>,
    _tasks: JoinSet<()>,
}

impl Snapshots {
    /// Starts snapshots if the settings ask for any. A message on `exits` means that they panicked.
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
            // If the channel is full, another exit is in it already.
            let _ = exits.try_send(bug);
        });
        Some(Self {
            statuses,
            _tasks: tasks,
        })
    }
}

/// Asks for snapshots of the collections of one feed.
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
            // An open stream has a saved position.
            let is_due = |status: &Status| status.is_watching && Some(status.tally.gaps) != gaps;
            gaps = match self.status.wait_for(is_due).await {
                Ok(status) => Some(status.tally.gaps),
                Err(_) => return,
            };
            for origin in self.origins().await {
                // If the supervisor has ended, the process is ending.
                let _ = self.targets.send(self.target(origin));
            }
            if self.feed.snapshot != SnapshotMode::WhenLost {
                return;
            }
        }
    }

    /// The collections that exist now.
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
                        collection = %stream,
                        error = message,
                        delay_ms,
                        "can't list the collections for snapshots, retrying"
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
