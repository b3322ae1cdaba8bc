//! Reads the change stream of one feed.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bson::RawDocumentBuf;
use futures::poll;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::encode::Encoder;
use super::encode::router::Routing;
use super::large::Identity;
use super::parcel::{Gathering, Message, is_large};
use super::stream::{EventStream, Request};
use super::{Deployment, Patience, Report, SourceError, StreamOptions, token};
use crate::budget::Budget;
use crate::clock::Clock;
use crate::processors::Processors;
use silt_core::failure::Failure;
use silt_core::large_event::LargeEvent;
use silt_core::machine::OnLargeEvent;
use silt_core::position::{Position, ResumeToken};
use silt_core::time::rfc3339;

/// Messages that wait for the encoder, beside the one that it works on.
const MESSAGES_MAX: usize = 3;

/// Connections that the server cuts at one position before the change there is suspected.
const CUTS_MIN: u32 = 3;

/// Reads the stream of a feed.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The deployment to read from.
    pub deployment: Deployment,
    /// What the stream asks of the server.
    pub options: StreamOptions,
    /// The memory for the encoded changes.
    pub budget: Budget,
    /// The threads that encode.
    pub processors: Processors,
    /// Bytes of events in one parcel, at most; never more than 256 KiB.
    pub parcel_limit_bytes: u64,
    /// How long an answer may take.
    pub patience: Patience,
    /// The time of receipt.
    pub clock: Clock,
}

impl Reader {
    /// Opens the stream and reports until it ends. Another task encodes while the server prepares its next reply.
    pub async fn run(self, position: Position, reports: mpsc::Sender<Report>) {
        let (messages, received) = mpsc::channel(MESSAGES_MAX);
        let encoder = Encoder {
            processors: self.processors.clone(),
            mode: self.options.mode,
            separator: self.options.separator,
            budget: self.budget.clone(),
            routing: Arc::new(Routing::of(&self.options.watched)),
        };
        let mut encoding = AbortOnDrop(tokio::spawn(encoder.run(received, reports)));
        let run = Run {
            reader: self,
            messages,
            gathering: Gathering::default(),
            position,
            is_open: false,
            single_reads_left: None,
        };
        // It makes no difference whether the worker still listens at the end.
        let _ = run.report().await;
        // A panic of the encoder is seen as the end of all reports.
        let _ = (&mut encoding.0).await;
    }
}

/// A reader at work.
#[derive(Debug)]
struct Run {
    reader: Reader,
    messages: mpsc::Sender<Message>,
    gathering: Gathering,
    /// The position after everything that was sent to the encoder.
    position: Position,
    /// Whether the stream was reported to be open.
    is_open: bool,
    /// How many more changes are read one by one, near a change that the server can't send in one piece: if the
    /// server meets it while it fills a reply, it sends nothing of that reply.
    single_reads_left: Option<u32>,
}

/// Why a stream is no longer read.
#[derive(Debug)]
enum End {
    /// The last change was an `invalidate`.
    Invalidated,
    /// Replies may have many changes again.
    SingleReadsDone,
    Failed(SourceError),
}

/// A change that the server can't send in one piece.
#[derive(Debug)]
enum Large {
    Assembled(RawDocumentBuf),
    Lost(LargeEvent),
}

impl Run {
    async fn report(mut self) -> Result<(), WorkerGone> {
        loop {
            let end = match self.open().await {
                Ok(stream) => {
                    self.note_open().await?;
                    self.read(stream).await?
                }
                Err(error) => End::Failed(error),
            };
            match end {
                End::Invalidated => return self.send(Report::Closed(None)).await,
                End::SingleReadsDone => self.single_reads_left = None,
                End::Failed(SourceError::TooLarge { .. }) if self.single_reads_left.is_none() => {
                    self.single_reads_left = Some(self.reader.options.cursor_batch_changes);
                }
                // When changes are read one by one, the next change is the large one.
                End::Failed(SourceError::TooLarge { .. }) => {
                    if !self.pass_large().await? {
                        return Ok(());
                    }
                }
                End::Failed(error) if error.is_cut() => {
                    if !self.pass_cut(error).await? {
                        return Ok(());
                    }
                }
                End::Failed(error) => return self.fail(error).await,
            }
        }
    }

    /// Passes the next change, which the server can't send in one piece. Returns whether the stream goes on.
    async fn pass_large(&mut self) -> Result<bool, WorkerGone> {
        match self.large().await {
            Ok(large) => {
                self.note_open().await?;
                match large {
                    Large::Assembled(event) => {
                        self.gathering.add(event);
                        self.send_parcel().await?;
                        Ok(true)
                    }
                    Large::Lost(event) => {
                        self.send(Report::TooLarge(event)).await?;
                        Ok(false)
                    }
                }
            }
            Err(error) => {
                self.fail(error).await?;
                Ok(false)
            }
        }
    }

    /// Some servers (6.0.5) cut the connection instead of refusing a reply that is too large, which looks like an
    /// outage. If that repeats at one position, changes are read one by one there, and the size of the next one
    /// decides. Returns whether the stream goes on.
    async fn pass_cut(&mut self, error: SourceError) -> Result<bool, WorkerGone> {
        let cuts = self.reader.patience.note_cut(&self.position);
        if self.single_reads_left.is_none() {
            if cuts < CUTS_MIN {
                self.fail(error).await?;
                return Ok(false);
            }
            self.single_reads_left = Some(self.reader.options.cursor_batch_changes);
            return Ok(true);
        }
        let Reader {
            deployment,
            options,
            ..
        } = &self.reader;
        let look = Identity::is_first_too_large(deployment, options, self.position.clone());
        let error = match self.in_time(look).await {
            Ok(Some(true)) => return self.pass_large().await,
            Ok(_) => error.cut_at(&self.position, cuts),
            // The server is away: nothing is known about the change.
            Err(_) => error,
        };
        self.fail(error).await?;
        Ok(false)
    }

    async fn open(&self) -> Result<EventStream, SourceError> {
        let mut request = Request::new(&self.reader.options, self.position.clone());
        if self.single_reads_left.is_some() {
            request.batch_changes = 1;
        }
        self.in_time(request.open(&self.reader.deployment)).await
    }

    async fn note_open(&mut self) -> Result<(), WorkerGone> {
        if !std::mem::replace(&mut self.is_open, true) {
            self.send(Report::Opened(Ok(()))).await?;
        }
        Ok(())
    }

    /// Waits for an answer until patience runs out.
    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let patience = &self.reader.patience;
        let limit = patience.limit();
        let answer = tokio::time::timeout(limit, answer).await;
        answer.unwrap_or_else(|_| {
            patience.note_timeout();
            Err(SourceError::Unanswered {
                limit_seconds: limit.as_secs(),
            })
        })
    }

    /// Reports an error as the last report. If history is lost, it also finds out where the oplog begins.
    async fn fail(&self, error: SourceError) -> Result<(), WorkerGone> {
        let error = match self.reader.options.explained(error) {
            SourceError::HistoryLost { message, .. } => SourceError::HistoryLost {
                message,
                oldest: self.reader.deployment.oldest_time().await,
            },
            other => other,
        };
        let failure = Failure::from(&error);
        let last = if self.is_open {
            Report::Closed(Some(failure))
        } else {
            Report::Opened(Err(failure))
        };
        self.send(last).await
    }

    /// Reads until the stream ends. Everything that was gathered has been sent by then.
    async fn read(&mut self, mut stream: EventStream) -> Result<End, WorkerGone> {
        loop {
            self.gathering.take_turn(&self.reader.budget).await;
            match self.next(&mut stream).await? {
                Ok(Some(event)) => {
                    if is_large(&event) && self.gathering.turn.is_none() {
                        // A large event isn't copied into a parcel of others. With a turn it is: a parcel sent
                        // before it would take the turn along.
                        self.send_parcel().await?;
                    }
                    self.gathering.add(event);
                    if self.gathering.is_full(self.reader.parcel_limit_bytes) {
                        self.send_parcel().await?;
                    }
                    self.single_reads_left =
                        self.single_reads_left.map(|left| left.saturating_sub(1));
                    if self.single_reads_left == Some(0) {
                        self.send_parcel().await?;
                        return Ok(End::SingleReadsDone);
                    }
                }
                Ok(None) if stream.is_alive() => {
                    self.send_parcel().await?;
                    self.gathering.turn = None;
                    if let Some(token) = stream.resume_token() {
                        self.note_idle(token.clone()).await?;
                    }
                }
                Ok(None) => {
                    self.send_parcel().await?;
                    return Ok(if self.gathering.is_invalidated {
                        End::Invalidated
                    } else {
                        End::Failed(SourceError::Closed)
                    });
                }
                Err(error) => {
                    self.send_parcel().await?;
                    return Ok(End::Failed(error));
                }
            }
        }
    }

    /// The next event, if there is one.
    async fn next(
        &mut self,
        stream: &mut EventStream,
    ) -> Result<Result<Option<RawDocumentBuf>, SourceError>, WorkerGone> {
        let mut next = pin!(stream.next_if_any());
        if let Poll::Ready(next) = poll!(next.as_mut()) {
            return Ok(next);
        }
        // The driver now waits for the server, so what was gathered is sent meanwhile.
        self.send_parcel().await?;
        // If the wait is cut off, the stream isn't used again.
        let mut gathering = std::mem::take(&mut self.gathering);
        let next = self.in_time(gathering.answered_in_turn(next)).await;
        self.gathering = gathering;
        if next.is_ok() {
            self.reader.patience.note_answer();
        }
        Ok(next)
    }

    /// Fetches the next change, which the server can't send in one piece.
    async fn large(&mut self) -> Result<Large, SourceError> {
        let Reader {
            deployment,
            options,
            budget,
            ..
        } = &self.reader;
        let identity = Identity::of_first(deployment, options, self.position.clone());
        let identity = self.in_time(identity).await?;
        if self.gathering.turn.is_none() {
            self.gathering.turn = Some(budget.turn().await);
        }
        match self.in_time(identity.fetch(deployment, options)).await {
            Ok(event) => Ok(Large::Assembled(event)),
            Err(SourceError::TooLarge { .. }) => {
                self.gathering.turn = None;
                let event = identity.to_record(&options.watched)?;
                match options.on_large_event {
                    OnLargeEvent::Record => Ok(Large::Lost(event)),
                    OnLargeEvent::Halt => Err(SourceError::of_large(&event)),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn note_idle(&mut self, token: ResumeToken) -> Result<(), WorkerGone> {
        self.position = Position::After(token.clone());
        self.send(Report::Idle(token)).await
    }

    /// Sends what was gathered. All events of a parcel have the same time of receipt: they came in one reply.
    async fn send_parcel(&mut self) -> Result<(), WorkerGone> {
        let Some(parcel) = self.gathering.take() else {
            return Ok(());
        };
        let last = parcel.events.last();
        if let Some(Ok(token)) = last.map(token::of_event) {
            self.position = Position::After(token);
        }
        let received = rfc3339(self.reader.clock.now().unix_ms);
        let message = Message::Events { parcel, received };
        self.messages.send(message).await.map_err(|_| WorkerGone)
    }

    async fn send(&self, report: Report) -> Result<(), WorkerGone> {
        let message = Message::Report(report);
        self.messages.send(message).await.map_err(|_| WorkerGone)
    }
}

/// A task that ends with its owner.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The worker doesn't listen any more.
struct WorkerGone;
