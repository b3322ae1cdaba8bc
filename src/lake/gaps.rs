//! Records of what the oplog lost: `<collection>/_gaps/<time>.json`.

use super::{Lake, LakeError, LakePath};
use silt_core::file::frame::rfc3339;
use silt_core::gap::{self, Record};
use silt_core::namespace::origin::Origin;

/// Keeps a record, joined with what it says already.
///
/// # Errors
///
/// The lake can't be written, or what is there is no record.
pub async fn record(
    lake: &dyn Lake,
    origin: &Origin,
    record: &Record,
    now_unix_ms: i64,
) -> Result<(), LakeError> {
    let path = LakePath {
        folder: format!("{}/{}", origin.folder(), gap::FOLDER),
        name: record
            .file_name()
            .unwrap_or_else(|| format!("{}.json", rfc3339(now_unix_ms).replace(':', "-"))),
    };
    let there = lake.get(&path).await?;
    let record = match &there {
        Some(there) => record.clone().joined(&there.bytes),
        None => Ok(record.clone()),
    };
    let record = record.map_err(|error| LakeError::Blocked {
        path: path.to_string(),
        reason: format!("it is no record of a gap: {error}"),
    })?;
    let bytes = record.write(origin, now_unix_ms);
    let bytes = bytes.map_err(|error| LakeError::Refused {
        reason: format!("the record of a gap: {error}"),
    })?;
    let version = there.map(|object| object.version);
    lake.put(&path, version.as_ref(), bytes).await?;
    Ok(())
}
