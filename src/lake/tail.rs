//! Finds a collection's newest hour file and reads its last change: the tail.

use super::{FileState, Lake, LakeError, LakePath, Segments, Version};
use silt_core::file::damage::Damage;
use silt_core::file::hour_file::{HourFile, HourFileName};
use silt_core::file::hour_file_scan::HourFileScan;
use silt_core::file::layout::Extent;
use silt_core::file::tail_scan::Step;
use silt_core::namespace::Namespace;

/// How often a file that is replaced while it is read is read again.
const ATTEMPTS_MAX: u32 = 5;

/// Commits of a file that can take no more, whatever the limit.
const FULL: u32 = u32::MAX;

/// The path of an hour file.
#[must_use]
pub fn path(origin: &Namespace, name: HourFileName) -> LakePath {
    LakePath {
        folder: origin.folder(),
        name: name.to_string(),
    }
}

/// Reads a collection's newest hour file, and the version to append to it. Changes nothing: a writer calls
/// [`Lake::sweep`] first.
///
/// # Errors
///
/// The lake can't be read, or the file isn't one that silt wrote for this collection.
pub async fn load(
    lake: &dyn Lake,
    origin: &Namespace,
) -> Result<Option<(HourFile, Version)>, LakeError> {
    let folder = origin.folder();
    for _ in 0..ATTEMPTS_MAX {
        let Some(name) = newest_name(lake, &folder).await? else {
            return Ok(None);
        };
        let path = path(origin, name);
        // It may have been removed or replaced since it was listed.
        let Some(state) = lake.open(&path).await? else {
            continue;
        };
        match scan(lake, origin, name, &path, &state).await {
            Ok(mut file) => {
                file.commits = commits(&state, file.extent()).unwrap_or(file.commits);
                return Ok(Some((file, state.version)));
            }
            Err(LakeError::Stale { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(LakeError::Stale { path: folder })
}

async fn newest_name(lake: &dyn Lake, folder: &str) -> Result<Option<HourFileName>, LakeError> {
    let files = lake.list(folder).await?;
    let names = files.iter().filter_map(|file| file.path.name.parse().ok());
    Ok(names.max_by_key(HourFileName::age_key))
}

async fn scan(
    lake: &dyn Lake,
    origin: &Namespace,
    name: HourFileName,
    path: &LakePath,
    state: &FileState,
) -> Result<HourFile, LakeError> {
    let damaged = |damage: Damage| LakeError::Damaged {
        path: path.to_string(),
        damage,
    };
    let (mut scan, mut range) =
        HourFileScan::begin(origin, name, state.len_bytes).map_err(damaged)?;
    loop {
        let bytes = lake.read(path, &state.version, range).await?;
        match scan.feed(&bytes).map_err(damaged)? {
            Step::Read(next) => range = next,
            Step::Done(file) => return Ok(file),
        }
    }
}

/// The commits that made a file, if its segments tell. A file that another tool copied into the lake counts
/// as full: it is read like any other, and the next changes go to the next part.
pub(crate) fn commits(state: &FileState, extent: Extent) -> Option<u32> {
    let lens = match &state.segments {
        Segments::Arbitrary => return None,
        Segments::Foreign => return Some(FULL),
        Segments::Fixed(lens) => lens,
    };
    let framing = [extent.head_len_bytes, extent.foot_len_bytes];
    let framing_segments = framing.iter().filter(|len| **len > 0).count();
    let head_fits = extent.head_len_bytes == 0 || lens.first() == Some(&extent.head_len_bytes);
    let foot_fits = extent.foot_len_bytes == 0 || lens.last() == Some(&extent.foot_len_bytes);
    Some(if head_fits && foot_fits && lens.len() > framing_segments {
        u32::try_from(lens.len() - framing_segments).unwrap_or(FULL)
    } else {
        FULL
    })
}
