//! What snapshots say of themselves.

use std::collections::BTreeMap;

use tokio::sync::watch;

use silt_core::namespace::origin::Origin;
use silt_core::position::ClusterTime;
use silt_core::snapshot::progress::Progress;

/// Of each collection that was sent, how far it is.
pub type Statuses = BTreeMap<Origin, Status>;

/// How far one collection is.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// What it does.
    pub state: State,
    /// The snapshot's folder.
    pub folder: Option<String>,
    /// The snapshot's position.
    pub position: Option<ClusterTime>,
    /// Documents, bytes, rate, time left.
    pub progress: Progress,
    /// What holds it up, and what mends that.
    pub trouble: Option<String>,
}

/// What a collection's snapshot does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Others go before.
    #[default]
    Waiting,
    /// Documents are read.
    Reading,
    /// It was held up, and is tried again when others had their turn.
    Retrying,
    /// The lake has what it should have.
    Done,
    /// It needs a person; it is tried again every minute.
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

    /// The word in logs and documents.
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

/// Tells of streams whose collections can't be listed: each has a status as if it were a collection.
#[derive(Clone, Debug)]
pub struct Unlisted {
    pub(super) statuses: watch::Sender<Statuses>,
}

impl Unlisted {
    /// What keeps them from being listed.
    pub fn tell(&self, stream: &Origin, trouble: String) {
        self.statuses.send_modify(|statuses| {
            let status = statuses.entry(stream.clone()).or_default();
            status.state = State::Retrying;
            status.trouble = Some(trouble);
        });
    }

    /// They could be listed.
    pub fn clear(&self, stream: &Origin) {
        self.statuses
            .send_if_modified(|statuses| statuses.remove(stream).is_some());
    }
}
