//! Parts: the files that hold a snapshot's documents.

use std::fmt;
use std::io;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::key::Key;
use super::plan::Plan;
use crate::file::addition::{self, Commit, Extent, Sums};
use crate::file::frame::{GzipLevel, rfc3339};
use crate::file::hour_file::FileFormat;
use crate::position::ClusterTime;

/// The name of a part: `part-00001.json`. Its number tells the range that it is of, without any range knowing
/// what the others write: with four ranges the first has 1, 5, 9 and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PartName {
    /// From 1.
    pub number: u32,
    /// The format.
    pub format: FileFormat,
}

impl PartName {
    /// The first of a range, counted from 0.
    #[must_use]
    pub fn first(range: u32, format: FileFormat) -> Self {
        let number = range + 1;
        Self { number, format }
    }

    /// The next of the same range.
    #[must_use]
    pub fn next(self, ranges: u32) -> Self {
        Self {
            number: self.number + ranges,
            ..self
        }
    }

    /// The range that it is of.
    #[must_use]
    pub fn range(self, ranges: u32) -> u32 {
        (self.number - 1) % ranges
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "part-{:05}.{}", self.number, self.format.extension())
    }
}

/// A name that silt doesn't give to parts.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a part of a snapshot")]
pub struct NotAPart;

impl FromStr for PartName {
    type Err = NotAPart;

    fn from_str(name: &str) -> Result<Self, NotAPart> {
        let (number, extension) = name
            .strip_prefix("part-")
            .and_then(|rest| rest.split_once('.'))
            .ok_or(NotAPart)?;
        let parsed = Self {
            number: number.parse().map_err(|_| NotAPart)?,
            format: FileFormat::of_extension(extension).ok_or(NotAPart)?,
        };
        if parsed.number > 0 && parsed.to_string() == name {
            Ok(parsed)
        } else {
            Err(NotAPart)
        }
    }
}

/// What is known of a part in the lake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: PartName,
    /// How long it is.
    pub extent: Extent,
    /// Commits that made it; uncompressed `ndjson` doesn't say, so there those since it was opened.
    pub commits: u32,
    /// Documents in it; `None` where uncompressed `ndjson` doesn't say it.
    pub documents: Option<u64>,
    /// Its last document.
    pub last: Key,
}

/// `metadata` of a `json` part.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Metadata {
    pub collection: String,
    pub database: String,
    /// When the last commit was made, RFC 3339.
    pub timestamp: String,
    /// Documents in the part.
    pub count: u64,
    pub dumper_version: String,
    pub commits: u32,
    /// The snapshot's position.
    pub cluster_time: ClusterTime,
    pub last_document_key: Key,
}

/// Documents that wait for a commit. Never empty.
#[derive(Clone, Debug)]
pub struct Documents {
    /// Their lines, each with its separator.
    pub lines: Bytes,
    /// How many.
    pub count: u32,
    /// The last.
    pub last: Key,
}

/// Encodes the commit of documents to the part `name`, which is `base` now, or not there.
///
/// # Errors
///
/// The compressor's.
pub fn commit(
    plan: &Plan,
    base: Option<&Part>,
    name: PartName,
    documents: Documents,
    gzip_level: GzipLevel,
    now_unix_ms: i64,
) -> io::Result<Commit<Part>> {
    // What a damaged file says of itself may be any number.
    let commits = base.map_or(0, |base| base.commits).saturating_add(1);
    let before = base.map_or(Some(0), |base| base.documents);
    let count = before.map(|before| before.saturating_add(u64::from(documents.count)));
    let metadata = Metadata {
        collection: plan.collection.clone(),
        database: plan.database.clone(),
        timestamp: rfc3339(now_unix_ms),
        count: count.unwrap_or(0),
        dumper_version: env!("CARGO_PKG_VERSION").to_owned(),
        commits,
        cluster_time: plan.cluster_time,
        last_document_key: documents.last.clone(),
    };
    let sums = Sums {
        commits,
        lines: metadata.count,
    };
    let extent = base.map(|base| base.extent);
    let (addition, extent) = addition::frame(
        name.format,
        extent,
        &metadata,
        documents.lines,
        sums,
        gzip_level,
    )?;
    let file = Part {
        name,
        extent,
        commits,
        documents: count,
        last: documents.last,
    };
    Ok(Commit { addition, file })
}
