//! File operations in one folder of a local lake. All of them block.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::ioctl_ficlone;

use super::super::{
    Base, FileInfo, FileState, LakeError, LakePath, Prepared, Segments, SmallFile, Version,
};
use super::disk::{
    copy_range, create_new, publish_new, publish_over, sync_folder, version, write_new,
};
use super::open_watch::{OpenWatches, Watch};
use silt_core::file::layout::Addition;

const LOCK_NAME: &str = ".silt.lock";
const TWIN_SUFFIX: &str = ".twin";
const NEW_SUFFIX: &str = ".new";

type Result<T> = std::result::Result<T, LakeError>;

/// A lock on a folder against other processes, until it is dropped.
#[derive(Debug)]
pub(super) struct FolderLock(File);

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Closing it is not enough: a child process that was just forked may hold it a moment longer.
        let _ = self.0.unlock();
    }
}

/// What is kept of a file between two commits. silt never opens the files again, so whoever opens them is a
/// reader.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    published: Option<Published>,
    twin: Option<Twin>,
}

/// The file that readers see.
#[derive(Debug)]
struct Published {
    file: File,
    watch: Option<Watch>,
}

/// The file that was published before the last commit, now hidden.
#[derive(Debug)]
struct Twin {
    path: PathBuf,
    file: File,
    watch: Option<Watch>,
    head_len_bytes: u64,
    body_len_bytes: u64,
}

impl Tracked {
    /// The twin's path, if there is a twin.
    pub(super) fn twin_path(&self) -> Option<&Path> {
        self.twin.as_ref().map(|twin| twin.path.as_path())
    }

    /// The published file in this state, and its twin. If another process has written the file since, it is
    /// opened, and there is no twin.
    fn of(self, expected: &Version, path: &Path) -> io::Result<(Published, Option<Twin>)> {
        if let Some(published) = self.published
            && version(&published.file.metadata()?) == *expected
        {
            return Ok((published, self.twin));
        }
        let published = Published {
            file: File::open(path)?,
            watch: None,
        };
        Ok((published, None))
    }

    /// Gives up a twin that a reader has opened.
    pub(super) fn spare_readers(&mut self, watches: &mut OpenWatches) {
        let twin = self.twin.take();
        self.twin = twin.filter(|twin| watches.may_overwrite(twin.watch.as_ref()));
    }

    /// Removes the twin from the disk.
    pub(super) fn discard(&self) {
        if let Some(path) = self.twin_path() {
            // One that can't be removed is swept at the next start.
            let _ = fs::remove_file(path);
        }
    }
}

/// One folder of the lake.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    root: PathBuf,
    /// Its path below the root.
    name: String,
    path: PathBuf,
    /// Part of every hidden name, so that no process takes another's hidden file for its own.
    nonce: u64,
}

/// Creates the root unless it exists, and makes sure that it is writable.
pub(super) fn prepare_root(root: &Path) -> Result<Prepared> {
    let prepared = if root.is_dir() {
        Prepared::Existed
    } else {
        Prepared::Created
    };
    fs::create_dir_all(root).map_err(|error| LakeError::from_write(root, error))?;
    // The parent folders may be as new as the root.
    for parent in root
        .ancestors()
        .skip(1)
        .filter(|_| prepared == Prepared::Created)
    {
        if parent.as_os_str().is_empty() {
            break;
        }
        sync_folder(parent).map_err(|error| LakeError::from_write(parent, error))?;
    }
    let probe = root.join(".silt.probe");
    write_new(&probe, &[b""]).map_err(|error| LakeError::from_write(root, error))?;
    fs::remove_file(&probe).map_err(|error| LakeError::from_write(&probe, error))?;
    Ok(prepared)
}

impl Folder {
    pub(super) fn new(root: &Path, folder: &str, nonce: u64) -> Self {
        Self {
            root: root.to_owned(),
            name: folder.to_owned(),
            path: root.join(folder),
            nonce,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn lake_path(&self, name: String) -> LakePath {
        LakePath {
            folder: self.name.clone(),
            name,
        }
    }

    fn hidden(&self, name: &str, suffix: &str) -> PathBuf {
        self.path
            .join(format!(".{name}.{:016x}{suffix}", self.nonce))
    }

    /// Sorts an error of a write. If the root is gone, the error says so.
    fn error(&self, path: &Path, source: io::Error) -> LakeError {
        if self.is_root_missing(&source) {
            return self.no_root(&source);
        }
        LakeError::from_write(path, source)
    }

    /// Sorts an error of a read.
    fn read_error(&self, path: &Path, source: io::Error) -> LakeError {
        if self.is_root_missing(&source) {
            return self.no_root(&source);
        }
        LakeError::from_read(path, source)
    }

    fn is_root_missing(&self, source: &io::Error) -> bool {
        source.kind() == io::ErrorKind::NotFound && !self.root.is_dir()
    }

    fn no_root(&self, source: &io::Error) -> LakeError {
        let (root, reason) = (self.root.display().to_string(), source.to_string());
        LakeError::NoRoot { root, reason }
    }

    /// Locks the folder against other processes. Never waits: a process that was suspended while it held the
    /// lock must not block this one too.
    pub(super) fn lock(&self) -> Result<FolderLock> {
        self.create_folder()?;
        let path = self.path.join(LOCK_NAME);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| self.error(&path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(FolderLock(file)),
            Err(fs::TryLockError::WouldBlock) => Err(LakeError::Locked {
                path: path.display().to_string(),
            }),
            Err(fs::TryLockError::Error(error)) => Err(self.error(&path, error)),
        }
    }

    /// Creates the folder and its parents below the root, but never the root itself.
    fn create_folder(&self) -> Result<()> {
        if self.path.is_dir() {
            return Ok(());
        }
        let levels = self.path.strip_prefix(&self.root).unwrap_or(&self.path);
        let mut path = self.root.clone();
        for level in levels.components() {
            let parent = path.clone();
            path.push(level);
            match fs::create_dir(&path) {
                Ok(()) => sync_folder(&parent).map_err(|error| self.error(&parent, error))?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(self.error(&path, error)),
            }
        }
        Ok(())
    }

    /// Removes the hidden files of a killed process, unless a process is writing here.
    pub(super) fn sweep(&self, is_kept: impl Fn(&Path) -> bool) {
        let Ok(entries) = fs::read_dir(&self.path) else {
            return;
        };
        let Ok(_lock) = self.lock() else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_ours = name.starts_with('.')
                && (name.ends_with(TWIN_SUFFIX) || name.ends_with(NEW_SUFFIX));
            if is_ours && !is_kept(&entry.path()) {
                // One that can't be removed is swept at the next start.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    pub(super) fn list(&self) -> Result<Vec<FileInfo>> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.root.is_dir() => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(self.read_error(&self.path, error)),
        };
        // Callers rely on what they find here, so it must be durable: a process may have been killed between a
        // rename and its sync.
        sync_folder(&self.path).map_err(|error| self.read_error(&self.path, error))?;
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| self.read_error(&self.path, error))?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(self.read_error(&entry.path(), error)),
            };
            if metadata.is_file()
                && let Ok(name) = entry.file_name().into_string()
                && !name.starts_with('.')
            {
                files.push(FileInfo {
                    path: self.lake_path(name),
                    len_bytes: metadata.len(),
                });
            }
        }
        Ok(files)
    }

    fn open_file(&self, path: &Path) -> Result<Option<File>> {
        match File::open(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.root.is_dir() => Ok(None),
            Err(error) => Err(self.read_error(path, error)),
        }
    }

    pub(super) fn open(&self, name: &str) -> Result<Option<FileState>> {
        let path = self.file(name);
        let Some(file) = self.open_file(&path)? else {
            return Ok(None);
        };
        let metadata = file
            .metadata()
            .map_err(|error| self.read_error(&path, error))?;
        let version = version(&metadata);
        Ok(Some(FileState {
            version,
            len_bytes: metadata.len(),
            segments: Segments::Arbitrary,
        }))
    }

    /// Fails unless a file is in this state.
    fn expect(&self, path: &Path, expected: &Version) -> Result<()> {
        match fs::metadata(path) {
            Ok(metadata) if version(&metadata) == *expected => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound || !self.root.is_dir() => {
                Err(self.read_error(path, error))
            }
            _ => Err(LakeError::Stale {
                path: path.display().to_string(),
            }),
        }
    }

    pub(super) fn read(
        &self,
        name: &str,
        expected: &Version,
        range: &Range<u64>,
    ) -> Result<Vec<u8>> {
        let path = self.file(name);
        let stale = || LakeError::Stale {
            path: path.display().to_string(),
        };
        let mut file = self.open_file(&path)?.ok_or_else(stale)?;
        // Checked once it is open: the file of this name may be another a moment later.
        let metadata = file.metadata();
        let metadata = metadata.map_err(|error| self.read_error(&path, error))?;
        if self::version(&metadata) != *expected {
            return Err(stale());
        }
        let len_bytes = range.end.saturating_sub(range.start);
        let mut bytes = Vec::with_capacity(usize::try_from(len_bytes).unwrap_or(0));
        file.seek(SeekFrom::Start(range.start))
            .and_then(|_| file.take(len_bytes).read_to_end(&mut bytes))
            .map_err(|error| self.read_error(&path, error))?;
        Ok(bytes)
    }

    /// Creates a file that must not exist.
    pub(super) fn create(
        &self,
        name: &str,
        addition: &Addition,
        watch: impl Fn(&Path) -> Option<Watch>,
    ) -> Result<(Version, Tracked)> {
        let (path, new) = (self.file(name), self.hidden(name, NEW_SUFFIX));
        let make = || -> io::Result<(Version, Tracked)> {
            let file = write_new(&new, &[&addition.head, &addition.chunk, &addition.foot])?;
            let watch = watch(&new);
            publish_new(&new, &path)?;
            sync_folder(&self.path)?;
            let version = version(&file.metadata()?);
            let published = Some(Published { file, watch });
            Ok((
                version,
                Tracked {
                    published,
                    twin: None,
                },
            ))
        };
        make().map_err(|error| self.error(&path, error))
    }

    /// Appends to a file that must be in the base's state. Returns its new state.
    pub(super) fn append(
        &self,
        name: &str,
        base: Base<'_>,
        addition: &Addition,
        tracked: Tracked,
        watch: impl Fn(&Path) -> Option<Watch>,
    ) -> Result<(Version, Tracked)> {
        let (path, hidden) = (self.file(name), self.hidden(name, TWIN_SUFFIX));
        self.expect(&path, base.version)?;
        let make = || -> io::Result<(Version, Tracked)> {
            let (published, twin) = tracked.of(base.version, &path)?;
            let len_bytes = published.file.metadata()?.len();
            let body_len_bytes = len_bytes - base.head_len_bytes - base.foot_len_bytes;
            let reused = twin.filter(|twin| twin.fits(base, addition));
            let (file, reused_watch) = match reused {
                Some(twin) => {
                    let from = base.head_len_bytes + twin.body_len_bytes;
                    let to = base.head_len_bytes + body_len_bytes;
                    copy_range(&published.file, &twin.file, from..to, from)?;
                    (twin.file, twin.watch)
                }
                None => (
                    copy(&published.file, &hidden, base, body_len_bytes, addition)?,
                    None,
                ),
            };
            finish(&file, addition, body_len_bytes)?;
            let watch = reused_watch.or_else(|| watch(&hidden));
            let next = Published { file, watch };
            let is_exchanged = publish_over(&hidden, &path)?;
            sync_folder(&self.path)?;
            let twin = is_exchanged.then(|| Twin {
                path: hidden.clone(),
                file: published.file,
                watch: published.watch,
                head_len_bytes: base.head_len_bytes,
                body_len_bytes,
            });
            let version = version(&next.file.metadata()?);
            Ok((
                version,
                Tracked {
                    published: Some(next),
                    twin,
                },
            ))
        };
        make().map_err(|error| self.error(&path, error))
    }

    /// Removes a file that must be in this state.
    pub(super) fn remove(&self, name: &str, version: &Version) -> Result<()> {
        let path = self.file(name);
        self.expect(&path, version)?;
        fs::remove_file(&path)
            .and_then(|()| sync_folder(&self.path))
            .map_err(|error| self.error(&path, error))
    }

    pub(super) fn get(&self, name: &str) -> Result<Option<SmallFile>> {
        let path = self.file(name);
        let Some(mut file) = self.open_file(&path)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let metadata = file
            .read_to_end(&mut bytes)
            .and_then(|_| file.metadata())
            .map_err(|error| self.read_error(&path, error))?;
        Ok(Some(SmallFile {
            bytes,
            version: version(&metadata),
        }))
    }

    pub(super) fn put(&self, name: &str, base: Option<&Version>, bytes: &[u8]) -> Result<Version> {
        let (path, new) = (self.file(name), self.hidden(name, NEW_SUFFIX));
        if let Some(base) = base {
            self.expect(&path, base)?;
        }
        let make = || -> io::Result<Version> {
            write_new(&new, &[bytes])?;
            match base {
                Some(_) => fs::rename(&new, &path)?,
                None => publish_new(&new, &path)?,
            }
            sync_folder(&self.path)?;
            fs::metadata(&path).map(|metadata| version(&metadata))
        };
        make().map_err(|error| self.error(&path, error))
    }
}

impl Twin {
    /// Whether the twin can become the next state: its body begins at the same offset, and nobody has linked to it.
    fn fits(&self, base: Base<'_>, addition: &Addition) -> bool {
        // A hard link is a copy that somebody made.
        let is_linked = self
            .file
            .metadata()
            .is_ok_and(|metadata| metadata.nlink() > 1);
        !is_linked
            && self.head_len_bytes == base.head_len_bytes
            && base.head_len_bytes == addition.head.len() as u64
    }
}

/// Copies the body of the file into a new file. A reader may hold the old twin.
fn copy(
    published: &File,
    hidden: &Path,
    base: Base<'_>,
    body_len_bytes: u64,
    addition: &Addition,
) -> io::Result<File> {
    let next = create_new(hidden)?;
    let head_len_bytes = addition.head.len() as u64;
    let is_cloned =
        head_len_bytes == base.head_len_bytes && ioctl_ficlone(&next, published).is_ok();
    if !is_cloned {
        let body = base.head_len_bytes..base.head_len_bytes + body_len_bytes;
        copy_range(published, &next, body, head_len_bytes)?;
    }
    Ok(next)
}

/// Writes head, chunk and foot around a body that is in place, and makes the file durable.
fn finish(next: &File, addition: &Addition, body_len_bytes: u64) -> io::Result<()> {
    let chunk_at = addition.head.len() as u64 + body_len_bytes;
    let foot_at = chunk_at + addition.chunk.len() as u64;
    next.write_all_at(&addition.head, 0)?;
    next.write_all_at(&addition.chunk, chunk_at)?;
    next.write_all_at(&addition.foot, foot_at)?;
    next.set_len(foot_at + addition.foot.len() as u64)?;
    next.sync_all()
}
