//! Opens streams.

use std::time::Duration;

use bson::{Document, RawDocumentBuf};
use mongodb::action::Watch;
use mongodb::change_stream::ChangeStream;
use mongodb::options::ReadConcern;

use super::{AWAIT_LIMIT_MS, Deployment, SourceError, StreamOptions, filter, token};
use silt_core::namespace::selection::Watched;
use silt_core::position::Position;

/// A stream that is to be opened.
#[derive(Clone, Debug)]
pub(super) struct Opening<'a> {
    pub(super) options: &'a StreamOptions,
    /// Where it begins.
    pub(super) position: Position,
    /// Changes in one reply.
    pub(super) batch_changes: u32,
    /// Stages behind those of the options.
    pub(super) stages: Vec<Document>,
}

impl<'a> Opening<'a> {
    /// The stream that these options want.
    pub(super) fn usual(options: &'a StreamOptions, position: Position) -> Self {
        Self {
            options,
            position,
            batch_changes: options.cursor_batch_changes,
            stages: Vec::new(),
        }
    }

    /// Opens the stream.
    pub(super) async fn open(
        self,
        deployment: &Deployment,
    ) -> Result<ChangeStream<RawDocumentBuf>, SourceError> {
        let client = deployment.client();
        let limit = deployment.request_limit();
        let options = self.options;
        let stream = match &options.watched {
            Watched::Collection(origin) => {
                let database = client.database(&origin.database);
                let collection = database.collection::<Document>(&origin.collection);
                self.wanted(collection.watch(), limit)?.await
            }
            Watched::Many { selection, .. } => match selection.only_database() {
                Some(name) => {
                    let database = client.database(name);
                    self.wanted(database.watch(), limit)?.await
                }
                None => self.wanted(client.watch(), limit)?.await,
            },
        };
        Ok(stream?.with_type())
    }

    fn wanted(self, mut watch: Watch<'_>, limit: Duration) -> Result<Watch<'_>, SourceError> {
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
            // Older servers don't know the option.
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
