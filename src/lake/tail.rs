//! Finds a collection's newest hour file and reads its last change: the tail.

use super::{FileInfo, FileState, Lake, LakeError, LakePath, Segments, closing_records};
use silt_core::file::damage::Damage;
use silt_core::file::hour_file::{HourFile, HourFileName};
use silt_core::file::hour_file_scan::HourFileScan;
use silt_core::file::layout::Extent;
use silt_core::file::tail_scan::Step;
use silt_core::machine::Tail;
use silt_core::namespace::Namespace;

/// How often a file that is replaced while it is read is read again.
const ATTEMPTS_MAX: u32 = 5;

/// A name of an hour file that no other is longer than.
const LONGEST_NAME: &str = "2024-01-15-14.part4294967295.ndjson.gz";

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

/// The longest path of a file in a collection's folder, but for its snapshots.
#[must_use]
pub fn longest_path(origin: &Namespace) -> LakePath {
    LakePath {
        folder: origin.folder(),
        name: LONGEST_NAME.to_owned(),
    }
}

/// Reads a collection's newest hour file, and the version to append to it. Changes nothing: a writer calls
/// [`Lake::sweep`] first.
///
/// # Errors
///
/// The lake can't be read, or the file isn't one that silt wrote for this collection.
pub async fn load(lake: &dyn Lake, origin: &Namespace) -> Result<Option<Tail>, LakeError> {
    for _ in 0..ATTEMPTS_MAX {
        let Some((path, name)) = newest(lake, origin).await? else {
            return Ok(None);
        };
        // It may have been removed or replaced since it was listed.
        let Some(state) = lake.open(&path).await? else {
            continue;
        };
        match scan(lake, origin, name, &path, &state).await {
            Ok(mut file) => {
                file.commits = commits(&state, file.extent()).unwrap_or(file.commits);
                if path.folder != origin.folder() {
                    // The next changes go to the next part, in the folder as it is named now.
                    file.commits = FULL;
                }
                let hour = file.name.hour;
                return Ok(Some(Tail {
                    file,
                    version: state.version,
                    is_closed: closing_records::is_closed(lake, origin, hour).await?,
                }));
            }
            Err(LakeError::Stale { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let path = origin.folder();
    Err(LakeError::Stale { path })
}

async fn newest(
    lake: &dyn Lake,
    origin: &Namespace,
) -> Result<Option<(LakePath, HourFileName)>, LakeError> {
    let files = files(lake, origin).await?.into_iter();
    let named = files.filter_map(|file| {
        let name: HourFileName = file.path.name.parse().ok()?;
        Some((file.path, name))
    });
    Ok(named.max_by_key(|(_, name)| name.age_key()))
}

/// The files in a collection's folder, and in the one that it had before long names were shortened.
///
/// # Errors
///
/// The lake's.
pub(crate) async fn files(lake: &dyn Lake, origin: &Namespace) -> Result<Vec<FileInfo>, LakeError> {
    let mut files = lake.list(&origin.folder()).await?;
    if let Some(former) = origin.former_folder() {
        match lake.list(&former).await {
            Ok(found) => files.extend(found),
            // This lake never had it.
            Err(LakeError::Unnameable { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
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
