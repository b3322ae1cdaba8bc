//! What can go wrong at a lake, by meaning rather than by status code.

use std::io;

use silt_core::failure::{Disposition, Failure};
use silt_core::file::tail::Damage;

/// Error of the SDK or the operating system underneath.
type Source = Box<dyn std::error::Error + Send + Sync>;

/// An error of a lake.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The file isn't what the caller thought: somebody else wrote it.
    #[error("{path} was changed by another writer")]
    Stale {
        /// The file.
        path: String,
    },
    /// The root isn't there.
    #[error("{root} is not there; create it, or let silt create it at its start: {reason}")]
    NoRoot {
        /// The file system or folder.
        root: String,
        /// What the lake said.
        reason: String,
    },
    /// The credential is refused.
    #[error("the lake refuses the credential: {reason}; {mend}")]
    Unauthenticated {
        /// What the lake said.
        reason: String,
        /// What to look at.
        mend: &'static str,
    },
    /// Entra ID gives no token, so the lake wasn't asked.
    #[error("no token for the lake: {reason}; {mend}")]
    NoToken {
        /// What the credential said.
        reason: String,
        /// Whether that passes by itself: the network, or a service that can't serve now.
        is_passing: bool,
        /// What to look at.
        mend: &'static str,
    },
    /// The credential is good but not for this.
    #[error("the lake forbids it: {reason}; {mend}")]
    Forbidden {
        /// What the lake said.
        reason: String,
        /// What to grant.
        mend: &'static str,
    },
    /// An immutability policy, a lease or a file of another kind stands in the way.
    #[error(
        "{path} can't be appended to: {reason}; lift what protects it, or move it out of the lake"
    )]
    Blocked {
        /// The file.
        path: String,
        /// What the lake said.
        reason: String,
    },
    /// A file isn't what silt writes.
    #[error("{path}: {damage}")]
    Damaged {
        /// The file.
        path: String,
        /// How.
        damage: Damage,
    },
    /// The lake is busy or broken.
    #[error("the lake can't serve now: {reason}")]
    Unavailable {
        /// What the lake said.
        reason: String,
        /// The delay that it asked for, in milliseconds.
        after_ms: Option<u64>,
        /// What the SDK said.
        #[source]
        source: Option<Source>,
    },
    /// No answer.
    #[error("the lake gave no answer within {limit_ms} ms (LAKE_TIMEOUT_SECONDS)")]
    TimedOut {
        /// The limit.
        limit_ms: u64,
    },
    /// The disk is full.
    #[error("no space left at {path}; free some, silt goes on by itself")]
    Full {
        /// Where.
        path: String,
    },
    /// Another silt holds the folder at this moment.
    #[error("{path} is locked by another process")]
    Locked {
        /// The lock file.
        path: String,
    },
    /// The file system failed.
    #[error("{path}: {source}; {mend}")]
    Io {
        /// The file.
        path: String,
        /// How.
        source: io::Error,
        /// What to look at.
        mend: &'static str,
    },
    /// The lake refused the request for a reason that silt has no word for.
    #[error("the lake refused the request: {reason}")]
    Refused {
        /// What the lake said.
        reason: String,
    },
}

impl LakeError {
    /// What a feed does about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Stale { .. } => Disposition::Reload,
            Self::NoToken {
                is_passing: true, ..
            } => Disposition::RETRY,
            Self::NoToken { .. }
            | Self::NoRoot { .. }
            | Self::Unauthenticated { .. }
            | Self::Forbidden { .. }
            | Self::Blocked { .. }
            | Self::Damaged { .. }
            | Self::Refused { .. } => Disposition::Halt,
            Self::Unavailable { after_ms, .. } => Disposition::Retry {
                after_ms: *after_ms,
            },
            Self::TimedOut { .. } | Self::Full { .. } | Self::Locked { .. } | Self::Io { .. } => {
                Disposition::RETRY
            }
        }
    }

    /// The variant in a word, for counting.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Stale { .. } => "lake_stale",
            Self::NoRoot { .. } => "lake_no_root",
            Self::Unauthenticated { .. } => "lake_unauthenticated",
            Self::NoToken { .. } => "lake_no_token",
            Self::Forbidden { .. } => "lake_forbidden",
            Self::Blocked { .. } => "lake_blocked",
            Self::Damaged { .. } => "lake_damaged",
            Self::Unavailable { .. } => "lake_unavailable",
            Self::TimedOut { .. } => "lake_timed_out",
            Self::Full { .. } => "lake_full",
            Self::Locked { .. } => "lake_locked",
            Self::Io { .. } => "lake_io",
            Self::Refused { .. } => "lake_refused",
        }
    }

    /// Sorts an error of the file system.
    pub(super) fn from_io(path: &std::path::Path, source: io::Error) -> Self {
        Self::sorted(path, source, "give silt's user the right to write there")
    }

    /// The same where something was to be read.
    pub(super) fn from_reading(path: &std::path::Path, source: io::Error) -> Self {
        Self::sorted(path, source, "give silt's user the right to read there")
    }

    fn sorted(path: &std::path::Path, source: io::Error, mend: &'static str) -> Self {
        let path = path.display().to_string();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Forbidden {
                    reason: format!("{path}: {source}"),
                    mend,
                }
            }
            io::ErrorKind::AlreadyExists => Self::Stale { path },
            kind => Self::Io {
                path,
                source,
                mend: mend_of(kind),
            },
        }
    }
}

fn mend_of(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::NotADirectory => "a file is where a folder should be: move it away",
        io::ErrorKind::FileTooLarge => {
            "raise the process's limit (ulimit -f) or that of the file system, or lower MAX_FILE_SIZE"
        }
        _ => "look at the disk and its mount",
    }
}

impl From<&LakeError> for Failure {
    fn from(error: &LakeError) -> Self {
        Self {
            disposition: error.disposition(),
            cause: error.cause(),
            message: format!("lake: {error}"),
        }
    }
}
