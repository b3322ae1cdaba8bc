//! Finishes a snapshot: counts its documents and writes the manifest.

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::super::lake::contents::lost;
use super::super::lake::parts::READS_MAX;
use super::super::lake::small_file::{self, encode, unreadable};
use super::super::read::describe::{describe, is_same};
use super::Job;
use crate::lake::LakeError;
use silt_core::failure::{Disposition, Failure};
use silt_core::file::damage::Damage;
use silt_core::snapshot::folder::MANIFEST;
use silt_core::snapshot::manifest::{Counted, Manifest};

/// How often the parts are counted again because they grew meanwhile: another instance may be reading the same last
/// documents.
const COUNTS_MAX: u32 = 20;

/// How it ended.
#[derive(Debug)]
pub(crate) enum Finished {
    /// The lake has a manifest that matches the parts.
    Whole(Box<Manifest>),
    /// The snapshot and the later changes no longer add up to the collection. Holds the reason.
    Void(&'static str),
}

/// Counts the parts of a snapshot whose ranges have all been read, and writes the manifest.
pub(crate) async fn finish(job: &Job) -> Result<Finished, Failure> {
    if let Some(why) = void_reason(job).await? {
        return Ok(Finished::Void(why));
    }
    Ok(Finished::Whole(Box::new(recount(job).await?)))
}

/// Counts all parts and rewrites the manifest.
pub(crate) async fn recount(job: &Job) -> Result<Manifest, Failure> {
    for _ in 0..COUNTS_MAX {
        if let Some(manifest) = try_finish(job).await? {
            return Ok(manifest);
        }
    }
    Err(Failure {
        disposition: Disposition::RETRY,
        cause: "lake_stale",
        message: format!(
            "the snapshot of {} keeps growing while it is counted: another instance is writing it",
            job.target.origin
        ),
    })
}

/// Why the snapshot is useless, if it is.
async fn void_reason(job: &Job) -> Result<Option<&'static str>, Failure> {
    let now = describe(&job.edges, &job.target).await?;
    if !is_same(job.plan.uuid.as_deref(), &now) {
        return Ok(Some(
            "the collection was replaced by another of the same name",
        ));
    }
    let lost = lost(&job.edges, &job.target).await?;
    Ok((lost > Some(job.plan.cluster_time)).then_some("changes after its position are lost"))
}

/// Returns `None` if meanwhile a part grew, or another instance wrote the manifest.
async fn try_finish(job: &Job) -> Result<Option<Manifest>, Failure> {
    let failed = |error: LakeError| Failure::from(&error);
    let complete = job.edges.deployment.cluster_time().await;
    let complete = complete.map_err(|error| Failure::from(&error))?;
    let lake = job.edges.lake.as_ref();
    let folder = job.folder();
    let there = small_file::get(lake, &folder.path, MANIFEST).await;
    // A manifest that is there keeps its name, so that there is one.
    let (path, there) = match there.map_err(failed)? {
        Some((path, object)) => (path, Some(object)),
        None => (folder.file(&MANIFEST.name), None),
    };
    let parts = folder.contents().await?.parts.into_iter();
    let counting = parts.map(|(name, len_bytes)| job.count(name, len_bytes));
    let counted: Vec<Counted> = stream::iter(counting)
        .buffer_unordered(READS_MAX)
        .try_collect()
        .await?;
    let broken = |damage: Damage| {
        failed(LakeError::Damaged {
            path: path.folder.clone(),
            damage,
        })
    };
    let now_unix_ms = job.edges.clock.now().unix_ms;
    let old = there
        .as_ref()
        .map(|there| serde_json::from_slice::<Manifest>(&there.bytes));
    let old = old.transpose();
    let old = old.map_err(|error| failed(unreadable(&path, &error)))?;
    let manifest = Manifest::new(&job.plan, counted, old.as_ref(), complete, now_unix_ms);
    let manifest = manifest.map_err(broken)?;
    // Another instance has finished it, and its manifest is right.
    if let Some(old) = old.filter(|old| old.parts == manifest.parts) {
        return Ok(Some(old));
    }
    let version = there.as_ref().map(|there| &there.version);
    match lake.put(&path, version, encode(&manifest)?).await {
        Ok(_) => {}
        Err(LakeError::Stale { .. }) => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    let contents = folder.contents().await?;
    let names: Vec<(String, u64)> = contents
        .parts
        .iter()
        .map(|(name, len_bytes)| (name.to_string(), *len_bytes))
        .collect();
    let fits = manifest.fits(names.iter().map(|(name, len)| (name.as_str(), *len)));
    Ok(fits.then_some(manifest))
}
