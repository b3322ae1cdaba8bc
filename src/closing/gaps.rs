//! Reads which gap records concern a time.

use super::Target;
use crate::lake::{Lake, LakeError, LakePath, gap_records};
use silt_core::closing::{Completeness, GapEntry};
use silt_core::gap::Extent;

/// The extension of gap records.
const RECORD: &str = ".json";

/// The gap records that concern a time, in the order of their paths.
pub(super) async fn within(
    lake: &dyn Lake,
    target: &Target,
    time: Completeness,
) -> Result<Vec<GapEntry>, LakeError> {
    let mut entries = Vec::new();
    for folder in gap_records::folders(&target.origin, target.is_shared) {
        let mut files = lake.list(&folder).await?;
        files.sort_by(|a, b| a.path.name.cmp(&b.path.name));
        for file in files {
            if file.path.name.ends_with(RECORD) {
                entries.extend(entry(lake, &file.path, time).await?);
            }
        }
    }
    Ok(entries)
}

async fn entry(
    lake: &dyn Lake,
    path: &LakePath,
    time: Completeness,
) -> Result<Option<GapEntry>, LakeError> {
    // It was moved away since it was listed.
    let Some(file) = lake.get(path).await? else {
        return Ok(None);
    };
    let extent = Extent::of(&file.bytes).map_err(|error| LakeError::Blocked {
        path: path.to_string(),
        reason: format!("it is not a gap record: {error}"),
        remedy: "move it out of the lake",
    })?;
    let concerns = extent.concerns(time.from, time.until);
    Ok(concerns.then(|| GapEntry {
        record: path.to_string(),
        reason: extent.reason,
        from_cluster_time: extent.from,
        until_cluster_time: extent.until,
    }))
}
