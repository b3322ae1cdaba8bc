//! File operations in one folder of a local lake. All of them block.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;
use rustix::io::Errno;

use super::super::{
    Base, FileInfo, FileState, LakeError, LakePath, Prepared, Segments, SmallFile, Version,
};
use super::disk::{
    Exchanged, copy_range, publish_new, publish_over, sync_folder, version, write_new,
};
use super::lock::FolderLock;
use super::open_watch::Watch;
use super::twin::{Published, Tracked, Twin, copy, finish};
use silt_core::file::layout::Addition;
use silt_core::namespace::names;

/// Below silt's own folder: hidden files of all folders whose files readers look for with patterns. The dot keeps
/// it out of listings.
const HIDDEN_FOLDER: &str = ".hidden";
/// Linux takes paths of at most 4,096 bytes with the NUL at their end.
const PATH_MAX_BYTES: usize = 4095;
const TWIN_SUFFIX: &str = ".twin";
const NEW_SUFFIX: &str = ".new";

type Result<T> = std::result::Result<T, LakeError>;

/// One folder of the lake.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    root: PathBuf,
    /// Its path below the root.
    name: String,
    path: PathBuf,
    /// Where its hidden files are, on the same file system.
    hidden: PathBuf,
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
        let path = root.join(folder);
        let hidden = if is_own(folder) {
            path.clone()
        } else {
            root.join(names::OWN_FOLDER)
                .join(HIDDEN_FOLDER)
                .join(folder)
        };
        Self {
            root: root.to_owned(),
            name: folder.to_owned(),
            path,
            hidden,
            nonce,
        }
    }

    /// The same folder with its hidden files in itself, for one on a file system of its own: a file can't be
    /// renamed from one file system to another.
    pub(super) fn hiding_inside(&self) -> Self {
        Self {
            hidden: self.path.clone(),
            ..self.clone()
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
        self.hidden
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
        self.create_folder(&self.path)?;
        self.create_folder(&self.hidden)?;
        FolderLock::take(&self.hidden, &self.path, |path, error| {
            self.error(path, error)
        })
    }

    /// Creates a folder and its parents below the root, but never the root itself.
    fn create_folder(&self, folder: &Path) -> Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        let levels = folder.strip_prefix(&self.root).unwrap_or(folder);
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

    /// Removes the hidden files of a killed process, and those that older versions of silt left in the folder
    /// itself, unless a process is writing here.
    pub(super) fn sweep(&self, is_kept: impl Fn(&Path) -> bool) {
        if !self.path.is_dir() && !self.hidden.is_dir() {
            return;
        }
        let Ok(lock) = self.lock() else { return };
        for folder in [&self.path, &self.hidden] {
            let entries = fs::read_dir(folder).into_iter().flatten();
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
        lock.leave_folder();
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

    /// Fails if the path of a file or of its twin is too long for the file system.
    pub(super) fn expect_holds(&self, name: &str) -> Result<()> {
        let root =
            statvfs(&self.root).map_err(|errno| self.read_error(&self.root, errno.into()))?;
        for path in [self.file(name), self.hidden(name, TWIN_SUFFIX)] {
            let below = path.strip_prefix(&self.root).unwrap_or(&path);
            let mut lens = below.iter().map(OsStr::len);
            if path.as_os_str().len() > PATH_MAX_BYTES
                || lens.any(|len| len as u64 > root.f_namemax)
            {
                return Err(self.read_error(&path, Errno::NAMETOOLONG.into()));
            }
        }
        Ok(())
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
            _ => Err(stale(path)),
        }
    }

    pub(super) fn read(
        &self,
        name: &str,
        expected: &Version,
        range: &Range<u64>,
    ) -> Result<Vec<u8>> {
        let path = self.file(name);
        let mut file = self.open_file(&path)?.ok_or_else(|| stale(&path))?;
        // Checked once it is open: the file of this name may be another a moment later.
        let metadata = file.metadata();
        let metadata = metadata.map_err(|error| self.read_error(&path, error))?;
        if self::version(&metadata) != *expected {
            return Err(stale(&path));
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
        lock: &mut FolderLock,
        watch: impl Fn(&Path) -> Option<Watch>,
    ) -> Result<(Version, Tracked)> {
        let (path, hidden) = (self.file(name), self.hidden(name, TWIN_SUFFIX));
        self.expect(&path, base.version)?;
        let make = || -> io::Result<Option<(Version, Tracked)>> {
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
            let version = version(&next.file.metadata()?);
            let Some(exchanged) =
                self.publish_over(&hidden, &path, base.version, &version, lock)?
            else {
                return Ok(None);
            };
            let twin = (exchanged == Exchanged::Yes).then(|| Twin {
                path: hidden.clone(),
                file: published.file,
                watch: published.watch,
                head_len_bytes: base.head_len_bytes,
                body_len_bytes,
            });
            let published = Some(next);
            Ok(Some((version, Tracked { published, twin })))
        };
        let done = make().map_err(|error| self.error(&path, error))?;
        done.ok_or_else(|| stale(&path))
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

    pub(super) fn put(
        &self,
        name: &str,
        base: Option<&Version>,
        bytes: &[u8],
        lock: &mut FolderLock,
    ) -> Result<Version> {
        let (path, new) = (self.file(name), self.hidden(name, NEW_SUFFIX));
        if let Some(base) = base {
            self.expect(&path, base)?;
        }
        let mut make = || -> io::Result<Option<Version>> {
            let version = version(&write_new(&new, &[bytes])?.metadata()?);
            let Some(base) = base else {
                publish_new(&new, &path)?;
                sync_folder(&self.path)?;
                return Ok(Some(version));
            };
            match self.publish_over(&new, &path, base, &version, lock)? {
                Some(Exchanged::Yes) => {
                    // One that can't be removed is swept at the next start.
                    let _ = fs::remove_file(&new);
                    Ok(Some(version))
                }
                Some(Exchanged::No) => Ok(Some(version)),
                None => Ok(None),
            }
        };
        let done = make().map_err(|error| self.error(&path, error))?;
        done.ok_or_else(|| stale(&path))
    }

    /// Replaces the published file with `next`, durably. `None` if a writer that this one's lock doesn't exclude has
    /// replaced it meanwhile; then its state is the one that counts.
    ///
    /// Only the folder of the published file is synced. If a crash of the system brings back the hidden name, it
    /// is swept.
    fn publish_over(
        &self,
        next: &Path,
        path: &Path,
        expected: &Version,
        next_version: &Version,
        lock: &mut FolderLock,
    ) -> io::Result<Option<Exchanged>> {
        let exchanged = publish_over(next, path)?;
        if lock.await_late_writer()? {
            let is_at = |path: &Path, wanted: &Version| {
                fs::metadata(path).is_ok_and(|metadata| version(&metadata) == *wanted)
            };
            if exchanged == Exchanged::Yes && !is_at(next, expected) && is_at(path, next_version) {
                publish_over(next, path)?;
            }
            if !is_at(path, next_version) {
                sync_folder(&self.path)?;
                return Ok(None);
            }
        }
        sync_folder(&self.path)?;
        Ok(Some(exchanged))
    }
}

fn stale(path: &Path) -> LakeError {
    LakeError::Stale {
        path: path.display().to_string(),
    }
}

/// Whether a folder is silt's own, where nobody looks for files with patterns.
fn is_own(folder: &str) -> bool {
    folder.split('/').next() == Some(names::OWN_FOLDER)
}
