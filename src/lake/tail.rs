//! Finds a collection's newest hour file and reads what it holds.

use super::{Lake, LakeError, LakePath, Opened, Version};
use crate::archive::frame::Origin;
use crate::archive::hour_file::{HourFile, HourFileName};
use crate::archive::names;
use crate::archive::tail::{Damage, Scan, Step};

/// A newest file keeps being replaced while it is read: after so many times something is wrong.
const READS_MAX: u32 = 5;

/// Commits of a file that can't take more, whatever the limit.
const FULL: u32 = u32::MAX;

/// The path of an hour file.
#[must_use]
pub fn path(origin: &Origin, name: HourFileName) -> LakePath {
    LakePath {
        folder: names::encode(&origin.collection),
        name: name.to_string(),
    }
}

/// Reads a collection's newest hour file, with the version to append to it.
///
/// # Errors
///
/// The lake's, and those of a file that isn't ours.
pub async fn load(
    lake: &dyn Lake,
    origin: &Origin,
) -> Result<Option<(HourFile, Version)>, LakeError> {
    for _ in 0..READS_MAX {
        let files = lake.list(&names::encode(&origin.collection)).await?;
        let newest = files
            .iter()
            .filter_map(|file| file.name.parse::<HourFileName>().ok())
            .max_by_key(HourFileName::age_key);
        let Some(name) = newest else { return Ok(None) };
        let path = path(origin, name);
        // Gone or replaced since: look again.
        let Some(opened) = lake.open(&path).await? else {
            continue;
        };
        match scan(lake, origin, name, &path, &opened).await {
            Ok(file) => return Ok(Some((with_room(file, &opened), opened.version))),
            Err(LakeError::Stale { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(LakeError::Stale {
        path: names::encode(&origin.collection),
    })
}

async fn scan(
    lake: &dyn Lake,
    origin: &Origin,
    name: HourFileName,
    path: &LakePath,
    opened: &Opened,
) -> Result<HourFile, LakeError> {
    let damaged = |damage: Damage| LakeError::Damaged {
        path: path.to_string(),
        damage,
    };
    let (mut scan, mut range) = Scan::begin(origin, name, opened.len_bytes).map_err(damaged)?;
    loop {
        let bytes = lake.read(path, &opened.version, range).await?;
        match scan.feed(&bytes).map_err(damaged)? {
            Step::Read(next) => range = next,
            Step::Done(file) => return Ok(file),
        }
    }
}

/// A file that was copied into the lake by another tool has other blocks than silt made. It is read
/// like any other, and what comes next goes to the next part.
fn with_room(mut file: HourFile, opened: &Opened) -> HourFile {
    let Some(lens) = &opened.block_lens_bytes else {
        return file;
    };
    let frame = [file.head_len_bytes, file.foot_len_bytes];
    let framing_blocks = frame.iter().filter(|len| **len > 0).count();
    let head_fits = file.head_len_bytes == 0 || lens.first() == Some(&file.head_len_bytes);
    let foot_fits = file.foot_len_bytes == 0 || lens.last() == Some(&file.foot_len_bytes);
    if head_fits && foot_fits && lens.len() > framing_blocks {
        file.commits = u32::try_from(lens.len() - framing_blocks).unwrap_or(FULL);
    } else {
        file.commits = FULL;
    }
    file
}
