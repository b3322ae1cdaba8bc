//! The files of closing: records and `latest.json`. `docs/closing.md` documents them, and
//! `docs/closing.schema.json` describes them to programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::file::hour_file::Hour;
use crate::json;
use crate::namespace::Namespace;
use crate::position::{ClusterTime, LastChange, ResumeToken};
use crate::reading::Summary;
use crate::time::rfc3339;

/// The name of an hour's record.
#[must_use]
pub fn record_name(hour: Hour) -> String {
    format!("{hour}.json")
}

/// The hour of a record of this name; `None` for any other file.
#[must_use]
pub fn hour_of(name: &str) -> Option<Hour> {
    name.strip_suffix(".json")?.parse().ok()
}

/// Whose a record is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The database.
    pub database: String,
    /// The collection.
    pub collection: String,
}

impl Origin {
    fn of(namespace: &Namespace) -> Self {
        Self {
            database: namespace.database.clone(),
            collection: namespace.collection.clone(),
        }
    }
}

/// Between which cluster times every change of the collection is in closed hours, or on record as missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completeness {
    /// Inclusive.
    pub from: ClusterTime,
    /// Exclusive.
    pub until: ClusterTime,
}

/// [`Completeness`] as it is written: as text, and as Extended JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    #[serde(rename = "complete_from")]
    from_text: String,
    #[serde(rename = "complete_until")]
    until_text: String,
    #[serde(rename = "complete_from_cluster_time")]
    from: ClusterTime,
    #[serde(rename = "complete_until_cluster_time")]
    until: ClusterTime,
}

impl From<Completeness> for Written {
    fn from(Completeness { from, until }: Completeness) -> Self {
        Self {
            from_text: text(from),
            until_text: text(until),
            from,
            until,
        }
    }
}

impl From<&Written> for Completeness {
    fn from(written: &Written) -> Self {
        Self {
            from: written.from,
            until: written.until,
        }
    }
}

fn text(time: ClusterTime) -> String {
    rfc3339(i64::from(time.seconds).saturating_mul(1000))
}

/// What a closed hour holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    #[serde(flatten)]
    origin: Origin,
    hour: String,
    files: Vec<FileEntry>,
    changes: u64,
    operations: BTreeMap<String, u64>,
    gaps: Vec<GapEntry>,
    #[serde(flatten)]
    completeness: Written,
    previous: Option<Link>,
    next: Option<Link>,
    settings: RecordedSettings,
    closed_at: String,
    silt_version: String,
}

/// A file of a closed hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name in the collection's folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Changes in it.
    pub changes: u64,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// Its first change.
    pub first: LastChange,
    /// Its last change.
    pub last: LastChange,
}

impl From<&Summary> for FileEntry {
    fn from(summary: &Summary) -> Self {
        Self {
            name: summary.name.to_string(),
            bytes: summary.len_bytes,
            changes: summary.changes,
            sha256: hexadecimal(&summary.sha256),
            first: summary.first.clone(),
            last: summary.last.clone(),
        }
    }
}

/// A gap record that concerns the time of a closing record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapEntry {
    /// The path of the gap record in the lake.
    pub record: String,
    /// Why changes are missing.
    pub reason: String,
    /// From when on, inclusive. `None` if it isn't known.
    pub from_cluster_time: Option<ClusterTime>,
    /// Until when. `None` if it isn't known.
    pub until_cluster_time: Option<ClusterTime>,
}

/// The neighbour of a record, so that one that was removed or altered shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its name.
    pub record: String,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// The token of the last change of its hour.
    pub last_token: ResumeToken,
}

/// The settings that decide what is in the files, as they were when the hour was closed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedSettings {
    /// The settings that leave changes out, such as `OPERATION_TYPES`. If there are any, the archive isn't all
    /// that happened to the collection.
    pub filters: Vec<String>,
    /// `FULL_DOCUMENT`.
    pub full_document: String,
    /// `FULL_DOCUMENT_BEFORE_CHANGE`.
    pub full_document_before_change: String,
    /// `JSON_MODE`.
    pub json_mode: String,
}

/// What a record says beside what its files say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Gap records that concern its time.
    pub gaps: Vec<GapEntry>,
    /// Between which cluster times the collection is complete by it.
    pub completeness: Completeness,
    /// Its neighbour.
    pub linked: Linked,
    /// The settings.
    pub settings: RecordedSettings,
}

/// How a record is linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Linked {
    /// To none: it is the first one.
    Not,
    /// To the one before it.
    ToPrevious(Link),
    /// To the one after it.
    ToNext(Link),
}

impl Record {
    /// The record of an hour whose files say this.
    #[must_use]
    pub fn new(
        namespace: &Namespace,
        hour: Hour,
        files: &[Summary],
        context: Context,
        now_unix_ms: i64,
    ) -> Self {
        let Context {
            gaps,
            completeness,
            linked,
            settings,
        } = context;
        let mut operations = BTreeMap::new();
        for (operation, count) in files.iter().flat_map(|file| &file.operations) {
            *operations.entry(operation.clone()).or_default() += count;
        }
        let (previous, next) = match linked {
            Linked::Not => (None, None),
            Linked::ToPrevious(link) => (Some(link), None),
            Linked::ToNext(link) => (None, Some(link)),
        };
        Self {
            origin: Origin::of(namespace),
            hour: text(hour.first_cluster_time()),
            files: files.iter().map(FileEntry::from).collect(),
            changes: files.iter().map(|file| file.changes).sum(),
            operations,
            gaps,
            completeness: completeness.into(),
            previous,
            next,
            settings,
            closed_at: rfc3339(now_unix_ms),
            silt_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// The record's bytes.
    ///
    /// # Errors
    ///
    /// A token isn't JSON.
    pub fn write(&self) -> serde_json::Result<Vec<u8>> {
        json::to_document(self)
    }

    /// What a neighbour says of a record with these bytes.
    ///
    /// # Errors
    ///
    /// The bytes aren't a record.
    pub fn link(name: String, bytes: &[u8]) -> serde_json::Result<(Self, Option<Link>)> {
        let record: Self = serde_json::from_slice(bytes)?;
        let link = record.files.last().map(|file| Link {
            record: name,
            sha256: hexadecimal(&Sha256::digest(bytes).into()),
            last_token: file.last.token.clone(),
        });
        Ok((record, link))
    }

    /// Between which cluster times the collection is complete by this record.
    #[must_use]
    pub fn completeness(&self) -> Completeness {
        (&self.completeness).into()
    }

    /// The changes of the hour.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The files of the hour.
    #[must_use]
    pub fn files(&self) -> &[FileEntry] {
        &self.files
    }

    /// The gaps on record in its time.
    #[must_use]
    pub fn gaps(&self) -> &[GapEntry] {
        &self.gaps
    }
}

/// How far a collection is complete, also where nothing happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latest {
    #[serde(flatten)]
    origin: Origin,
    /// The name of the newest record.
    record: Option<String>,
    #[serde(flatten)]
    completeness: Written,
    updated_at: String,
    silt_version: String,
}

impl Latest {
    /// What is to be written.
    #[must_use]
    pub fn new(
        namespace: &Namespace,
        newest: Option<Hour>,
        completeness: Completeness,
        now_unix_ms: i64,
    ) -> Self {
        Self {
            origin: Origin::of(namespace),
            record: newest.map(record_name),
            completeness: completeness.into(),
            updated_at: rfc3339(now_unix_ms),
            silt_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Whether writing this one in its place would tell nothing new.
    #[must_use]
    pub fn says_the_same_as(&self, new: &Self) -> bool {
        self.record == new.record && self.completeness == new.completeness
    }

    /// Its bytes.
    ///
    /// # Errors
    ///
    /// It can't be represented as JSON.
    pub fn write(&self) -> serde_json::Result<Vec<u8>> {
        json::to_document(self)
    }

    /// Between which cluster times the collection is complete.
    #[must_use]
    pub fn completeness(&self) -> Completeness {
        (&self.completeness).into()
    }
}

fn hexadecimal(bytes: &[u8; 32]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::commit::tests::origin;

    fn time(seconds: u32) -> ClusterTime {
        ClusterTime {
            seconds,
            increment: 0,
        }
    }

    fn last(data: &str, seconds: u32) -> LastChange {
        LastChange {
            token: ResumeToken::from_canonical(&format!(r#"{{"_data":"{data}"}}"#)),
            cluster_time: time(seconds),
        }
    }

    fn summary(name: &str, inserts: u64) -> Summary {
        Summary {
            name: name.parse().unwrap(),
            len_bytes: 100,
            sha256: [0xAB; 32],
            changes: inserts,
            operations: BTreeMap::from([("insert".to_owned(), inserts)]),
            first: last("8201", 1_705_327_200),
            last: last("8202", 1_705_327_260),
        }
    }

    fn record(linked: Linked) -> Record {
        let files = [
            summary("2024-01-15-14.json", 3),
            summary("2024-01-15-14.part2.ndjson", 4),
        ];
        let context = Context {
            gaps: Vec::new(),
            completeness: Completeness {
                from: time(1_705_327_200),
                until: time(1_705_330_800),
            },
            linked,
            settings: RecordedSettings::default(),
        };
        let hour = files[0].name.hour;
        Record::new(&origin(), hour, &files, context, 1_705_340_000_000)
    }

    #[test]
    fn a_record_says_what_the_files_say() {
        let bytes = record(Linked::Not).write().unwrap();
        let document: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(document["hour"], "2024-01-15T14:00:00.000Z");
        assert_eq!(document["changes"], 7);
        assert_eq!(document["operations"]["insert"], 7);
        assert_eq!(document["files"][1]["name"], "2024-01-15-14.part2.ndjson");
        assert_eq!(document["files"][0]["sha256"], "ab".repeat(32));
        assert_eq!(document["files"][0]["last"]["token"]["_data"], "8202");
        assert_eq!(document["complete_until"], "2024-01-15T15:00:00.000Z");
        let until = &document["complete_until_cluster_time"]["$timestamp"];
        assert_eq!(
            (&until["t"], &until["i"]),
            (&1_705_330_800.into(), &0.into())
        );
        assert!(document["previous"].is_null() && document["next"].is_null());
    }

    #[test]
    fn a_neighbour_names_the_bytes() {
        let bytes = record(Linked::Not).write().unwrap();
        let name = "2024-01-15-14.json".to_owned();
        let (read, link) = Record::link(name.clone(), &bytes).unwrap();
        assert_eq!(read, record(Linked::Not));
        let link = link.unwrap();
        assert_eq!(link.record, name);
        // `sha256sum` of these bytes is for the reader to check: here, one byte more is another digest.
        let (_, other) = Record::link(name, &[bytes, b" ".to_vec()].concat()).unwrap();
        assert_ne!(other.unwrap().sha256, link.sha256);
        let next = record(Linked::ToNext(link.clone())).write().unwrap();
        let (read, _) = Record::link(String::new(), &next).unwrap();
        assert_eq!((read.previous, read.next), (None, Some(link)));
    }

    #[test]
    fn latest_says_how_far_also_without_a_record() {
        let completeness = Completeness {
            from: time(1_705_327_201),
            until: time(1_705_330_800),
        };
        let latest = Latest::new(&origin(), None, completeness, 0);
        let read: Latest = serde_json::from_slice(&latest.write().unwrap()).unwrap();
        assert_eq!((read.completeness(), &read.record), (completeness, &None));
        assert_eq!(read, latest);
    }
}
