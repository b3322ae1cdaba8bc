//! The plan of a snapshot: everything that is needed to resume it.

use serde::{Deserialize, Serialize};

use super::key::Key;
use super::part::{Part, PartName};
use super::part_scan::FoundPart;
use crate::file::damage::Damage;
use crate::file::format::FileFormat;
use crate::file::layout::chunk_limit_bytes;
use crate::position::ClusterTime;

/// How documents are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JsonMode {
    /// Plain JSON where JSON has an equivalent type.
    Relaxed,
    /// Every value with its type.
    Canonical,
}

/// What was decided before anything was read. A process that resumes the snapshot follows the plan and not its own
/// settings, so two processes write to the same files, where the lake refuses one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The database.
    pub database: String,
    /// The collection.
    pub collection: String,
    /// The collection's UUID, if the role may see it. A recreated collection of the same name has another.
    pub uuid: Option<String>,
    /// The position. No document is older; the changes from here on, inclusive, bring every document up to date.
    pub cluster_time: ClusterTime,
    /// When it was begun, RFC 3339.
    pub begun_at: String,
    /// The estimated number of documents.
    pub estimated_documents: u64,
    /// Their estimated length as BSON. `None` if the role may not see it.
    pub estimated_bytes: Option<u64>,
    /// Where one range ends and the next begins, in the order of the `_id` index.
    pub boundaries: Vec<Key>,
    /// The greatest `_id`, where the last range ends. `None` if there were no documents. Documents with a greater
    /// one were inserted after the position.
    pub last: Option<Key>,
    /// The settings that filter its changes. `None` if it was written by a version that didn't state them.
    pub change_filters: Option<Vec<String>>,
    /// Format of the parts.
    #[serde(with = "extension")]
    pub format: FileFormat,
    /// How documents are encoded.
    pub json_mode: JsonMode,
    /// The most bytes of lines in one commit, except for a single document that is longer.
    pub chunk_limit_bytes: u64,
    /// A part that could exceed this with the next commit is full.
    pub file_limit_bytes: u64,
    /// A part with this many commits is full.
    pub file_limit_commits: u32,
    /// The version that made it.
    pub silt_version: String,
}

/// The bounds of one range, in the order of the `_id` index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds<'a> {
    /// Its first `_id`. `None` for the beginning of the collection.
    pub from: Option<&'a Key>,
    /// Where it ends.
    pub to: End<'a>,
}

/// The end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End<'a> {
    /// Before this `_id`.
    Before(&'a Key),
    /// With this `_id`, inclusive.
    With(&'a Key),
}

impl Plan {
    /// How many ranges there are.
    #[must_use]
    pub fn ranges(&self) -> u32 {
        u32::try_from(self.boundaries.len()).unwrap_or(u32::MAX - 1) + 1
    }

    /// The bounds of a range, counted from 0. `None` if there is nothing to read.
    #[must_use]
    pub fn bounds(&self, range: u32) -> Option<Bounds<'_>> {
        let last = self.last.as_ref()?;
        let range = usize::try_from(range).ok()?;
        let from = range
            .checked_sub(1)
            .map(|before| self.boundaries.get(before));
        let to = self.boundaries.get(range);
        Some(Bounds {
            from: from.flatten(),
            to: to.map_or(End::With(last), End::Before),
        })
    }

    /// The part for the next commit of a range, and the state of that part if it exists. Whether a part is full
    /// follows from the part and the plan, never from what is about to be written, so two processes choose the same part.
    #[must_use]
    pub fn place<'a>(&self, range: u32, newest: Option<&'a Part>) -> (PartName, Option<&'a Part>) {
        let Some(newest) = newest else {
            return (PartName::first(range, self.format), None);
        };
        let next_bytes = chunk_limit_bytes(self.chunk_limit_bytes, self.format.compression);
        let has_room = newest.extent.len_bytes + next_bytes <= self.file_limit_bytes
            && newest.commits < self.file_limit_commits;
        if has_room {
            (newest.name, Some(newest))
        } else {
            (newest.name.next(self.ranges()), None)
        }
    }

    /// The mean length of a document, if it can be estimated.
    #[must_use]
    pub fn mean_bytes(&self) -> Option<u64> {
        self.estimated_bytes?.checked_div(self.estimated_documents)
    }

    /// The part, if it belongs to this snapshot.
    ///
    /// # Errors
    ///
    /// It belongs to another snapshot or collection.
    pub fn expect(&self, found: FoundPart) -> Result<Part, Damage> {
        let expected = format!("{}.{}", self.database, self.collection);
        let namespace = format!("{}.{}", found.database, found.collection);
        if namespace != expected {
            return Err(Damage::Foreign {
                found: namespace,
                expected,
            });
        }
        if found.cluster_time != self.cluster_time {
            return Err(Damage::Broken(format!(
                "it belongs to a snapshot at {}, not at {}",
                found.cluster_time, self.cluster_time
            )));
        }
        Ok(found.part)
    }
}

/// Serializes a format as its file extension.
mod extension {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::file::format::FileFormat;

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(format: &FileFormat, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(format.extension())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<FileFormat, D::Error> {
        let extension = String::deserialize(from)?;
        let format = FileFormat::of_extension(&extension);
        format.ok_or_else(|| D::Error::custom(format!("{extension} isn't a format")))
    }
}
