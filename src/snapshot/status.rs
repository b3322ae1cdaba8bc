//! What snapshots say of themselves.

use std::collections::BTreeMap;

use crate::archive::origin::Origin;
use crate::archive::position::ClusterTime;
use crate::archive::snapshot::progress::Progress;

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
    /// The lake has what it should have.
    Done,
    /// It needs a person; it is tried again every minute.
    Halted,
}

impl State {
    /// The word in logs and documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Reading => "reading",
            Self::Done => "done",
            Self::Halted => "halted",
        }
    }
}
