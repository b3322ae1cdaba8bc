//! Reads which snapshots and gap records of a collection the lake holds.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;

use super::super::read::describe::{Description, is_same};
use super::super::{Edges, Target};
use super::small_file::{self, unreadable};
use crate::lake::{FileInfo, Lake, LakeError, Walked, gap_records};
use silt_core::failure::Failure;
use silt_core::gap;
use silt_core::position::ClusterTime;
use silt_core::snapshot::decision::{Holdings, Unfinished};
use silt_core::snapshot::folder::{FileNames, FolderName, MANIFEST, PLAN};
use silt_core::snapshot::manifest::{Fit, Manifest};
use silt_core::snapshot::plan::Plan;

/// The extension of gap records.
const RECORD: &str = ".json";

/// The files of a collection's snapshots.
#[derive(Debug, Default)]
struct Names {
    /// Names and lengths of each snapshot's files.
    snapshots: BTreeMap<FolderName, Vec<(String, u64)>>,
}

impl Names {
    fn add(&mut self, folder: &str, found: FileInfo) {
        let FileInfo { path, len_bytes } = found;
        let below = path.folder.strip_prefix(folder);
        let Some(below) = below.and_then(|below| below.strip_prefix('/')) else {
            return;
        };
        if let Some(snapshot) = FolderName::parse(below) {
            let files = self.snapshots.entry(snapshot).or_default();
            files.push((path.name, len_bytes));
        }
    }

    fn has(&self, snapshot: FolderName, file: FileNames) -> bool {
        let files = self.snapshots.get(&snapshot);
        files.is_some_and(|files| files.iter().any(|(name, _)| file.is(name)))
    }
}

/// A collection's snapshots, and whether the manifest of the newest finished one still matches its parts.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) holdings: Holdings,
    /// The newest finished snapshot, and how its parts compare to its manifest.
    pub(crate) finished: Option<(FolderName, Fit)>,
}

/// Surveys a collection's snapshots.
pub(crate) async fn survey(
    edges: &Edges,
    target: &Target,
    now: &Description,
) -> Result<Survey, Failure> {
    let lake = edges.lake.as_ref();
    let failed = |error: LakeError| Failure::from(&error);
    let names = names(lake, &target.origin.folder()).await.map_err(failed)?;
    let mut survey = Survey::default();
    survey.holdings.lost_until = lost(edges, target).await?;
    let folders = || names.snapshots.keys().rev().copied();
    if let Some(newest) = folders().find(|folder| names.has(*folder, MANIFEST)) {
        let folder = newest.path(&target.origin);
        let manifest = small_file::read::<Manifest>(lake, &folder, MANIFEST).await;
        if let Some(manifest) = manifest.map_err(failed)? {
            survey.holdings.finished = Some(manifest.cluster_time);
            let files = names.snapshots[&newest].iter();
            let fit = manifest.compare(files.map(|(name, len)| (name.as_str(), *len)));
            survey.finished = Some((newest, fit));
        }
    }
    let begun =
        folders().filter(|folder| names.has(*folder, PLAN) && !names.has(*folder, MANIFEST));
    for folder in begun {
        let Some(plan) = plan(edges, target, folder).await? else {
            continue;
        };
        survey.holdings.unfinished.push(Unfinished {
            folder,
            position: plan.cluster_time,
            is_of_this_collection: is_same(plan.uuid.as_deref(), now),
        });
    }
    Ok(survey)
}

/// Reads the plan of a snapshot.
pub(crate) async fn plan(
    edges: &Edges,
    target: &Target,
    folder: FolderName,
) -> Result<Option<Plan>, Failure> {
    let folder = folder.path(&target.origin);
    let plan = small_file::read(edges.lake.as_ref(), &folder, PLAN).await;
    plan.map_err(|error| Failure::from(&error))
}

/// The end of a collection's latest gap, as of now.
pub(crate) async fn lost(edges: &Edges, target: &Target) -> Result<Option<ClusterTime>, Failure> {
    let lake = edges.lake.as_ref();
    let mut latest = None;
    for folder in gap_records::folders(&target.origin, target.is_shared) {
        let until = lost_until(lake, folder).await;
        latest = latest.max(until.map_err(|error| Failure::from(&error))?);
    }
    Ok(latest)
}

async fn names(lake: &dyn Lake, folder: &str) -> Result<Names, LakeError> {
    let mut names = Names::default();
    let mut walked = lake.walk(folder);
    while let Some(walked) = walked.try_next().await? {
        match walked {
            Walked::File(file) => names.add(folder, file),
            Walked::Unreadable(unreadable) if is_snapshot(folder, &unreadable.folder) => {
                return Err(LakeError::Forbidden {
                    reason: format!("{}: {}", unreadable.folder, unreadable.reason),
                    remedy: "give silt's user permission to read there",
                });
            }
            Walked::Unreadable(_) => {}
        }
    }
    Ok(names)
}

/// Whether this is the folder of a snapshot in a collection's folder.
fn is_snapshot(collection_folder: &str, folder: &str) -> bool {
    let name = folder.strip_prefix(collection_folder).unwrap_or_default();
    FolderName::parse(name.trim_start_matches('/')).is_some()
}

async fn lost_until(lake: &dyn Lake, folder: String) -> Result<Option<ClusterTime>, LakeError> {
    let mut latest = None;
    for file in lake.list(&folder).await? {
        let path = file.path;
        if !path.name.ends_with(RECORD) {
            continue;
        }
        if let Some(record) = lake.get(&path).await? {
            let until =
                gap::lost_until(&record.bytes).map_err(|error| unreadable(&path, &error))?;
            latest = latest.max(until);
        }
    }
    Ok(latest)
}
