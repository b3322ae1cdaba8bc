//! The values that lakes take and return.

use std::fmt;

use silt_core::file::version::Version;

/// A path below the lake's root or prefix: `folder/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LakePath {
    /// The folder, its levels separated by `/`. Empty for the root.
    pub folder: String,
    /// The file's name within the folder.
    pub name: String,
}

impl fmt::Display for LakePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.folder, self.name)
    }
}

/// What a kind of lake limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LakeLimits {
    /// The most commits that one file can take. `None` if commits leave no trace in how the lake stores a
    /// file, so that `MAX_FILE_COMMITS` doesn't apply.
    pub commits_per_file: Option<u32>,
}

/// The state of a file.
#[derive(Clone, Debug)]
pub struct FileState {
    /// The version to read it and to append to it.
    pub version: Version,
    /// Its length.
    pub len_bytes: u64,
    /// Where it can be spliced.
    pub segments: Segments,
}

/// Where a lake can splice a file: an append replaces the head and moves the foot, so each must be a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segments {
    /// Anywhere.
    Arbitrary,
    /// Only between segments of these lengths. Each commit has added one for its chunk.
    Fixed(Vec<u64>),
    /// Nowhere: another tool wrote the file in segments that silt can't join its own to.
    Foreign,
}

/// What an append builds on.
#[derive(Clone, Copy, Debug)]
pub struct Base<'a> {
    /// The file's state.
    pub version: &'a Version,
    /// Length of the head, which is replaced.
    pub head_len_bytes: u64,
    /// Length of the foot, which stays the file's end.
    pub foot_len_bytes: u64,
}

/// A file as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Where it is.
    pub path: LakePath,
    /// Its length.
    pub len_bytes: u64,
}

/// An item of [`Lake::walk`](super::Lake::walk).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Walked {
    /// A file.
    File(FileInfo),
    /// A subfolder whose files can't be listed.
    Unreadable(UnreadableFolder),
}

/// A folder that silt lacks the permission to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableFolder {
    /// Its path below the root.
    pub folder: String,
    /// The error.
    pub reason: String,
}

/// A small file, read whole.
#[derive(Clone, Debug)]
pub struct SmallFile {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its state.
    pub version: Version,
}

/// Whether [`Lake::prepare`](super::Lake::prepare) had to create the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// It existed.
    Existed,
    /// It was created.
    Created,
}
