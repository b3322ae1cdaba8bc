//! Snapshots at work: reads MongoDB, writes the lake, beside the streams.
//!
//! One task takes one collection after another, several ranges of it at once. It has no state but the lake's,
//! so it may be dropped at any moment: whoever comes next goes on.

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
use silt_core::file::frame::GzipLevel;
use silt_core::file::hour_file::FileFormat;
use silt_core::limits::Limits;
use silt_core::namespace::origin::Origin;
use silt_core::snapshot::SnapshotMode;
pub use status::{State, Status, Statuses, Unlisted};
use supervisor::Supervisor;

/// What snapshots work with.
#[derive(Clone, Debug)]
pub struct Edges {
    /// The deployment.
    pub deployment: Deployment,
    /// The lake.
    pub lake: Arc<dyn Lake>,
    /// The memory that the streams have too.
    pub budget: Budget,
    /// Who encodes and compresses.
    pub processors: Processors,
    /// The time.
    pub clock: Clock,
}

/// How snapshots are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Ranges of a collection that are read at once, at most.
    pub ranges: u32,
    /// Bytes of documents that are read in a second, at most.
    pub rate_limit_bytes: Option<u64>,
}

/// A collection whose feed is anchored: its starting position is saved, so whatever changes from now on
/// comes to the lake.
#[derive(Clone, Debug)]
pub struct Target {
    /// The collection.
    pub origin: Origin,
    /// Whether it shares its stream, which leaves the gap records of collections that it doesn't know of in the
    /// folder of all.
    pub is_shared: bool,
    /// What leaves changes out of its stream.
    pub change_filters: Vec<String>,
    /// When a snapshot is taken.
    pub mode: SnapshotMode,
    /// Format of the parts.
    pub format: FileFormat,
    /// How hard gzip tries.
    pub gzip_level: GzipLevel,
    /// How documents are written.
    pub json_mode: Mode,
    /// Limits of commits, files and tries.
    pub limits: Limits,
}

/// Snapshots at work. They stop when it is dropped.
#[derive(Debug)]
pub struct Handle {
    targets: mpsc::UnboundedSender<Target>,
    statuses: watch::Sender<Statuses>,
    task: JoinHandle<()>,
}

impl Handle {
    /// Looks whether a collection needs a snapshot, and takes it. A collection that is sent again is looked
    /// at again: behind a gap, or at once when it is halted.
    pub fn send(&self, target: Target) {
        // It never ends while this is there, but by a bug, which `ended` tells.
        let _ = self.targets.send(target);
    }

    /// Takes what [`Handle::send`] does, from anywhere.
    #[must_use]
    pub fn targets(&self) -> mpsc::UnboundedSender<Target> {
        self.targets.clone()
    }

    /// How far each collection is.
    #[must_use]
    pub fn statuses(&self) -> watch::Receiver<Statuses> {
        self.statuses.subscribe()
    }

    /// Tells, beside them, of streams whose collections can't be listed.
    #[must_use]
    pub fn unlisted(&self) -> Unlisted {
        Unlisted {
            statuses: self.statuses.clone(),
        }
    }

    /// Waits for an end that only a bug brings, and says which.
    pub async fn ended(&mut self) -> String {
        match (&mut self.task).await {
            Ok(()) => "the snapshots ended".to_owned(),
            Err(bug) => format!("the snapshots broke off: {bug}"),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts to take snapshots of what is sent.
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
