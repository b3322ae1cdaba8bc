//! Changes that are larger than BSON allows, so that the server can't send them in one piece.
//!
//! A feed's stream never has `$changeStreamSplitLargeEvent`. On 6.0 that stage gives every event a different
//! token, and a fragment's token is refused as soon as the event is no longer large, because the document that
//! was looked up has shrunk. So a second stream splits the one change, and the change keeps the token that it has
//! in the feed's stream, by which lake and checkpoint know it.

mod fragments;

use bson::{Document, RawBsonRef, RawDocument, RawDocumentBuf, Timestamp, doc};

use super::encode::router::Router;
use super::stream::{EventStream, Request};
use super::{Deployment, SourceError, StreamOptions, token};
use fragments::Fragments;
use silt_core::large_event::LargeEvent;
use silt_core::namespace::selection::Watched;
use silt_core::position::{ClusterTime, Position};

/// The names of an event's top-level fields, in its identity.
const FIELDS: &str = "siltFields";

/// The length of an event, in a look at its size.
const SIZE: &str = "siltSize";
/// What certainly fits into a reply: <https://www.mongodb.com/docs/manual/reference/limits/>.
const REPLY_LIMIT_BYTES: u64 = 16 * 1024 * 1024;

/// What identifies a change: its token, time, key and the names of its fields.
#[derive(Clone, Debug)]
pub(super) struct Identity(RawDocumentBuf);

impl Identity {
    /// The identity of the first change after this position.
    ///
    /// The stream does everything that the feed's own stream does, including the lookup of documents, because its
    /// filters may use any field. Only less is sent.
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
        Ok(Self(stream.next().await?))
    }

    /// Whether the first change after this position is too large for a reply, which also holds its token once more;
    /// `None` if the server has no such change at hand. Only its token and its size are sent.
    pub(super) async fn is_first_too_large(
        deployment: &Deployment,
        options: &StreamOptions,
        position: Position,
    ) -> Result<Option<bool>, SourceError> {
        let size = doc! { "$project": { SIZE: { "$toLong": { "$bsonSize": "$$ROOT" } } } };
        let mut stream = open(deployment, options, position, vec![size]).await?;
        let Some(event) = stream.next_if_any().await? else {
            return Ok(None);
        };
        let token = event.get_document("_id").map_err(malformed)?;
        let event_len_bytes = event.get_i64(SIZE).map_err(malformed)?;
        let token_len_bytes = token.as_bytes().len() as u64;
        let reply_len_bytes = event_len_bytes.cast_unsigned() + token_len_bytes;
        Ok(Some(reply_len_bytes > REPLY_LIMIT_BYTES))
    }

    /// Fetches the change in fragments and puts it together.
    ///
    /// # Errors
    ///
    /// [`SourceError::TooLarge`] if the server can't split changes, or one field alone is too large.
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
        // A transaction may change a document several times at the same cluster time.
        let mut slim = stream(doc! { "$project": { "_id": 1 } }).await?;
        let mut before = 0;
        while slim.next().await?.get_document("_id").ok() != Some(self.token()?) {
            before += 1;
        }
        drop(slim);
        let mut pieces = stream(doc! { "$changeStreamSplitLargeEvent": {} }).await?;
        for _ in 0..before {
            self.assembled(&mut pieces).await?;
        }
        let fields = self.0.get_array(FIELDS).map_err(malformed)?.into_iter();
        let fields = fields.flatten().filter_map(RawBsonRef::as_str).collect();
        self.assembled(&mut pieces).await?.into_event(fields)
    }

    async fn assembled(&self, pieces: &mut EventStream) -> Result<Fragments, SourceError> {
        let mut event = Fragments::new(self.token()?);
        while !event.is_whole() {
            event.take(&pieces.next().await?)?;
        }
        Ok(event)
    }

    /// A filter that few other changes match, or none.
    fn condition(&self) -> Result<Document, SourceError> {
        let mut condition = doc! { "clusterTime": self.time()? };
        if let Ok(key) = self.0.get_document("documentKey")
            && let Ok(key) = Document::try_from(key)
        {
            condition.insert("documentKey", doc! { "$eq": key });
        }
        Ok(doc! { "$match": condition })
    }

    /// The record that the lake keeps of a change that can't be fetched.
    pub(super) fn to_record(&self, watched: &Watched) -> Result<LargeEvent, SourceError> {
        let key = self.0.get_document("documentKey").ok();
        Ok(LargeEvent {
            origin: match watched {
                Watched::Collection(origin) => origin.clone(),
                Watched::Many { selection, layout } => {
                    Router::new(selection.clone(), *layout).origin(&self.0)
                }
            },
            token: token::of_event(&self.0)?,
            cluster_time: self.cluster_time()?,
            operation_type: self
                .0
                .get_str("operationType")
                .map_err(malformed)?
                .to_owned(),
            // Left out if JSON can't represent it.
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

#[allow(clippy::needless_pass_by_value, reason = "used with map_err")]
fn malformed(error: bson::error::Error) -> SourceError {
    SourceError::MalformedEvent {
        reason: error.to_string(),
    }
}

/// Opens the feed's stream with further stages, one change in a reply.
async fn open(
    deployment: &Deployment,
    options: &StreamOptions,
    position: Position,
    stages: Vec<Document>,
) -> Result<EventStream, SourceError> {
    let request = Request {
        batch_changes: 1,
        stages,
        ..Request::new(options, position)
    };
    request.open(deployment).await
}
