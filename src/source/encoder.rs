//! Encodes what a reader has read, in a task of its own.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::events::Events;
use super::parcel::Gathered;
use super::reader::Reading;
use super::whose::{Places, Sorter};
use super::{SourceError, event};
use crate::budget::Budget;
use crate::processors::Processors;
use silt_core::batch::Changes;
use silt_core::extjson::Mode;
use silt_core::failure::Failure;
use silt_core::file::hour_file::Separator;
use silt_core::gap::LargeEvent;
use silt_core::position::ResumeToken;

/// What a reader has read, in the stream's order.
#[derive(Debug)]
pub(super) enum Read {
    /// The stream is open, or could not be opened.
    Opened(Result<(), Failure>),
    /// Events that were received at this time.
    Events {
        gathered: Gathered,
        received: String,
    },
    /// The server has looked as far as this token.
    Idle(ResumeToken),
    /// The server can't send the next change.
    TooLarge(LargeEvent),
    /// The stream ended.
    Closed(Option<Failure>),
}

/// So many bytes are worth the way to another thread. What is larger stays where it is: each thread's part
/// of the allocator keeps what it once had.
const WORTHWHILE_BYTES: std::ops::Range<u64> = 32 * 1024..1024 * 1024;

/// Turns events into lines.
#[derive(Debug)]
pub(super) struct Encoder {
    pub(super) processors: Processors,
    pub(super) mode: Mode,
    pub(super) separator: Separator,
    pub(super) budget: Budget,
    /// Tells whose an event is; `None` if the stream is that of one collection.
    pub(super) sorter: Option<Arc<Sorter>>,
}

impl Encoder {
    /// Passes on what was read until the reader ends, nobody listens, or an event can't be encoded.
    pub(super) async fn run(
        self,
        mut parcels: mpsc::Receiver<Read>,
        reports: mpsc::Sender<Reading>,
    ) {
        while let Some(read) = parcels.recv().await {
            let mut end = None;
            let mut underway = None;
            let reading = match read {
                Read::Opened(result) => Reading::Opened(result),
                Read::Idle(token) => Reading::Idle(token),
                Read::TooLarge(event) => Reading::TooLarge(event),
                Read::Closed(failure) => Reading::Closed(failure),
                Read::Events { gathered, received } => {
                    let Gathered {
                        events,
                        turn,
                        passed,
                    } = gathered;
                    let Encoded {
                        changes,
                        read_bytes,
                        error,
                    } = self.encoded(events, received).await;
                    end = error.map(|error| Reading::Closed(Some(Failure::from(&error))));
                    let taken = self.budget.take(changes.len_bytes()).await;
                    drop(turn);
                    underway = passed;
                    Reading::Changes {
                        changes,
                        taken,
                        read_bytes,
                    }
                }
            };
            if reports.send(reading).await.is_err() {
                return;
            }
            drop(underway);
            if let Some(end) = end {
                // The last report, whether anybody hears it or not.
                let _ = reports.send(end).await;
                return;
            }
        }
    }

    /// The events' lines. The events' memory is free when they are there, before they wait for theirs.
    async fn encoded(&self, events: Events, received: String) -> Encoded {
        let (mode, separator) = (self.mode, self.separator);
        let is_worthwhile = WORTHWHILE_BYTES.contains(&events.len_bytes());
        let sorter = self.sorter.clone();
        let work = move || encode(&events, &received, mode, separator, sorter.as_deref());
        if !is_worthwhile {
            return work();
        }
        match self.processors.work(work).await {
            Ok(encoded) => encoded,
            Err(bug) => match bug.try_into_panic() {
                // It becomes the end of all reports, like any other bug here.
                Ok(panic) => std::panic::resume_unwind(panic),
                // The process ends.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// Encodes up to the first event that can't be.
fn encode(
    events: &Events,
    received: &str,
    mode: Mode,
    separator: Separator,
    sorter: Option<&Sorter>,
) -> Encoded {
    let mut encoded = Encoded {
        changes: Changes::with_room(events.len(), events.len_bytes()),
        read_bytes: 0,
        error: None,
    };
    let mut places = sorter.map(Places::new);
    for event in events.iter() {
        let written = event.and_then(|event| {
            let changes = &mut encoded.changes;
            let place = places
                .as_mut()
                .map_or(0, |places| places.of(event, changes));
            changes.push_of(place, |lines, tokens| {
                event::write(event, received, mode, separator, lines, tokens)
            })?;
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

/// Events that were encoded.
struct Encoded {
    changes: Changes,
    /// Length of their events.
    read_bytes: u64,
    /// Why it ended before the last event.
    error: Option<SourceError>,
}
