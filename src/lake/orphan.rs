//! Whether the lake holds changes of a feed that has no checkpoint.

use std::num::NonZeroU16;

use tokio::sync::mpsc;

use super::{Found, Lake, LakeError, LakePath};
use silt_core::file::hour_file::HourFileName;
use silt_core::namespace::selection::Watched;

/// Files on a page: most lakes have what is looked for on the first.
const PAGE_FILES: NonZeroU16 = match NonZeroU16::new(1000) {
    Some(files) => files,
    None => NonZeroU16::MIN,
};

/// Some file of changes of what is watched, if there is one.
///
/// # Errors
///
/// The lake can't be listed.
pub async fn orphan(lake: &dyn Lake, watched: &Watched) -> Result<Option<LakePath>, LakeError> {
    let is_meant = |found: &Found| {
        let LakePath { folder, name } = &found.path;
        name.parse::<HourFileName>().is_ok() && watched.carries_folder(folder)
    };
    let (sender, mut pages) = mpsc::channel::<Vec<Found>>(1);
    // It ends the walk by dropping the receiver.
    let look = async move {
        while let Some(page) = pages.recv().await {
            if let Some(found) = page.into_iter().find(is_meant) {
                return Some(found.path);
            }
        }
        None
    };
    let (walked, found) = tokio::join!(lake.walk("", PAGE_FILES, sender), look);
    match found {
        Some(path) => Ok(Some(path)),
        None => walked.map(|_| None),
    }
}
