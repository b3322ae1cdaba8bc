//! What a reader reports to its worker.

use crate::budget::Taken;
use silt_core::batch::Changes;
use silt_core::failure::Failure;
use silt_core::large_event::LargeEvent;
use silt_core::position::ResumeToken;

/// One report of a reader. It differs from the state machine's input by the memory that changes hold, which the
/// core doesn't know of.
#[derive(Debug)]
pub enum Report {
    /// The stream is open, or could not be opened.
    Opened(Result<(), Failure>),
    /// Changes.
    Changes {
        /// The changes, encoded.
        changes: Changes,
        /// The budget's memory that they hold.
        taken: Taken,
        /// Length of their events as the server sent them.
        read_bytes: u64,
    },
    /// The server has read the oplog up to this token and found nothing more.
    Idle(ResumeToken),
    /// The next change is this one, which the server can't send. The last report.
    TooLarge(LargeEvent),
    /// The stream ended, by an error or after an `invalidate`. The last report.
    Closed(Option<Failure>),
}
