//! Reads one change stream.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bson::{Document, RawDocument, RawDocumentBuf};
use futures::poll;
use mongodb::action::Watch;
use mongodb::change_stream::ChangeStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::encoder::{Encoder, Read};
use super::event::{self, Kind};
use super::events::Events;
use super::whose::Sorter;
use super::{AWAIT_LIMIT_MS, Deployment, Patience, SourceError, StreamOptions, filter, token};
use crate::archive::batch::Changes;
use crate::archive::failure::Failure;
use crate::archive::frame::rfc3339;
use crate::archive::origin::Origin;
use crate::archive::position::{Position, ResumeToken};
use crate::archive::selection::Watched;
use crate::budget::{Budget, Taken, Turn};
use crate::clock::Clock;
use crate::processors::Processors;

/// Events that go to the encoder at once, at most. Some parcels make a reply of the server, so that the
/// encoder has begun when the reader is through with it.
pub const PARCEL_LIMIT_BYTES: u64 = 256 * 1024;
const PARCEL_LIMIT_CHANGES: usize = 256;
/// A change of this size is large: the driver's copies of it count.
const LARGE_CHANGE_BYTES: u64 = 2 * 1024 * 1024;
/// How long a feed keeps its turn to read a large change while it waits for the server, which has
/// answered by then if it doesn't look for a needle in the oplog.
const TURN_LIMIT_MS: u64 = 2000;
/// Parcels that wait for the encoder, beside the one that it has.
const PARCELS_MAX: usize = 3;

/// What a reader reports.
#[derive(Debug)]
pub enum Reading {
    /// The stream is open, or could not be opened.
    Opened(Result<(), Failure>),
    /// Changes.
    Changes {
        /// The changes.
        changes: Changes,
        /// The memory that they hold.
        taken: Taken,
        /// Length of their events, as the server sent them.
        read_bytes: u64,
    },
    /// The server has looked as far as this token.
    Idle(ResumeToken),
    /// The stream ended, by an error or after an invalidate. The last report.
    Closed(Option<Failure>),
}

/// Reads the stream of a feed.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Where from.
    pub deployment: Deployment,
    /// Whose changes, and how.
    pub options: StreamOptions,
    /// The memory for them.
    pub budget: Budget,
    /// Who encodes them.
    pub processors: Processors,
    /// Bytes of events that go on their way at once; at most [`PARCEL_LIMIT_BYTES`].
    pub parcel_limit_bytes: u64,
    /// How long an answer may take.
    pub patience: Patience,
    /// The time of receipt.
    pub clock: Clock,
}

impl Reader {
    /// Opens the stream and reports until it ends. One task owns the stream and polls its futures to
    /// completion: the driver's stream can't be used again after a future of it was dropped half-way.
    /// Another encodes what was read, while the server makes its next reply.
    pub async fn run(self, position: Position, reports: mpsc::Sender<Reading>) {
        let (parcels, received) = mpsc::channel(PARCELS_MAX);
        let encoder = Encoder {
            processors: self.processors.clone(),
            mode: self.options.mode,
            separator: self.options.separator,
            budget: self.budget.clone(),
            sorter: Sorter::of(&self.options.watched).map(Arc::new),
        };
        let mut encoding = AbortOnDrop(tokio::spawn(encoder.run(received, reports)));
        // Whether anybody still listens at the end makes no difference.
        let _ = self.report(&position, &parcels).await;
        drop(parcels);
        // A panic is reported as the end of all reports.
        let _ = (&mut encoding.0).await;
    }

    async fn report(
        &self,
        position: &Position,
        parcels: &mpsc::Sender<Read>,
    ) -> Result<(), Unheard> {
        let opening = open(&self.deployment, &self.options, position);
        match self.in_time(opening).await {
            Ok(stream) => {
                send(parcels, Read::Opened(Ok(()))).await?;
                let end = self.read(stream, parcels).await?;
                send(parcels, Read::Closed(end)).await
            }
            Err(error) => {
                let failure = self.failure(error).await;
                send(parcels, Read::Opened(Err(failure))).await
            }
        }
    }

    /// Waits for an answer as long as patience goes.
    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let limit = self.patience.limit();
        let answer = tokio::time::timeout(limit, answer).await;
        answer.unwrap_or_else(|_| {
            self.patience.note_silence();
            Err(SourceError::Unanswered {
                limit_seconds: limit.as_secs(),
            })
        })
    }

    /// An error as the core sees it. Where history is lost, it is looked up how much is left.
    async fn failure(&self, error: SourceError) -> Failure {
        let error = match error {
            SourceError::HistoryLost { message, .. } => SourceError::HistoryLost {
                message,
                oldest: self.deployment.oldest_time().await,
            },
            other => other,
        };
        Failure::from(&error)
    }

    /// Reads to the end: an error, or none behind an invalidate.
    async fn read(
        &self,
        mut stream: ChangeStream<RawDocumentBuf>,
        parcels: &mpsc::Sender<Read>,
    ) -> Result<Option<Failure>, Unheard> {
        let mut parcel = Parcel::default();
        loop {
            self.take_turn(&mut parcel).await;
            let next = {
                let mut next = pin!(stream.next_if_any());
                match poll!(next.as_mut()) {
                    Poll::Ready(next) => next.map_err(SourceError::from),
                    Poll::Pending => {
                        // The driver asks the server, so what was gathered goes on its way.
                        self.hand_over(&mut parcel, parcels).await?;
                        // A stream that is given up half-way isn't used again.
                        let answer = parcel.answered_in_turn(next);
                        let answer = async { answer.await.map_err(SourceError::from) };
                        let next = self.in_time(answer).await;
                        if next.is_ok() {
                            self.patience.note_answer();
                        }
                        next
                    }
                }
            };
            match next {
                Ok(Some(event)) => {
                    if is_large(&event) && parcel.turn.is_none() {
                        // It isn't copied behind others. With a turn it is: they would take the turn along.
                        self.hand_over(&mut parcel, parcels).await?;
                    }
                    parcel.add(event);
                    if self.is_full(&parcel) {
                        self.hand_over(&mut parcel, parcels).await?;
                    }
                }
                Ok(None) if stream.is_alive() => {
                    self.hand_over(&mut parcel, parcels).await?;
                    parcel.turn = None;
                    if let Some(token) = stream.resume_token() {
                        match token::from_driver(&token) {
                            Ok(token) => send(parcels, Read::Idle(token)).await?,
                            Err(error) => return Ok(Some(Failure::from(&error))),
                        }
                    }
                }
                Ok(None) => {
                    self.hand_over(&mut parcel, parcels).await?;
                    let is_fault = parcel.last_kind != Kind::Invalidate;
                    return Ok(is_fault.then(|| Failure::from(&SourceError::Closed)));
                }
                Err(error) => {
                    self.hand_over(&mut parcel, parcels).await?;
                    return Ok(Some(self.failure(error).await));
                }
            }
        }
    }

    fn is_full(&self, parcel: &Parcel) -> bool {
        let limit_bytes = self.parcel_limit_bytes.min(PARCEL_LIMIT_BYTES);
        parcel.events.len() >= PARCEL_LIMIT_CHANGES || parcel.events.len_bytes() >= limit_bytes
    }

    /// Waits behind a large change until the feed has it, and until it is this feed's turn: what comes
    /// next may be as large.
    async fn take_turn(&self, parcel: &mut Parcel) {
        if let Some(passed) = parcel.passed.take() {
            // It is dropped, not sent.
            let _ = passed.await;
            parcel.turn = Some(self.budget.turn().await);
        }
    }

    /// Sends what was gathered. The time of receipt is the parcel's: its events came together.
    async fn hand_over(
        &self,
        parcel: &mut Parcel,
        parcels: &mpsc::Sender<Read>,
    ) -> Result<(), Unheard> {
        if parcel.events.is_empty() {
            return Ok(());
        }
        parcel.last_kind = parcel.events.last().map_or(Kind::Ordinary, event::kind);
        let events = std::mem::take(&mut parcel.events);
        let turn = parcel.turn.take();
        let mut passed = None;
        if std::mem::take(&mut parcel.has_large) {
            let (sender, receiver) = oneshot::channel();
            passed = Some(sender);
            parcel.passed = Some(receiver);
        }
        let read = Read::Events {
            events,
            received: rfc3339(self.clock.now().unix_ms),
            turn,
            passed,
        };
        send(parcels, read).await
    }
}

/// Opens a stream at this position.
pub(super) async fn open(
    deployment: &Deployment,
    options: &StreamOptions,
    position: &Position,
) -> Result<ChangeStream<RawDocumentBuf>, SourceError> {
    let client = deployment.client();
    let limit = deployment.request_limit();
    let stream = match &options.watched {
        Watched::Collection(Origin {
            database,
            collection,
            ..
        }) => {
            let collection = client.database(database).collection::<Document>(collection);
            watch(collection.watch(), options, position, limit)?.await
        }
        Watched::Many { selection, .. } => match selection.only_database() {
            Some(database) => {
                let database = client.database(database);
                watch(database.watch(), options, position, limit)?.await
            }
            None => watch(client.watch(), options, position, limit)?.await,
        },
    };
    Ok(stream?.with_type())
}

/// A stream with these options.
fn watch<'a>(
    watch: Watch<'a>,
    options: &StreamOptions,
    position: &Position,
    request_limit: Duration,
) -> Result<Watch<'a>, SourceError> {
    let mut watch = watch
        .pipeline(filter::pipeline(options))
        .batch_size(options.cursor_batch_changes)
        .max_await_time(await_limit(request_limit));
    if let Some(full_document) = &options.full_document {
        watch = watch.full_document(full_document.clone());
    }
    if let Some(before) = &options.full_document_before_change {
        watch = watch.full_document_before_change(before.clone());
    }
    if options.show_expanded_events {
        // Servers before 6.0 don't know the option.
        watch = watch.show_expanded_events(true);
    }
    Ok(match position {
        Position::At(time) => watch.start_at_operation_time(token::to_timestamp(*time)),
        Position::After(token) => watch.start_after(token::to_driver(token)?),
    })
}

/// Whether the driver's copies of an event count.
fn is_large(event: &RawDocument) -> bool {
    event.as_bytes().len() as u64 >= LARGE_CHANGE_BYTES
}

/// How long the server may wait for a change: well within the time that an answer may take.
fn await_limit(request_limit: Duration) -> Duration {
    Duration::from_millis(AWAIT_LIMIT_MS).min(request_limit / 2)
}

/// Events that were gathered and not yet handed over.
#[derive(Debug, Default)]
struct Parcel {
    events: Events,
    /// Whether one of them is large.
    has_large: bool,
    /// What the last one was that was handed over.
    last_kind: Kind,
    /// This feed's turn to read a large change.
    turn: Option<Turn>,
    /// Closes when the feed has the large change that was handed over last.
    passed: Option<oneshot::Receiver<()>>,
}

impl Parcel {
    fn add(&mut self, event: RawDocumentBuf) {
        self.has_large |= is_large(&event);
        self.events.push(event);
    }

    /// Waits for an answer, and gives the turn up if none comes soon.
    async fn answered_in_turn<T>(&mut self, mut answer: impl Future<Output = T> + Unpin) -> T {
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

/// A task that ends with its owner.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Nobody listens any more.
pub(super) struct Unheard;

async fn send(parcels: &mpsc::Sender<Read>, read: Read) -> Result<(), Unheard> {
    parcels.send(read).await.map_err(|_| Unheard)
}
