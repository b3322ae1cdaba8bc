//! Classifies the driver's errors.

#[cfg(test)]
mod tests;

use std::error::Error as _;

use mongodb::error::{Error, ErrorKind, RETRYABLE_ERROR, RETRYABLE_WRITE_ERROR, WriteFailure};

use super::SourceError;

/// Codes of errors that pass by themselves, with their names in the server's list of codes, of MongoDB 4.4 to 8.x:
/// <https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml>. All other codes halt.
const RETRIED: &[(i32, &str)] = &[
    // The network, also between the servers.
    (6, "HostUnreachable"),
    (7, "HostNotFound"),
    (89, "NetworkTimeout"),
    (141, "SSLHandshakeFailed"),
    (145, "PooledConnectionsDropped"),
    (172, "TransportSessionClosed"),
    (202, "NetworkInterfaceExceededTimeLimit"),
    (230, "DNSHostNotFound"),
    (279, "ClientDisconnect"),
    (303, "SplitHorizonChange"),
    (317, "ConnectionPoolExpired"),
    (372, "CloseConnectionForShutdownCommand"),
    (384, "ConnectionError"),
    (398, "StreamTerminated"),
    (407, "PooledConnectionAcquisitionExceededTimeLimit"),
    (450, "PooledConnectionAcquisitionRejected"),
    (9001, "SocketException"),
    // Elections, shutdowns, starts, initial sync.
    (90, "CallbackCanceled"),
    (91, "ShutdownInProgress"),
    (94, "NotYetInitialized"),
    (109, "ConfigurationInProgress"),
    (164, "InitialSyncActive"),
    (189, "PrimarySteppedDown"),
    (203, "ShardingStateNotInitialized"),
    (211, "KeyNotFound"),
    (216, "ElectionInProgress"),
    (245, "BrokenPromise"),
    (310, "PeriodicJobIsStopped"),
    (333, "ServiceExecutorInShutdown"),
    (355, "InterruptedDueToStorageChange"),
    (10058, "LegacyNotPrimary"),
    (10107, "NotWritablePrimary"),
    (11600, "InterruptedAtShutdown"),
    (11602, "InterruptedDueToReplStateChange"),
    (13435, "NotPrimaryNoSecondaryOk"),
    (13436, "NotPrimaryOrSecondary"),
    (10_045_600, "InterruptedDueToFCVChange"),
    // Reads and writes that the set can't serve now.
    (64, "WriteConcernTimeout"),
    (100, "UnsatisfiableWriteConcern"),
    (133, "FailedToSatisfyReadPreference"),
    (134, "ReadConcernMajorityNotAvailableYet"),
    (371, "UserWritesBlocked"),
    (404, "LDAPRoleAcquisitionError"),
    // Cursors and sessions that are replaced by new ones.
    (43, "CursorNotFound"),
    (136, "CappedPositionLost"),
    (143, "CursorInUse"),
    (175, "QueryPlanKilled"),
    (206, "NoSuchSession"),
    (217, "IncompleteTransactionHistory"),
    (222, "CloseChangeStream"),
    (225, "TransactionTooOld"),
    (234, "RetryChangeStream"),
    (237, "CursorKilled"),
    (239, "SnapshotTooOld"),
    (246, "SnapshotUnavailable"),
    (261, "TooManyLogicalSessions"),
    (290, "TransactionExceededLifetimeLimitSeconds"),
    (358, "InternalTransactionNotSupported"),
    (363, "RetryableTransactionInProgress"),
    (401, "ResumeTenantChangeStream"),
    (11601, "Interrupted"),
    (46841, "ClientMarkedKilled"),
    // Contention and load.
    (8, "UnknownError"),
    (24, "LockTimeout"),
    (46, "LockBusy"),
    (50, "MaxTimeMSExpired"),
    (96, "OperationFailed"),
    (107, "LockFailed"),
    (112, "WriteConflict"),
    (117, "ConflictingOperationInProgress"),
    (215, "DatabaseDropPending"),
    (262, "ExceededTimeLimit"),
    (314, "ObjectIsBusy"),
    (365, "TemporarilyUnavailable"),
    (402, "ResourceExhausted"),
    (412, "UpdatesStillPending"),
    (433, "AdmissionQueueOverflow"),
    (449, "RateLimitExceeded"),
    (462, "IngressRequestRateLimitExceeded"),
    (50915, "BackupCursorOpenConflictWithCheckpoint"),
    // Sharded clusters whose routing changes. A router reports a missing database as NamespaceNotFound.
    (26, "NamespaceNotFound"),
    (63, "StaleShardVersion"),
    (70, "ShardNotFound"),
    (71, "ReplicaSetNotFound"),
    (74, "NodeNotFound"),
    (149, "NoConfigPrimary"),
    (150, "StaleEpoch"),
    (199, "ReplicaSetMonitorRemoved"),
    (249, "StaleDbVersion"),
    (250, "StaleChunkHistory"),
    (272, "MigrationConflict"),
    (319, "MovePrimaryInProgress"),
    (342, "ReshardingCriticalSectionTimeout"),
    (343, "ShardCannotRefreshDueToLocksHeld"),
    (348, "ChangeStreamTopologyChange"),
    (406, "MigrationBlockingOperationCoordinatorCleaningUp"),
    (414, "AddOrRemoveShardInProgress"),
    (453, "InterruptedDueToReshardingCriticalSection"),
    (13388, "StaleConfig"),
    // An error of a shard of another version, during an upgrade: "Missing required extra info for error code …".
    (40671, "Location40671"),
    (56846, "ConfigServerUnreachable"),
    (91331, "RetriableRemoteCommandFailure"),
];

/// The labels with which a server or the driver says that an error passes. The first is for change streams.
const PASSING_LABELS: [&str; 3] = [
    "ResumableChangeStreamError",
    RETRYABLE_WRITE_ERROR,
    RETRYABLE_ERROR,
];

impl From<Error> for SourceError {
    fn from(error: Error) -> Self {
        if let Some((code, message)) = code_and_message(&error) {
            let message = format!("{message} ({code})");
            return by_code(code, message, error);
        }
        match error.kind.as_ref() {
            ErrorKind::Authentication { message, .. } => {
                let message = message.clone();
                // A server that is shutting down refuses a login as it refuses all else.
                let cause = error.source();
                let cause = cause.and_then(|cause| cause.downcast_ref::<Box<Error>>());
                match cause.and_then(|cause| code_and_message(cause)) {
                    Some((code, _)) if is_retried(code) => Self::transient(message, error),
                    _ => Self::Unauthenticated { message },
                }
            }
            ErrorKind::InvalidArgument { message, .. }
            | ErrorKind::InvalidTlsConfig { message, .. } => Self::BadUri {
                message: message.clone(),
            },
            ErrorKind::ServerSelection { message, .. } => {
                if let Some(too_old) = Self::too_old(message) {
                    return too_old;
                }
                let advice = look_at(message);
                let message = format!("no server can be reached: {advice}. {message}");
                Self::transient(message, error)
            }
            kind @ (ErrorKind::Io(_)
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::DnsResolve { .. }
            | ErrorKind::Shutdown) => Self::transient(kind.to_string(), error),
            kind => Self::Incompatible {
                message: kind.to_string(),
                source: Box::new(error),
            },
        }
    }
}

impl SourceError {
    fn transient(message: String, source: Error) -> Self {
        Self::Transient {
            message,
            source: Box::new(source),
        }
    }
}

/// What a server answered to a command or a write.
fn code_and_message(error: &Error) -> Option<(i32, &str)> {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => Some((command.code, &command.message)),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some((write.code, &write.message)),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => {
            Some((concern.code, &concern.message))
        }
        _ => None,
    }
}

fn is_retried(code: i32) -> bool {
    RETRIED.iter().any(|(retried, _)| *retried == code)
}

/// Codes of tokens that the server can't parse:
/// <https://github.com/mongodb/mongo/blob/master/src/mongo/db/pipeline/resume_token.cpp> and, from 50810,
/// <https://github.com/mongodb/mongo/blob/master/src/mongo/db/storage/key_string/key_string.cpp>.
fn is_of_token(code: i32) -> bool {
    matches!(
        code,
        40646..=40649
            | 50788
            | 50793..=50796
            | 50810..=50831
            | 50854
            | 50855
            | 50870
            | 50872
            | 51055..=51057
            | 6_189_500..=6_189_505
            | 7_182_501
            | 7_182_504
    )
}

fn by_code(code: i32, message: String, error: Error) -> SourceError {
    match code {
        286 => SourceError::HistoryLost {
            message,
            oldest: None,
        },
        260 | 280 | 464 => SourceError::TokenRefused { message },
        _ if is_of_token(code) => SourceError::TokenRefused { message },
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
        // Some ways in which a token can't be parsed have no code of their own.
        _ if !is_retried(code) && message.to_ascii_lowercase().contains("resume token") => {
            SourceError::TokenRefused { message }
        }
        51091 => SourceError::PatternRefused { message },
        2 | 9 | 40415 | 40575 => SourceError::OptionRefused { message },
        _ if is_retried(code) || passes(&error) => SourceError::transient(message, error),
        _ => SourceError::Rejected {
            message,
            source: Box::new(error),
        },
    }
}

/// Whether the server or the driver says so.
fn passes(error: &Error) -> bool {
    PASSING_LABELS
        .iter()
        .any(|label| error.contains_label(label))
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
