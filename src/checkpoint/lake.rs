//! Checkpoints in the lake, one small file a feed: for a MongoDB role that may only read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, future, stream};

use super::record::{Record, writer_name};
use super::{CheckpointError, Checkpoints, FeedId, Probed};
use crate::lake::{Lake, LakeError, LakePath, Version};
use silt_core::json;
use silt_core::namespace::names;
use silt_core::position::{Checkpoint, Stored};

/// Checkpoints that are read at once: there may be hundreds.
const LOADS_MAX: usize = 16;

/// A folder of checkpoints: `_silt/checkpoints`.
#[derive(Clone, Debug)]
pub struct LakeCheckpoints {
    lake: Arc<dyn Lake>,
    writer: String,
    /// Whether leftovers of a killed process have been removed.
    is_swept: Arc<AtomicBool>,
}

impl LakeCheckpoints {
    /// The store in this lake. Nothing is sent yet.
    #[must_use]
    pub fn new(lake: Arc<dyn Lake>) -> Self {
        Self {
            lake,
            writer: writer_name(),
            is_swept: Arc::default(),
        }
    }

    async fn find(&self, feed: &FeedId) -> Result<Option<(Record, Version)>, CheckpointError> {
        let object = self
            .lake
            .get(&path(feed))
            .await
            .map_err(CheckpointError::Lake)?;
        let Some(object) = object else {
            return Ok(None);
        };
        let json =
            serde_json::from_slice(&object.bytes).map_err(|error| CheckpointError::Unreadable {
                feed: feed.to_string(),
                reason: error.to_string(),
            })?;
        Ok(Some((Record::parse(feed, json)?, object.version)))
    }
}

fn folder() -> String {
    format!("{}/checkpoints", names::OWN_FOLDER)
}

fn path(feed: &FeedId) -> LakePath {
    LakePath {
        folder: folder(),
        name: format!("{}.json", names::encode(&feed.to_string())),
    }
}

#[async_trait]
impl Checkpoints for LakeCheckpoints {
    async fn load(&self, feed: &FeedId) -> Result<Option<Stored>, CheckpointError> {
        Ok(self
            .find(feed)
            .await?
            .map(|(record, _)| record.into_stored()))
    }

    async fn list(&self) -> Result<Vec<(FeedId, Stored)>, CheckpointError> {
        let files = self.lake.list(&folder()).await;
        let files = files.map_err(CheckpointError::Lake)?.into_iter();
        let feeds = files.filter_map(|file| {
            let name = file.path.name.strip_suffix(".json").and_then(names::decode);
            name.as_deref().and_then(FeedId::parse)
        });
        let loads = feeds.map(async |feed| {
            let stored = self.load(&feed).await?;
            Ok(stored.map(|stored| (feed, stored)))
        });
        let loads = stream::iter(loads).buffer_unordered(LOADS_MAX);
        loads.try_filter_map(future::ok).try_collect().await
    }

    async fn save(
        &self,
        feed: &FeedId,
        checkpoint: &Checkpoint,
        replaces: u64,
    ) -> Result<(), CheckpointError> {
        let conflict = || CheckpointError::Conflict {
            feed: feed.to_string(),
        };
        if !self.is_swept.swap(true, Ordering::Relaxed) {
            self.lake.sweep(&folder()).await;
        }
        let record = Record::new(&self.writer, None, checkpoint, replaces + 1);
        let base = match self.find(feed).await? {
            None if replaces == 0 => None,
            Some((there, version)) if there.revision == replaces => Some(version),
            // An earlier try got through and its answer did not.
            Some((there, _)) if there.is_same_save(&record) => return Ok(()),
            _ => return Err(conflict()),
        };
        let json = record.to_json();
        let bytes = json.and_then(|json| json::to_document(&json));
        let bytes = bytes.map_err(|error| CheckpointError::Unreadable {
            feed: feed.to_string(),
            reason: error.to_string(),
        })?;
        match self.lake.put(&path(feed), base.as_ref(), bytes).await {
            Ok(_) => Ok(()),
            Err(LakeError::Stale { .. }) => Err(conflict()),
            Err(error) => Err(CheckpointError::Lake(error)),
        }
    }

    async fn probe(&self) -> Result<Probed, CheckpointError> {
        let path = LakePath {
            folder: folder(),
            // Behind the name of a feed stands another dot.
            name: format!("check-{}.json", self.writer),
        };
        let bytes = self.writer.clone().into_bytes();
        let failed = CheckpointError::Lake;
        let put = self.lake.put(&path, None, bytes.clone()).await;
        let version = put.map_err(failed)?;
        let read = self.lake.get(&path).await;
        // Whatever came of it: nothing of a look is left where that can be helped.
        let removed = self.lake.remove_probe(&path, &version).await;
        let unreadable = |reason: String| CheckpointError::Unreadable {
            feed: path.to_string(),
            reason,
        };
        match (read, removed) {
            (Ok(Some(object)), removed) if object.bytes == bytes => match removed {
                Ok(()) => Ok(Probed::Removed),
                Err(LakeError::Forbidden { .. }) => Ok(Probed::Stays(path.to_string())),
                Err(error) => Err(failed(error)),
            },
            (Ok(_), _) => Err(unreadable(
                "what was written is not what is read".to_owned(),
            )),
            (Err(error), Ok(())) => Err(failed(error)),
            (Err(error), Err(_)) => Err(unreadable(format!("{error}; it stays"))),
        }
    }
}
