//! What a line says.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::Error as _;
use serde_json::value::RawValue;

use crate::position::{ClusterTime, LastChange, ResumeToken};

/// A change, or a document of a snapshot, as its line says it. Parsing checks the whole line's syntax.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// Extended JSON of its resume token. A document of a snapshot has none.
    pub token: Option<&'a str>,
    /// Its cluster time; of a document that of its snapshot's position.
    pub cluster_time: ClusterTime,
    /// Its operation type, such as `insert`. A document of a snapshot has `read`.
    pub operation: Option<Cow<'a, str>>,
    /// Its database, if it says so.
    pub database: Option<Cow<'a, str>>,
    /// Its collection, if it says so.
    pub collection: Option<Cow<'a, str>>,
    /// Extended JSON of its `documentKey`.
    pub document_key: Option<&'a str>,
    /// Extended JSON of its `siltRawEvent`, where JSON can't express the event.
    pub raw_event: Option<&'a str>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    change: Fields<'a>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "_id", borrow)]
    token: Option<&'a RawValue>,
    #[serde(rename = "clusterTime")]
    cluster_time: ClusterTime,
    #[serde(rename = "operationType", borrow)]
    operation: Option<Cow<'a, str>>,
    #[serde(borrow)]
    ns: Option<Namespace<'a>>,
    #[serde(rename = "documentKey", borrow)]
    document_key: Option<&'a RawValue>,
    #[serde(rename = "siltRawEvent", borrow)]
    raw_event: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Namespace<'a> {
    #[serde(borrow)]
    db: Option<Cow<'a, str>>,
    #[serde(borrow)]
    coll: Option<Cow<'a, str>>,
}

impl<'a> Change<'a> {
    /// Parses a line.
    ///
    /// # Errors
    ///
    /// The line isn't JSON, or lacks what every change has.
    pub fn parse(line: &'a [u8]) -> Result<Self, serde_json::Error> {
        let text = simdutf8::basic::from_utf8(line).map_err(serde_json::Error::custom)?;
        let Envelope { change } = serde_json::from_str(text)?;
        let (database, collection) = change.ns.map_or((None, None), |ns| (ns.db, ns.coll));
        Ok(Self {
            token: change.token.map(RawValue::get),
            cluster_time: change.cluster_time,
            operation: change.operation,
            database,
            collection,
            document_key: change.document_key.map(RawValue::get),
            raw_event: change.raw_event.map(RawValue::get),
        })
    }

    /// What identifies a change of a stream.
    ///
    /// # Errors
    ///
    /// It has no token, as a document of a snapshot hasn't.
    pub fn identity(&self) -> Result<LastChange, serde_json::Error> {
        let token = self.token.ok_or_else(|| missing("_id"))?;
        Ok(LastChange {
            token: ResumeToken::from_extended_json(token)?,
            cluster_time: self.cluster_time,
        })
    }
}

fn missing(field: &'static str) -> serde_json::Error {
    serde_json::Error::missing_field(field)
}
