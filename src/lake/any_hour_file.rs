//! Finds out whether the lake holds changes of a feed that has no checkpoint.

use std::future;

use futures::TryStreamExt as _;

use super::{Lake, LakeError, LakePath, Walked, is_hour_file};
use silt_core::namespace::selection::Watched;

/// Any hour file of the watched collections. The search ends with the first one.
///
/// # Errors
///
/// The lake can't be listed.
pub async fn any_hour_file(
    lake: &dyn Lake,
    watched: &Watched,
) -> Result<Option<LakePath>, LakeError> {
    let files = lake.walk("").try_filter_map(|walked| {
        let path = match walked {
            Walked::File(file) => Some(file.path),
            Walked::Unreadable(_) => None,
        };
        let is_wanted =
            |path: &LakePath| is_hour_file(&path.name) && watched.carries_folder(&path.folder);
        future::ready(Ok(path.filter(is_wanted)))
    });
    std::pin::pin!(files).try_next().await
}
