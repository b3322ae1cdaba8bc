//! A lake in a local folder.
//!
//! An hour file has a twin in the same folder, hidden, that trails one commit behind. A commit
//! brings the twin up to date, adds the new chunk, syncs it and swaps the two (`RENAME_EXCHANGE`),
//! so it costs its own bytes and not the file's, and a reader always sees a whole file. A twin that
//! a reader still holds from before the swap is left to him, and the file is copied instead.

mod disk;
mod files;
mod readers;
mod survey;

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{
    Base, Found, Lake, LakeError, LakePath, Listed, Object, Opened, Prepared, Unread, Version,
    expect_own,
};
use files::{Folder, Tracked};
use readers::Readers;
use silt_core::file::addition::Addition;
use silt_core::file::hour_file::HourFileName;

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
    /// One writer a folder within the process. The lock file alone would tell feeds that share a
    /// folder that another process holds it.
    folders: Mutex<HashMap<PathBuf, Arc<Mutex<()>>>>,
}

#[derive(Debug)]
struct State {
    files: HashMap<PathBuf, Tracked>,
    readers: Readers,
}

impl LocalLake {
    /// A lake below this folder.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        let state = State {
            files: HashMap::new(),
            readers: Readers::new(),
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
            .unwrap_or_else(|panic| Err(LakeError::from_io(&root, std::io::Error::other(panic))))
    }
}

impl Shared {
    fn folder(&self, folder: &str) -> Folder {
        Folder::new(&self.root, folder, self.nonce)
    }

    /// Whoever holds it is this process's only one who locks the folder.
    fn turn(&self, folder: &Folder) -> Arc<Mutex<()>> {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(folders.entry(folder.path().to_owned()).or_default())
    }

    /// Does something as the folder's only writer.
    fn alone<T>(
        &self,
        folder: &Folder,
        work: impl FnOnce() -> Result<T, LakeError>,
    ) -> Result<T, LakeError> {
        let turn = self.turn(folder);
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let _lock = folder.lock()?;
        work()
    }

    /// Takes what is kept of a file, without a twin that somebody has opened.
    fn take(&self, path: &Path) -> Tracked {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { files, readers } = &mut *state;
        let mut tracked = files.remove(path).unwrap_or_default();
        tracked.spare_readers(readers);
        tracked
    }

    /// Keeps a file; the twins of the folder's older hour files have served. Other files are at work
    /// beside each other, until they are closed.
    fn keep(&self, path: &Path, tracked: Tracked) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_newest = is_hour_file(path);
        state.files.retain(|other, tracked| {
            let is_older = is_newest
                && other != path
                && other.parent() == path.parent()
                && is_hour_file(other);
            if is_older {
                tracked.discard();
            }
            !is_older
        });
        state.files.insert(path.to_owned(), tracked);
    }

    /// Removes what was left behind in a folder.
    fn sweep(&self, folder: &Folder) {
        let turn = self.turn(folder);
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_kept = |path: &Path| {
            let mut twins = state.files.values().filter_map(Tracked::twin_path);
            twins.any(|twin| twin == path)
        };
        folder.sweep(is_kept);
    }

    /// Gives up what is kept of a file that is gone.
    fn forget(&self, path: &Path) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tracked) = state.files.remove(path) {
            tracked.discard();
        }
    }

    fn watch(&self, path: &Path) -> Option<readers::Watch> {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .readers
            .watch(path)
    }
}

/// An hour file, of which only the newest of a folder grows.
fn is_hour_file(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.parse::<HourFileName>().is_ok())
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
        self.blocking(|shared| files::prepare_root(&shared.root))
            .await
    }

    async fn list(&self, folder: &str) -> Result<Vec<Listed>, LakeError> {
        let folder = self.shared.folder(folder);
        self.blocking(move |shared| {
            shared.sweep(&folder);
            folder.list()
        })
        .await
    }

    async fn walk(
        &self,
        folder: &str,
        page_files: NonZeroU16,
        pages: mpsc::Sender<Vec<Found>>,
    ) -> Result<Vec<Unread>, LakeError> {
        let folder = folder.to_owned();
        self.blocking(move |shared| survey::walk(&shared.root, &folder, page_files, &pages))
            .await
    }

    async fn open(&self, path: &LakePath) -> Result<Option<Opened>, LakeError> {
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
            shared.alone(&folder, || {
                let (version, tracked) = match &base {
                    None => folder.create(&name, &addition, watch)?,
                    Some((version, head_len_bytes, foot_len_bytes)) => {
                        let (head_len_bytes, foot_len_bytes) = (*head_len_bytes, *foot_len_bytes);
                        let base = Base {
                            version,
                            head_len_bytes,
                            foot_len_bytes,
                        };
                        folder.append(&name, base, &addition, shared.take(&target), watch)?
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
        // What a panic left is swept at the next start.
        let _ = closed.await;
    }

    async fn get(&self, path: &LakePath) -> Result<Option<Object>, LakeError> {
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
            shared.alone(&folder, || folder.put(&name, base.as_ref(), &bytes))
        })
        .await
    }

    async fn remove_probe(&self, path: &LakePath, version: &Version) -> Result<(), LakeError> {
        expect_own(path)?;
        let (folder, name) = (self.shared.folder(&path.folder), path.name.clone());
        let version = version.clone();
        self.blocking(move |shared| {
            let target = folder.file(&name);
            shared.alone(&folder, || survey::remove(&folder, &name, &version))?;
            shared.forget(&target);
            shared.sweep(&folder);
            Ok(())
        })
        .await
    }
}
