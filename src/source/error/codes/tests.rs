use bson::{Document, doc};
use mongodb::error::{CommandError, WriteConcernError, WriteError};

use super::*;
use silt_core::failure::Disposition;

/// The codes that a server puts in one of these categories, by its list of codes: `NetworkError`, `RetriableError`,
/// `NotPrimaryError`, `ShutdownError`, `Interruption`, `CancellationError`, `CursorInvalidatedError`, `SnapshotError`,
/// `StaleShardVersionError`, `NeedRetargettingError`, `ExceededTimeLimitError`, `NetworkTimeoutError`,
/// `SystemOverloadedError`, `CloseConnectionError`.
const CATEGORIZED_AS_PASSING: [i32; 63] = [
    6, 7, 24, 43, 50, 89, 90, 91, 96, 134, 150, 175, 189, 202, 237, 239, 246, 250, 262, 272, 279,
    281, 282, 290, 303, 310, 312, 314, 317, 333, 354, 355, 358, 372, 384, 398, 402, 406, 407, 412,
    433, 449, 450, 453, 462, 9001, 10107, 11600, 11601, 11602, 13388, 13435, 13436, 46841, 50915,
    91331, 10_045_600, 63, 133, 234, 8, 112, 64,
];
/// Those of them that silt's operations can't meet: of two-phase commits, which `InterruptedDueToReplStateChange`
/// replaces for clients, of operations that are no longer listed, and a load balancer that `MONGODB_URI` must name.
const CATEGORIZED_BUT_HALTING: [i32; 4] = [281, 282, 312, 354];

fn by_document(document: Document) -> SourceError {
    let command: CommandError = bson::deserialize_from_document(document).unwrap();
    SourceError::from(Error::from(ErrorKind::Command(command)))
}

/// A server's answer to a command.
fn refusal(code: i32) -> SourceError {
    by_document(doc! { "code": code, "codeName": "", "errmsg": "the server's words" })
}

fn write_errors(code: i32) -> [SourceError; 2] {
    let document = doc! { "code": code, "codeName": "", "errmsg": "the server's words" };
    let write: WriteError = bson::deserialize_from_document(document.clone()).unwrap();
    let concern: WriteConcernError = bson::deserialize_from_document(document).unwrap();
    [
        WriteFailure::WriteError(write),
        WriteFailure::WriteConcernError(concern),
    ]
    .map(|failure| SourceError::from(Error::from(ErrorKind::Write(failure))))
}

#[test]
fn what_the_server_itself_counts_as_passing_is_retried() {
    for code in CATEGORIZED_AS_PASSING {
        let expected = if CATEGORIZED_BUT_HALTING.contains(&code) {
            Disposition::Halt
        } else {
            Disposition::RETRY
        };
        assert_eq!(refusal(code).disposition(), expected, "{code}");
        for error in write_errors(code) {
            assert_eq!(error.disposition(), expected, "{code}: {error}");
        }
    }
}

#[test]
fn codes_have_their_disposition_and_their_remedy() {
    use Disposition::{Exit, Halt};
    let lost = Disposition::HistoryLost { oldest: None };
    for (code, meaning, disposition, remedy) in [
        // Of change streams.
        (286, "ChangeStreamHistoryLost", lost, "oplog"),
        (260, "InvalidResumeToken", Halt, "checkpoint"),
        (280, "ChangeStreamFatalError", Halt, "checkpoint"),
        (40647, "a token without _data", Halt, "checkpoint"),
        (50795, "a token of a newer version", Halt, "checkpoint"),
        (50811, "a token of unknown types", Halt, "checkpoint"),
        (47, "NoMatchingDocument", Halt, "PreAndPostImages"),
        (51770, "no pre-image", Halt, "FULL_DOCUMENT_BEFORE_CHANGE"),
        (10334, "BSONObjectTooLarge", Halt, "FULL_DOCUMENT=default"),
        (
            7_182_500,
            "a field too large",
            Halt,
            "ON_LARGE_EVENT=record",
        ),
        (40573, "no replica set", Exit, "--replSet"),
        (376, "ChangeStreamNotEnabled", Halt, "error-codes"),
        (166, "CommandNotSupportedOnView", Halt, "error-codes"),
        // Of the settings.
        (2, "BadValue", Halt, "SHOW_EXPANDED_EVENTS"),
        (9, "FailedToParse", Halt, "SHOW_EXPANDED_EVENTS"),
        (40415, "IDLUnknownField", Halt, "SHOW_EXPANDED_EVENTS"),
        (40575, "an unknown fullDocument", Halt, "FULL_DOCUMENT"),
        (51091, "a regular expression", Halt, "MONGODB_COLLECTIONS"),
        (72, "InvalidOptions", Halt, "error-codes"),
        (73, "InvalidNamespace", Halt, "error-codes"),
        (13297, "DatabaseDifferCase", Halt, "error-codes"),
        // Of the account.
        (13, "Unauthorized", Halt, "Grant find and changeStream"),
        (18, "AuthenticationFailed", Exit, "authSource"),
        (8000, "AtlasError", Halt, "error-codes"),
        // Of the deployment.
        (1, "InternalError", Halt, "error-codes"),
        (20, "IllegalOperation", Halt, "error-codes"),
        (59, "CommandNotFound", Halt, "error-codes"),
        (79, "UnknownReplWriteConcern", Halt, "error-codes"),
        (115, "CommandNotSupported", Halt, "error-codes"),
        (121, "DocumentValidationFailure", Halt, "error-codes"),
        (146, "ExceededMemoryLimit", Halt, "error-codes"),
        (148, "ReadConcernMajorityNotEnabled", Halt, "error-codes"),
        (204, "TimeProofMismatch", Halt, "error-codes"),
        (301, "DataCorruptionDetected", Halt, "error-codes"),
        (323, "APIStrictError", Halt, "error-codes"),
        (411, "QueryRejectedBySettings", Halt, "error-codes"),
        (11000, "DuplicateKey", Halt, "error-codes"),
        (14031, "OutOfDiskSpace", Halt, "error-codes"),
        (40324, "an unknown stage", Halt, "error-codes"),
        (999_999, "a code that nobody knows", Halt, "error-codes"),
    ] {
        let error = refusal(code);
        assert_eq!(error.disposition(), disposition, "{code} {meaning}");
        let text = error.to_string();
        assert!(text.contains(remedy), "{code} {meaning}: {text}");
        assert!(RETRIED.iter().all(|(retried, _)| *retried != code));
        for error in write_errors(code) {
            assert_eq!(error.disposition(), disposition, "{code} {meaning}");
        }
    }
}

#[test]
fn a_rejection_keeps_the_servers_words_and_the_code() {
    let text = refusal(999_999).to_string();
    assert!(text.contains("the server's words (999999)"), "{text}");
}

#[test]
fn every_retried_code_is_listed_once() {
    for (at, (code, name)) in RETRIED.iter().enumerate() {
        let earlier = &RETRIED[..at];
        assert!(earlier.iter().all(|(known, _)| known != code), "{name}");
        assert_eq!(refusal(*code).disposition(), Disposition::RETRY, "{name}");
    }
}

#[test]
fn the_network_passes_and_an_answer_that_cannot_be_read_does_not() {
    let network = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let network = SourceError::from(Error::from(network));
    assert_eq!(network.disposition(), Disposition::RETRY);
    let answer = SourceError::from(Error::custom("an answer of a kind of its own"));
    assert_eq!(answer.disposition(), Disposition::Halt);
    assert!(answer.to_string().contains("4.4.2"), "{answer}");
}

#[test]
fn only_what_does_not_pass_is_blamed_on_a_pipeline() {
    let blamed = |code, code_name: &str| {
        let error = by_document(doc! { "code": code, "codeName": code_name, "errmsg": "no" });
        matches!(error.in_pipeline(), SourceError::PipelineRefused { .. })
    };
    for (code, name) in [
        (2, "BadValue"),
        (15, "Overflow"),
        (146, "ExceededMemoryLimit"),
        (16006, "Location16006"),
    ] {
        assert!(blamed(code, name), "{name}");
    }
    for (code, name) in [
        (11600, "InterruptedAtShutdown"),
        (56846, "Location56846"),
        (1, "InternalError"),
    ] {
        assert!(!blamed(code, name), "{name}");
    }
}

#[test]
fn a_refusal_reads_the_same_every_time() {
    let said = "not authorized on mydb to execute command { aggregate: \"users\", lsid: 7 } (13)";
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
