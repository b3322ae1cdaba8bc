//! Classifies the driver's errors.

use mongodb::error::{Error, ErrorKind};

use super::SourceError;

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
                None => Self::Transient {
                    message: format!("no server can be reached: {}. {message}", look_at(message)),
                    source: Box::new(error),
                },
            },
            kind => {
                let message = kind.to_string();
                Self::Transient {
                    message,
                    source: Box::new(error),
                }
            }
        }
    }
}

/// Codes of errors that pass by themselves, with their names in the server's list of codes:
/// <https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml>. All other codes halt.
const RETRIED: [(i32, &str); 62] = [
    // The network.
    (6, "HostUnreachable"),
    (7, "HostNotFound"),
    (89, "NetworkTimeout"),
    (145, "PooledConnectionsDropped"),
    (202, "NetworkInterfaceExceededTimeLimit"),
    (279, "ClientDisconnect"),
    (317, "ConnectionPoolExpired"),
    (384, "ConnectionError"),
    (407, "PooledConnectionAcquisitionExceededTimeLimit"),
    (9001, "SocketException"),
    // Elections, shutdowns, starts.
    (91, "ShutdownInProgress"),
    (94, "NotYetInitialized"),
    (109, "ConfigurationInProgress"),
    (189, "PrimarySteppedDown"),
    (203, "ShardingStateNotInitialized"),
    (211, "KeyNotFound"),
    (216, "ElectionInProgress"),
    (355, "InterruptedDueToStorageChange"),
    (10107, "NotWritablePrimary"),
    (11600, "InterruptedAtShutdown"),
    (11602, "InterruptedDueToReplStateChange"),
    (13435, "NotPrimaryNoSecondaryOk"),
    (13436, "NotPrimaryOrSecondary"),
    // Reads and writes that the set can't serve now.
    (64, "WriteConcernTimeout"),
    (100, "UnsatisfiableWriteConcern"),
    (133, "FailedToSatisfyReadPreference"),
    (134, "ReadConcernMajorityNotAvailableYet"),
    (371, "UserWritesBlocked"),
    // Cursors that can be replaced by a new one.
    (43, "CursorNotFound"),
    (136, "CappedPositionLost"),
    (175, "QueryPlanKilled"),
    (222, "CloseChangeStream"),
    (234, "RetryChangeStream"),
    (237, "CursorKilled"),
    (239, "SnapshotTooOld"),
    (246, "SnapshotUnavailable"),
    (11601, "Interrupted"),
    // Contention and load.
    (8, "UnknownError"),
    (24, "LockTimeout"),
    (46, "LockBusy"),
    (50, "MaxTimeMSExpired"),
    (96, "OperationFailed"),
    (112, "WriteConflict"),
    (117, "ConflictingOperationInProgress"),
    (146, "ExceededMemoryLimit"),
    (262, "ExceededTimeLimit"),
    (314, "ObjectIsBusy"),
    (365, "TemporarilyUnavailable"),
    (402, "ResourceExhausted"),
    (433, "AdmissionQueueOverflow"),
    (449, "RateLimitExceeded"),
    // Sharded clusters whose routing changes. A router reports a missing database as NamespaceNotFound.
    (26, "NamespaceNotFound"),
    (63, "StaleShardVersion"),
    (70, "ShardNotFound"),
    (74, "NodeNotFound"),
    (150, "StaleEpoch"),
    (249, "StaleDbVersion"),
    (250, "StaleChunkHistory"),
    (272, "MigrationConflict"),
    (343, "ShardCannotRefreshDueToLocksHeld"),
    (348, "ChangeStreamTopologyChange"),
    (13388, "StaleConfig"),
];
/// The server's label for errors after which a change stream can resume.
const RESUMABLE: &str = "ResumableChangeStreamError";

fn by_code(code: i32, message: String, error: Error) -> SourceError {
    let is_retried = RETRIED.iter().any(|(retried, _)| *retried == code);
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
        // 7182500: a single field is too large for a fragment.
        10334 | 7_182_500 => SourceError::TooLarge { message },
        // The server doesn't have the stage.
        40324 if message.contains("$changeStreamSplitLargeEvent") => {
            SourceError::TooLarge { message }
        }
        47 | 51770 => SourceError::NoImage { message },
        // The server has no code of its own for a token that it can't parse.
        9 if message.contains("resume token") => SourceError::TokenRefused { message },
        51091 => SourceError::PatternRefused { message },
        2 | 9 | 40415 | 40575 => SourceError::OptionRefused { message },
        _ if is_retried || error.contains_label(RESUMABLE) => SourceError::Transient {
            message,
            source: Box::new(error),
        },
        _ => SourceError::Rejected {
            message,
            source: Box::new(error),
        },
    }
}

/// What to check when no server is suitable. The driver lists all servers with their types: a ghost is a member of a
/// replica set that hasn't been initiated.
fn look_at(message: &str) -> &'static str {
    if message.contains("Type: RsGhost") {
        "the replica set isn't initiated; silt continues after rs.initiate()"
    } else {
        "check hosts and replicaSet of MONGODB_URI, the network and the servers"
    }
}

/// The server's refusal without the command that it quotes: because of session and cluster time no two such messages
/// are equal, and the pipeline doesn't help.
pub(crate) fn without_command(message: &str) -> String {
    match message.split_once(" to execute command ") {
        Some((refusal, _)) => format!("{refusal} (13)"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use silt_core::failure::Disposition;

    /// A server's refusal, as the driver reports it.
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
    fn a_server_that_is_too_old_for_the_driver_is_named_with_its_version() {
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
        // The codes that the driver specification calls resumable.
        for code in [
            6, 7, 43, 63, 89, 91, 133, 150, 189, 234, 262, 9001, 10107, 11600, 11602, 13388, 13435,
            13436,
        ] {
            assert_eq!(refusal(code).disposition(), Disposition::RETRY, "{code}");
        }
    }

    #[test]
    fn a_code_that_is_not_known_to_pass_halts_with_its_message() {
        for code in [20, 59, 72, 73, 115, 166, 40324, 999_999] {
            let error = refusal(code);
            assert_eq!(error.disposition(), Disposition::Halt, "{code}");
            assert!(error.to_string().contains(&format!("({code})")), "{error}");
            assert!(error.to_string().contains("error-codes"), "{error}");
        }
    }

    #[test]
    fn retried_codes_have_one_meaning_each() {
        for (at, (code, name)) in RETRIED.iter().enumerate() {
            assert!(
                RETRIED[..at].iter().all(|(known, _)| known != code),
                "{name}"
            );
            assert_eq!(refusal(*code).disposition(), Disposition::RETRY, "{name}");
        }
    }
}
