//! Takes snapshots of collections while their streams run.
//!
//! One task works on one collection at a time, reading several ranges of it concurrently. All its state is in the
//! lake, so it may be dropped at any moment, and the next run resumes.

mod job;
pub(crate) mod lake;
mod read;
mod status;
mod supervisor;

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::budget::Budget;
use crate::clock::Clock;
use crate::lake::Lake;
use crate::processors::Processors;
use crate::source::Deployment;
pub use read::collections::collections;
use silt_core::extjson::Mode;
use silt_core::file::format::FileFormat;
use silt_core::file::gzip::GzipLevel;
use silt_core::limits::Limits;
use silt_core::namespace::Namespace;
use silt_core::snapshot::SnapshotMode;
pub use status::{State, Status, Statuses, Unlisted};
use supervisor::Supervisor;

/// What snapshots need from the process.
#[derive(Clone, Debug)]
pub struct Edges {
    /// The deployment.
    pub deployment: Deployment,
    /// The lake.
    pub lake: Arc<dyn Lake>,
    /// The memory budget, shared with the streams.
    pub budget: Budget,
    /// Threads for encoding and compression.
    pub processors: Processors,
    /// The clock.
    pub clock: Clock,
}

/// Settings of all snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The most ranges of a collection that are read concurrently.
    pub ranges: u32,
    /// The most bytes of documents that are read per second.
    pub rate_limit_bytes: Option<u64>,
}

/// A collection whose feed has saved its starting position, so that every change from now on reaches the lake.
#[derive(Clone, Debug)]
pub struct Target {
    /// The collection.
    pub origin: Namespace,
    /// Whether a shared stream carries it. A shared stream puts gap records of collections that it doesn't know
    /// yet into the folder of the database or of all databases.
    pub is_shared: bool,
    /// The filters that leave changes out of its stream.
    pub change_filters: Vec<String>,
    /// Whether and when a snapshot is taken.
    pub mode: SnapshotMode,
    /// The format of the parts.
    pub format: FileFormat,
    /// The compression level of gzip.
    pub gzip_level: GzipLevel,
    /// How documents are encoded.
    pub json_mode: Mode,
    /// Limits of commits, files and retries.
    pub limits: Limits,
}

/// The running snapshot task, which stops when this is dropped.
#[derive(Debug)]
pub struct Handle {
    targets: mpsc::UnboundedSender<Target>,
    statuses: watch::Sender<Statuses>,
    task: JoinHandle<()>,
}

impl Handle {
    /// Checks whether a collection needs a snapshot, and takes it. A collection that is sent again is checked
    /// again, after a gap for instance, or at once if it is halted.
    pub fn send(&self, target: Target) {
        // The receiver is gone only after a bug, which `ended` reports.
        let _ = self.targets.send(target);
    }

    /// A sender that does what [`Handle::send`] does.
    #[must_use]
    pub fn targets(&self) -> mpsc::UnboundedSender<Target> {
        self.targets.clone()
    }

    /// The status of each collection.
    #[must_use]
    pub fn statuses(&self) -> watch::Receiver<Statuses> {
        self.statuses.subscribe()
    }

    /// Reports streams whose collections can't be listed, among the statuses.
    #[must_use]
    pub fn unlisted(&self) -> Unlisted {
        Unlisted {
            statuses: self.statuses.clone(),
        }
    }

    /// Waits for the task to end, which only a bug can cause, and describes the bug.
    pub async fn ended(&mut self) -> String {
        match (&mut self.task).await {
            Ok(()) => "the snapshot task ended".to_owned(),
            Err(bug) => format!("the snapshot task failed: {bug}"),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts the task, which takes snapshots of the collections that are sent to it.
#[must_use]
pub fn spawn(edges: Edges, settings: Settings) -> Handle {
    let (targets, received) = mpsc::unbounded_channel();
    let statuses = watch::Sender::new(Statuses::default());
    let supervisor = Supervisor::new(edges, settings, received, statuses.clone());
    Handle {
        targets,
        statuses,
        task: tokio::spawn(supervisor.run()),
    }
}
