//! Where files are kept: the [`Lake`] trait and its implementations.
//!
//! An hour file consists of a head, chunks and a foot. [`Lake::append`] replaces the head, adds one chunk
//! before the foot, and does both atomically, provided that the file is still in the state that the caller
//! knows. `tests/lake_conformance` runs one suite against every lake.
//!
//! Nothing outside an implementation depends on how it stores files: a [`Version`] is an opaque token, what a
//! lake can't do without bound it says in [`LakeLimits`], and where it can splice a file in [`Segments`].

mod any_hour_file;
pub mod azure;
pub mod closing_records;
mod error;
pub mod gap_records;
pub mod local;
pub mod tail;
mod types;

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use futures::stream::BoxStream;

pub use any_hour_file::any_hour_file;
pub use error::LakeError;
use silt_core::file::hour_file::HourFileName;
use silt_core::file::layout::Addition;
pub use silt_core::file::version::Version;
use silt_core::namespace::names;
pub use types::{
    Base, FileInfo, FileState, LakeLimits, LakePath, Prepared, Segments, SmallFile,
    UnreadableFolder, Walked,
};

/// A store of files with conditional, atomic writes.
///
/// Every write names the state that it builds on and fails with [`LakeError::Stale`] if the file is in another
/// one. That is what keeps two writers from overwriting each other. [`LakeError::disposition`] says what to do
/// about any other error.
#[async_trait]
pub trait Lake: Send + Sync + fmt::Debug {
    /// Limits of this kind of lake. By default there are none.
    fn limits(&self) -> LakeLimits {
        LakeLimits::default()
    }

    /// Creates the root (a file system or a folder) unless it exists.
    async fn prepare(&self) -> Result<Prepared, LakeError>;

    /// The files directly in a folder, in no particular order. A folder that doesn't exist has none. What it
    /// returns is durable; nothing is changed.
    async fn list(&self, folder: &str) -> Result<Vec<FileInfo>, LakeError>;

    /// All files below a folder, at any depth and in no particular order; an empty path stands for the whole
    /// lake. Hidden files are left out. Nothing is changed, and no lock is taken.
    ///
    /// Memory doesn't grow with the number of files. Subfolders that can't be read are reported as
    /// [`Walked::Unreadable`]; if the folder itself can't be read, the stream ends with an error.
    fn walk<'a>(&'a self, folder: &str) -> BoxStream<'a, Result<Walked, LakeError>>;

    /// Fails with [`LakeError::Unnameable`] if the path of a file is longer than the lake can hold. Nothing is
    /// written.
    async fn expect_holds(&self, path: &LakePath) -> Result<(), LakeError>;

    /// The state of a file, or `None` if it doesn't exist.
    async fn open(&self, path: &LakePath) -> Result<Option<FileState>, LakeError>;

    /// Reads a byte range of a file that must be in this state.
    async fn read(
        &self,
        path: &LakePath,
        version: &Version,
        range: Range<u64>,
    ) -> Result<Vec<u8>, LakeError>;

    /// Commits an addition: atomic, and durable once it returns. `base` is the state of the file, `None` if it
    /// must not exist yet.
    async fn append(
        &self,
        path: &LakePath,
        base: Option<Base<'_>>,
        addition: &Addition,
    ) -> Result<Version, LakeError>;

    /// Releases what is kept for the next append to a file. An hour file needs no call: the first append to
    /// its successor closes it.
    async fn close(&self, _path: &LakePath) {}

    /// Removes temporary files that a killed writer left in a folder, as far as possible. For writers only:
    /// another process that is writing there may have to repeat a commit.
    async fn sweep(&self, _folder: &str) {}

    /// Reads a small file whole, or `None` if it doesn't exist.
    async fn get(&self, path: &LakePath) -> Result<Option<SmallFile>, LakeError>;

    /// Writes a small file whole, atomic and durable. `base` is its state, `None` if it must not exist yet.
    async fn put(
        &self,
        path: &LakePath,
        base: Option<&Version>,
        bytes: Vec<u8>,
    ) -> Result<Version, LakeError>;

    /// Removes a probe file that must be in this state. Refuses any path outside silt's own folder: files that
    /// hold changes are never removed.
    async fn remove_probe(&self, path: &LakePath, version: &Version) -> Result<(), LakeError>;
}

/// Fails unless a path is in silt's own folder, the only one in which silt removes files.
fn expect_own(path: &LakePath) -> Result<(), LakeError> {
    let mut levels = path.folder.split('/');
    if levels.next() == Some(names::OWN_FOLDER) && levels.all(|level| level != "..") {
        return Ok(());
    }
    Err(LakeError::Refused {
        reason: format!("{path} is outside silt's own folder and is never removed"),
    })
}

/// Whether a name is that of an hour file, of which only the newest in a folder grows.
fn is_hour_file(name: &str) -> bool {
    name.parse::<HourFileName>().is_ok()
}
