//! The manifest, which states that a snapshot is finished, and what belongs to it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::part::PartName;
use super::plan::Plan;
use crate::file::damage::Damage;
use crate::position::ClusterTime;
use crate::time::rfc3339;

/// What a finished snapshot holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The database.
    pub database: String,
    /// The collection.
    pub collection: String,
    /// Its UUID, if the role may see it.
    pub uuid: Option<String>,
    /// Documents in all parts.
    pub count: u64,
    /// Length of all parts.
    pub bytes: u64,
    /// The parts. No other file belongs to the snapshot.
    pub parts: Vec<PartEntry>,
    /// The position: the changes from here on, inclusive, applied in order to the documents, yield the collection.
    pub cluster_time: ClusterTime,
    /// The same, RFC 3339.
    pub at: String,
    /// The collection is complete once changes up to here, inclusive, are applied. Before that, some documents may be newer than the
    /// changes.
    pub complete_cluster_time: ClusterTime,
    /// The settings that filtered changes when the snapshot was begun. If there are any, documents and changes
    /// don't yield the collection. `None` if it was written by a version that didn't state them.
    pub change_filters: Option<Vec<String>>,
    /// When it was begun, RFC 3339.
    pub started_at: String,
    /// When all documents were read, RFC 3339.
    pub finished_at: String,
    /// Into how many ranges the collection was split.
    pub ranges: u32,
    /// Extension of the parts.
    pub format: String,
    /// How documents are encoded.
    pub json_mode: super::plan::JsonMode,
    /// The version that finished it.
    pub silt_version: String,
}

/// One part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartEntry {
    /// Its name.
    pub name: String,
    /// Documents in it.
    pub count: u64,
    /// Its length.
    pub bytes: u64,
}

/// How the files of a snapshot compare to its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// They are the same.
    Same,
    /// Everything is there, and more: two processes finished it at once.
    Grown,
    /// Something is missing, as the text says.
    Incomplete(String),
}

/// A part with its counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Its name.
    pub name: PartName,
    /// Documents in it.
    pub documents: u64,
    /// Its length.
    pub len_bytes: u64,
}

impl Manifest {
    /// The manifest of a snapshot whose ranges were all read to the end, at cluster time `complete`.
    ///
    /// `before` is the manifest that is there already.
    ///
    /// # Errors
    ///
    /// A part is missing, or shorter than it was.
    pub fn new(
        plan: &Plan,
        mut parts: Vec<Counted>,
        before: Option<&Self>,
        complete: ClusterTime,
        now_unix_ms: i64,
    ) -> Result<Self, Damage> {
        parts.sort_by_key(|part| part.name.number);
        check_numbers(plan, &parts)?;
        if let Some(before) = before {
            check_lengths(before, &parts)?;
        }
        let entry = |part: &Counted| PartEntry {
            name: part.name.to_string(),
            count: part.documents,
            bytes: part.len_bytes,
        };
        Ok(Self {
            database: plan.database.clone(),
            collection: plan.collection.clone(),
            uuid: plan.uuid.clone(),
            count: parts.iter().map(|part| part.documents).sum(),
            bytes: parts.iter().map(|part| part.len_bytes).sum(),
            parts: parts.iter().map(entry).collect(),
            cluster_time: plan.cluster_time,
            at: rfc3339(i64::from(plan.cluster_time.seconds) * 1000),
            complete_cluster_time: complete.max(plan.cluster_time),
            change_filters: plan.change_filters.clone(),
            started_at: plan.begun_at.clone(),
            finished_at: rfc3339(now_unix_ms),
            ranges: plan.ranges(),
            format: plan.format.extension().to_owned(),
            json_mode: plan.json_mode,
            silt_version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    /// Whether these files, by name and length, are exactly those of the manifest.
    #[must_use]
    pub fn fits<'a>(&self, files: impl Iterator<Item = (&'a str, u64)>) -> bool {
        self.compare(files) == Fit::Same
    }

    /// Compares these files, by name and length, to the manifest.
    #[must_use]
    pub fn compare<'a>(&self, files: impl Iterator<Item = (&'a str, u64)>) -> Fit {
        let mut left: HashMap<&str, u64> = files.collect();
        let mut has_grown = false;
        for part in &self.parts {
            let len_bytes = left.remove(part.name.as_str());
            if let Some(lack) = part.lack(len_bytes) {
                return Fit::Incomplete(lack);
            }
            has_grown |= len_bytes > Some(part.bytes);
        }
        has_grown |= left.keys().any(|name| name.parse::<PartName>().is_ok());
        if has_grown { Fit::Grown } else { Fit::Same }
    }
}

impl PartEntry {
    /// What is missing from it, if the file has this length now.
    fn lack(&self, len_bytes: Option<u64>) -> Option<String> {
        let Self { name, bytes, .. } = self;
        match len_bytes {
            None => Some(format!("{name} is missing")),
            Some(len_bytes) if len_bytes < *bytes => {
                Some(format!("{name} has {len_bytes} bytes of {bytes}"))
            }
            Some(_) => None,
        }
    }
}

/// Refuses parts that are missing or shorter than in this manifest.
fn check_lengths(before: &Manifest, parts: &[Counted]) -> Result<(), Damage> {
    let parts: HashMap<String, u64> = parts
        .iter()
        .map(|part| (part.name.to_string(), part.len_bytes))
        .collect();
    let mut lacks = before.parts.iter().filter_map(|part| {
        let len_bytes = parts.get(&part.name).copied();
        part.lack(len_bytes)
    });
    lacks
        .next()
        .map_or(Ok(()), |lack| Err(Damage::Broken(lack)))
}

/// Refuses gaps in the numbers of each range's parts.
fn check_numbers(plan: &Plan, parts: &[Counted]) -> Result<(), Damage> {
    for range in 0..plan.ranges() {
        let mut expected = PartName::first(range, plan.format);
        let of_range = parts
            .iter()
            .filter(|part| part.name.range(plan.ranges()) == range);
        for part in of_range {
            if part.name != expected {
                return Err(Damage::Broken(format!("{expected} is missing")));
            }
            expected = expected.next(plan.ranges());
        }
    }
    Ok(())
}
