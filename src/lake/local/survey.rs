//! Looking the whole lake through, and removing what a look has made. All of it blocks.

use std::fs;
use std::io;
use std::num::NonZeroU16;
use std::path::Path;

use tokio::sync::mpsc;

use super::super::{Found, LakeError, LakePath, Version};
use super::files::{Folder, sync_folder};

/// Takes no locks: a silt may be at work.
pub(super) fn walk(
    root: &Path,
    folder: String,
    page_files: NonZeroU16,
    pages: &mpsc::Sender<Vec<Found>>,
) -> Result<(), LakeError> {
    if !root.is_dir() {
        let reason = "no such folder".to_owned();
        let root = root.display().to_string();
        return Err(LakeError::NoRoot { root, reason });
    }
    let mut folders = vec![folder];
    let mut page = Vec::new();
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(LakeError::from_io(&path, error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| LakeError::from_io(&path, error))?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(LakeError::from_io(&entry.path(), error)),
            };
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            if metadata.is_dir() {
                folders.push(match folder.as_str() {
                    "" => name,
                    above => format!("{above}/{name}"),
                });
            } else if metadata.is_file() {
                page.push(Found {
                    path: LakePath {
                        folder: folder.clone(),
                        name,
                    },
                    len_bytes: metadata.len(),
                });
            }
            if page.len() >= usize::from(page_files.get())
                && pages.blocking_send(std::mem::take(&mut page)).is_err()
            {
                return Ok(());
            }
        }
    }
    if !page.is_empty() {
        // Whether anybody still listens at the end makes no difference.
        let _ = pages.blocking_send(page);
    }
    Ok(())
}

/// Removes a file that must be in this state.
pub(super) fn remove(folder: &Folder, name: &str, version: &Version) -> Result<(), LakeError> {
    let path = folder.file(name);
    folder.expect(&path, version)?;
    fs::remove_file(&path)
        .and_then(|()| sync_folder(folder.path()))
        .map_err(|error| folder.error(&path, error))
}
