//! Checkpoints in the lake, one small file per feed: for a MongoDB role without write access.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, future, stream};
use serde::{Deserialize, Serialize};

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

    async fn find(&self, feed: &FeedId) -> Result<Option<Found>, CheckpointError> {
        let mut path = path(feed);
        let mut object = self.lake.get(&path).await;
        if let (Ok(None), Some(former)) = (&object, former_path(feed)) {
            object = match self.lake.get(&former).await {
                // This lake never had it.
                Err(LakeError::Unnameable { .. }) => Ok(None),
                found => found,
            };
            path = former;
        }
        let Some(object) = object.map_err(CheckpointError::Lake)? else {
            return Ok(None);
        };
        let json =
            serde_json::from_slice(&object.bytes).map_err(|error| CheckpointError::Unreadable {
                feed: feed.to_string(),
                reason: error.to_string(),
            })?;
        Ok(Some(Found {
            record: Record::parse(feed, json)?,
            path,
            version: object.version,
        }))
    }

    /// The feed of a file, which itself says so if its name is shortened.
    async fn feed(&self, path: &LakePath) -> Result<Option<FeedId>, LakeError> {
        let Some(stem) = path.name.strip_suffix(SUFFIX) else {
            return Ok(None);
        };
        if !names::is_shortened(stem) {
            return Ok(names::decode(stem).as_deref().and_then(FeedId::parse));
        }
        let object = self.lake.get(path).await?;
        let name = object.and_then(|object| serde_json::from_slice::<Name>(&object.bytes).ok());
        Ok(name.and_then(|name| FeedId::parse(&name.feed)))
    }
}

/// A checkpoint in the lake.
struct Found {
    record: Record,
    path: LakePath,
    version: Version,
}

/// A record with the name of its feed, which the name of the file may not tell.
#[derive(Serialize)]
struct Named {
    feed: String,
    #[serde(flatten)]
    record: serde_json::Value,
}

#[derive(Deserialize)]
struct Name {
    feed: String,
}

const SUFFIX: &str = ".json";
/// The longest name without the suffix that a local lake can write: it adds `.`, `.`, 16 digits and `.new` to the
/// name of the file for the time of writing.
const STEM_MAX_BYTES: usize = names::COMPONENT_MAX_BYTES - SUFFIX.len() - 22;

fn folder() -> String {
    format!("{}/checkpoints", names::OWN_FOLDER)
}

fn path(feed: &FeedId) -> LakePath {
    named(&names::encode_within(&feed.to_string(), STEM_MAX_BYTES))
}

/// Where versions of silt that didn't shorten names have put it, if that was elsewhere. It stays there.
fn former_path(feed: &FeedId) -> Option<LakePath> {
    names::former(&feed.to_string(), STEM_MAX_BYTES).map(|stem| named(&stem))
}

fn named(stem: &str) -> LakePath {
    LakePath {
        folder: folder(),
        name: format!("{stem}{SUFFIX}"),
    }
}

#[async_trait]
impl Checkpoints for LakeCheckpoints {
    async fn load(&self, feed: &FeedId) -> Result<Option<Stored>, CheckpointError> {
        Ok(self
            .find(feed)
            .await?
            .map(|found| found.record.into_stored()))
    }

    async fn list(&self) -> Result<Vec<(FeedId, Stored)>, CheckpointError> {
        let files = self.lake.list(&folder()).await;
        let files = files.map_err(CheckpointError::Lake)?.into_iter();
        let loads = files.map(async |file| {
            let feed = self.feed(&file.path).await.map_err(CheckpointError::Lake)?;
            let Some(feed) = feed else {
                return Ok(None);
            };
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
        let (path, base) = match self.find(feed).await? {
            None if replaces == 0 => (path(feed), None),
            Some(found) if found.record.revision == replaces => (found.path, Some(found.version)),
            // An earlier try got through and its answer did not.
            Some(found) if found.record.is_same_save(&record) => return Ok(()),
            _ => return Err(conflict()),
        };
        let named = record.to_json().and_then(|record| {
            let feed = feed.to_string();
            json::to_document(&Named { feed, record })
        });
        let bytes = named.map_err(|error| CheckpointError::Unreadable {
            feed: feed.to_string(),
            reason: error.to_string(),
        })?;
        match self.lake.put(&path, base.as_ref(), bytes).await {
            Ok(_) => Ok(()),
            Err(LakeError::Stale { .. }) => Err(conflict()),
            Err(error) => Err(CheckpointError::Lake(error)),
        }
    }

    async fn probe(&self) -> Result<Probed, CheckpointError> {
        let path = LakePath {
            folder: folder(),
            // A feed's file has a further dot in its name, so the names can't collide.
            name: format!("check-{}.json", self.writer),
        };
        let bytes = self.writer.clone().into_bytes();
        let failed = CheckpointError::Lake;
        let put = self.lake.put(&path, None, bytes.clone()).await;
        let version = put.map_err(failed)?;
        let read = self.lake.get(&path).await;
        // Whatever the outcome, the probe's file is removed if that is possible.
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
