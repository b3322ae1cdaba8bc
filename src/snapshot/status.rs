//! The status of snapshots, for the page, `/status` and the metrics.

use std::collections::BTreeMap;

use tokio::sync::watch;

use silt_core::namespace::Namespace;
use silt_core::position::ClusterTime;
use silt_core::snapshot::progress::Progress;

/// The status of each collection that was sent.
pub type Statuses = BTreeMap<Namespace, Status>;

/// The status of one collection.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// The snapshot's folder.
    pub folder: Option<String>,
    /// The snapshot's position.
    pub position: Option<ClusterTime>,
    /// Documents, bytes, rate, time left.
    pub progress: Progress,
    /// What is wrong, and how to fix it.
    pub trouble: Option<String>,
}

/// What a collection's snapshot is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Other collections are before it in the queue.
    #[default]
    Waiting,
    /// It reads documents.
    Reading,
    /// It failed, and is retried after the other collections have had their turn.
    Retrying,
    /// The snapshot is complete, or none is needed.
    Done,
    /// Manual action is required; it is retried every minute.
    Halted,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Waiting,
        Self::Reading,
        Self::Retrying,
        Self::Done,
        Self::Halted,
    ];

    /// The name in `/status` and in the metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Reading => "reading",
            Self::Retrying => "retrying",
            Self::Done => "done",
            Self::Halted => "halted",
        }
    }
}

/// Reports streams whose collections can't be listed. Each has a status as if it were a collection.
#[derive(Clone, Debug)]
pub struct Unlisted {
    pub(super) statuses: watch::Sender<Statuses>,
}

impl Unlisted {
    /// Reports why a stream's collections can't be listed.
    pub fn report(&self, stream: &Namespace, trouble: String) {
        self.statuses.send_modify(|statuses| {
            let status = statuses.entry(stream.clone()).or_default();
            status.state = State::Retrying;
            status.trouble = Some(trouble);
        });
    }

    /// Removes the report: the collections could be listed.
    pub fn clear(&self, stream: &Namespace) {
        self.statuses
            .send_if_modified(|statuses| statuses.remove(stream).is_some());
    }
}
