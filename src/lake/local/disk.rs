//! What the local lake's operations are made of: durable writes, names that are taken at once, and the state
//! of a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::super::Version;

/// Copies a part of a file into another, at this place.
pub(super) fn copy_range(from: &File, to: &File, range: Range<u64>, at: u64) -> io::Result<()> {
    let (mut from, mut to) = (from, to);
    from.seek(SeekFrom::Start(range.start))?;
    to.seek(SeekFrom::Start(at))?;
    let len_bytes = range.end - range.start;
    let copied = io::copy(&mut from.take(len_bytes), &mut to)?;
    if copied == len_bytes {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Writes a new file, durably.
pub(super) fn write_new(path: &Path, parts: &[&[u8]]) -> io::Result<File> {
    let mut file = create_new(path)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()?;
    Ok(file)
}

/// A new file, also where one was left behind: somebody may still read that one.
pub(super) fn create_new(path: &Path) -> io::Result<File> {
    remove_if_there(path)?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Gives a file its name, which must be free.
pub(super) fn publish_new(new: &Path, path: &Path) -> io::Result<()> {
    match renameat_with(CWD, new, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        // The file system doesn't know the flag; a link is refused likewise if the name is taken.
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::hard_link(new, path)?;
            fs::remove_file(new)
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Puts `next` in place of the published file. Returns whether that one is now in `next`'s place.
pub(super) fn publish_over(next: &Path, path: &Path) -> io::Result<bool> {
    match renameat_with(CWD, next, CWD, path, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(next, path).map(|()| false),
        Err(errno) => Err(errno.into()),
    }
}

/// Makes names durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// A file only ever grows by a commit, in a fresh inode or one that was hidden.
pub(super) fn version(metadata: &fs::Metadata) -> Version {
    let (inode, len) = (metadata.ino(), metadata.len());
    let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    Version {
        tag: format!("{inode}-{len}-{seconds}.{nanoseconds}"),
        blocks: Arc::default(),
    }
}
