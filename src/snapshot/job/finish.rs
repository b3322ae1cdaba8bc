//! Finishes a snapshot: counts what is there and says so in a manifest.

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::super::lake::contents::lost;
use super::super::lake::parts::LOOKS_MAX;
use super::super::lake::small_file::{pretty, strange};
use super::super::read::describe::{describe, is_same};
use super::Job;
use crate::lake::LakeError;
use silt_core::failure::{Disposition, Failure};
use silt_core::file::tail::Damage;
use silt_core::snapshot::folder::MANIFEST;
use silt_core::snapshot::manifest::{Counted, Manifest};

/// Parts that grow while they are counted are another silt's, who reads the last documents too.
const COUNTS_MAX: u32 = 20;

/// What came of it.
#[derive(Debug)]
pub(crate) enum Finished {
    /// The lake has a manifest that says what is there.
    Whole(Box<Manifest>),
    /// Documents and changes don't give the collection any more: why.
    Void(&'static str),
}

/// Counts the parts of a snapshot whose ranges are all read to their end, and writes the manifest.
pub(crate) async fn finish(job: &Job) -> Result<Finished, Failure> {
    if let Some(why) = void(job).await? {
        return Ok(Finished::Void(why));
    }
    Ok(Finished::Whole(Box::new(recount(job).await?)))
}

/// Makes the manifest say what is there.
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
            "the snapshot of {} grows while it is counted",
            job.target.origin
        ),
    })
}

/// Why the snapshot is of no use, if it is of none.
async fn void(job: &Job) -> Result<Option<&'static str>, Failure> {
    let now = describe(&job.edges, &job.target).await?;
    if !is_same(job.plan.uuid.as_deref(), &now) {
        return Ok(Some("another collection has the name now"));
    }
    let lost = lost(&job.edges, &job.target).await?;
    Ok((lost > Some(job.plan.cluster_time)).then_some("changes behind its position are lost"))
}

/// `None` if a part grew, or somebody else wrote the manifest, in the meantime.
async fn try_finish(job: &Job) -> Result<Option<Manifest>, Failure> {
    let failed = |error: LakeError| Failure::from(&error);
    let complete = job.edges.deployment.cluster_time().await;
    let complete = complete.map_err(|error| Failure::from(&error))?;
    let lake = job.edges.lake.as_ref();
    let path = job.path(&MANIFEST);
    let there = lake.get(&path).await.map_err(failed)?;
    let parts = job.folder().contents().await?.parts.into_iter();
    let counting = parts.map(|(name, len_bytes)| job.count(name, len_bytes));
    let counted: Vec<Counted> = stream::iter(counting)
        .buffer_unordered(LOOKS_MAX)
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
    let old = old.map_err(|error| failed(strange(&path, &error)))?;
    let manifest = Manifest::new(&job.plan, counted, old.as_ref(), complete, now_unix_ms);
    let manifest = manifest.map_err(broken)?;
    // Somebody has finished it, and what he says is so.
    if let Some(old) = old.filter(|old| old.parts == manifest.parts) {
        return Ok(Some(old));
    }
    let version = there.as_ref().map(|there| &there.version);
    match lake.put(&path, version, pretty(&manifest)?).await {
        Ok(_) => {}
        Err(LakeError::Stale { .. }) => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    let folder = job.folder().contents().await?;
    let names: Vec<(String, u64)> = folder
        .parts
        .iter()
        .map(|(name, len_bytes)| (name.to_string(), *len_bytes))
        .collect();
    let fits = manifest.fits(names.iter().map(|(name, len)| (name.as_str(), *len)));
    Ok(fits.then_some(manifest))
}
