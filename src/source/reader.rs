//! Reads one change stream.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bson::RawDocumentBuf;
use futures::poll;
use mongodb::change_stream::ChangeStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::encoder::{Encoder, Read};
use super::event::Kind;
use super::large::Identity;
use super::opening::Opening;
use super::parcel::{Parcel, is_large};
use super::whose::Sorter;
use super::{Deployment, Patience, SourceError, StreamOptions, token};
use crate::budget::{Budget, Taken};
use crate::clock::Clock;
use crate::processors::Processors;
use silt_core::batch::Changes;
use silt_core::failure::Failure;
use silt_core::file::frame::rfc3339;
use silt_core::gap::LargeEvent;
use silt_core::machine::OnLargeEvent;
use silt_core::position::{Position, ResumeToken};

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
    /// The next change is this one, which the server can't send. The last report.
    TooLarge(LargeEvent),
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
    /// Bytes of events that go on their way at once; at most 256 KiB.
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
        let run = Run {
            reader: self,
            parcels,
            parcel: Parcel::default(),
            position,
            is_open: false,
            care: None,
        };
        // Whether anybody still listens at the end makes no difference.
        let _ = run.report().await;
        // A panic is reported as the end of all reports.
        let _ = (&mut encoding.0).await;
    }
}

/// A reader at work.
#[derive(Debug)]
struct Run {
    reader: Reader,
    parcels: mpsc::Sender<Read>,
    parcel: Parcel,
    /// Behind all that was handed over.
    position: Position,
    /// Whether the stream was reported to be open.
    is_open: bool,
    /// How many changes are still to be read one by one, while one is near that the server can't send in one
    /// piece: of what was to be in the same reply as that, nothing is sent.
    care: Option<u32>,
}

/// Why a stream is read no longer.
#[derive(Debug)]
enum End {
    /// Behind an invalidate.
    Invalidated,
    /// Many changes may come in one reply again.
    Careless,
    Failed(SourceError),
}

/// A change that the server can't send in one piece.
#[derive(Debug)]
enum Large {
    Gathered(RawDocumentBuf),
    Lost(LargeEvent),
}

impl Run {
    async fn report(mut self) -> Result<(), Unheard> {
        loop {
            let end = match self.open().await {
                Ok(stream) => {
                    self.note_open().await?;
                    self.read(stream).await?
                }
                Err(error) => End::Failed(error),
            };
            match end {
                End::Invalidated => return self.send(Read::Closed(None)).await,
                End::Careless => self.care = None,
                End::Failed(SourceError::TooLarge { .. }) if self.care.is_none() => {
                    self.care = Some(self.reader.options.cursor_batch_changes);
                }
                // Read one by one, it is the next.
                End::Failed(SourceError::TooLarge { .. }) => match self.large().await {
                    Ok(large) => {
                        self.note_open().await?;
                        match large {
                            Large::Gathered(event) => {
                                self.parcel.add(event);
                                self.hand_over().await?;
                            }
                            Large::Lost(event) => return self.send(Read::TooLarge(event)).await,
                        }
                    }
                    Err(error) => return self.fail(error).await,
                },
                End::Failed(error) => return self.fail(error).await,
            }
        }
    }

    async fn open(&self) -> Result<ChangeStream<RawDocumentBuf>, SourceError> {
        let mut opening = Opening::usual(&self.reader.options, self.position.clone());
        if self.care.is_some() {
            opening.batch_changes = 1;
        }
        self.in_time(opening.open(&self.reader.deployment)).await
    }

    async fn note_open(&mut self) -> Result<(), Unheard> {
        if !std::mem::replace(&mut self.is_open, true) {
            self.send(Read::Opened(Ok(()))).await?;
        }
        Ok(())
    }

    /// Waits for an answer as long as patience goes.
    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let patience = &self.reader.patience;
        let limit = patience.limit();
        let answer = tokio::time::timeout(limit, answer).await;
        answer.unwrap_or_else(|_| {
            patience.note_silence();
            Err(SourceError::Unanswered {
                limit_seconds: limit.as_secs(),
            })
        })
    }

    /// Reports an error. Where history is lost, it is looked up how much is left.
    async fn fail(&self, error: SourceError) -> Result<(), Unheard> {
        let error = match self.reader.options.explained(error) {
            SourceError::HistoryLost { message, .. } => SourceError::HistoryLost {
                message,
                oldest: self.reader.deployment.oldest_time().await,
            },
            other => other,
        };
        let failure = Failure::from(&error);
        let last = if self.is_open {
            Read::Closed(Some(failure))
        } else {
            Read::Opened(Err(failure))
        };
        self.send(last).await
    }

    /// Reads to the end. What was gathered has gone on its way then.
    async fn read(&mut self, mut stream: ChangeStream<RawDocumentBuf>) -> Result<End, Unheard> {
        loop {
            self.parcel.take_turn(&self.reader.budget).await;
            match self.next(&mut stream).await? {
                Ok(Some(event)) => {
                    if is_large(&event) && self.parcel.turn.is_none() {
                        // It isn't copied behind others. With a turn it is: they would take the turn along.
                        self.hand_over().await?;
                    }
                    self.parcel.add(event);
                    if self.parcel.is_full(self.reader.parcel_limit_bytes) {
                        self.hand_over().await?;
                    }
                    self.care = self.care.map(|changes| changes.saturating_sub(1));
                    if self.care == Some(0) {
                        self.hand_over().await?;
                        return Ok(End::Careless);
                    }
                }
                Ok(None) if stream.is_alive() => {
                    self.hand_over().await?;
                    self.parcel.turn = None;
                    if let Some(token) = stream.resume_token() {
                        match token::from_driver(&token) {
                            Ok(token) => self.note_idle(token).await?,
                            Err(error) => return Ok(End::Failed(error)),
                        }
                    }
                }
                Ok(None) => {
                    self.hand_over().await?;
                    return Ok(match self.parcel.last_kind {
                        Kind::Invalidate => End::Invalidated,
                        Kind::Ordinary => End::Failed(SourceError::Closed),
                    });
                }
                Err(error) => {
                    self.hand_over().await?;
                    return Ok(End::Failed(error));
                }
            }
        }
    }

    /// The next event, if there is one.
    async fn next(
        &mut self,
        stream: &mut ChangeStream<RawDocumentBuf>,
    ) -> Result<Result<Option<RawDocumentBuf>, SourceError>, Unheard> {
        let mut next = pin!(stream.next_if_any());
        if let Poll::Ready(next) = poll!(next.as_mut()) {
            return Ok(next.map_err(SourceError::from));
        }
        // The driver asks the server, so what was gathered goes on its way.
        self.hand_over().await?;
        // A stream that is given up half-way isn't used again.
        let mut parcel = std::mem::take(&mut self.parcel);
        let answer = parcel.answered_in_turn(next);
        let answer = async { answer.await.map_err(SourceError::from) };
        let next = self.in_time(answer).await;
        self.parcel = parcel;
        if next.is_ok() {
            self.reader.patience.note_answer();
        }
        Ok(next)
    }

    /// Takes the next change, which the server can't send in one piece.
    async fn large(&mut self) -> Result<Large, SourceError> {
        let Reader {
            deployment,
            options,
            budget,
            ..
        } = &self.reader;
        let identity = Identity::of_first(deployment, options, self.position.clone());
        let identity = self.in_time(identity).await?;
        if self.parcel.turn.is_none() {
            self.parcel.turn = Some(budget.turn().await);
        }
        match self.in_time(identity.fetch(deployment, options)).await {
            Ok(event) => Ok(Large::Gathered(event)),
            Err(SourceError::TooLarge { .. }) => {
                self.parcel.turn = None;
                let event = identity.recorded(&options.watched)?;
                match options.on_large_event {
                    OnLargeEvent::Record => Ok(Large::Lost(event)),
                    OnLargeEvent::Halt => Err(SourceError::of_large(&event)),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn note_idle(&mut self, token: ResumeToken) -> Result<(), Unheard> {
        self.position = Position::After(token.clone());
        self.send(Read::Idle(token)).await
    }

    /// Sends what was gathered. The time of receipt is the parcel's: its events came together.
    async fn hand_over(&mut self) -> Result<(), Unheard> {
        let Some(gathered) = self.parcel.take() else {
            return Ok(());
        };
        let last = gathered.events.last();
        if let Some(Ok(token)) = last.map(token::of_event) {
            self.position = Position::After(token);
        }
        let received = rfc3339(self.reader.clock.now().unix_ms);
        self.send(Read::Events { gathered, received }).await
    }

    async fn send(&self, read: Read) -> Result<(), Unheard> {
        self.parcels.send(read).await.map_err(|_| Unheard)
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
struct Unheard;
