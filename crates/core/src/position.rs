//! Positions of a feed: resume tokens, cluster times, checkpoints.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::json;
use crate::namespace::selection::Selection;
use crate::namespace::{Layout, Namespace};

/// Hexadecimal digits of a token's time.
const TIME_DIGITS: usize = 16;
/// Type bytes of the numbers and booleans in a token.
const ZERO: u8 = 0x29;
const WHOLE_1_BYTE: u8 = 0x2B;
const WHOLE_8_BYTES: u8 = 0x32;
const TRUE: u8 = 0x6F;

/// A change stream's resume token: the `_id` of a change event, or a post-batch resume token,
/// as the compact canonical Extended JSON text of its document.
///
/// Tokens are compared for equality only. Their order is documented nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeToken(String);

impl ResumeToken {
    /// Parses the Extended JSON text of the token's document.
    ///
    /// # Errors
    ///
    /// The text is not a JSON object.
    pub fn from_extended_json(text: &str) -> Result<Self, serde_json::Error> {
        // Through a value, so that white space never decides whether two tokens are equal.
        let document: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)?;
        json::to_line(&document).map(Self)
    }

    /// Takes text that silt's own encoder has written, without a check.
    #[must_use]
    pub fn from_canonical(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Becomes another token, and keeps its memory.
    pub fn replace_canonical(&mut self, text: &str) {
        self.0.clear();
        self.0.push_str(text);
    }

    /// The cluster time in the token: where a stream is opened that can't use the token itself, and where lost
    /// history begins. The server writes it first in a token, after the type byte 0x82 of a timestamp
    /// (<https://github.com/mongodb/mongo/blob/master/src/mongo/db/pipeline/resume_token.h>).
    #[must_use]
    pub fn cluster_time(&self) -> Option<ClusterTime> {
        let digits = self.0.strip_prefix(r#"{"_data":"82"#)?;
        let number = |range| u32::from_str_radix(digits.get(range)?, 16).ok();
        Some(ClusterTime {
            seconds: number(0..8)?,
            increment: number(8..16)?,
        })
    }

    /// Whether it is the token of an `invalidate`, which only the stream has that it ends; false if that can't be
    /// decoded. After the time there are three numbers and a boolean that says so
    /// (<https://github.com/mongodb/mongo/blob/master/src/mongo/db/pipeline/resume_token.h>), written as
    /// <https://github.com/mongodb/mongo/blob/master/src/mongo/db/storage/key_string/key_string.cpp> does.
    #[must_use]
    pub fn is_of_invalidate(&self) -> bool {
        let is_it = || {
            let digits = self.0.strip_prefix(r#"{"_data":"82"#)?;
            let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
            let mut at = TIME_DIGITS;
            for _ in 0..3 {
                at += match byte(at)? {
                    ZERO => 2,
                    kind @ WHOLE_1_BYTE..=WHOLE_8_BYTES => 4 + 2 * usize::from(kind - WHOLE_1_BYTE),
                    _ => return None,
                };
            }
            Some(byte(at)? == TRUE)
        };
        is_it().unwrap_or(false)
    }

    /// The Extended JSON text of the token's document.
    #[must_use]
    pub fn as_extended_json(&self) -> &str {
        &self.0
    }
}

impl Serialize for ResumeToken {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ResumeToken {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = serde_json::Map::<String, serde_json::Value>::deserialize(deserializer)?;
        json::to_line(&document)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

/// A BSON timestamp of the server's logical clock: seconds since 1970 and an ordinal within them.
///
/// The cluster time of a change stream's events never runs back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClusterTime {
    /// Seconds since 1970-01-01 UTC.
    pub seconds: u32,
    /// Ordinal of the operation within its second.
    pub increment: u32,
}

impl fmt::Display for ClusterTime {
    /// RFC 3339 seconds and the ordinal: `2024-01-15T14:15:23Z/1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match chrono::DateTime::from_timestamp(i64::from(self.seconds), 0) {
            Some(time) => write!(
                f,
                "{}/{}",
                time.format("%Y-%m-%dT%H:%M:%SZ"),
                self.increment
            ),
            None => write!(f, "{}/{}", self.seconds, self.increment),
        }
    }
}

/// How Extended JSON v2 writes a timestamp: `{"$timestamp":{"t":1,"i":2}}`.
#[derive(Serialize, Deserialize)]
struct TimestampDocument {
    #[serde(rename = "$timestamp")]
    timestamp: TimestampParts,
}

#[derive(Serialize, Deserialize)]
struct TimestampParts {
    t: u32,
    i: u32,
}

impl Serialize for ClusterTime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let timestamp = TimestampParts {
            t: self.seconds,
            i: self.increment,
        };
        TimestampDocument { timestamp }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ClusterTime {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let TimestampDocument { timestamp } = TimestampDocument::deserialize(deserializer)?;
        Ok(Self {
            seconds: timestamp.t,
            increment: timestamp.i,
        })
    }
}

/// The identity and time of one change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastChange {
    /// The change's `_id`.
    pub token: ResumeToken,
    /// The change's `clusterTime`.
    pub cluster_time: ClusterTime,
}

/// Where a change stream is to be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// At this cluster time, inclusive (`startAtOperationTime`).
    At(ClusterTime),
    /// After this token (`startAfter`, which unlike `resumeAfter` passes an invalidate).
    After(ResumeToken),
}

impl Position {
    /// Its time; see [`ResumeToken::cluster_time`].
    #[must_use]
    pub fn cluster_time(&self) -> Option<ClusterTime> {
        match self {
            Self::At(time) => Some(*time),
            Self::After(token) => token.cluster_time(),
        }
    }
}

/// A collection's last change in the lake, as its feed knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// The database.
    pub database: String,
    /// The collection. Empty for events that concern the whole database.
    pub collection: String,
    /// The last change that was committed to the lake.
    pub last_change: LastChange,
    /// Whether it is after the feed's position, which other collections hold back.
    #[serde(default, rename = "is_ahead", skip_serializing_if = "is_false")]
    pub is_after_position: bool,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A collection that has left a shared stream for a stream of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// The database.
    pub database: String,
    /// The collection.
    pub collection: String,
    /// Its changes of an earlier cluster time are in the lake.
    pub until: ClusterTime,
}

/// The stored position of a feed: all changes before it are in the lake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Where to open the stream.
    pub position: Position,
    /// All changes of an earlier cluster time are before the position, if that is known.
    #[serde(default)]
    pub read_until: Option<ClusterTime>,
    /// The folder of the collection, if the feed carries one alone. It changes when a second database is watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The last change of each collection.
    #[serde(default)]
    pub collections: Vec<Watermark>,
    /// Fingerprint of the pipeline and the options that the token belongs to.
    pub stream_hash: String,
    /// Where the feed last resumed after lost history. The tail may be before that although it isn't the
    /// watermark's change: another writer still had changes that are lost to this one.
    #[serde(default)]
    pub restarted_at: Option<ClusterTime>,
    /// When the stream's pipeline or options last changed. Changes that the lake holds from before may not be
    /// in the stream any more.
    #[serde(default)]
    pub refiltered_at: Option<ClusterTime>,
    /// What a shared stream selected: all changes of these collections before the position are in the lake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<Box<Selection>>,
    /// The collections that have left the shared stream.
    #[serde(default, rename = "parted")]
    pub departed: Vec<Departure>,
}

impl Checkpoint {
    /// A checkpoint with nothing but a position.
    #[must_use]
    pub fn new(position: Position, stream_hash: &str) -> Self {
        let read_until = match &position {
            Position::At(time) => Some(*time),
            Position::After(_) => None,
        };
        Self {
            position,
            read_until,
            folder: None,
            collections: Vec::new(),
            stream_hash: stream_hash.to_owned(),
            restarted_at: None,
            refiltered_at: None,
            selection: None,
            departed: Vec::new(),
        }
    }

    /// Where a stream is opened if it can't use the checkpoint's token: no change before this time is missing from
    /// the lake.
    #[must_use]
    pub fn restart_time(&self) -> Option<ClusterTime> {
        self.read_until.max(self.position.cluster_time())
    }

    /// The watermark of a collection whose files are in its folder.
    #[must_use]
    pub fn watermark(&self, namespace: &Namespace) -> Option<&Watermark> {
        let mut watermarks = self.collections.iter();
        watermarks.find(|it| {
            it.database == namespace.database
                && it.collection == namespace.collection
                && self.is_about(&namespace.folder())
        })
    }

    /// Puts the watermarks into the order of their names.
    pub fn sort_collections(&mut self) {
        let name = |it: &Watermark| (it.database.clone(), it.collection.clone());
        self.collections.sort_by_cached_key(name);
    }

    /// Drops the watermarks of files in other folders.
    pub fn keep_watermarks_in(&mut self, layout: Layout) {
        let mut watermarks = std::mem::take(&mut self.collections);
        watermarks.retain(|it| {
            let namespace = Namespace::with_layout(&it.database, &it.collection, layout);
            self.is_about(&namespace.folder())
        });
        self.collections = watermarks;
    }

    fn is_about(&self, folder: &str) -> bool {
        self.folder.as_ref().is_none_or(|known| known == folder)
    }
}

/// A checkpoint as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What was saved.
    pub checkpoint: Checkpoint,
    /// Counts the saves of this feed, from 1. A save names the revision that it replaces.
    pub revision: u64,
    /// The address of the lake that it is about, unless the store is in that lake.
    pub lake: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_equal_whatever_the_white_space() {
        let spaced = ResumeToken::from_extended_json(r#"{ "_data" : "82AB" }"#).unwrap();
        let compact = ResumeToken::from_extended_json(r#"{"_data":"82AB"}"#).unwrap();
        assert_eq!(spaced, compact);
        assert!(ResumeToken::from_extended_json("[]").is_err());
    }

    #[test]
    fn tokens_tell_their_time() {
        let time = |text: &str| ResumeToken::from_canonical(text).cluster_time();
        assert_eq!(
            time(r#"{"_data":"8265A53E2F000000012B0229296E04"}"#),
            Some(ClusterTime {
                seconds: 0x65A5_3E2F,
                increment: 1
            })
        );
        let time = ClusterTime {
            seconds: 7200,
            increment: 3,
        };
        assert_eq!(Position::At(time).cluster_time(), Some(time));
        let token = ResumeToken::from_canonical(r#"{"_data":"8200001C2000000003"}"#);
        assert_eq!(Position::After(token).cluster_time(), Some(time));
    }

    #[test]
    fn tokens_of_another_make_tell_no_time() {
        let time = |text: &str| ResumeToken::from_canonical(text).cluster_time();
        for other in [
            r#"{"_data":"82"}"#,
            r#"{"_data":"8365A53E2F00000001"}"#,
            "{}",
        ] {
            assert_eq!(time(other), None, "{other}");
        }
    }

    #[test]
    fn tokens_of_an_invalidate_are_known() {
        let is_it = |data: &str| {
            let text = format!(r#"{{"_data":"{data}"}}"#);
            ResumeToken::from_canonical(&text).is_of_invalidate()
        };
        let time = "8265A53E2F00000001";
        assert!(!is_it(&format!("{time}2B022C0100296E5A1004")));
        assert!(is_it(&format!("{time}2B022C0100296F5A1004")));
        // The 300th operation of a transaction.
        assert!(is_it(&format!("{time}2B022C01002C02586F5A1004")));
        for other in ["2B0229296E04", "2B02", "2B022C0100", "2BXX", "6F", ""] {
            assert!(!is_it(&format!("{time}{other}")), "{other}");
        }
    }

    #[test]
    fn checkpoints_survive_json() {
        let token = ResumeToken::from_extended_json(r#"{"_data":"82AB"}"#).unwrap();
        let cluster_time = ClusterTime {
            seconds: 1_705_327_200,
            increment: 3,
        };
        let last_change = LastChange {
            token: token.clone(),
            cluster_time,
        };
        let checkpoint = Checkpoint {
            position: Position::After(token),
            read_until: Some(cluster_time),
            folder: Some("users".into()),
            collections: vec![Watermark {
                database: "mydb".into(),
                collection: "users".into(),
                last_change,
                is_after_position: false,
            }],
            stream_hash: "x".into(),
            restarted_at: Some(cluster_time),
            refiltered_at: None,
            selection: None,
            departed: Vec::new(),
        };
        let text = serde_json::to_string(&checkpoint).unwrap();
        assert_eq!(
            serde_json::from_str::<Checkpoint>(&text).unwrap(),
            checkpoint
        );
        assert!(
            text.contains(r#"{"$timestamp":{"t":1705327200,"i":3}}"#),
            "{text}"
        );
        let without = text.replace(
            r#","restarted_at":{"$timestamp":{"t":1705327200,"i":3}}"#,
            "",
        );
        let old = serde_json::from_str::<Checkpoint>(&without).unwrap();
        assert_eq!(old.restarted_at, None, "silt before this field");
        assert_eq!(cluster_time.to_string(), "2024-01-15T14:00:00Z/3");
    }
}
