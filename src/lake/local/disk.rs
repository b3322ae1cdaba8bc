//! Building blocks of the local lake: durable writes, atomic renames, and versions of files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::super::Version;

/// Copies a range of a file into another, to this offset.
pub(super) fn copy_range(
    from: &File,
    to: &File,
    range: Range<u64>,
    to_offset: u64,
) -> io::Result<()> {
    let (mut from, mut to) = (from, to);
    from.seek(SeekFrom::Start(range.start))?;
    to.seek(SeekFrom::Start(to_offset))?;
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

/// Creates a file. One that exists is removed and not overwritten: somebody may still read it.
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

/// Renames a file to a name that must be free.
pub(super) fn publish_new(new: &Path, path: &Path) -> io::Result<()> {
    match renameat_with(CWD, new, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        // The file system lacks the flag. A link fails in the same way if the name is taken.
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::hard_link(new, path)?;
            fs::remove_file(new)
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Whether the file that was replaced is now where its replacement was. Some file systems can't do that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchanged {
    Yes,
    No,
}

/// Replaces the published file with `next`.
pub(super) fn publish_over(next: &Path, path: &Path) -> io::Result<Exchanged> {
    match renameat_with(CWD, next, CWD, path, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(Exchanged::Yes),
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(next, path).map(|()| Exchanged::No),
        Err(errno) => Err(errno.into()),
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The version of a file. Each commit changes its inode or its length: a file grows only while it is hidden.
pub(super) fn version(metadata: &fs::Metadata) -> Version {
    let (inode, len) = (metadata.ino(), metadata.len());
    let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    Version::new(&format!("{inode}-{len}-{seconds}.{nanoseconds}"))
}
