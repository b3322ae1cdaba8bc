//! What can go wrong at the deployment, by meaning.

use mongodb::error::{Error, ErrorKind};

use silt_core::failure::{Disposition, Failure};
use silt_core::large_event::LargeEvent;
use silt_core::position::ClusterTime;

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
    /// The resume token isn't one of this stream (260, 280, 50811).
    #[error(
        "the server refuses the resume token: {message}. It belongs to another stream or \
         deployment; if that is meant, delete its checkpoint (in CHECKPOINT_COLLECTION its _id is \
         database.collection; that of a shared stream, database.* or *.*, needs START_AT with it)"
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
    /// The credential is refused (18).
    #[error(
        "the server refuses the credential: {message}. Check user, password and authSource in \
         MONGODB_URI"
    )]
    Unauthenticated {
        /// What the server said.
        message: String,
    },
    /// The server is no member of a replica set (40573).
    #[error(
        "the server is standalone and has no change streams. Run it as a replica set (one member \
         will do): --replSet and rs.initiate()"
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
         or newer, which sends it in pieces if no single field is as large; or make changes smaller by FULL_DOCUMENT=default and \
         FULL_DOCUMENT_BEFORE_CHANGE=off; or let it go by ON_LARGE_EVENT=record, which puts it on record"
    )]
    TooLarge {
        /// What the server said, or which change it is.
        message: String,
    },
    /// The pieces of a large change aren't those of one event.
    #[error("a change that is larger than 16 MB came in pieces that don't fit: {reason}")]
    Misfit {
        /// What doesn't fit.
        reason: String,
    },
    /// An image that was required is not there (47, and 51770 before 6.0).
    #[error(
        "a change has no image, which FULL_DOCUMENT=required or FULL_DOCUMENT_BEFORE_CHANGE=required \
         demands: {message}. Enable changeStreamPreAndPostImages on the collection, or use whenAvailable"
    )]
    NoImage {
        /// What the server said.
        message: String,
    },
    /// The server doesn't know an option.
    #[error(
        "the server doesn't take the stream's options: {message}. SHOW_EXPANDED_EVENTS=true and \
         FULL_DOCUMENT=whenAvailable or required need MongoDB 6.0; FULL_DOCUMENT=updateLookup works everywhere"
    )]
    OptionRefused {
        /// What the server said.
        message: String,
    },
    /// The server doesn't take a regular expression.
    #[error(
        "the server doesn't take a pattern of MONGODB_DATABASE or MONGODB_COLLECTIONS: {message}. Write one \
         that PCRE takes"
    )]
    PatternRefused {
        /// What the server said.
        message: String,
    },
    /// The server doesn't take the user's stages, or they fail on a change.
    #[error(
        "the server can't do what PIPELINE says: {message}. Mend PIPELINE, or take the stage out of it"
    )]
    PipelineRefused {
        /// What the server said.
        message: String,
    },
    /// The connection string is wrong.
    #[error("MONGODB_URI can't be used: {message}")]
    BadUri {
        /// What the driver said.
        message: String,
    },
    /// The server sent an event that can't be archived whole.
    #[error("the server sent a change that can't be read: {reason}")]
    MalformedEvent {
        /// What is wrong with it.
        reason: String,
    },
    /// A token that is no token.
    #[error("a resume token can't be read: {reason}")]
    MalformedToken {
        /// What is wrong with it.
        reason: String,
    },
    /// No answer came in time.
    #[error("MongoDB gave no answer within {limit_seconds} s (MONGODB_TIMEOUT_SECONDS)")]
    Unanswered {
        /// The limit.
        limit_seconds: u64,
    },
    /// The server closed the stream without an invalidate.
    #[error("the server closed the stream")]
    Closed,
    /// Anything that passes: the network, an election, a restart.
    #[error("{message}")]
    Passing {
        /// What the driver said.
        message: String,
        /// The driver's error.
        #[source]
        source: Box<Error>,
    },
}

impl SourceError {
    /// That of a change which is known.
    #[must_use]
    pub fn of_large(event: &LargeEvent) -> Self {
        Self::TooLarge {
            message: event.to_string(),
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
            | Self::MalformedToken { .. } => Disposition::Halt,
            Self::Unauthenticated { .. }
            | Self::Standalone
            | Self::TooOld { .. }
            | Self::BadUri { .. } => Disposition::Exit,
            Self::Misfit { .. } | Self::Unanswered { .. } | Self::Closed | Self::Passing { .. } => {
                Disposition::RETRY
            }
        }
    }
}

impl SourceError {
    /// What it means that a server speaks too old a protocol for the driver, or doesn't know its question.
    /// There is no asking such a server for its version, and the protocol's own number says nothing to people.
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

    /// The variant in a word, for counting.
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
            Self::Passing { .. } => "mongodb_passing",
        }
    }
}

impl SourceError {
    /// The same of a stream that has stages of the user's, which may be at fault.
    #[must_use]
    pub(super) fn in_pipeline(self) -> Self {
        match self {
            // Of an option the server names the stage that has it.
            Self::OptionRefused { message } if !message.contains("$changeStream") => {
                Self::PipelineRefused { message }
            }
            Self::TokenRefused { message } if message.contains("modified by the pipeline") => {
                Self::PipelineRefused { message }
            }
            Self::PatternRefused { message } => Self::PipelineRefused { message },
            Self::Passing { message, source } if is_of_pipeline(&source) => {
                Self::PipelineRefused { message }
            }
            other => other,
        }
    }
}

/// Whether an error is one that stages have: `TypeMismatch`, `Overflow`, `IllegalOperation`,
/// `InvalidPipelineOperator`, `ConversionFailure`, or one of those many that have no name but a number.
fn is_of_pipeline(error: &Error) -> bool {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => {
            matches!(command.code, 14 | 15 | 20 | 168 | 241)
                || command.code_name.starts_with("Location")
        }
        ErrorKind::MissingResumeToken => true,
        _ => false,
    }
}

impl From<Error> for SourceError {
    fn from(error: Error) -> Self {
        match error.kind.as_ref() {
            ErrorKind::Command(command) => {
                let message = format!("{} ({})", command.message, command.code);
                by_code(command.code, message, error)
            }
            ErrorKind::Authentication { message, .. } => Self::Unauthenticated {
                message: message.clone(),
            },
            ErrorKind::InvalidArgument { message, .. }
            | ErrorKind::InvalidTlsConfig { message, .. } => Self::BadUri {
                message: message.clone(),
            },
            ErrorKind::ServerSelection { message, .. } => match Self::too_old(message) {
                Some(too_old) => too_old,
                None => Self::Passing {
                    message: format!("no server can be reached: {}. {message}", look_at(message)),
                    source: Box::new(error),
                },
            },
            kind => {
                let message = kind.to_string();
                Self::Passing {
                    message,
                    source: Box::new(error),
                }
            }
        }
    }
}

/// <https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml>
fn by_code(code: i32, message: String, error: Error) -> SourceError {
    match code {
        286 => SourceError::HistoryLost {
            message,
            oldest: None,
        },
        260 | 280 | 464 | 50811 => SourceError::TokenRefused { message },
        13 => SourceError::Unauthorized {
            message: without_command(&message),
        },
        18 => SourceError::Unauthenticated { message },
        40573 => SourceError::Standalone,
        // The second: a field of it is too large for a fragment.
        10334 | 7_182_500 => SourceError::TooLarge { message },
        // The server has no such stage.
        40324 if message.contains("$changeStreamSplitLargeEvent") => {
            SourceError::TooLarge { message }
        }
        47 | 51770 => SourceError::NoImage { message },
        // Each way in which a token can't be parsed has a code of its own.
        _ if message.to_ascii_lowercase().contains("resume token") => {
            SourceError::TokenRefused { message }
        }
        51091 => SourceError::PatternRefused { message },
        2 | 9 | 40415 | 40575 => SourceError::OptionRefused { message },
        _ => SourceError::Passing {
            message,
            source: Box::new(error),
        },
    }
}

/// What to look at when no server is suitable. The driver lists all of them with what they are: a ghost is
/// to be a member of a replica set that isn't there yet.
fn look_at(message: &str) -> &'static str {
    if message.contains("Type: RsGhost") {
        "the replica set isn't initiated; silt goes on after rs.initiate()"
    } else {
        "check hosts and replicaSet of MONGODB_URI, the network and the servers"
    }
}

/// The server's refusal without the command that it quotes: session and cluster time in it make every
/// refusal another text, and the pipeline says nothing that helps.
pub(crate) fn without_command(message: &str) -> String {
    match message.split_once(" to execute command ") {
        Some((refusal, _)) => format!("{refusal} (13)"),
        None => message.to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A server's refusal, as the driver hands it on.
    fn refusal(code: i32) -> SourceError {
        by_code(
            code,
            format!("the server's words ({code})"),
            Error::custom("refused"),
        )
    }

    #[test]
    fn a_refusal_reads_the_same_every_time() {
        let said =
            "not authorized on mydb to execute command { aggregate: \"users\", lsid: 7 } (13)";
        assert_eq!(without_command(said), "not authorized on mydb (13)");
        assert_eq!(without_command("no (13)"), "no (13)");
    }

    #[test]
    fn a_server_that_is_too_old_to_be_asked_is_called_by_its_version() {
        let wire_version = |number: u32| {
            format!(
                "Server at h:27017 reports wire version {number}, but this version of the MongoDB \
                 Rust driver requires at least 9 (MongoDB 4.4)."
            )
        };
        let no_hello = "Command failed: Error code 59 (CommandNotFound): no such command: 'hello'";
        for (message, found) in [
            (wire_version(8), "MongoDB 4.2 is too old"),
            (wire_version(6), "MongoDB 3.6 is too old"),
            (wire_version(5), "MongoDB of wire version 5 is too old"),
            (no_hello.to_owned(), "MongoDB 4.4.1, or older, is too old"),
        ] {
            let error = SourceError::too_old(&message).unwrap();
            assert!(error.to_string().starts_with(found), "{error}");
            assert_eq!(error.disposition(), Disposition::Exit);
        }
        assert!(SourceError::too_old("Server selection timeout: No available servers.").is_none());
    }

    #[test]
    fn codes_have_their_disposition_and_their_remedy() {
        for (code, disposition, remedy) in [
            (286, Disposition::HistoryLost { oldest: None }, "oplog"),
            (260, Disposition::Halt, "checkpoint"),
            (280, Disposition::Halt, "checkpoint"),
            (50811, Disposition::Halt, "checkpoint"),
            (13, Disposition::Halt, "Grant find and changeStream"),
            (18, Disposition::Exit, "authSource"),
            (40573, Disposition::Exit, "--replSet"),
            (10334, Disposition::Halt, "FULL_DOCUMENT=default"),
            (47, Disposition::Halt, "changeStreamPreAndPostImages"),
            (51770, Disposition::Halt, "FULL_DOCUMENT_BEFORE_CHANGE"),
            (40415, Disposition::Halt, "SHOW_EXPANDED_EVENTS"),
            (40575, Disposition::Halt, "FULL_DOCUMENT"),
            (51091, Disposition::Halt, "MONGODB_COLLECTIONS"),
            (7_182_500, Disposition::Halt, "ON_LARGE_EVENT=record"),
        ] {
            let error = refusal(code);
            assert_eq!(error.disposition(), disposition, "{code}");
            assert!(error.to_string().contains(remedy), "{code}: {error}");
        }
        // Elections, restarts, killed cursors.
        for code in [
            6, 7, 43, 89, 91, 133, 150, 189, 234, 262, 9001, 10107, 11600, 11602, 13388, 13435,
            13436, 63,
        ] {
            assert_eq!(refusal(code).disposition(), Disposition::RETRY, "{code}");
        }
    }
}
