//! Encodes a reader's events, in a task of its own.

pub(super) mod line;
pub(super) mod router;

use std::sync::Arc;

use tokio::sync::mpsc;

use super::parcel::{Events, Message, Parcel};
use super::{Report, SourceError};
use crate::budget::Budget;
use crate::processors::Processors;
use router::Routing;
use silt_core::batch::Changes;
use silt_core::extjson::Mode;
use silt_core::failure::Failure;
use silt_core::file::format::Separator;

/// Sizes of parcels that another thread encodes. Smaller ones aren't worth the switch. Larger ones stay on this
/// thread: each thread's part of the allocator keeps the largest buffer that it once had.
const OTHER_THREAD_BYTES: std::ops::Range<u64> = 32 * 1024..1024 * 1024;

/// Turns events into lines.
#[derive(Debug)]
pub(super) struct Encoder {
    pub(super) processors: Processors,
    pub(super) mode: Mode,
    pub(super) separator: Separator,
    pub(super) budget: Budget,
    /// Finds each event's collection.
    pub(super) routing: Arc<Routing>,
}

impl Encoder {
    /// Encodes and passes on until the reader ends, the worker stops listening, or an event can't be encoded.
    pub(super) async fn run(
        self,
        mut messages: mpsc::Receiver<Message>,
        reports: mpsc::Sender<Report>,
    ) {
        while let Some(message) = messages.recv().await {
            let (parcel, received) = match message {
                Message::Report(report) => {
                    if reports.send(report).await.is_err() {
                        return;
                    }
                    continue;
                }
                Message::Events { parcel, received } => (parcel, received),
            };
            let Parcel {
                events,
                turn,
                delivered,
            } = parcel;
            let Encoded {
                changes,
                read_bytes,
                error,
            } = self.encoded(events, received).await;
            let taken = self.budget.take(changes.len_bytes()).await;
            drop(turn);
            let report = Report::Changes {
                changes,
                taken,
                read_bytes,
            };
            if reports.send(report).await.is_err() {
                return;
            }
            drop(delivered);
            if let Some(error) = error {
                // The last report; the worker may have stopped listening.
                let _ = reports
                    .send(Report::Closed(Some(Failure::from(&error))))
                    .await;
                return;
            }
        }
    }

    /// The events' lines. The events' memory is freed before the lines wait for theirs.
    async fn encoded(&self, events: Events, received: String) -> Encoded {
        let (mode, separator) = (self.mode, self.separator);
        let uses_other_thread = OTHER_THREAD_BYTES.contains(&events.len_bytes());
        let routing = Arc::clone(&self.routing);
        let work = move || encode(&events, &received, mode, separator, &routing);
        if !uses_other_thread {
            return work();
        }
        match self.processors.work(work).await {
            Ok(encoded) => encoded,
            Err(error) => match error.try_into_panic() {
                // This task panics with it, which the worker sees as the end of all reports.
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// Encodes up to the first event that can't be encoded.
fn encode(
    events: &Events,
    received: &str,
    mode: Mode,
    separator: Separator,
    routing: &Routing,
) -> Encoded {
    let mut encoded = Encoded {
        changes: Changes::with_room(events.len(), events.len_bytes()),
        read_bytes: 0,
        error: None,
    };
    let mut slots = routing.slots(&mut encoded.changes);
    for event in events.iter() {
        let written = event.and_then(|event| {
            let changes = &mut encoded.changes;
            let (slot, second) = match &mut slots {
                Some(slots) => slots.of(event, changes),
                None => (0, None),
            };
            for slot in std::iter::once(slot).chain(second) {
                changes.push_of(slot, |lines, tokens| {
                    line::write(event, received, mode, separator, lines, tokens)
                })?;
            }
            Ok(event.as_bytes().len() as u64)
        });
        match written {
            Ok(len_bytes) => encoded.read_bytes += len_bytes,
            Err(error) => {
                encoded.error = Some(error);
                break;
            }
        }
    }
    encoded
}

/// Encoded events.
struct Encoded {
    changes: Changes,
    /// Length of their events.
    read_bytes: u64,
    /// Why encoding ended before the last event.
    error: Option<SourceError>,
}
