//! Closes hours: when the durable position has passed an hour's end, its files are read back and checked, and
//! `<collection>/_closed/YYYY-MM-DD-HH.json` says what they hold.
//!
//! One task works on one collection at a time, so the end of an hour is no stampede. What is to be done follows
//! from the lake and from the position alone, so the task may be dropped at any moment, and two instances that close
//! the same hour write one record.

mod collection;
mod gaps;
mod hour;
mod status;
mod supervisor;
mod survey;

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::budget::Budget;
use crate::clock::Clock;
use crate::lake::Lake;
use crate::pace::Pace;
use silt_core::closing::RecordedSettings;
use silt_core::namespace::Namespace;
use silt_core::position::ClusterTime;
pub use status::{Status, Statuses};
use supervisor::Supervisor;

/// What closing needs from the process.
#[derive(Clone, Debug)]
pub struct Edges {
    /// The lake.
    pub lake: Arc<dyn Lake>,
    /// The memory budget, shared with the streams.
    pub budget: Budget,
    /// The clock.
    pub clock: Clock,
    /// The most bytes that are read per second.
    pub rate_limit_bytes: Option<u64>,
}

/// [`Edges`] while the task runs.
#[derive(Debug)]
struct Shared {
    lake: Arc<dyn Lake>,
    budget: Budget,
    clock: Clock,
    pace: Pace,
}

/// A collection, and how far its archive is durable.
#[derive(Clone, Debug)]
pub struct Target {
    /// The collection.
    pub origin: Namespace,
    /// Whether a shared stream carries it. A shared stream puts gap records of collections that it doesn't know yet
    /// into the folder of the database or of all databases.
    pub is_shared: bool,
    /// The feed's saved position when it was first known: all changes from here on are archived.
    pub observed_from: ClusterTime,
    /// The feed's saved position: all changes before this time are in the lake, or on record as missing.
    pub durable_until: ClusterTime,
    /// What records say of the settings.
    pub settings: RecordedSettings,
    /// First delay before a failure is retried.
    pub retry_delay_ms: u64,
}

/// The running task, which stops when this is dropped.
#[derive(Debug)]
pub struct Handle {
    targets: mpsc::UnboundedSender<Target>,
    statuses: watch::Sender<Statuses>,
    task: JoinHandle<()>,
}

impl Handle {
    /// Takes collections whose hours may be closed.
    #[must_use]
    pub fn targets(&self) -> mpsc::UnboundedSender<Target> {
        self.targets.clone()
    }

    /// The status of each collection.
    #[must_use]
    pub fn statuses(&self) -> watch::Receiver<Statuses> {
        self.statuses.subscribe()
    }

    /// Waits for the task to end, which only a bug can cause, and describes the bug.
    pub async fn ended(&mut self) -> String {
        match (&mut self.task).await {
            Ok(()) => "the closing task ended".to_owned(),
            Err(bug) => format!("the closing task failed: {bug}"),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts the task, which closes the hours of the collections that are sent to it.
#[must_use]
pub fn spawn(edges: Edges) -> Handle {
    let (targets, received) = mpsc::unbounded_channel();
    let statuses = watch::Sender::new(Statuses::default());
    let shared = Shared {
        pace: Pace::new(edges.rate_limit_bytes, edges.clock),
        lake: edges.lake,
        budget: edges.budget,
        clock: edges.clock,
    };
    let supervisor = Supervisor::new(shared, received, statuses.clone());
    Handle {
        targets,
        statuses,
        task: tokio::spawn(supervisor.run()),
    }
}
