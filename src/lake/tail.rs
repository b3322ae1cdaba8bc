//! Finds a collection's newest hour file and reads what it holds.

use std::num::NonZeroU16;

use tokio::sync::mpsc;

use super::{Found, Lake, LakeError, LakePath, Opened, Version};
use silt_core::file::addition::Extent;
use silt_core::file::hour_file::{HourFile, HourFileName};
use silt_core::file::tail::{Damage, Scan, Step};
use silt_core::namespace::origin::Origin;

/// A newest file keeps being replaced while it is read: after so many times something is wrong.
const READS_MAX: u32 = 5;

/// Files in a page; Azure gives no more.
const PAGE_FILES: NonZeroU16 = match NonZeroU16::new(5000) {
    Some(files) => files,
    None => NonZeroU16::MIN,
};

/// Commits of a file that can't take more, whatever the limit.
const FULL: u32 = u32::MAX;

/// The path of an hour file.
#[must_use]
pub fn path(origin: &Origin, name: HourFileName) -> LakePath {
    LakePath {
        folder: origin.folder(),
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
    newest(lake, origin, Finding::ByList).await
}

/// Reads a collection's newest hour file beside a silt that may be at work: takes no locks, and clears
/// nothing away.
///
/// # Errors
///
/// The same.
pub async fn look(lake: &dyn Lake, origin: &Origin) -> Result<Option<HourFile>, LakeError> {
    let found = newest(lake, origin, Finding::ByWalk).await?;
    Ok(found.map(|(file, _)| file))
}

/// How the newest file is found.
#[derive(Clone, Copy)]
enum Finding {
    /// As a writer does, who clears leftovers away.
    ByList,
    /// As who only looks.
    ByWalk,
}

async fn newest_name(
    lake: &dyn Lake,
    folder: &str,
    finding: Finding,
) -> Result<Option<HourFileName>, LakeError> {
    if let Finding::ByList = finding {
        let files = lake.list(folder).await?;
        return Ok(youngest(files.iter().map(|file| file.name.as_str())));
    }
    let (pages, mut found) = mpsc::channel::<Vec<Found>>(1);
    let gathering = async {
        let mut name = None;
        while let Some(page) = found.recv().await {
            let here = page.iter().filter(|file| file.path.folder == folder);
            let youngest = youngest(here.map(|file| file.path.name.as_str()));
            name = name
                .into_iter()
                .chain(youngest)
                .max_by_key(HourFileName::age_key);
        }
        name
    };
    let (walked, name) = futures::join!(lake.walk(folder, PAGE_FILES, pages), gathering);
    walked.map(|_| name)
}

fn youngest<'a>(names: impl Iterator<Item = &'a str>) -> Option<HourFileName> {
    let names = names.filter_map(|name| name.parse::<HourFileName>().ok());
    names.max_by_key(HourFileName::age_key)
}

/// Reads the file that `find` names.
async fn newest(
    lake: &dyn Lake,
    origin: &Origin,
    finding: Finding,
) -> Result<Option<(HourFile, Version)>, LakeError> {
    let folder = origin.folder();
    for _ in 0..READS_MAX {
        let Some(name) = newest_name(lake, &folder, finding).await? else {
            return Ok(None);
        };
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
    Err(LakeError::Stale { path: folder })
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

fn with_room(mut file: HourFile, opened: &Opened) -> HourFile {
    file.commits = commits(opened, file.extent()).unwrap_or(file.commits);
    file
}

/// The commits that made a file, where its blocks tell. A file that was copied into the lake by another tool
/// has other blocks than silt made. It is read like any other, and what comes next goes to the next part.
pub(crate) fn commits(opened: &Opened, extent: Extent) -> Option<u32> {
    let lens = opened.block_lens_bytes.as_ref()?;
    let frame = [extent.head_len_bytes, extent.foot_len_bytes];
    let framing_blocks = frame.iter().filter(|len| **len > 0).count();
    let head_fits = extent.head_len_bytes == 0 || lens.first() == Some(&extent.head_len_bytes);
    let foot_fits = extent.foot_len_bytes == 0 || lens.last() == Some(&extent.foot_len_bytes);
    Some(if head_fits && foot_fits && lens.len() > framing_blocks {
        u32::try_from(lens.len() - framing_blocks).unwrap_or(FULL)
    } else {
        FULL
    })
}
