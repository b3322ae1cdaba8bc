//! The lock of a folder against other processes, and against those of older versions.
//!
//! The lock is a file beside the hidden files. Older versions lock a file in the folder itself, which they create
//! when they first write there. So that both exclude each other, for instance during a rolling update, that file is
//! locked too while it is there. It is never created for this, because readers would find it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::super::LakeError;

const LOCK_NAME: &str = ".silt.lock";

/// A lock on a folder, until it is dropped.
#[derive(Debug)]
pub(super) struct FolderLock {
    own: Held,
    /// What older versions lock. `None` if the lock file is not there.
    older: Option<Held>,
    /// Where older versions have their lock file, if it is another one.
    older_path: Option<PathBuf>,
}

/// A lock file that is locked.
#[derive(Debug)]
struct Held {
    path: PathBuf,
    file: File,
}

impl Drop for Held {
    fn drop(&mut self) {
        // Closing it is not enough: a child process that was just forked may hold it a moment longer.
        let _ = self.file.unlock();
    }
}

impl FolderLock {
    /// Locks a folder whose hidden files are in `hidden`. `sorted` makes an error of one of the file system.
    pub(super) fn take(
        hidden: &Path,
        folder: &Path,
        sorted: impl Fn(&Path, io::Error) -> LakeError,
    ) -> Result<Self, LakeError> {
        let own_path = hidden.join(LOCK_NAME);
        let own = Held::create(&own_path)
            .map_err(|error| sorted(&own_path, error))?
            .ok_or_else(|| locked(&own_path))?;
        let older_path = (hidden != folder).then(|| folder.join(LOCK_NAME));
        let older = match &older_path {
            Some(path) => match open_existing(path).map_err(|error| sorted(path, error))? {
                Some(file) => {
                    let held = Held::try_from_file(path, file);
                    let held = held.map_err(|error| sorted(path, error))?;
                    Some(held.ok_or_else(|| locked(path))?)
                }
                None => None,
            },
            None => None,
        };
        Ok(Self {
            own,
            older,
            older_path,
        })
    }

    /// Whether an older version has begun to write in the folder since this lock was taken, so that neither knew
    /// of the other. Waits until it is done, and then excludes it too.
    ///
    /// A file is replaced before this is called. An older version that comes later finds it replaced.
    pub(super) fn await_late_writer(&mut self) -> io::Result<bool> {
        let Some(path) = self.older_path.as_ref().filter(|_| self.older.is_none()) else {
            return Ok(false);
        };
        let Some(file) = open_existing(path)? else {
            return Ok(false);
        };
        file.lock()?;
        let path = path.clone();
        self.older = Some(Held { path, file });
        Ok(true)
    }

    /// Removes the lock file of older versions from the folder. It becomes the lock file, since a process may have
    /// opened it a moment ago and lock it next.
    pub(super) fn leave_folder(self) {
        if let Some(older) = &self.older {
            // One that stays is locked as before.
            let _ = fs::rename(&older.path, &self.own.path);
        }
    }
}

impl Held {
    /// Creates a lock file unless it exists, and locks it. `None` if another process has.
    fn create(path: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        let Some(held) = Self::try_from_file(path, file)? else {
            return Ok(None);
        };
        // Another process may have replaced it since it was opened.
        let inode = held.file.metadata()?.ino();
        let is_there = fs::metadata(path).is_ok_and(|metadata| metadata.ino() == inode);
        Ok(is_there.then_some(held))
    }

    fn try_from_file(path: &Path, file: File) -> io::Result<Option<Self>> {
        let path = path.to_owned();
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { path, file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

fn locked(path: &Path) -> LakeError {
    LakeError::Locked {
        path: path.display().to_string(),
    }
}

fn open_existing(path: &Path) -> io::Result<Option<File>> {
    match OpenOptions::new().write(true).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
