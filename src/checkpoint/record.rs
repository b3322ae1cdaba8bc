//! A checkpoint as it is stored.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{CheckpointError, FeedId};
use silt_core::position::{Checkpoint, Stored};

/// Grows when an older silt could no longer read what a newer one stores.
const SCHEMA: u32 = 2;
/// The field of the watermarks.
pub(super) const COLLECTIONS: &str = "collections";

/// The stored form, the same in every store.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// Counts the saves.
    pub revision: u64,
    /// Who saved it: tells our own save with an unknown outcome from another's.
    pub writer: String,
    #[serde(flatten)]
    pub checkpoint: Checkpoint,
    /// RFC 3339; for display only.
    pub saved_at: String,
    pub silt_version: String,
    /// The address of the lake whose files it refers to, unless it is stored in that lake.
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
        let mut checkpoint = checkpoint.clone();
        checkpoint.sort_collections();
        Self {
            revision,
            writer: writer.to_owned(),
            checkpoint,
            saved_at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            silt_version: env!("CARGO_PKG_VERSION").to_owned(),
            lake: lake.map(str::to_owned),
            schema: SCHEMA,
        }
    }

    /// Reads a stored record.
    pub(super) fn parse(feed: &FeedId, json: Value) -> Result<Self, CheckpointError> {
        let unreadable = |reason: String| CheckpointError::Unreadable {
            feed: feed.to_string(),
            reason,
        };
        let schema = json.get("schema").and_then(Value::as_u64);
        if schema.is_some_and(|schema| schema > u64::from(SCHEMA)) {
            return Err(unreadable("a newer silt wrote it".to_owned()));
        }
        let mut json = json;
        if let Some(fields) = json.as_object_mut() {
            match schema {
                None | Some(..=1) => take_last_change(feed, fields),
                Some(_) => list_collections(fields),
            }
        }
        let mut record: Self =
            serde_json::from_value(json).map_err(|error| unreadable(error.to_string()))?;
        record.checkpoint.sort_collections();
        Ok(record)
    }

    /// The stored form.
    pub(super) fn to_json(&self) -> Result<Value, serde_json::Error> {
        let mut json = serde_json::to_value(self)?;
        if let Some(fields) = json.as_object_mut() {
            name_collections(fields);
        }
        Ok(json)
    }

    /// Whether this is what an earlier attempt of the same save stored. Another content isn't, even from the same
    /// writer: a late attempt must never replace what came after it.
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
/// own. The watermarks of a shared stream were a list.
fn take_last_change(feed: &FeedId, fields: &mut Map<String, Value>) {
    if let Some(last_change) = fields.remove("last_change").filter(|it| !it.is_null()) {
        let watermark = json!({
            "database": feed.database,
            "collection": feed.collection,
            "last_change": last_change,
        });
        fields.insert(COLLECTIONS.to_owned(), vec![watermark].into());
    }
}

/// Stores the watermarks by name, so that a save can name those that have changed.
fn name_collections(fields: &mut Map<String, Value>) {
    if let Some(Value::Array(watermarks)) = fields.get_mut(COLLECTIONS).map(Value::take) {
        let name = |watermark: &Value| {
            let part = |name| {
                watermark
                    .get(name)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            field_name(part("database"), part("collection"))
        };
        let by_name = watermarks.into_iter().map(|it| (name(&it), it));
        fields.insert(COLLECTIONS.to_owned(), Value::Object(by_name.collect()));
    }
}

/// The inverse of [`name_collections`].
fn list_collections(fields: &mut Map<String, Value>) {
    if let Some(Value::Object(by_name)) = fields.get_mut(COLLECTIONS).map(Value::take) {
        let watermarks = by_name.into_iter().map(|(_, watermark)| watermark);
        fields.insert(COLLECTIONS.to_owned(), watermarks.collect());
    }
}

/// A collection's name as a field name that an update can address: without dots and dollar signs.
fn field_name(database: &str, collection: &str) -> String {
    let escape = |name: &str| {
        name.replace('%', "%25")
            .replace('.', "%2E")
            .replace('$', "%24")
            .replace(':', "%3A")
    };
    format!("{}:{}", escape(database), escape(collection))
}

/// A name for this process among the writers.
pub(super) fn writer_name() -> String {
    format!("{:016x}", fastrand::u64(..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use silt_core::position::{ClusterTime, LastChange, Position, ResumeToken, Watermark};

    #[test]
    fn a_checkpoint_of_schema_1_is_read_with_its_last_change() {
        let feed = FeedId::parse("mydb.users").unwrap();
        let time = json!({ "$timestamp": { "t": 7200, "i": 3 } });
        let last_change = json!({ "token": { "_data": "82AB" }, "cluster_time": time });
        let json = json!({
            "revision": 4, "writer": "a", "position": { "after": { "_data": "82AB" } }, "read_until": time,
            "last_change": last_change, "folder": "users", "stream_hash": "x", "parted": [],
            "saved_at": "", "silt_version": "0.1.0", "schema": 1,
        });
        let checkpoint = Record::parse(&feed, json.clone()).unwrap().checkpoint;
        let expected = json!([
            { "database": "mydb", "collection": "users", "last_change": last_change },
        ]);
        let collections = serde_json::to_value(&checkpoint.collections).unwrap();
        assert_eq!(collections, expected);
        assert_eq!(checkpoint.folder.as_deref(), Some("users"));
        let mut without = json;
        without["last_change"] = Value::Null;
        let checkpoint = Record::parse(&feed, without).unwrap().checkpoint;
        assert_eq!(checkpoint.collections, []);
    }

    #[test]
    fn watermarks_are_stored_by_name_and_read_in_their_order() {
        let feed = FeedId::parse("mydb.users").unwrap();
        let time = ClusterTime {
            seconds: 7200,
            increment: 3,
        };
        let token = ResumeToken::from_canonical(r#"{"_data":"82AB"}"#);
        let watermark = |database: &str, collection: &str| Watermark {
            database: database.to_owned(),
            collection: collection.to_owned(),
            last_change: LastChange {
                token: token.clone(),
                cluster_time: time,
            },
            is_after_position: false,
        };
        let names = [
            ("a", ""),
            ("a", "$b.c"),
            ("a", "$b%2Ec"),
            ("a", "b:c"),
            ("a:b", "c"),
            ("b", "ü."),
        ];
        let mut checkpoint = Checkpoint::new(Position::At(time), "hash");
        checkpoint.collections = names
            .map(|(database, collection)| watermark(database, collection))
            .into();
        let record = Record::new("writer", None, &checkpoint, 1);
        let json = record.to_json().unwrap();
        let stored = json[COLLECTIONS].as_object().unwrap();
        assert_eq!(stored.len(), names.len());
        assert!(
            stored.keys().all(|name| !name.contains(['.', '$'])),
            "{json}"
        );
        let read = Record::parse(&feed, json).unwrap();
        assert!(read.is_same_save(&record));
    }
}
