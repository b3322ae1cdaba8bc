//! Requests of a snapshot to the deployment, with a timeout, and their errors.

use std::time::Duration;

use bson::RawDocumentBuf;
use futures::TryStreamExt as _;
use mongodb::error::{Error, ErrorKind};
use mongodb::options::RunCursorCommandOptions;
use mongodb::raw_batch_cursor::RawBatch;

use crate::source::{Deployment, SourceError};
use silt_core::failure::{Disposition, Failure};
use silt_core::namespace::Namespace;

/// Error codes of a server that can't read a collection in `_id` order: no such index, a view, unknown options.
/// <https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml>
const REFUSALS: [i32; 9] = [2, 9, 27, 168, 17007, 40415, 51173, 51174, 51175];

/// Runs a request with the timeout of `MONGODB_TIMEOUT_SECONDS`.
pub(crate) async fn bounded<T>(
    deployment: &Deployment,
    origin: &Namespace,
    request: impl IntoFuture<Output = mongodb::error::Result<T>>,
) -> Result<T, Failure> {
    let limit: Duration = deployment.request_limit();
    match tokio::time::timeout(limit, request.into_future()).await {
        Ok(answer) => answer.map_err(|error| failure(origin, error)),
        Err(_) => Err(Failure::from(&SourceError::Unanswered {
            limit_seconds: limit.as_secs(),
        })),
    }
}

fn failure(origin: &Namespace, error: Error) -> Failure {
    match error.kind.as_ref() {
        ErrorKind::Command(command) if REFUSALS.contains(&command.code) => {
            unreadable(origin, &format!("{} ({})", command.message, command.code))
        }
        _ => Failure::from(&SourceError::from(error)),
    }
}

/// The failure for a collection that can't be read in the order of its `_id` index.
pub(crate) fn unreadable(origin: &Namespace, why: &str) -> Failure {
    Failure {
        disposition: Disposition::Halt,
        cause: "snapshot_unreadable",
        message: format!(
            "MongoDB: {origin} can't be read by its _id index: {why}. Create the index, or set SNAPSHOT=never \
             for it"
        ),
    }
}

/// The failure for an `_id` or a command that can't be encoded.
pub(crate) fn unmade(reason: &str) -> Failure {
    Failure {
        disposition: Disposition::Halt,
        cause: "snapshot_key",
        message: format!("an _id can't be written as a key: {reason}"),
    }
}

/// Requests one batch, with the read preference of `MONGODB_URI`.
pub(crate) async fn ask(
    deployment: &Deployment,
    origin: &Namespace,
    command: RawDocumentBuf,
) -> Result<RawBatch, Failure> {
    let client = deployment.client();
    let database = client.database(&origin.database);
    let options = RunCursorCommandOptions::builder()
        .selection_criteria(client.selection_criteria().cloned())
        .build();
    let asking = database
        .run_raw_cursor_command(command)
        .with_options(options);
    let mut cursor = bounded(deployment, origin, asking.batch()).await?;
    // The reply that opened the cursor contains it.
    let batch = bounded(deployment, origin, cursor.try_next()).await?;
    batch.ok_or_else(|| Failure::from(&SourceError::Closed))
}
