//! Parcels: events that the reader passes to the encoder in one piece.

mod events;

use std::time::Duration;

use bson::{RawDocument, RawDocumentBuf};
use tokio::sync::oneshot;

use crate::budget::{Budget, Turn};
use crate::source::Report;
pub(crate) use events::Events;
use silt_core::limits::LARGE_CHANGE_BYTES;

/// Limits of a parcel. A reply of the server makes several, so that the encoder starts before the reader has
/// gone through the whole reply.
const PARCEL_LIMIT_BYTES: u64 = 256 * 1024;
const PARCEL_LIMIT_CHANGES: usize = 256;
/// How long a feed keeps its turn for a large change while it waits for the server. A server that takes longer
/// is searching the oplog.
const TURN_LIMIT_MS: u64 = 2000;

/// What the reader sends to the encoder, in the stream's order.
#[derive(Debug)]
pub(crate) enum Message {
    /// Events to encode, and the time when they were received.
    Events { parcel: Parcel, received: String },
    /// A report to pass on after everything that was sent before it.
    Report(Report),
}

/// Events for the encoder.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) events: Events,
    /// The reader's turn for a large change, if it holds one. It ends when the lines have their memory.
    pub(crate) turn: Option<Turn>,
    /// Dropped when the worker has the lines.
    pub(crate) delivered: Option<oneshot::Sender<()>>,
}

/// Gathers events into parcels.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    events: Events,
    /// Whether one of them is large.
    has_large: bool,
    /// Whether the last event of the last parcel was an `invalidate`, after which the server closes the stream.
    pub(crate) is_invalidated: bool,
    /// This feed's turn to read a large change.
    pub(crate) turn: Option<Turn>,
    /// Closes when the worker has the last parcel with a large change.
    delivered: Option<oneshot::Receiver<()>>,
}

impl Gathering {
    pub(crate) fn add(&mut self, event: RawDocumentBuf) {
        self.has_large |= is_large(&event);
        self.events.push(event);
    }

    pub(crate) fn is_full(&self, limit_bytes: u64) -> bool {
        let limit_bytes = limit_bytes.min(PARCEL_LIMIT_BYTES);
        self.events.len() >= PARCEL_LIMIT_CHANGES || self.events.len_bytes() >= limit_bytes
    }

    /// Takes the gathered events as a parcel, if there are any.
    pub(crate) fn take(&mut self) -> Option<Parcel> {
        if self.events.is_empty() {
            return None;
        }
        self.is_invalidated = self.events.last().is_some_and(is_invalidate);
        let mut delivered = None;
        if std::mem::take(&mut self.has_large) {
            let (sender, receiver) = oneshot::channel();
            delivered = Some(sender);
            self.delivered = Some(receiver);
        }
        Some(Parcel {
            events: std::mem::take(&mut self.events),
            turn: self.turn.take(),
            delivered,
        })
    }

    /// After a large change, waits until the worker has it and until it is this feed's turn: the next change
    /// may be as large.
    pub(crate) async fn take_turn(&mut self, budget: &Budget) {
        if let Some(delivered) = self.delivered.take() {
            // The sender is dropped, nothing is sent.
            let _ = delivered.await;
            self.turn = Some(budget.turn().await);
        }
    }

    /// Waits for an answer, and gives up the turn if the answer takes long.
    pub(crate) async fn answered_in_turn<T>(
        &mut self,
        mut answer: impl Future<Output = T> + Unpin,
    ) -> T {
        if self.turn.is_some() {
            let limit = Duration::from_millis(TURN_LIMIT_MS);
            if let Ok(answer) = tokio::time::timeout(limit, &mut answer).await {
                return answer;
            }
            self.turn = None;
        }
        answer.await
    }
}

/// Whether an event is so large that the driver's copies of it count.
pub(crate) fn is_large(event: &RawDocument) -> bool {
    event.as_bytes().len() as u64 >= LARGE_CHANGE_BYTES
}

fn is_invalidate(event: &RawDocument) -> bool {
    matches!(event.get_str("operationType"), Ok("invalidate"))
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;

    #[test]
    fn a_parcel_knows_whether_it_ends_with_an_invalidate() {
        let mut gathering = Gathering::default();
        assert!(gathering.take().is_none() && !gathering.is_invalidated);
        gathering.add(rawdoc! { "operationType": "drop" });
        gathering.add(rawdoc! { "operationType": "invalidate" });
        assert_eq!(gathering.take().unwrap().events.len(), 2);
        assert!(gathering.is_invalidated);
        gathering.add(rawdoc! { "operationType": "insert" });
        assert!(gathering.take().is_some() && !gathering.is_invalidated);
    }
}
