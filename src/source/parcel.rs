//! Events that were gathered and not yet handed over to the encoder.

use std::time::Duration;

use bson::{RawDocument, RawDocumentBuf};
use tokio::sync::oneshot;

use super::event::{self, Kind};
use super::events::Events;
use crate::budget::{Budget, Turn};
use silt_core::limits::LARGE_CHANGE_BYTES;

/// Events that go to the encoder at once, at most. Some parcels make a reply of the server, so that the
/// encoder has begun when the reader is through with it.
const PARCEL_LIMIT_BYTES: u64 = 256 * 1024;
const PARCEL_LIMIT_CHANGES: usize = 256;
/// How long a feed keeps its turn to read a large change while it waits for the server, which has
/// answered by then if it doesn't look for a needle in the oplog.
const TURN_LIMIT_MS: u64 = 2000;

/// Events that were gathered and not yet handed over.
#[derive(Debug, Default)]
pub(super) struct Parcel {
    events: Events,
    /// Whether one of them is large.
    has_large: bool,
    /// What the last one was that was handed over.
    pub(super) last_kind: Kind,
    /// This feed's turn to read a large change.
    pub(super) turn: Option<Turn>,
    /// Closes when the feed has the large change that was handed over last.
    passed: Option<oneshot::Receiver<()>>,
}

/// What is handed over.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) events: Events,
    /// The reader's turn, if it had to wait for one. It ends when the lines have their memory.
    pub(super) turn: Option<Turn>,
    /// Dropped when the feed has the lines.
    pub(super) passed: Option<oneshot::Sender<()>>,
}

impl Parcel {
    pub(super) fn add(&mut self, event: RawDocumentBuf) {
        self.has_large |= is_large(&event);
        self.events.push(event);
    }

    pub(super) fn is_full(&self, limit_bytes: u64) -> bool {
        let limit_bytes = limit_bytes.min(PARCEL_LIMIT_BYTES);
        self.events.len() >= PARCEL_LIMIT_CHANGES || self.events.len_bytes() >= limit_bytes
    }

    /// Takes out what was gathered, if there is anything.
    pub(super) fn take(&mut self) -> Option<Gathered> {
        if self.events.is_empty() {
            return None;
        }
        self.last_kind = self.events.last().map_or(Kind::Ordinary, event::kind);
        let mut passed = None;
        if std::mem::take(&mut self.has_large) {
            let (sender, receiver) = oneshot::channel();
            passed = Some(sender);
            self.passed = Some(receiver);
        }
        Some(Gathered {
            events: std::mem::take(&mut self.events),
            turn: self.turn.take(),
            passed,
        })
    }

    /// Waits behind a large change until the feed has it, and until it is this feed's turn: what comes
    /// next may be as large.
    pub(super) async fn take_turn(&mut self, budget: &Budget) {
        if let Some(passed) = self.passed.take() {
            // It is dropped, not sent.
            let _ = passed.await;
            self.turn = Some(budget.turn().await);
        }
    }

    /// Waits for an answer, and gives the turn up if none comes soon.
    pub(super) async fn answered_in_turn<T>(
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

/// Whether the driver's copies of an event count.
pub(super) fn is_large(event: &RawDocument) -> bool {
    event.as_bytes().len() as u64 >= LARGE_CHANGE_BYTES
}
