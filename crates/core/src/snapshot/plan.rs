//! The plan of a snapshot: all that whoever goes on with it must know.

use serde::{Deserialize, Serialize};

use super::key::Key;
use super::part::{Part, PartName};
use super::scan::Seen;
use crate::file::addition::chunk_limit_bytes;
use crate::file::hour_file::FileFormat;
use crate::file::tail::Damage;
use crate::position::ClusterTime;

/// How documents are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JsonMode {
    /// Plain JSON where JSON has a like type.
    Relaxed,
    /// Every value with its type.
    Canonical,
}

/// What was decided before anything was read. Whoever reads on keeps to it, whatever his own settings are:
/// then two at once meet in the same files, where the lake refuses one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The database.
    pub database: String,
    /// The collection.
    pub collection: String,
    /// The collection's UUID, if the role may see it: another collection of the name has another.
    pub uuid: Option<String>,
    /// The position. No document is read as it was before; changes from here on, inclusive, do the rest.
    pub cluster_time: ClusterTime,
    /// When it was begun, RFC 3339.
    pub begun_at: String,
    /// About how many documents there are.
    pub estimated_documents: u64,
    /// About how long they are, as BSON; `None` if the role may not see it.
    pub estimated_bytes: Option<u64>,
    /// Where one range ends and the next begins, in the order of the `_id` index.
    pub boundaries: Vec<Key>,
    /// The greatest `_id`, where the last range ends; `None` if there were no documents. What comes behind it
    /// came after the position.
    pub last: Option<Key>,
    /// What leaves changes of it out of the lake, as it was set; `None` where an older silt didn't say it.
    pub change_filters: Option<Vec<String>>,
    /// Format of the parts.
    #[serde(with = "extension")]
    pub format: FileFormat,
    /// How documents are written.
    pub json_mode: JsonMode,
    /// The most bytes of lines in one commit, but for a single document that is longer.
    pub chunk_limit_bytes: u64,
    /// A part that could pass this with the next commit is full.
    pub file_limit_bytes: u64,
    /// A part with this many commits is full.
    pub file_limit_commits: u32,
    /// Who made it.
    pub silt_version: String,
}

/// What one range holds, in the order of the `_id` index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds<'a> {
    /// Its first `_id`; `None`: from the beginning.
    pub from: Option<&'a Key>,
    /// Where it ends.
    pub to: End<'a>,
}

/// The end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End<'a> {
    /// Before this `_id`.
    Before(&'a Key),
    /// With this `_id`.
    With(&'a Key),
}

impl Plan {
    /// How many ranges there are.
    #[must_use]
    pub fn ranges(&self) -> u32 {
        u32::try_from(self.boundaries.len()).unwrap_or(u32::MAX - 1) + 1
    }

    /// What a range holds, counted from 0; `None` if there is nothing to read.
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

    /// The part that a range's next commit goes to, and what that is now. Whether a part is full follows
    /// from the part and the plan, never from what is to be written: two at once meet in the same part.
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

    /// The mean length of a document, if anything is known of it.
    #[must_use]
    pub fn mean_bytes(&self) -> Option<u64> {
        self.estimated_bytes?.checked_div(self.estimated_documents)
    }

    /// The part, if it is one of this snapshot.
    ///
    /// # Errors
    ///
    /// It is another's.
    pub fn expect(&self, seen: Seen) -> Result<Part, Damage> {
        let (expected, found) = (
            format!("{}.{}", self.database, self.collection),
            format!("{}.{}", seen.database, seen.collection),
        );
        if found != expected {
            return Err(Damage::Foreign { found, expected });
        }
        if seen.cluster_time != self.cluster_time {
            return Err(Damage::Broken(format!(
                "it is of a snapshot at {}, not at {}",
                seen.cluster_time, self.cluster_time
            )));
        }
        Ok(seen.part)
    }
}

/// A format as the extension of its files.
mod extension {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::file::hour_file::FileFormat;

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(format: &FileFormat, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(format.extension())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<FileFormat, D::Error> {
        let extension = String::deserialize(from)?;
        let format = FileFormat::of_extension(&extension);
        format.ok_or_else(|| D::Error::custom(format!("{extension} is no format")))
    }
}
