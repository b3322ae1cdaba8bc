//! Errors of a checkpoint store, by meaning.

use crate::lake::LakeError;
use crate::source::SourceError;
use silt_core::failure::{Disposition, Failure};

/// An error of a checkpoint store.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Another silt has saved this checkpoint since it was read.
    #[error("another silt saved the checkpoint of {feed} in between")]
    Conflict {
        /// The feed.
        feed: String,
    },
    /// The stored document isn't a valid checkpoint.
    #[error("the checkpoint of {feed} can't be read: {reason}; fix it or delete it")]
    Unreadable {
        /// The feed.
        feed: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A privilege on the checkpoint collection is missing.
    #[error(
        "silt may not use the checkpoint collection: {message}. Grant readWrite on \
         CHECKPOINT_DATABASE, or keep checkpoints in the lake (CHECKPOINT_STORE=lake)"
    )]
    Forbidden {
        /// What the server said.
        message: String,
    },
    /// An error of MongoDB.
    #[error("{0}")]
    Deployment(#[source] SourceError),
    /// An error of the lake.
    #[error("{0}")]
    Lake(#[source] LakeError),
    /// No answer came within the limit.
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
    /// The variant as a metric's label; for an error of MongoDB or the lake, the label of that error.
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
