//! The two states of a file that grows: the published one, and its hidden twin.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::ioctl_ficlone;

use super::super::{Base, Version};
use super::disk::{copy_range, create_new, version};
use super::open_watch::{OpenWatches, Watch};
use silt_core::file::layout::Addition;

/// What is kept of a file between two commits. silt never opens the files again, so any process that
/// opens them is a reader.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    pub(super) published: Option<Published>,
    pub(super) twin: Option<Twin>,
}

/// The file that readers see.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) file: File,
    pub(super) watch: Option<Watch>,
}

/// The file that was published before the last commit, now hidden.
#[derive(Debug)]
pub(super) struct Twin {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) watch: Option<Watch>,
    pub(super) head_len_bytes: u64,
    pub(super) body_len_bytes: u64,
}

impl Tracked {
    /// The twin's path, if there is a twin.
    pub(super) fn twin_path(&self) -> Option<&Path> {
        self.twin.as_ref().map(|twin| twin.path.as_path())
    }

    /// The published file in this state, and its twin. If another process has written the file since, it is
    /// opened, and there is no twin.
    pub(super) fn of(
        self,
        expected: &Version,
        path: &Path,
    ) -> io::Result<(Published, Option<Twin>)> {
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

impl Twin {
    /// Whether the twin can become the next state: its body begins at the same offset, and nobody has linked to it.
    pub(super) fn fits(&self, base: Base<'_>, addition: &Addition) -> bool {
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
pub(super) fn copy(
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
pub(super) fn finish(next: &File, addition: &Addition, body_len_bytes: u64) -> io::Result<()> {
    let chunk_at = addition.head.len() as u64 + body_len_bytes;
    let foot_at = chunk_at + addition.chunk.len() as u64;
    next.write_all_at(&addition.head, 0)?;
    next.write_all_at(&addition.chunk, chunk_at)?;
    next.write_all_at(&addition.foot, foot_at)?;
    next.set_len(foot_at + addition.foot.len() as u64)?;
    next.sync_all()
}
