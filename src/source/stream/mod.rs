//! What a change stream asks of the server, and the one place where it is opened and read.

mod filter;
mod options;
mod patience;

use std::time::Duration;

use bson::{Document, RawDocumentBuf};
use mongodb::action::Watch;
use mongodb::change_stream::ChangeStream;
use mongodb::options::ReadConcern;

use super::{Deployment, SourceError, token};
pub use options::StreamOptions;
#[cfg(test)]
pub(super) use options::tests::plain;
pub use patience::Patience;
use silt_core::namespace::selection::Watched;
use silt_core::position::{Position, ResumeToken};

/// How long the server waits for a change before it answers with none. Every answer costs both sides, and a
/// hundred idle collections ask all the time.
const AWAIT_LIMIT_MS: u64 = 2000;

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
        let limit = deployment.request_limit();
        let options = self.options;
        let stream = match &options.watched {
            Watched::Collection(origin) => {
                let database = client.database(&origin.database);
                let collection = database.collection::<Document>(&origin.collection);
                self.configure(collection.watch(), limit)?.await
            }
            Watched::Many { selection, .. } => match selection.only_database() {
                Some(name) => {
                    let database = client.database(name);
                    self.configure(database.watch(), limit)?.await
                }
                None => self.configure(client.watch(), limit)?.await,
            },
        };
        Ok(EventStream {
            stream: stream?.with_type(),
        })
    }

    fn configure(self, mut watch: Watch<'_>, limit: Duration) -> Result<Watch<'_>, SourceError> {
        let options = self.options;
        let mut stages = filter::pipeline(options);
        stages.extend(self.stages);
        watch = watch
            .pipeline(stages)
            // The only level that change streams accept; the cluster's default may be another one.
            .read_concern(ReadConcern::majority())
            .batch_size(self.batch_changes)
            .max_await_time(await_limit(limit));
        if let Some(full_document) = &options.full_document {
            watch = watch.full_document(full_document.clone());
        }
        if let Some(before) = &options.full_document_before_change {
            watch = watch.full_document_before_change(before.clone());
        }
        if options.show_expanded_events {
            // Older servers refuse the option, so it is only sent if it is set.
            watch = watch.show_expanded_events(true);
        }
        Ok(match &self.position {
            Position::At(time) => watch.start_at_operation_time(token::to_timestamp(*time)),
            Position::After(token) => watch.start_after(token::to_driver(token)?),
        })
    }
}

/// How long the server may wait for a change: well within the time that an answer may take.
fn await_limit(request_limit: Duration) -> Duration {
    Duration::from_millis(AWAIT_LIMIT_MS).min(request_limit / 2)
}

/// An open change stream. After one of its futures was dropped unfinished it can't be used again: the driver's
/// cursor is lost with the future.
#[derive(Debug)]
pub(super) struct EventStream {
    stream: ChangeStream<RawDocumentBuf>,
}

impl EventStream {
    /// The next event of the last reply, or of one more reply. `None` if that had none, or if the stream has
    /// ended.
    pub(super) async fn next_if_any(&mut self) -> Result<Option<RawDocumentBuf>, SourceError> {
        Ok(self.stream.next_if_any().await?)
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

    /// Whether the server may still send events.
    pub(super) fn is_alive(&self) -> bool {
        self.stream.is_alive()
    }

    /// The token of the last reply, up to which the server has read the oplog.
    pub(super) fn resume_token(&self) -> Result<Option<ResumeToken>, SourceError> {
        let token = self.stream.resume_token();
        token.map(|token| token::from_driver(&token)).transpose()
    }
}
