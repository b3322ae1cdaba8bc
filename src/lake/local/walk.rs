//! Lists all files below a folder, one folder at a time.

use std::fs;
use std::io;
use std::path::Path;

use futures::TryStreamExt as _;
use futures::stream::{self, BoxStream, StreamExt as _};

use super::super::{FileInfo, LakeError, LakePath, UnreadableFolder, Walked};
use super::LocalLake;

/// All files below a folder. Takes no locks: another silt may be writing.
pub(super) fn walk(
    lake: &LocalLake,
    folder: &str,
) -> BoxStream<'static, Result<Walked, LakeError>> {
    let lake = lake.clone();
    let wanted = folder.to_owned();
    // Folders that are still to be read.
    let folders = stream::try_unfold(vec![wanted.clone()], move |mut rest| {
        let (lake, wanted) = (lake.clone(), wanted.clone());
        async move {
            let Some(folder) = rest.pop() else {
                return Ok(None);
            };
            let is_wanted = folder == wanted;
            let name = folder.clone();
            let read = lake
                .blocking(move |shared| read(&shared.root, &name, is_wanted))
                .await;
            let walked = match read {
                Ok(Read { files, subfolders }) => {
                    rest.extend(subfolders);
                    files.into_iter().map(Walked::File).collect()
                }
                // The folder that was asked for must be readable. Subfolders may be anyone's, as at the root
                // of a mount.
                Err(LakeError::Forbidden { reason, .. }) if !is_wanted => {
                    vec![Walked::Unreadable(UnreadableFolder { folder, reason })]
                }
                Err(error) => return Err(error),
            };
            Ok(Some((stream::iter(walked.into_iter().map(Ok)), rest)))
        }
    });
    folders.try_flatten().boxed()
}

/// What one folder holds.
#[derive(Default)]
struct Read {
    files: Vec<FileInfo>,
    subfolders: Vec<String>,
}

fn read(root: &Path, folder: &str, is_wanted: bool) -> Result<Read, LakeError> {
    if is_wanted && !root.is_dir() {
        return Err(LakeError::NoRoot {
            root: root.display().to_string(),
            reason: "no such folder".to_owned(),
        });
    }
    let path = root.join(folder);
    let mut found = Read::default();
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(LakeError::from_read(&path, error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| LakeError::from_read(&path, error))?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(LakeError::from_read(&entry.path(), error)),
        };
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        if metadata.is_dir() {
            found.subfolders.push(match folder {
                "" => name,
                parent => format!("{parent}/{name}"),
            });
        } else if metadata.is_file() {
            found.files.push(FileInfo {
                path: LakePath {
                    folder: folder.to_owned(),
                    name,
                },
                len_bytes: metadata.len(),
            });
        }
    }
    Ok(found)
}
