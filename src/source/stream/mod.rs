//! What a change stream asks of the server, and the one place where it is opened and read.

mod filter;
mod options;
mod patience;
mod reply;

use std::time::Duration;

use bson::{Document, RawDocumentBuf, doc};
use futures::StreamExt as _;
use mongodb::options::{AggregateOptions, ReadConcern};
use mongodb::raw_batch_cursor::RawBatchCursor;

use super::{Deployment, SourceError, token};
pub use options::StreamOptions;
#[cfg(test)]
pub(super) use options::tests::plain;
pub use patience::Patience;
use reply::Reply;
use silt_core::namespace::selection::Watched;
use silt_core::position::{Position, ResumeToken};

/// How long the server waits for a change before it answers with none. Every answer costs both sides, and a
/// hundred idle collections ask all the time.
const AWAIT_LIMIT_MS: u64 = 2000;

/// Where a stream over all databases is opened.
const CLUSTER_DATABASE: &str = "admin";

/// A request for a stream.
#[derive(Clone, Debug)]
pub(super) struct Request<'a> {
    pub(super) options: &'a StreamOptions,
    /// Where the stream begins.
    pub(super) position: Position,
    /// Changes in one reply, at most.
    pub(super) batch_changes: u32,
    /// Stages after those of the options.
    pub(super) stages: Vec<Document>,
}

impl<'a> Request<'a> {
    /// The stream that these options describe.
    pub(super) fn new(options: &'a StreamOptions, position: Position) -> Self {
        Self {
            options,
            position,
            batch_changes: options.cursor_batch_changes,
            stages: Vec::new(),
        }
    }

    /// Opens the stream.
    pub(super) async fn open(self, deployment: &Deployment) -> Result<EventStream, SourceError> {
        let client = deployment.client();
        let stages = self.stages()?;
        let options = self.aggregate_options(deployment.request_limit());
        let cursor = match &self.options.watched {
            Watched::Collection(namespace) => {
                let database = client.database(&namespace.database);
                let collection = database.collection::<Document>(&namespace.collection);
                let stream = collection.aggregate(stages).with_options(options);
                stream.batch().await?
            }
            Watched::Many { selection, .. } => {
                let database = selection.only_database().unwrap_or(CLUSTER_DATABASE);
                let database = client.database(database);
                let stream = database.aggregate(stages).with_options(options);
                stream.batch().await?
            }
        };
        Ok(EventStream::new(cursor))
    }

    /// The stream's pipeline, with the stage that makes it one.
    fn stages(&self) -> Result<Vec<Document>, SourceError> {
        let mut stages = vec![doc! { "$changeStream": self.change_stream()? }];
        stages.extend(filter::pipeline(self.options));
        stages.extend(self.stages.iter().cloned());
        Ok(stages)
    }

    /// The options of `$changeStream`. One that an older server doesn't know is only sent if it is set.
    fn change_stream(&self) -> Result<Document, SourceError> {
        let options = self.options;
        let mut stage = Document::new();
        if let Some(full_document) = options.full_document {
            stage.insert("fullDocument", full_document);
        }
        if let Some(before) = options.full_document_before_change {
            stage.insert("fullDocumentBeforeChange", before);
        }
        if options.show_expanded_events {
            stage.insert("showExpandedEvents", true);
        }
        if let Watched::Many { selection, .. } = &options.watched
            && selection.only_database().is_none()
        {
            stage.insert("allChangesForCluster", true);
        }
        match &self.position {
            Position::At(time) => {
                stage.insert("startAtOperationTime", token::to_timestamp(*time));
            }
            Position::After(token) => {
                stage.insert("startAfter", token::to_document(token)?);
            }
        }
        Ok(stage)
    }

    fn aggregate_options(&self, request_limit: Duration) -> AggregateOptions {
        AggregateOptions::builder()
            .batch_size(self.batch_changes)
            .max_await_time(await_limit(request_limit))
            // The only level that change streams accept; the cluster's default may be another one.
            .read_concern(ReadConcern::majority())
            .build()
    }
}

/// How long the server may wait for a change: well within the time that an answer may take.
fn await_limit(request_limit: Duration) -> Duration {
    Duration::from_millis(AWAIT_LIMIT_MS).min(request_limit / 2)
}

/// An open change stream.
///
/// It is an aggregation, not the driver's change stream, because that resumes by itself after an error. If the first
/// attempt to resume fails, the driver (3.9.1) repeats it without the token, and the stream begins anew where it was
/// first opened. Here each error ends the stream, and the state machine opens another one.
pub(super) struct EventStream {
    /// `None` after an error: the server may have moved its cursor on.
    cursor: Option<RawBatchCursor>,
    reply: Option<Reply>,
    /// The token of the last reply.
    token: Option<ResumeToken>,
}

impl EventStream {
    fn new(cursor: RawBatchCursor) -> Self {
        Self {
            cursor: Some(cursor),
            reply: None,
            token: None,
        }
    }

    /// The next event of the last reply, or of one more reply. `None` if that had none, or if the stream has
    /// ended.
    pub(super) async fn next_if_any(&mut self) -> Result<Option<RawDocumentBuf>, SourceError> {
        if let Some(event) = self.next_received()? {
            return Ok(Some(event));
        }
        let Some(cursor) = &mut self.cursor else {
            return Ok(None);
        };
        let reply = match cursor.next().await {
            Some(Ok(batch)) => Reply::parse(batch),
            Some(Err(error)) => Err(error.into()),
            None => {
                self.cursor = None;
                return Ok(None);
            }
        };
        let reply = reply.inspect_err(|_| self.cursor = None)?;
        if reply.is_last() {
            self.cursor = None;
        }
        self.token = reply.token()?;
        self.reply = Some(reply);
        self.next_received()
    }

    /// The next event of the last reply.
    fn next_received(&mut self) -> Result<Option<RawDocumentBuf>, SourceError> {
        let Some(reply) = &mut self.reply else {
            return Ok(None);
        };
        let event = reply.next_event()?.map(ToOwned::to_owned);
        if event.is_none() {
            self.reply = None;
        }
        Ok(event)
    }

    /// Waits for the next event.
    ///
    /// # Errors
    ///
    /// [`SourceError::Closed`] if the stream has ended.
    pub(super) async fn next(&mut self) -> Result<RawDocumentBuf, SourceError> {
        while self.is_alive() {
            if let Some(event) = self.next_if_any().await? {
                return Ok(event);
            }
        }
        Err(SourceError::Closed)
    }

    /// Whether more events may come.
    pub(super) fn is_alive(&self) -> bool {
        self.cursor.is_some() || self.reply.is_some()
    }

    /// The token of the last reply, up to which the server has read the oplog.
    pub(super) fn resume_token(&self) -> Option<&ResumeToken> {
        self.token.as_ref()
    }
}
