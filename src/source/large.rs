//! Changes that are larger than BSON allows, so that the server can't send them in one piece.
//!
//! A stream asks for no splitting until it has met one. A stream with `$changeStreamSplitLargeEvent` gives
//! every event another token than one without (6.0), and a fragment's token is worthless as soon as the event
//! is no longer as large: the document that was looked up has shrunk. So a change is split by a
//! stream of its own, and keeps the token that it has in the feed's stream, by which the lake and the
//! checkpoint know it.

use bson::{Document, RawBsonRef, RawDocument, RawDocumentBuf, Timestamp, doc};
use mongodb::change_stream::ChangeStream;

use super::fragments::Fragments;
use super::opening::Opening;
use super::whose::Sorter;
use super::{Deployment, SourceError, StreamOptions, token};
use silt_core::gap::LargeEvent;
use silt_core::namespace::selection::Watched;
use silt_core::position::{ClusterTime, Position};

/// The names of an event's top-level fields, in its identity.
const FIELDS: &str = "siltFields";

/// What can be said of a change without all of it.
#[derive(Clone, Debug)]
pub(super) struct Identity(RawDocumentBuf);

impl Identity {
    /// That of the first change behind this position.
    ///
    /// All that the feed's own stream does is done, up to the looking up of documents, for its filters may look
    /// at any field. Only what is sent is less.
    pub(super) async fn of_first(
        deployment: &Deployment,
        options: &StreamOptions,
        position: Position,
    ) -> Result<Self, SourceError> {
        let names = doc! { "$map": { "input": { "$objectToArray": "$$ROOT" }, "in": "$$this.k" } };
        let slim = doc! { "$project": {
            "operationType": 1, "clusterTime": 1, "ns": 1, "to": 1, "documentKey": 1, FIELDS: names,
        } };
        let mut stream = open(deployment, options, position, vec![slim]).await?;
        Ok(Self(next(&mut stream).await?))
    }

    /// The change itself, in as many pieces as the server makes of it.
    ///
    /// # Errors
    ///
    /// [`SourceError::TooLarge`] if the server makes no pieces, or one field alone is too large.
    pub(super) async fn fetch(
        &self,
        deployment: &Deployment,
        options: &StreamOptions,
    ) -> Result<RawDocumentBuf, SourceError> {
        let stream = async |stage: Document| {
            let position = Position::At(self.cluster_time()?);
            open(
                deployment,
                options,
                position,
                vec![self.condition()?, stage],
            )
            .await
        };
        // A transaction may change a document several times at one time.
        let mut slim = stream(doc! { "$project": { "_id": 1 } }).await?;
        let mut before = 0;
        while next(&mut slim).await?.get_document("_id").ok() != Some(self.token()?) {
            before += 1;
        }
        drop(slim);
        let mut pieces = stream(doc! { "$changeStreamSplitLargeEvent": {} }).await?;
        for _ in 0..before {
            self.gathered(&mut pieces).await?;
        }
        let fields = self.0.get_array(FIELDS).map_err(malformed)?.into_iter();
        let fields = fields.flatten().filter_map(RawBsonRef::as_str).collect();
        self.gathered(&mut pieces).await?.into_event(fields)
    }

    async fn gathered(
        &self,
        pieces: &mut ChangeStream<RawDocumentBuf>,
    ) -> Result<Fragments, SourceError> {
        let mut event = Fragments::new(self.token()?);
        while !event.is_whole() {
            event.take(&next(pieces).await?)?;
        }
        Ok(event)
    }

    /// What it has in common with few other changes, or none.
    fn condition(&self) -> Result<Document, SourceError> {
        let mut condition = doc! { "clusterTime": self.time()? };
        if let Ok(key) = self.0.get_document("documentKey")
            && let Ok(key) = Document::try_from(key)
        {
            condition.insert("documentKey", doc! { "$eq": key });
        }
        Ok(doc! { "$match": condition })
    }

    /// The same as the lake keeps it of a change that can't be had.
    pub(super) fn recorded(&self, watched: &Watched) -> Result<LargeEvent, SourceError> {
        let key = self.0.get_document("documentKey").ok();
        Ok(LargeEvent {
            origin: match watched {
                Watched::Collection(origin) => origin.clone(),
                Watched::Many { selection, layout } => {
                    Sorter::new(selection.clone(), *layout).origin(&self.0)
                }
            },
            token: token::of_event(&self.0)?,
            cluster_time: self.cluster_time()?,
            operation_type: self
                .0
                .get_str("operationType")
                .map_err(malformed)?
                .to_owned(),
            // What JSON can't say isn't said.
            document_key: key.and_then(|key| token::canonical(key).ok()),
        })
    }

    fn token(&self) -> Result<&RawDocument, SourceError> {
        self.0.get_document("_id").map_err(malformed)
    }

    fn time(&self) -> Result<Timestamp, SourceError> {
        self.0.get_timestamp("clusterTime").map_err(malformed)
    }

    fn cluster_time(&self) -> Result<ClusterTime, SourceError> {
        let time = self.time()?;
        Ok(ClusterTime {
            seconds: time.time,
            increment: time.increment,
        })
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it is for map_err")]
fn malformed(error: bson::error::Error) -> SourceError {
    SourceError::MalformedEvent {
        reason: error.to_string(),
    }
}

/// The feed's stream with further stages, a change at a time.
async fn open(
    deployment: &Deployment,
    options: &StreamOptions,
    position: Position,
    stages: Vec<Document>,
) -> Result<ChangeStream<RawDocumentBuf>, SourceError> {
    let opening = Opening {
        batch_changes: 1,
        stages,
        ..Opening::usual(options, position)
    };
    opening.open(deployment).await
}

/// Waits for the next event.
async fn next(stream: &mut ChangeStream<RawDocumentBuf>) -> Result<RawDocumentBuf, SourceError> {
    while stream.is_alive() {
        if let Some(event) = stream.next_if_any().await? {
            return Ok(event);
        }
    }
    Err(SourceError::Closed)
}
