//! Looking the whole lake through, and removing what a look has made. All of it blocks.

use std::fs;
use std::io;
use std::num::NonZeroU16;
use std::path::Path;

use tokio::sync::mpsc;

use super::super::{Found, LakeError, LakePath, Unread, Version};
use super::disk::sync_folder;
use super::files::Folder;

/// Takes no locks: a silt may be at work.
pub(super) fn walk(
    root: &Path,
    folder: &str,
    page_files: NonZeroU16,
    pages: &mpsc::Sender<Vec<Found>>,
) -> Result<Vec<Unread>, LakeError> {
    if !root.is_dir() {
        let reason = "no such folder".to_owned();
        let root = root.display().to_string();
        return Err(LakeError::NoRoot { root, reason });
    }
    let mut walk = Walk {
        root,
        page_files: page_files.get().into(),
        pages,
        page: Vec::new(),
        folders: Vec::new(),
    };
    let mut unread = Vec::new();
    // What was asked for must be read; beside silt's folders there may be anybody's, as at the root of a
    // mount.
    let mut is_wanted = walk.read(folder)?;
    while let Some(folder) = walk.folders.pop().filter(|_| is_wanted) {
        is_wanted = match walk.read(&folder) {
            Err(LakeError::Forbidden { reason, .. }) => {
                unread.push(Unread { folder, reason });
                true
            }
            read => read?,
        };
    }
    walk.send();
    Ok(unread)
}

struct Walk<'a> {
    root: &'a Path,
    page_files: usize,
    pages: &'a mpsc::Sender<Vec<Found>>,
    page: Vec<Found>,
    /// Those that are still to be read.
    folders: Vec<String>,
}

impl Walk<'_> {
    /// Reads one folder. Returns whether anybody still listens.
    fn read(&mut self, folder: &str) -> Result<bool, LakeError> {
        let path = self.root.join(folder);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(LakeError::from_reading(&path, error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| LakeError::from_reading(&path, error))?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(LakeError::from_reading(&entry.path(), error)),
            };
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            if metadata.is_dir() {
                self.folders.push(match folder {
                    "" => name,
                    above => format!("{above}/{name}"),
                });
            } else if metadata.is_file() {
                self.page.push(Found {
                    path: LakePath {
                        folder: folder.to_owned(),
                        name,
                    },
                    len_bytes: metadata.len(),
                });
            }
            if self.page.len() >= self.page_files && !self.send() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends what was found. Returns whether anybody listens.
    fn send(&mut self) -> bool {
        let page = std::mem::take(&mut self.page);
        page.is_empty() || self.pages.blocking_send(page).is_ok()
    }
}

/// Removes a file that must be in this state.
pub(super) fn remove(folder: &Folder, name: &str, version: &Version) -> Result<(), LakeError> {
    let path = folder.file(name);
    folder.expect(&path, version)?;
    fs::remove_file(&path)
        .and_then(|()| sync_folder(folder.path()))
        .map_err(|error| folder.error(&path, error))
}
