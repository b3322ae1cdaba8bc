//! A lake in a local folder.
//!
//! Each file that grows has a hidden twin: its state before the last commit. The next commit
//! brings the twin up to date, adds the new chunk, syncs it and exchanges the two (`RENAME_EXCHANGE`). So a
//! commit costs its own bytes and not the file's, and a reader always sees a complete file. If a reader has
//! opened the twin while it was published, the twin is left alone and the file is copied.
//!
//! Hidden files are below `_silt/`, so that a pattern such as `users/*` finds hour files only. A folder on a file
//! system of its own keeps them in itself.

mod disk;
mod folder;
mod lock;
mod open_watch;
#[cfg(test)]
mod tests;
mod twin;
mod walk;

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::stream::BoxStream;

use super::{
    Base, FileInfo, FileState, Lake, LakeError, LakePath, Prepared, SmallFile, Version, Walked,
    expect_own, is_hour_file,
};
use folder::Folder;
use lock::FolderLock;
use open_watch::OpenWatches;
use silt_core::file::layout::Addition;
use twin::Tracked;

/// A lake in a local folder.
#[derive(Clone, Debug)]
pub struct LocalLake {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    nonce: u64,
    state: Mutex<State>,
    /// One lock per folder among the writers of this process. With the lock file alone, two feeds that share
    /// a folder would take each other for another process.
    folders: Mutex<HashMap<PathBuf, Arc<Mutex<FolderState>>>>,
}

#[derive(Debug, Default)]
struct FolderState {
    /// Whether the folder is on a file system of its own.
    is_mounted: bool,
}

#[derive(Debug)]
struct State {
    files: HashMap<PathBuf, Tracked>,
    watches: OpenWatches,
}

impl LocalLake {
    /// Opens a lake in this folder, which need not exist yet.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        let state = State {
            files: HashMap::new(),
            watches: OpenWatches::new(),
        };
        Self {
            shared: Arc::new(Shared {
                root,
                nonce: fastrand::u64(..),
                state: Mutex::new(state),
                folders: Mutex::default(),
            }),
        }
    }

    /// Runs blocking work beside the async runtime.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, LakeError> + Send + 'static,
    ) -> Result<T, LakeError> {
        let shared = Arc::clone(&self.shared);
        let root = shared.root.clone();
        tokio::task::spawn_blocking(move || work(&shared))
            .await
            .unwrap_or_else(|panic| Err(LakeError::from_write(&root, std::io::Error::other(panic))))
    }
}

impl Shared {
    fn folder(&self, folder: &str) -> Folder {
        Folder::new(&self.root, folder, self.nonce)
    }

    /// The lock of a folder within this process.
    fn folder_lock(&self, folder: &Folder) -> Arc<Mutex<FolderState>> {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(folders.entry(folder.path().to_owned()).or_default())
    }

    /// Runs `work` as the folder's only writer.
    fn exclusively<T>(
        &self,
        folder: &Folder,
        work: impl Fn(&Folder, &mut FolderLock) -> Result<T, LakeError>,
    ) -> Result<T, LakeError> {
        let lock = self.folder_lock(folder);
        let mut state = lock.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.is_mounted {
            match work(folder, &mut folder.lock()?) {
                Err(LakeError::Io { source, .. })
                    if source.kind() == io::ErrorKind::CrossesDevices =>
                {
                    state.is_mounted = true;
                }
                done => return done,
            }
        }
        let folder = folder.hiding_inside();
        work(&folder, &mut folder.lock()?)
    }

    /// Takes what is kept of a file, without a twin that a reader has opened.
    fn take(&self, path: &Path) -> Tracked {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { files, watches } = &mut *state;
        let mut tracked = files.remove(path).unwrap_or_default();
        tracked.spare_readers(watches);
        tracked
    }

    /// Keeps a file for the next commit. Of a folder's hour files only the newest grows, so the twins of the
    /// others are removed. Other files grow concurrently, until they are closed.
    fn keep(&self, path: &Path, tracked: Tracked) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_newest = has_hour_file_name(path);
        state.files.retain(|other, tracked| {
            let is_older = is_newest
                && other != path
                && other.parent() == path.parent()
                && has_hour_file_name(other);
            if is_older {
                tracked.discard();
            }
            !is_older
        });
        state.files.insert(path.to_owned(), tracked);
    }

    /// Removes hidden files that this process does not use.
    fn sweep(&self, folder: &Folder) {
        let lock = self.folder_lock(folder);
        let _guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_kept = |path: &Path| {
            let mut twins = state.files.values().filter_map(Tracked::twin_path);
            twins.any(|twin| twin == path)
        };
        folder.sweep(is_kept);
    }

    /// Drops what is kept of a file.
    fn forget(&self, path: &Path) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tracked) = state.files.remove(path) {
            tracked.discard();
        }
    }

    fn watch(&self, path: &Path) -> Option<open_watch::Watch> {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .watches
            .watch(path)
    }
}

fn has_hour_file_name(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(is_hour_file)
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.files.values().for_each(Tracked::discard);
    }
}

#[async_trait]
impl Lake for LocalLake {
    async fn prepare(&self) -> Result<Prepared, LakeError> {
        self.blocking(|shared| folder::prepare_root(&shared.root))
            .await
    }

    async fn list(&self, folder: &str) -> Result<Vec<FileInfo>, LakeError> {
        let folder = self.shared.folder(folder);
        self.blocking(move |_| folder.list()).await
    }

    fn walk<'a>(&'a self, folder: &str) -> BoxStream<'a, Result<Walked, LakeError>> {
        walk::walk(self, folder)
    }

    async fn expect_holds(&self, path: &LakePath) -> Result<(), LakeError> {
        let (folder, name) = (self.shared.folder(&path.folder), path.name.clone());
        self.blocking(move |_| folder.expect_holds(&name)).await
    }

    async fn open(&self, path: &LakePath) -> Result<Option<FileState>, LakeError> {
        let (folder, name) = (self.shared.folder(&path.folder), path.name.clone());
        self.blocking(move |_| folder.open(&name)).await
    }

    async fn read(
        &self,
        path: &LakePath,
        version: &Version,
        range: Range<u64>,
    ) -> Result<Vec<u8>, LakeError> {
        let (folder, name) = (self.shared.folder(&path.folder), path.name.clone());
        let version = version.clone();
        self.blocking(move |_| folder.read(&name, &version, &range))
            .await
    }

    async fn append(
        &self,
        path: &LakePath,
        base: Option<Base<'_>>,
        addition: &Addition,
    ) -> Result<Version, LakeError> {
        let (folder, name) = (self.shared.folder(&path.folder), path.name.clone());
        let addition = addition.clone();
        let base = base.map(|base| {
            (
                base.version.clone(),
                base.head_len_bytes,
                base.foot_len_bytes,
            )
        });
        self.blocking(move |shared| {
            let target = folder.file(&name);
            let watch = |path: &Path| shared.watch(path);
            shared.exclusively(&folder, |folder, lock| {
                let (version, tracked) = match &base {
                    None => folder.create(&name, &addition, watch)?,
                    Some((version, head_len_bytes, foot_len_bytes)) => {
                        let (head_len_bytes, foot_len_bytes) = (*head_len_bytes, *foot_len_bytes);
                        let base = Base {
                            version,
                            head_len_bytes,
                            foot_len_bytes,
                        };
                        let tracked = shared.take(&target);
                        folder.append(&name, base, &addition, tracked, lock, watch)?
                    }
                };
                shared.keep(&target, tracked);
                Ok(version)
            })
        })
        .await
    }

    async fn close(&self, path: &LakePath) {
        let target = self.shared.folder(&path.folder).file(&path.name);
        let closed = self.blocking(move |shared| {
            shared.forget(&target);
            Ok(())
        });
        // A twin that stays is swept at the next start.
        let _ = closed.await;
    }

    async fn sweep(&self, folder: &str) {
        let folder = self.shared.folder(folder);
        let swept = self.blocking(move |shared| {
            shared.sweep(&folder);
            Ok(())
        });
        // Only a panic ends it early, and leftovers do no harm.
        let _ = swept.await;
    }

    async fn get(&self, path: &LakePath) -> Result<Option<SmallFile>, LakeError> {
        let (folder, name) = (self.shared.folder(&path.folder), path.name.clone());
        self.blocking(move |_| folder.get(&name)).await
    }

    async fn put(
        &self,
        path: &LakePath,
        base: Option<&Version>,
        bytes: Vec<u8>,
    ) -> Result<Version, LakeError> {
        let (folder, name) = (self.shared.folder(&path.folder), path.name.clone());
        let base = base.cloned();
        self.blocking(move |shared| {
            shared.exclusively(&folder, |folder, lock| {
                folder.put(&name, base.as_ref(), &bytes, lock)
            })
        })
        .await
    }

    async fn remove_probe(&self, path: &LakePath, version: &Version) -> Result<(), LakeError> {
        expect_own(path)?;
        let (folder, name) = (self.shared.folder(&path.folder), path.name.clone());
        let version = version.clone();
        self.blocking(move |shared| {
            let target = folder.file(&name);
            shared.exclusively(&folder, |folder, _| folder.remove(&name, &version))?;
            shared.forget(&target);
            shared.sweep(&folder);
            Ok(())
        })
        .await
    }
}
