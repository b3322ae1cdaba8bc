//! Parts: the files that hold the documents of a snapshot.

use std::fmt;
use std::io;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::key::Key;
use super::plan::Plan;
use crate::file::format::FileFormat;
use crate::file::gzip::GzipLevel;
use crate::file::layout::{self, Commit, Extent, Totals};
use crate::position::ClusterTime;
use crate::time::rfc3339;

/// The name of a part: `part-00001.json`. The number says which range it belongs to, so ranges needn't coordinate:
/// with four ranges the first writes 1, 5, 9 and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PartName {
    /// From 1.
    pub number: u32,
    /// The format.
    pub format: FileFormat,
}

impl PartName {
    /// The first part of a range. Ranges count from 0.
    #[must_use]
    pub fn first(range: u32, format: FileFormat) -> Self {
        let number = range + 1;
        Self { number, format }
    }

    /// The next part of the same range.
    #[must_use]
    pub fn next(self, ranges: u32) -> Self {
        Self {
            number: self.number + ranges,
            ..self
        }
    }

    /// The range that it belongs to.
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

/// A name that isn't a part's.
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

/// What is known about a part in the lake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: PartName,
    /// Its length, and that of head and foot.
    pub extent: Extent,
    /// Commits to it. Uncompressed `ndjson` doesn't state them; then only those since it was opened count.
    pub commits: u32,
    /// Documents in it. `None` for uncompressed `ndjson`, which doesn't state it.
    pub documents: Option<u64>,
    /// The key of its last document.
    pub last: Key,
}

/// The `metadata` of a `json` part.
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

/// Documents of the next commit. Never empty.
#[derive(Clone, Debug)]
pub struct Documents {
    /// Their lines, each with its separator.
    pub lines: Bytes,
    /// How many.
    pub count: u32,
    /// The key of the last.
    pub last: Key,
}

/// Encodes the commit of documents to the part `name`. `base` is the part as it is now; `None` if there is none.
///
/// # Errors
///
/// The compressor failed.
pub fn commit(
    plan: &Plan,
    base: Option<&Part>,
    name: PartName,
    documents: Documents,
    gzip_level: GzipLevel,
    now_unix_ms: i64,
) -> io::Result<Commit<Part>> {
    // A damaged file can claim any number.
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
    let totals = Totals {
        commits,
        lines: metadata.count,
    };
    let extent = base.map(|base| base.extent);
    let (addition, extent) = layout::frame(
        name.format,
        extent,
        &metadata,
        documents.lines,
        totals,
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
