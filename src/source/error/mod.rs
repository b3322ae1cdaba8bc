//! Errors of the deployment, by meaning.

mod codes;

pub(crate) use codes::without_command;
use mongodb::error::{Error, ErrorKind};

use silt_core::failure::{Disposition, Failure};
use silt_core::large_event::LargeEvent;
use silt_core::position::{ClusterTime, Position};

/// An error of the deployment.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The resume point is no longer in the oplog (286).
    #[error("the oplog no longer holds the resume point: {message}")]
    HistoryLost {
        /// What the server said.
        message: String,
        /// Where the oplog begins, if that could be found out.
        oldest: Option<ClusterTime>,
    },
    /// The resume token doesn't belong to this stream (260, 280, 464, 50811).
    #[error(
        "the server refuses the resume token: {message}. It belongs to another stream or \
         deployment; if that is intended, delete its checkpoint (in CHECKPOINT_COLLECTION its _id is \
         database.collection; that of a shared stream, database.* or *.*, also needs START_AT)"
    )]
    TokenRefused {
        /// What the server said.
        message: String,
    },
    /// A privilege is missing (13).
    #[error(
        "a privilege is missing: {message}. Grant find and changeStream on the collection (role \
         read on the database)"
    )]
    Unauthorized {
        /// What the server said.
        message: String,
    },
    /// The server refuses the credential (18).
    #[error(
        "the server refuses the credential: {message}. Check user, password and authSource in \
         MONGODB_URI"
    )]
    Unauthenticated {
        /// What the server said.
        message: String,
    },
    /// The server isn't a member of a replica set (40573).
    #[error(
        "the server is standalone and has no change streams. Run it as a replica set (one member \
         is enough): --replSet and rs.initiate()"
    )]
    Standalone,
    /// The server is older than [`ServerVersion::LEAST`](super::ServerVersion::LEAST).
    #[error("MongoDB {found} is too old: silt needs 4.4.2 or newer. Upgrade the server")]
    TooOld {
        /// The server's version.
        found: String,
    },
    /// A change is larger than BSON allows (10334).
    #[error(
        "a change is larger than 16 MB, which this server can't send: {message}. Upgrade MongoDB to 6.0.9, 7.0 \
         or newer, which sends it in fragments if no single field is as large; or make changes smaller with \
         FULL_DOCUMENT=default and FULL_DOCUMENT_BEFORE_CHANGE=off; or skip it with ON_LARGE_EVENT=record, which \
         records it in the lake"
    )]
    TooLarge {
        /// What the server said, or the identity of the change.
        message: String,
    },
    /// The fragments of a large change don't belong to one version of it.
    #[error("a change larger than 16 MB came in fragments that don't fit together: {reason}")]
    Misfit {
        /// What doesn't fit.
        reason: String,
    },
    /// A required image is missing (47; before 6.0, 51770).
    #[error(
        "a change has no image, which FULL_DOCUMENT=required or FULL_DOCUMENT_BEFORE_CHANGE=required \
         demands: {message}. Enable changeStreamPreAndPostImages on the collection, or use whenAvailable"
    )]
    NoImage {
        /// What the server said.
        message: String,
    },
    /// The server refuses an option of the stream.
    #[error(
        "the server doesn't take the stream's options: {message}. SHOW_EXPANDED_EVENTS=true and \
         FULL_DOCUMENT=whenAvailable or required need MongoDB 6.0; FULL_DOCUMENT=updateLookup works everywhere"
    )]
    OptionRefused {
        /// What the server said.
        message: String,
    },
    /// The server refuses a regular expression.
    #[error(
        "the server doesn't take a pattern of MONGODB_DATABASE or MONGODB_COLLECTIONS: {message}. Write one \
         that PCRE accepts"
    )]
    PatternRefused {
        /// What the server said.
        message: String,
    },
    /// The server refuses the stages of `PIPELINE`, or they fail on a change.
    #[error(
        "the server can't do what PIPELINE says: {message}. Fix PIPELINE, or remove the stage from it"
    )]
    PipelineRefused {
        /// What the server said.
        message: String,
    },
    /// The connection string is invalid.
    #[error("MONGODB_URI can't be used: {message}")]
    BadUri {
        /// What the driver said.
        message: String,
    },
    /// The server sent an event that can't be archived completely.
    #[error("the server sent a change that can't be read: {reason}")]
    MalformedEvent {
        /// What is wrong with it.
        reason: String,
    },
    /// A stored or received token isn't valid.
    #[error("a resume token can't be read: {reason}")]
    MalformedToken {
        /// What is wrong with it.
        reason: String,
    },
    /// No answer came within the limit.
    #[error("MongoDB gave no answer within {limit_seconds} s (MONGODB_TIMEOUT_SECONDS)")]
    Unanswered {
        /// The limit.
        limit_seconds: u64,
    },
    /// The server closed the stream without an invalidate.
    #[error("the server closed the stream")]
    Closed,
    /// An error that passes: the network, an election, a restart.
    #[error("{message}")]
    Transient {
        /// What the driver said.
        message: String,
        /// The driver's error.
        #[source]
        source: Box<Error>,
    },
    /// An answer that the driver can't read, or a server that it can't work with.
    #[error(
        "the driver can't work with MongoDB's answer: {message}. Check that MONGODB_URI leads to MongoDB 4.4.2 or \
         newer, without a proxy that changes its answers"
    )]
    Incompatible {
        /// What the driver said.
        message: String,
        /// The driver's error.
        #[source]
        source: Box<Error>,
    },
    /// An error with a code that isn't known to pass. If it were retried at short delays, nobody would notice it.
    #[error(
        "MongoDB rejected the request: {message}. Look up the code at \
         https://www.mongodb.com/docs/manual/reference/error-codes and the server's log"
    )]
    Rejected {
        /// What the driver said.
        message: String,
        /// The driver's error.
        #[source]
        source: Box<Error>,
    },
}

impl SourceError {
    /// The error for a known change that can't be sent.
    #[must_use]
    pub fn of_large(event: &LargeEvent) -> Self {
        Self::TooLarge {
            message: event.to_string(),
        }
    }

    /// Whether the server closed the connection in place of an answer.
    #[must_use]
    pub(super) fn is_cut(&self) -> bool {
        use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let Self::Transient { source, .. } = self else {
            return false;
        };
        let kinds = [
            UnexpectedEof,
            ConnectionReset,
            ConnectionAborted,
            BrokenPipe,
        ];
        matches!(source.kind.as_ref(), ErrorKind::Io(error) if kinds.contains(&error.kind()))
    }

    /// The same error with a remark on the position.
    #[must_use]
    pub(super) fn cut_at(self, position: &Position, cuts: u32) -> Self {
        let Self::Transient { message, source } = self else {
            return self;
        };
        let place = match position.cluster_time() {
            Some(time) => format!("the position {time}"),
            None => "the same position".to_owned(),
        };
        Self::Transient {
            message: format!(
                "{message}. The server has closed the connection {cuts} times in a row when asked for the change \
                 after {place}, though it answers other requests: this change is the trouble. Look at the server's log"
            ),
            source,
        }
    }

    /// What a feed does about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::HistoryLost { oldest, .. } => Disposition::HistoryLost { oldest: *oldest },
            Self::TokenRefused { .. }
            | Self::Unauthorized { .. }
            | Self::TooLarge { .. }
            | Self::NoImage { .. }
            | Self::OptionRefused { .. }
            | Self::PatternRefused { .. }
            | Self::PipelineRefused { .. }
            | Self::MalformedEvent { .. }
            | Self::MalformedToken { .. }
            | Self::Incompatible { .. }
            | Self::Rejected { .. } => Disposition::Halt,
            Self::Unauthenticated { .. }
            | Self::Standalone
            | Self::TooOld { .. }
            | Self::BadUri { .. } => Disposition::Exit,
            Self::Misfit { .. }
            | Self::Unanswered { .. }
            | Self::Closed
            | Self::Transient { .. } => Disposition::RETRY,
        }
    }
}

impl SourceError {
    /// Recognizes the driver's errors for a server that is too old for it. Such a server can't be asked for its
    /// version, so the version follows from its wire version.
    #[must_use]
    pub fn too_old(message: &str) -> Option<Self> {
        if message.contains("no such command: 'hello'") {
            let found = "4.4.1, or older,".to_owned();
            return Some(Self::TooOld { found });
        }
        let (_, rest) = message.split_once(" reports wire version ")?;
        let (wire_version, _) = rest.split_once(',')?;
        let found = match wire_version {
            "8" => "4.2".to_owned(),
            "7" => "4.0".to_owned(),
            "6" => "3.6".to_owned(),
            other => format!("of wire version {other}"),
        };
        Some(Self::TooOld { found })
    }

    /// The variant as a metric's label.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::HistoryLost { .. } => "mongodb_history_lost",
            Self::TokenRefused { .. } => "mongodb_token_refused",
            Self::Unauthorized { .. } => "mongodb_unauthorized",
            Self::Unauthenticated { .. } => "mongodb_unauthenticated",
            Self::Standalone => "mongodb_standalone",
            Self::TooOld { .. } => "mongodb_too_old",
            Self::TooLarge { .. } => "mongodb_too_large",
            Self::Misfit { .. } => "mongodb_misfit",
            Self::NoImage { .. } => "mongodb_no_image",
            Self::OptionRefused { .. } => "mongodb_option_refused",
            Self::PatternRefused { .. } => "mongodb_pattern_refused",
            Self::PipelineRefused { .. } => "mongodb_pipeline_refused",
            Self::BadUri { .. } => "mongodb_bad_uri",
            Self::MalformedEvent { .. } => "mongodb_malformed_event",
            Self::MalformedToken { .. } => "mongodb_malformed_token",
            Self::Unanswered { .. } => "mongodb_unanswered",
            Self::Closed => "mongodb_closed",
            Self::Transient { .. } => "mongodb_passing",
            Self::Incompatible { .. } => "mongodb_incompatible",
            Self::Rejected { .. } => "mongodb_rejected",
        }
    }
}

impl SourceError {
    /// The same error of a stream with `PIPELINE`, attributed to it if it may be the cause.
    #[must_use]
    pub(super) fn in_pipeline(self) -> Self {
        match self {
            // If an option is refused, the server names $changeStream.
            Self::OptionRefused { message } if !message.contains("$changeStream") => {
                Self::PipelineRefused { message }
            }
            Self::TokenRefused { message } if message.contains("modified by the pipeline") => {
                Self::PipelineRefused { message }
            }
            Self::PatternRefused { message } => Self::PipelineRefused { message },
            Self::Incompatible { message, source } | Self::Rejected { message, source }
                if is_of_pipeline(&source) =>
            {
                Self::PipelineRefused { message }
            }
            other => other,
        }
    }
}

/// Whether stages can cause an error: `TypeMismatch`, `Overflow`, `IllegalOperation`, `JSInterpreterFailure`,
/// `ExceededMemoryLimit`, `InvalidPipelineOperator`, `ConversionFailure`, `JSInterpreterFailureWithStack`,
/// `QueryExceededMemoryLimitNoDiskUseAllowed`, or one of the many codes without a name.
fn is_of_pipeline(error: &Error) -> bool {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => {
            matches!(
                command.code,
                14 | 15 | 20 | 139 | 146 | 168 | 241 | 271 | 292
            ) || command.code_name.starts_with("Location")
        }
        ErrorKind::MissingResumeToken => true,
        _ => false,
    }
}

impl From<&SourceError> for Failure {
    fn from(error: &SourceError) -> Self {
        Self {
            disposition: error.disposition(),
            cause: error.cause(),
            message: format!("MongoDB: {error}"),
        }
    }
}
