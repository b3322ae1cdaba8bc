//! Checkpoints in a MongoDB collection, one document a feed.

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use bson::{Bson, Document, doc};
use futures::TryStreamExt as _;
use mongodb::Collection;
use mongodb::error::{Error, ErrorKind, WriteFailure};
use mongodb::options::{
    CollectionOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};

use super::record::{Record, writer_name};
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
        }
    }

    /// The same, for checkpoints that speak of the files of the lake with this address.
    #[must_use]
    pub fn of_lake(self, address: &str) -> Self {
        Self {
            lake: Some(address.to_owned()),
            ..self
        }
    }

    async fn find(&self, feed: &FeedId) -> Result<Option<Record>, CheckpointError> {
        let id = doc! { "_id": feed.to_string() };
        let Some(mut document) = self.bounded(self.collection.find_one(id)).await? else {
            return Ok(None);
        };
        document.remove("_id");
        Record::parse(feed, Bson::Document(document).into_relaxed_extjson()).map(Some)
    }

    /// Replaces the record that the filter finds. Returns whether there was one.
    async fn replace(&self, filter: Document, document: Document) -> Result<bool, CheckpointError> {
        // Schema 1 had the last change in a field of its own.
        let update = doc! { "$set": document, "$unset": { "last_change": "" } };
        let result = self
            .bounded(self.collection.update_one(filter, update))
            .await?;
        Ok(result.matched_count == 1)
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
    let CheckpointError::Deployment(SourceError::Passing { source, .. }) = error else {
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
    let json = serde_json::to_value(record).map_err(|error| unreadable(error.to_string()))?;
    match Bson::try_from(json).map_err(|error| unreadable(error.to_string()))? {
        Bson::Document(mut document) => {
            // One type for people and filters, whatever its size.
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
        Ok(self.find(feed).await?.map(Record::into_stored))
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
        if replaces == 0 {
            let mut first = doc! { "_id": &id };
            first.extend(document.clone());
            match self.bounded(self.collection.insert_one(first)).await {
                Ok(_) => return Ok(()),
                Err(error) if is_duplicate(&error) => {}
                Err(error) => return Err(error),
            }
        } else {
            let filter = doc! { "_id": &id, "revision": to_long(replaces) };
            if self.replace(filter, document.clone()).await? {
                return Ok(());
            }
        }
        // Perhaps an earlier try of the same save got through and its answer did not.
        match self.find(feed).await? {
            Some(there) if there.is_same_save(&record) => Ok(()),
            _ => Err(CheckpointError::Conflict { feed: id }),
        }
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
            // Another check is at it.
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
