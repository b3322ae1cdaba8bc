//! What can go wrong at a checkpoint store, by meaning.

use crate::lake::LakeError;
use crate::source::SourceError;
use silt_core::failure::{Disposition, Failure};

/// An error of a checkpoint store.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Somebody else saved in between.
    #[error("another silt saved the checkpoint of {feed} in between")]
    Conflict {
        /// The feed.
        feed: String,
    },
    /// What is stored is no checkpoint.
    #[error("the checkpoint of {feed} can't be read: {reason}; mend it or delete it")]
    Unreadable {
        /// The feed.
        feed: String,
        /// Why.
        reason: String,
    },
    /// The store doesn't let silt write.
    #[error(
        "silt may not use the checkpoint collection: {message}. Grant readWrite on \
         CHECKPOINT_DATABASE, or keep checkpoints in the lake (CHECKPOINT_STORE=lake)"
    )]
    Forbidden {
        /// What the server said.
        message: String,
    },
    /// MongoDB failed.
    #[error("{0}")]
    Deployment(#[source] SourceError),
    /// The lake failed.
    #[error("{0}")]
    Lake(#[source] LakeError),
    /// No answer.
    #[error("no answer within {limit_seconds} s (MONGODB_TIMEOUT_SECONDS)")]
    TimedOut {
        /// The limit.
        limit_seconds: u64,
    },
}

impl CheckpointError {
    /// What a feed does about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Conflict { .. } => Disposition::Reload,
            Self::Unreadable { .. } | Self::Forbidden { .. } => Disposition::Halt,
            Self::Deployment(error) => error.disposition(),
            Self::Lake(error) => error.disposition(),
            Self::TimedOut { .. } => Disposition::RETRY,
        }
    }
}

impl CheckpointError {
    /// The variant in a word, for counting; that of what is underneath, where that failed.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "checkpoint_conflict",
            Self::Unreadable { .. } => "checkpoint_unreadable",
            Self::Forbidden { .. } => "checkpoint_forbidden",
            Self::TimedOut { .. } => "checkpoint_timed_out",
            Self::Deployment(error) => error.cause(),
            Self::Lake(error) => error.cause(),
        }
    }
}

impl From<&CheckpointError> for Failure {
    fn from(error: &CheckpointError) -> Self {
        Self {
            disposition: error.disposition(),
            cause: error.cause(),
            message: format!("checkpoint: {error}"),
        }
    }
}
