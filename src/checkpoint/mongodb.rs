//! Checkpoints in a MongoDB collection, one document per feed.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bson::{Bson, Document, doc};
use futures::TryStreamExt as _;
use mongodb::Collection;
use mongodb::error::{Error, ErrorKind, WriteFailure};
use mongodb::options::{
    CollectionOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};

use super::record::{COLLECTIONS, Record, writer_name};
use super::{CheckpointError, Checkpoints, FeedId, Probed};
use crate::source::{Deployment, SourceError, without_command};
use silt_core::position::{Checkpoint, Stored};

const DUPLICATE_KEY: i32 = 11000;
const UNAUTHORIZED: i32 = 13;

/// A collection of checkpoints. What is saved survives an election (`w: majority`).
#[derive(Clone, Debug)]
pub struct MongoCheckpoints {
    collection: Collection<Document>,
    request_limit: Duration,
    writer: String,
    lake: Option<String>,
    known: Known,
}

/// The documents that are known to be stored, by feed. A save sends only what differs from them: otherwise the marks
/// of a thousand collections would go through the oplog each time.
#[derive(Clone, Debug, Default)]
struct Known(Arc<Mutex<HashMap<String, Document>>>);

impl Known {
    fn set(&self, id: &str, document: Document) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(id.to_owned(), document);
    }

    /// The document if it has this revision. It is unknown from now on, until it is set again.
    fn take(&self, id: &str, revision: u64) -> Option<Document> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_revision = |it: &Document| it.get("revision") == Some(&to_long(revision).into());
        known.remove(id).filter(has_revision)
    }
}

/// A request that replaces a document by another one.
#[derive(Debug)]
enum Replacement {
    Whole(Document),
    /// What differs from the document that this writer stored.
    Update {
        writer: String,
        update: Document,
    },
}

impl Replacement {
    fn of(known: Option<&Document>, document: &Document) -> Self {
        let writer = known.and_then(|it| it.get_str("writer").ok());
        match (known, writer.map(ToOwned::to_owned)) {
            (Some(known), Some(writer)) => Self::Update {
                writer,
                update: difference(known, document),
            },
            _ => Self::Whole(document.clone()),
        }
    }
}

/// The update that makes the second document out of the first one, watermark by watermark.
fn difference(from: &Document, to: &Document) -> Document {
    let (mut set, mut unset) = (Document::new(), Document::new());
    let mut compare = |prefix: &str, from: &Document, to: &Document| {
        let is_nested = |name: &str| prefix.is_empty() && name == COLLECTIONS;
        for (name, value) in to.iter().filter(|(name, _)| !is_nested(name)) {
            if from.get(name) != Some(value) {
                set.insert(format!("{prefix}{name}"), value.clone());
            }
        }
        for name in from.keys().filter(|name| !to.contains_key(name)) {
            unset.insert(format!("{prefix}{name}"), "");
        }
    };
    compare("", from, to);
    match (from.get(COLLECTIONS), to.get(COLLECTIONS)) {
        (Some(Bson::Document(from)), Some(Bson::Document(to))) => {
            compare(&format!("{COLLECTIONS}."), from, to);
        }
        (from, Some(to)) if from != Some(to) => {
            set.insert(COLLECTIONS, to.clone());
        }
        _ => {}
    }
    let operators = [("$set", set), ("$unset", unset)];
    // Servers before 5.0 refuse an operator without fields.
    let operators = operators
        .into_iter()
        .filter(|(_, fields)| !fields.is_empty());
    operators
        .map(|(name, fields)| (name.to_owned(), fields.into()))
        .collect()
}

impl MongoCheckpoints {
    /// The store in this collection. Nothing is sent yet.
    #[must_use]
    pub fn new(deployment: &Deployment, database: &str, collection: &str) -> Self {
        let options = CollectionOptions::builder()
            .write_concern(WriteConcern::majority())
            .read_concern(ReadConcern::majority())
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
            .build();
        let database = deployment.client().database(database);
        let collection = database.collection_with_options(collection, options);
        Self {
            collection,
            request_limit: deployment.request_limit(),
            writer: writer_name(),
            lake: None,
            known: Known::default(),
        }
    }

    /// The same, for checkpoints that refer to files of the lake with this address.
    #[must_use]
    pub fn of_lake(self, address: &str) -> Self {
        Self {
            lake: Some(address.to_owned()),
            ..self
        }
    }

    async fn find(&self, feed: &FeedId) -> Result<Option<(Record, Document)>, CheckpointError> {
        let id = doc! { "_id": feed.to_string() };
        let Some(mut document) = self.bounded(self.collection.find_one(id)).await? else {
            return Ok(None);
        };
        document.remove("_id");
        let json = Bson::Document(document.clone()).into_relaxed_extjson();
        Ok(Some((Record::parse(feed, json)?, document)))
    }

    /// Replaces the feed's document if it has this revision. Returns whether it had.
    async fn replace(
        &self,
        id: &str,
        revision: u64,
        replacement: Replacement,
    ) -> Result<bool, CheckpointError> {
        let mut filter = doc! { "_id": id, "revision": to_long(revision) };
        let result = match replacement {
            Replacement::Whole(document) => {
                let replacing = self.collection.replace_one(filter, document);
                self.bounded(replacing).await?
            }
            Replacement::Update { writer, update } => {
                // With the revision, this makes sure that it is the document which the update was made from.
                filter.insert("writer", writer);
                let updating = self.collection.update_one(filter, update);
                self.bounded(updating).await?
            }
        };
        Ok(result.matched_count == 1)
    }

    /// Saves the document in place of this revision. Returns whether that was there.
    async fn try_save(
        &self,
        id: &str,
        document: &Document,
        replaces: u64,
    ) -> Result<bool, CheckpointError> {
        let known = self.known.take(id, replaces);
        if replaces > 0 {
            let replacement = Replacement::of(known.as_ref(), document);
            return self.replace(id, replaces, replacement).await;
        }
        let mut first = doc! { "_id": id };
        first.extend(document.clone());
        match self.bounded(self.collection.insert_one(first)).await {
            Ok(_) => Ok(true),
            Err(error) if is_duplicate(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn bounded<T>(
        &self,
        request: impl IntoFuture<Output = mongodb::error::Result<T>, IntoFuture: Future + Send>,
    ) -> Result<T, CheckpointError> {
        let limit = self.request_limit;
        match tokio::time::timeout(limit, request.into_future()).await {
            Ok(result) => result.map_err(classify),
            Err(_) => Err(CheckpointError::TimedOut {
                limit_seconds: limit.as_secs(),
            }),
        }
    }
}

fn classify(error: Error) -> CheckpointError {
    let message = match error.kind.as_ref() {
        ErrorKind::Command(command) if command.code == UNAUTHORIZED => {
            Some(command.message.clone())
        }
        ErrorKind::Write(WriteFailure::WriteError(write)) if write.code == UNAUTHORIZED => {
            Some(write.message.clone())
        }
        _ => None,
    };
    match message {
        Some(message) => CheckpointError::Forbidden {
            message: without_command(&message),
        },
        None => CheckpointError::Deployment(SourceError::from(error)),
    }
}

fn is_duplicate(error: &CheckpointError) -> bool {
    let CheckpointError::Deployment(SourceError::Rejected { source, .. }) = error else {
        return false;
    };
    matches!(
        source.kind.as_ref(),
        ErrorKind::Write(WriteFailure::WriteError(write)) if write.code == DUPLICATE_KEY
    )
}

fn to_document(feed: &FeedId, record: &Record) -> Result<Document, CheckpointError> {
    let unreadable = |error: String| CheckpointError::Unreadable {
        feed: feed.to_string(),
        reason: error,
    };
    let json = record
        .to_json()
        .map_err(|error| unreadable(error.to_string()))?;
    match Bson::try_from(json).map_err(|error| unreadable(error.to_string()))? {
        Bson::Document(mut document) => {
            // Always an Int64, so that filters match it whatever its size.
            document.insert("revision", to_long(record.revision));
            Ok(document)
        }
        other => Err(unreadable(format!("{other} is no document"))),
    }
}

fn to_long(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

#[async_trait]
impl Checkpoints for MongoCheckpoints {
    async fn load(&self, feed: &FeedId) -> Result<Option<Stored>, CheckpointError> {
        let Some((record, document)) = self.find(feed).await? else {
            return Ok(None);
        };
        self.known.set(&feed.to_string(), document);
        Ok(Some(record.into_stored()))
    }

    async fn list(&self) -> Result<Vec<(FeedId, Stored)>, CheckpointError> {
        // A feed's _id is text; a probe's isn't.
        let feeds = doc! { "_id": { "$type": "string" } };
        let finding = async { self.collection.find(feeds).await?.try_collect().await };
        let documents: Vec<Document> = self.bounded(finding).await?;
        let mut all = Vec::new();
        for mut document in documents {
            let id = document.remove("_id");
            let id = id.as_ref().and_then(Bson::as_str).and_then(FeedId::parse);
            if let Some(feed) = id {
                let record = Bson::Document(document).into_relaxed_extjson();
                let record = Record::parse(&feed, record)?;
                all.push((feed, record.into_stored()));
            }
        }
        Ok(all)
    }

    async fn save(
        &self,
        feed: &FeedId,
        checkpoint: &Checkpoint,
        replaces: u64,
    ) -> Result<(), CheckpointError> {
        let record = Record::new(&self.writer, self.lake.as_deref(), checkpoint, replaces + 1);
        let document = to_document(feed, &record)?;
        let id = feed.to_string();
        let is_saved = self.try_save(&id, &document, replaces).await?;
        if !is_saved {
            // Perhaps an earlier attempt of the same save succeeded and its answer was lost.
            match self.find(feed).await? {
                Some((there, _)) if there.is_same_save(&record) => {}
                _ => return Err(CheckpointError::Conflict { feed: id }),
            }
        }
        self.known.set(&id, document);
        Ok(())
    }

    async fn probe(&self) -> Result<Probed, CheckpointError> {
        // A feed's _id is text. There is one probe, so that those which may not be removed don't pile up.
        let id = doc! { "_id": { "check": "silt" } };
        let update = doc! { "$set": { "writer": &self.writer } };
        let saving = self
            .collection
            .update_one(id.clone(), update)
            .upsert(true)
            .into_future();
        match self.bounded(saving).await {
            // Another check runs at the same time.
            Err(error) if is_duplicate(&error) => {}
            saved => drop(saved?),
        }
        self.bounded(self.collection.find_one(id.clone())).await?;
        match self.bounded(self.collection.delete_one(id)).await {
            Ok(_) => Ok(Probed::Removed),
            Err(CheckpointError::Forbidden { .. }) => Ok(Probed::Stays(format!(
                "{}, _id {{check: \"silt\"}}",
                self.collection.namespace()
            ))),
            Err(error) => Err(error),
        }
    }
}
