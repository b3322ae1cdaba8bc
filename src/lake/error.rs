//! Errors of a lake, by what they mean rather than by status code.

use std::io;

use rustix::io::Errno;
use silt_core::failure::{Disposition, Failure};
use silt_core::file::damage::Damage;

/// An error of the SDK or the operating system.
type Source = Box<dyn std::error::Error + Send + Sync>;

/// An error of a lake.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The file is not in the state that the caller knows: another writer changed it.
    #[error("{path} was changed by another writer")]
    Stale {
        /// The file.
        path: String,
    },
    /// The root does not exist.
    #[error("{root} does not exist: {reason}; create it, or restart silt, which creates it")]
    NoRoot {
        /// The file system or folder.
        root: String,
        /// The lake's message.
        reason: String,
    },
    /// The lake rejects the credential.
    #[error("the lake refuses the credential: {reason}; {remedy}")]
    Unauthenticated {
        /// The lake's message.
        reason: String,
        /// What to check.
        remedy: &'static str,
    },
    /// No token from Entra ID, so no request was sent to the lake.
    #[error("no token for the lake: {reason}; {remedy}")]
    NoToken {
        /// The credential's message.
        reason: String,
        /// Whether it passes by itself: the network failed, or the login service is busy.
        is_transient: bool,
        /// What to check.
        remedy: &'static str,
    },
    /// The credential is valid but lacks a permission.
    #[error("the lake forbids it: {reason}; {remedy}")]
    Forbidden {
        /// The lake's message.
        reason: String,
        /// What to grant or to enable.
        remedy: &'static str,
    },
    /// The file is protected, or another tool wrote it.
    #[error("{path} can't be appended to: {reason}; {remedy}")]
    Blocked {
        /// The file.
        path: String,
        /// The lake's message.
        reason: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The content of a file is not what silt writes.
    #[error("{path}: {damage}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        damage: Damage,
    },
    /// The lake is busy, broken or out of reach.
    #[error("the lake is unavailable: {reason}")]
    Unavailable {
        /// The lake's message.
        reason: String,
        /// The delay that it asks for, in milliseconds.
        after_ms: Option<u64>,
        /// The SDK's error, if there was no response.
        #[source]
        source: Option<Source>,
    },
    /// No response within the timeout.
    #[error("the lake did not respond within {limit_ms} ms (LAKE_TIMEOUT_SECONDS)")]
    TimedOut {
        /// The timeout.
        limit_ms: u64,
    },
    /// The disk is full.
    #[error("no space left at {path}; free some space; silt then resumes by itself")]
    Full {
        /// The file or folder.
        path: String,
    },
    /// Another process is writing in the folder.
    #[error("{path} is locked by another process")]
    Locked {
        /// The lock file.
        path: String,
    },
    /// The lake takes no file of this name or path, however often it is tried.
    #[error(
        "{path}: {reason}: the lake can't hold a file of this name; exclude the collection (`!name` in \
         MONGODB_COLLECTIONS), or use a lake with a shorter path (LAKE_URL)"
    )]
    Unnameable {
        /// The file or folder.
        path: String,
        /// The lake's message.
        reason: String,
    },
    /// The file system failed.
    #[error("{path}: {source}; {remedy}")]
    Io {
        /// The file.
        path: String,
        /// The system's error.
        source: io::Error,
        /// What to check.
        remedy: &'static str,
    },
    /// The lake rejected the request for a reason that silt doesn't expect.
    #[error("the lake rejected the request: {reason}")]
    Refused {
        /// The lake's message.
        reason: String,
    },
}

impl LakeError {
    /// What the state machine does about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Stale { .. } => Disposition::Reload,
            Self::NoToken {
                is_transient: true, ..
            } => Disposition::RETRY,
            Self::NoToken { .. }
            | Self::NoRoot { .. }
            | Self::Unauthenticated { .. }
            | Self::Forbidden { .. }
            | Self::Blocked { .. }
            | Self::Damaged { .. }
            | Self::Unnameable { .. }
            | Self::Refused { .. } => Disposition::Halt,
            Self::Unavailable { after_ms, .. } => Disposition::Retry {
                after_ms: *after_ms,
            },
            Self::TimedOut { .. } | Self::Full { .. } | Self::Locked { .. } | Self::Io { .. } => {
                Disposition::RETRY
            }
        }
    }

    /// The variant as a label value of a metric.
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
            Self::Unnameable { .. } => "lake_unnameable",
            Self::Io { .. } => "lake_io",
            Self::Refused { .. } => "lake_refused",
        }
    }

    /// Sorts an error of the file system from a write.
    pub(super) fn from_write(path: &std::path::Path, source: io::Error) -> Self {
        Self::sorted(path, source, "give silt's user permission to write there")
    }

    /// Sorts an error of the file system from a read.
    pub(super) fn from_read(path: &std::path::Path, source: io::Error) -> Self {
        Self::sorted(path, source, "give silt's user permission to read there")
    }

    fn sorted(path: &std::path::Path, source: io::Error, remedy: &'static str) -> Self {
        let path = path.display().to_string();
        if is_of_name(&source) {
            let reason = source.to_string();
            return Self::Unnameable { path, reason };
        }
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Forbidden {
                    reason: format!("{path}: {source}"),
                    remedy,
                }
            }
            io::ErrorKind::AlreadyExists => Self::Stale { path },
            kind => Self::Io {
                path,
                source,
                remedy: remedy_of(kind),
            },
        }
    }
}

/// Whether the file system refuses a name: it is too long, or has a character that the file system hasn't (`EILSEQ`,
/// or `EINVAL` as FAT and network file systems answer).
fn is_of_name(source: &io::Error) -> bool {
    matches!(
        source.kind(),
        io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput
    ) || source.raw_os_error() == Some(Errno::ILSEQ.raw_os_error())
}

fn remedy_of(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::NotADirectory => {
            "a file has the name of a folder that silt needs: move it away"
        }
        io::ErrorKind::FileTooLarge => {
            "raise the process's limit (ulimit -f) or the file system's, or lower MAX_FILE_SIZE"
        }
        _ => "check the disk and its mount",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_the_file_system_refuses_is_not_tried_again() {
        let path = std::path::Path::new("/lake/a");
        for (errno, is_tried) in [
            (Errno::NAMETOOLONG, false),
            (Errno::INVAL, false),
            (Errno::ILSEQ, false),
            (Errno::IO, true),
            (Errno::NOTDIR, true),
        ] {
            for sort in [LakeError::from_write, LakeError::from_read] {
                let error = sort(path, errno.into());
                let expected = if is_tried {
                    Disposition::RETRY
                } else {
                    Disposition::Halt
                };
                assert_eq!(error.disposition(), expected, "{error}");
                assert_eq!(error.to_string().contains("`!name`"), !is_tried, "{error}");
            }
        }
    }
}
