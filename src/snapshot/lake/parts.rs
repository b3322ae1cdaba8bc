//! Lists, reads and counts the parts of a snapshot.

use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::lake::{self, FileInfo, FileState, Lake, LakeError, LakePath, Version};
use crate::reading::FileReader;
use silt_core::failure::Failure;
use silt_core::file::damage::Damage;
use silt_core::file::tail_scan::Step;
use silt_core::snapshot::folder::MANIFEST;
use silt_core::snapshot::manifest::Counted;
use silt_core::snapshot::part::{Part, PartName};
use silt_core::snapshot::part_scan::{FoundPart, PartScan};
use silt_core::snapshot::plan::Plan;
use silt_core::snapshot::progress::Progress;

/// Parts that are read concurrently.
pub(crate) const READS_MAX: usize = 8;

/// A snapshot's folder in the lake.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotFolder<'a> {
    pub(crate) lake: &'a dyn Lake,
    /// Its path below the lake's root.
    pub(crate) path: String,
    /// The snapshot's plan, which its parts must match.
    pub(crate) plan: &'a Plan,
}

/// What a snapshot's folder holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) is_finished: bool,
    /// Its parts and their lengths.
    pub(crate) parts: Vec<(PartName, u64)>,
}

impl Contents {
    /// The newest part of a range.
    pub(crate) fn newest(&self, range: u32, ranges: u32) -> Option<PartName> {
        let names = self.parts.iter().map(|(name, _)| *name);
        names
            .filter(|name| name.range(ranges) == range)
            .max_by_key(|name| name.number)
    }
}

impl SnapshotFolder<'_> {
    /// The path of a file in it.
    pub(crate) fn file(&self, name: &impl ToString) -> LakePath {
        LakePath {
            folder: self.path.clone(),
            name: name.to_string(),
        }
    }

    /// Lists it.
    pub(crate) async fn contents(&self) -> Result<Contents, Failure> {
        let files = self.lake.list(&self.path).await;
        let files = files.map_err(|error| Failure::from(&error))?;
        let part = |file: &FileInfo| {
            let name: PartName = file.path.name.parse().ok()?;
            (name.format == self.plan.format).then_some((name, file.len_bytes))
        };
        Ok(Contents {
            is_finished: files.iter().any(|file| MANIFEST.is(&file.path.name)),
            parts: files.iter().filter_map(part).collect(),
        })
    }

    /// Reads a part, with the version to append to it. `None` if it is gone.
    pub(crate) async fn read(&self, name: PartName) -> Result<Option<(Part, Version)>, Failure> {
        let read = self.read_state(name).await?;
        Ok(read.map(|(part, state)| (part, state.version)))
    }

    async fn read_state(&self, name: PartName) -> Result<Option<(Part, FileState)>, Failure> {
        let path = self.file(&name);
        let seen = scan(self.lake, &path, name).await;
        let Some((seen, opened)) = seen.map_err(|error| Failure::from(&error))? else {
            return Ok(None);
        };
        let part = self.plan.expect(seen);
        let mut part = part.map_err(|damage| Failure::from(&damaged(&path, damage)))?;
        let extent = part.extent;
        part.commits = lake::tail::commits(&opened, extent).unwrap_or(part.commits);
        Ok(Some((part, opened)))
    }

    /// Counts a part's documents: from its metadata, or by reading its lines if it has none.
    pub(crate) async fn count(&self, name: PartName) -> Result<Counted, Failure> {
        let path = self.file(&name);
        let failed = |error: LakeError| Failure::from(&error);
        let gone = || {
            failed(LakeError::Stale {
                path: path.to_string(),
            })
        };
        let (part, state) = self.read_state(name).await?.ok_or_else(gone)?;
        let len_bytes = part.extent.len_bytes;
        let documents = match part.documents {
            Some(documents) => documents,
            None => FileReader::new(self.lake, path.clone(), name.format, None, state)
                .count()
                .await
                .map_err(failed)?,
        };
        Ok(Counted {
            name,
            documents,
            len_bytes,
        })
    }

    /// How far a snapshot is that was begun before. Parts without a document count are estimated from their
    /// length.
    pub(crate) async fn progress(&self) -> Result<Progress, Failure> {
        let mean_bytes = self.plan.mean_bytes().unwrap_or(0);
        let estimate = |len_bytes: u64| len_bytes.checked_div(mean_bytes).unwrap_or(0);
        let parts = self.contents().await?.parts;
        let reads = parts.clone().into_iter().map(|(name, _)| self.read(name));
        let read: Vec<Option<(Part, Version)>> = stream::iter(reads)
            .buffered(READS_MAX)
            .try_collect()
            .await?;
        let documents = parts.iter().zip(read).map(|((_, len_bytes), read)| {
            let documents = read.and_then(|(part, _)| part.documents);
            documents.unwrap_or_else(|| estimate(*len_bytes))
        });
        let documents: u64 = documents.sum();
        let estimated = self.plan.estimated_documents;
        Ok(Progress::new(estimated, documents, documents * mean_bytes))
    }
}

/// Reads the metadata of a part from its beginning and its end.
pub(crate) async fn scan(
    lake: &dyn Lake,
    path: &LakePath,
    name: PartName,
) -> Result<Option<(FoundPart, FileState)>, LakeError> {
    let Some(opened) = lake.open(path).await? else {
        return Ok(None);
    };
    let broken = |damage| damaged(path, damage);
    let (mut scan, mut range) = PartScan::begin(name, opened.len_bytes).map_err(broken)?;
    loop {
        let bytes = lake.read(path, &opened.version, range).await?;
        match scan.feed(&bytes).map_err(broken)? {
            Step::Read(next) => range = next,
            Step::Done(seen) => return Ok(Some((seen, opened))),
        }
    }
}

fn damaged(path: &LakePath, damage: Damage) -> LakeError {
    LakeError::Damaged {
        path: path.to_string(),
        damage,
    }
}
