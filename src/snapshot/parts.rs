//! Finds and reads a snapshot's parts.

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::job::Job;
use crate::lake::{self, Lake, LakeError, LakePath, Listed, Opened, Version};
use silt_core::failure::Failure;
use silt_core::file::hour_file::{Compression, OutputFormat};
use silt_core::file::tail::{Damage, Step};
use silt_core::snapshot::folder::MANIFEST;
use silt_core::snapshot::manifest::Counted;
use silt_core::snapshot::part::{Part, PartName};
use silt_core::snapshot::progress::Progress;
use silt_core::snapshot::scan::{PartScan, Seen};

/// Parts that are looked at, at once.
pub(super) const LOOKS_MAX: usize = 8;

/// What a snapshot's folder holds.
#[derive(Debug, Default)]
pub(super) struct Folder {
    pub(super) is_finished: bool,
    /// Its parts and their lengths.
    pub(super) parts: Vec<(PartName, u64)>,
}

impl Folder {
    pub(super) fn of(job: &Job, files: &[Listed]) -> Self {
        let part = |file: &Listed| {
            let name: PartName = file.name.parse().ok()?;
            (name.format == job.plan.format).then_some((name, file.len_bytes))
        };
        Self {
            is_finished: files.iter().any(|file| file.name == MANIFEST),
            parts: files.iter().filter_map(part).collect(),
        }
    }

    /// The newest part of a range.
    pub(super) fn newest(&self, range: u32, ranges: u32) -> Option<PartName> {
        let names = self.parts.iter().map(|(name, _)| *name);
        names
            .filter(|name| name.range(ranges) == range)
            .max_by_key(|name| name.number)
    }
}

/// Looks into the snapshot's folder.
pub(super) async fn folder(job: &Job) -> Result<Folder, Failure> {
    let files = job.edges.lake.list(&job.path(&"").folder).await;
    let files = files.map_err(|error| Failure::from(&error))?;
    Ok(Folder::of(job, &files))
}

/// Reads a part, with the version to append to it. `None` if it isn't there any more.
pub(super) async fn read(job: &Job, name: PartName) -> Result<Option<(Part, Version)>, Failure> {
    let path = job.path(&name);
    let seen = scan(job.edges.lake.as_ref(), &path, name).await;
    let Some((seen, opened)) = seen.map_err(|error| Failure::from(&error))? else {
        return Ok(None);
    };
    let part = job.plan.expect(seen);
    let mut part = part.map_err(|damage| Failure::from(&damaged(&path, damage)))?;
    let extent = part.extent;
    part.commits = lake::tail::commits(&opened, extent).unwrap_or(part.commits);
    Ok(Some((part, opened.version)))
}

/// Reads what a part says of itself.
pub(crate) async fn scan(
    lake: &dyn Lake,
    path: &LakePath,
    name: PartName,
) -> Result<Option<(Seen, Opened)>, LakeError> {
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

/// How far a snapshot is that was begun before. Where parts don't say how many documents they have, that is
/// a guess from their length.
pub(super) async fn holdings(job: &Job) -> Result<Progress, Failure> {
    let mean_bytes = job.plan.mean_bytes().unwrap_or(0);
    let guess = |len_bytes: u64| len_bytes.checked_div(mean_bytes).unwrap_or(0);
    let parts = folder(job).await?.parts;
    let reading = parts.clone().into_iter();
    let reading = reading.map(|(name, _)| read(job, name));
    let read: Vec<Option<(Part, Version)>> = stream::iter(reading)
        .buffered(LOOKS_MAX)
        .try_collect()
        .await?;
    let documents = parts.iter().zip(read).map(|((_, len_bytes), read)| {
        let documents = read.and_then(|(part, _)| part.documents);
        documents.unwrap_or_else(|| guess(*len_bytes))
    });
    let documents: u64 = documents.sum();
    let estimated = job.plan.estimated_documents;
    Ok(Progress::new(estimated, documents, documents * mean_bytes))
}

/// Counts a part's documents: by what it says, or by its lines where it doesn't.
pub(super) async fn count(job: &Job, name: PartName, len_bytes: u64) -> Result<Counted, Failure> {
    let is_silent =
        name.format.output == OutputFormat::Ndjson && name.format.compression == Compression::None;
    if let Some(known) = job.known(name, len_bytes).filter(|_| is_silent) {
        return Ok(known);
    }
    let path = job.path(&name);
    let failed = |error: LakeError| Failure::from(&error);
    let gone = || {
        failed(LakeError::Stale {
            path: path.to_string(),
        })
    };
    let (part, version) = read(job, name).await?.ok_or_else(gone)?;
    let len_bytes = part.extent.len_bytes;
    let documents = match part.documents {
        Some(documents) => documents,
        None => lake::lines::count(job.edges.lake.as_ref(), &path, &version, len_bytes)
            .await
            .map_err(failed)?,
    };
    Ok(Counted {
        name,
        documents,
        len_bytes,
    })
}
