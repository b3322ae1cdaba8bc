//! Reads one change stream and encodes what comes.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bson::RawDocumentBuf;
use futures::poll;
use mongodb::change_stream::ChangeStream;
use tokio::sync::mpsc;

use super::event::{self, Kind};
use super::{AWAIT_LIMIT_MS, CURSOR_BATCH_CHANGES, Deployment, SourceError, StreamOptions, token};
use crate::archive::batch::Changes;
use crate::archive::failure::Failure;
use crate::archive::frame::{Origin, rfc3339};
use crate::archive::position::{Position, ResumeToken};
use crate::budget::{Budget, Taken};
use crate::clock::Clock;

/// Changes that go to the feed at once, at most; memory between two looks at the budget.
const PARCEL_LIMIT_BYTES: u64 = 1024 * 1024;
const PARCEL_LIMIT_CHANGES: usize = 1000;

/// What a reader reports.
#[derive(Debug)]
pub enum Reading {
    /// The stream is open, or could not be opened.
    Opened(Result<(), Failure>),
    /// Changes, and the memory they hold.
    Changes(Changes, Taken),
    /// The server has looked as far as this token.
    Idle(ResumeToken),
    /// The stream ended, by an error or after an invalidate. The last report.
    Closed(Option<Failure>),
}

/// Reads the stream of one collection.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Where from.
    pub deployment: Deployment,
    /// Whose changes.
    pub origin: Origin,
    /// How.
    pub options: StreamOptions,
    /// The memory for them.
    pub budget: Budget,
    /// The time of receipt.
    pub clock: Clock,
}

impl Reader {
    /// Opens the stream and reports until it ends. One task owns the stream and polls its futures to
    /// completion: the driver's stream can't be used again after a future of it was dropped half-way.
    pub async fn run(self, position: Position, reports: mpsc::Sender<Reading>) {
        // Whether anybody still listens at the end makes no difference.
        let _ = self.report(&position, &reports).await;
    }

    async fn report(
        &self,
        position: &Position,
        reports: &mpsc::Sender<Reading>,
    ) -> Result<(), Unheard> {
        match self.open(position).await {
            Ok(stream) => {
                send(reports, Reading::Opened(Ok(()))).await?;
                let end = self.read(stream, reports).await?;
                send(reports, Reading::Closed(end)).await
            }
            Err(error) => send(reports, Reading::Opened(Err(Failure::from(&error)))).await,
        }
    }

    async fn open(&self, position: &Position) -> Result<ChangeStream<RawDocumentBuf>, SourceError> {
        let Origin {
            database,
            collection,
        } = &self.origin;
        let collection = self.deployment.collection(database, collection);
        let mut watch = collection
            .watch()
            .batch_size(CURSOR_BATCH_CHANGES)
            .max_await_time(Duration::from_millis(AWAIT_LIMIT_MS));
        if let Some(full_document) = &self.options.full_document {
            watch = watch.full_document(full_document.clone());
        }
        watch = match position {
            Position::At(time) => watch.start_at_operation_time(token::to_timestamp(*time)),
            Position::After(token) => watch.start_after(token::to_driver(token)?),
        };
        Ok(watch.await?.with_type())
    }

    /// Reads to the end: an error, or none behind an invalidate.
    async fn read(
        &self,
        mut stream: ChangeStream<RawDocumentBuf>,
        reports: &mpsc::Sender<Reading>,
    ) -> Result<Option<Failure>, Unheard> {
        let mut parcel = Parcel::default();
        let mut last_kind = Kind::Ordinary;
        loop {
            let next = {
                let mut next = pin!(stream.next_if_any());
                match poll!(next.as_mut()) {
                    Poll::Ready(next) => next,
                    Poll::Pending => {
                        // The driver asks the server, so what was gathered goes on its way.
                        self.hand_over(&mut parcel, reports).await?;
                        next.await
                    }
                }
            };
            match next {
                Ok(Some(event)) => {
                    last_kind = event::kind(&event);
                    if let Err(error) = self.encode(&event, &mut parcel) {
                        self.hand_over(&mut parcel, reports).await?;
                        return Ok(Some(Failure::from(&error)));
                    }
                    if parcel.is_full() {
                        self.hand_over(&mut parcel, reports).await?;
                    }
                }
                Ok(None) if stream.is_alive() => {
                    self.hand_over(&mut parcel, reports).await?;
                    if let Some(token) = stream.resume_token() {
                        match token::from_driver(&token) {
                            Ok(token) => send(reports, Reading::Idle(token)).await?,
                            Err(error) => return Ok(Some(Failure::from(&error))),
                        }
                    }
                }
                Ok(None) => {
                    self.hand_over(&mut parcel, reports).await?;
                    let is_fault = last_kind != Kind::Invalidate;
                    return Ok(is_fault.then(|| Failure::from(&SourceError::Closed)));
                }
                Err(error) => {
                    self.hand_over(&mut parcel, reports).await?;
                    return Ok(Some(Failure::from(&SourceError::from(error))));
                }
            }
        }
    }

    fn encode(&self, event: &RawDocumentBuf, parcel: &mut Parcel) -> Result<(), SourceError> {
        let StreamOptions {
            mode, separator, ..
        } = self.options;
        // One time for a parcel: its changes came together.
        let received = parcel
            .received
            .get_or_insert_with(|| rfc3339(self.clock.now().unix_ms))
            .as_str();
        parcel
            .changes
            .push(|lines, tokens| event::write(event, received, mode, separator, lines, tokens))
    }

    /// Sends what was gathered, as soon as there is memory for it.
    async fn hand_over(
        &self,
        parcel: &mut Parcel,
        reports: &mpsc::Sender<Reading>,
    ) -> Result<(), Unheard> {
        let Parcel { changes, .. } = std::mem::take(parcel);
        if changes.is_empty() {
            return Ok(());
        }
        let taken = self.budget.take(changes.len_bytes()).await;
        send(reports, Reading::Changes(changes, taken)).await
    }
}

/// Changes that were gathered and not yet handed over.
#[derive(Debug, Default)]
struct Parcel {
    changes: Changes,
    received: Option<String>,
}

impl Parcel {
    fn is_full(&self) -> bool {
        self.changes.len() >= PARCEL_LIMIT_CHANGES || self.changes.len_bytes() >= PARCEL_LIMIT_BYTES
    }
}

/// Nobody listens any more.
struct Unheard;

async fn send(reports: &mpsc::Sender<Reading>, reading: Reading) -> Result<(), Unheard> {
    reports.send(reading).await.map_err(|_| Unheard)
}
