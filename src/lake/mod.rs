//! Where the files go: one trait, two lakes.
//!
//! A file is a head, chunks and a foot. [`Lake::append`] replaces the head, adds one chunk and moves
//! the foot on, all at once or not at all, and only if the file is still what the caller thinks it
//! is. `tests/lake_conformance.rs` holds both lakes to that.

pub mod azure;
mod error;
pub mod gaps;
pub mod lines;
pub mod local;
mod orphan;
pub mod tail;

use std::fmt;
use std::num::NonZeroU16;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;

pub use error::LakeError;
pub use orphan::orphan;
use silt_core::file::addition::Addition;
use silt_core::namespace::names;

/// A path in the lake, below its root or prefix: `folder/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LakePath {
    /// Folder, `/` between its levels.
    pub folder: String,
    /// Name of the file within it.
    pub name: String,
}

impl fmt::Display for LakePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.folder, self.name)
    }
}

/// The state of a file that a write is made against. Opaque outside the lake that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    tag: String,
    /// Block ids of an Azure block blob, in order.
    blocks: Arc<Vec<Vec<u8>>>,
}

/// A file that is there.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its state.
    pub version: Version,
    /// Its length.
    pub len_bytes: u64,
    /// Lengths of its blocks, where the lake keeps files as blocks of the writer's making. `None` if
    /// the lake can append to any file.
    pub block_lens_bytes: Option<Vec<u64>>,
}

/// What an append builds on.
#[derive(Clone, Copy, Debug)]
pub struct Base<'a> {
    /// The file's state.
    pub version: &'a Version,
    /// Length of the head that is replaced.
    pub head_len_bytes: u64,
    /// Length of the foot that moves on.
    pub foot_len_bytes: u64,
}

/// A file in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name within the folder.
    pub name: String,
    /// Its length.
    pub len_bytes: u64,
}

/// A file anywhere below the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: LakePath,
    /// Its length.
    pub len_bytes: u64,
}

/// A folder that may not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Its path below the root.
    pub folder: String,
    /// Why.
    pub reason: String,
}

/// A small file, read whole.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its state.
    pub version: Version,
}

/// Whether a lake was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// It was.
    Found,
    /// It was created.
    Created,
}

/// A place that keeps files.
///
/// Each method's errors are those of [`LakeError`], whose disposition says what to do.
#[async_trait]
pub trait Lake: Send + Sync + fmt::Debug {
    /// Makes sure that the root (the file system, the folder) is there.
    async fn prepare(&self) -> Result<Prepared, LakeError>;

    /// The files right in a folder, in no order. A folder that isn't there has none.
    async fn list(&self, folder: &str) -> Result<Vec<Listed>, LakeError>;

    /// Sends all files below a folder, those of deeper folders too, in pages of at most this many and
    /// in no order; an empty folder stands for the whole lake. Changes nothing, and leaves out what is hidden. Ends early
    /// if nobody takes the pages. Answers with the deeper folders that it may not read.
    async fn walk(
        &self,
        folder: &str,
        page_files: NonZeroU16,
        pages: mpsc::Sender<Vec<Found>>,
    ) -> Result<Vec<Unread>, LakeError>;

    /// The state of a file, or `None` if it isn't there.
    async fn open(&self, path: &LakePath) -> Result<Option<Opened>, LakeError>;

    /// Reads a part of a file in this very state.
    async fn read(
        &self,
        path: &LakePath,
        version: &Version,
        range: Range<u64>,
    ) -> Result<Vec<u8>, LakeError>;

    /// Makes a commit: atomic, durable when it returns, refused with [`LakeError::Stale`] unless the
    /// file is as `base` says (`None`: not there).
    async fn append(
        &self,
        path: &LakePath,
        base: Option<Base<'_>>,
        addition: &Addition,
    ) -> Result<Version, LakeError>;

    /// Says that nothing is appended to a file any more: what is kept for the next append may go. An
    /// hour file is closed by its successor.
    async fn close(&self, _path: &LakePath) {}

    /// Reads a small file whole, or `None` if it isn't there.
    async fn get(&self, path: &LakePath) -> Result<Option<Object>, LakeError>;

    /// Writes a small file whole, under the same condition as [`Lake::append`].
    async fn put(
        &self,
        path: &LakePath,
        base: Option<&Version>,
        bytes: Vec<u8>,
    ) -> Result<Version, LakeError>;

    /// Removes a file that a look at the lake has made, if it is still in this state. Refuses whatever
    /// isn't below silt's own folder: nothing that holds changes is ever removed.
    async fn remove_probe(&self, path: &LakePath, version: &Version) -> Result<(), LakeError>;
}

/// Makes sure that a file may be removed: it lies in silt's own folder.
fn expect_own(path: &LakePath) -> Result<(), LakeError> {
    let first = path.folder.split('/').next();
    if first == Some(names::OWN_FOLDER) && !path.folder.split('/').any(|part| part == "..") {
        return Ok(());
    }
    Err(LakeError::Refused {
        reason: format!("{path} isn't in silt's own folder and is never removed"),
    })
}
