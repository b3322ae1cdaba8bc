//! Why a file in the lake is refused.

/// A file that silt didn't write in this form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Something is missing or wrong in it.
    #[error("the file is damaged: {0}; restore it, or move it out of the lake")]
    Broken(String),
    /// Something is missing or wrong in a line.
    #[error(
        "the file is damaged in line {line} (at byte {offset_bytes}): {what}; restore it, or move it out \
         of the lake"
    )]
    InLine {
        /// Number of the line in the uncompressed text, from 1.
        line: u64,
        /// Offset in the file: of the line, or of the compressed chunk that it begins in.
        offset_bytes: u64,
        /// What is wrong.
        what: String,
    },
    /// It holds another collection's changes.
    #[error(
        "the file holds changes of {found}, not of {expected}; give each database a lake or a \
         prefix (LAKE_URL) of its own"
    )]
    Foreign {
        /// The namespace in the file.
        found: String,
        /// The namespace that the folder belongs to.
        expected: String,
    },
}

pub(crate) fn broken(what: &(impl ToString + ?Sized)) -> Damage {
    Damage::Broken(what.to_string())
}
