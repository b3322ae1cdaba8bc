//! A checkpoint as it is stored.

use serde::{Deserialize, Serialize};

use super::{CheckpointError, FeedId};
use silt_core::position::{Checkpoint, Stored};

/// Grows when an older silt could no longer read what a newer one stores.
const SCHEMA: u32 = 2;

/// The stored form, the same in every store.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// Counts the saves.
    pub revision: u64,
    /// Who saved it: tells our own save with an unknown outcome from another's.
    pub writer: String,
    #[serde(flatten)]
    pub checkpoint: Checkpoint,
    /// RFC 3339; for people.
    pub saved_at: String,
    pub silt_version: String,
    /// The address of the lake whose files it speaks of, where it isn't kept in that very lake.
    #[serde(default)]
    pub lake: Option<String>,
    pub schema: u32,
}

impl Record {
    pub(super) fn new(
        writer: &str,
        lake: Option<&str>,
        checkpoint: &Checkpoint,
        revision: u64,
    ) -> Self {
        Self {
            revision,
            writer: writer.to_owned(),
            checkpoint: checkpoint.clone(),
            saved_at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            silt_version: env!("CARGO_PKG_VERSION").to_owned(),
            lake: lake.map(str::to_owned),
            schema: SCHEMA,
        }
    }

    /// Reads a stored record.
    pub(super) fn parse(feed: &FeedId, json: serde_json::Value) -> Result<Self, CheckpointError> {
        let unreadable = |reason: String| CheckpointError::Unreadable {
            feed: feed.to_string(),
            reason,
        };
        let schema = json.get("schema").and_then(serde_json::Value::as_u64);
        if schema.is_some_and(|schema| schema > u64::from(SCHEMA)) {
            return Err(unreadable("a newer silt wrote it".to_owned()));
        }
        let json = match schema {
            None | Some(..=1) => with_collections(feed, json),
            Some(_) => json,
        };
        serde_json::from_value(json).map_err(|error| unreadable(error.to_string()))
    }

    /// Whether this is what an earlier try of the same save left. Another content is none of it, also
    /// if the writer is the same: a late try must never replace what came after it.
    pub(super) fn is_same_save(&self, other: &Self) -> bool {
        (&self.writer, self.revision, &self.checkpoint)
            == (&other.writer, other.revision, &other.checkpoint)
    }

    pub(super) fn into_stored(self) -> Stored {
        Stored {
            checkpoint: self.checkpoint,
            revision: self.revision,
            lake: self.lake,
        }
    }
}

/// Converts the checkpoint of a feed of one collection from schema 1, which had the last change in a field of its
/// own.
fn with_collections(feed: &FeedId, mut json: serde_json::Value) -> serde_json::Value {
    if let Some(fields) = json.as_object_mut()
        && let Some(last_change) = fields.remove("last_change")
        && !last_change.is_null()
    {
        let watermark = serde_json::json!({
            "database": feed.database,
            "collection": feed.collection,
            "last_change": last_change,
        });
        fields.insert("collections".to_owned(), vec![watermark].into());
    }
    json
}

/// A name for this process among the writers.
pub(super) fn writer_name() -> String {
    format!("{:016x}", fastrand::u64(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_of_schema_1_is_read_with_its_last_change() {
        let feed = FeedId::parse("mydb.users").unwrap();
        let time = serde_json::json!({ "$timestamp": { "t": 7200, "i": 3 } });
        let last_change = serde_json::json!({ "token": { "_data": "82AB" }, "cluster_time": time });
        let json = serde_json::json!({
            "revision": 4, "writer": "a", "position": { "after": { "_data": "82AB" } }, "read_until": time,
            "last_change": last_change, "folder": "users", "stream_hash": "x", "parted": [],
            "saved_at": "", "silt_version": "0.1.0", "schema": 1,
        });
        let checkpoint = Record::parse(&feed, json.clone()).unwrap().checkpoint;
        let expected = serde_json::json!([
            { "database": "mydb", "collection": "users", "last_change": last_change },
        ]);
        let collections = serde_json::to_value(&checkpoint.collections).unwrap();
        assert_eq!(collections, expected);
        assert_eq!(checkpoint.folder.as_deref(), Some("users"));
        let mut without = json;
        without["last_change"] = serde_json::Value::Null;
        let checkpoint = Record::parse(&feed, without.clone()).unwrap().checkpoint;
        assert_eq!(checkpoint.collections, []);
        // An update may have left the field of schema 1 in place.
        without["last_change"] = last_change;
        without["schema"] = 2.into();
        let checkpoint = Record::parse(&feed, without).unwrap().checkpoint;
        assert_eq!(checkpoint.collections, []);
    }
}
