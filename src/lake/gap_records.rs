//! Writes records of changes that the oplog has lost: `<collection>/_gaps/<time>.json`.

use std::collections::BTreeSet;

use super::{Lake, LakeError, LakePath};
use silt_core::gap::{self, Record};
use silt_core::namespace::Namespace;
use silt_core::time::rfc3339;

/// Writes a record, merged with one of the same name that exists already.
///
/// # Errors
///
/// The lake can't be written, or the existing file is no record of a gap.
pub async fn write(
    lake: &dyn Lake,
    origin: &Namespace,
    record: &Record,
    now_unix_ms: i64,
) -> Result<(), LakeError> {
    let path = LakePath {
        folder: format!("{}/{}", origin.folder(), gap::FOLDER),
        name: record
            .file_name()
            .unwrap_or_else(|| format!("{}.json", rfc3339(now_unix_ms).replace(':', "-"))),
    };
    lake.sweep(&path.folder).await;
    let existing = lake.get(&path).await?;
    let record = match &existing {
        Some(existing) => record.clone().merged(&existing.bytes),
        None => Ok(record.clone()),
    };
    let record = record.map_err(|error| LakeError::Blocked {
        path: path.to_string(),
        reason: format!("it is not a gap record: {error}"),
        remedy: "move it out of the lake",
    })?;
    let bytes = record.write(origin, now_unix_ms);
    let bytes = bytes.map_err(|error| LakeError::Refused {
        reason: format!("can't encode the gap record {path}: {error}"),
    })?;
    let version = existing.map(|file| file.version);
    lake.put(&path, version.as_ref(), bytes).await?;
    Ok(())
}

/// The folders whose gap records may concern a collection: its own and, on a shared stream, those of its database
/// and of all databases, depending on what the stream covered when it lost changes.
#[must_use]
pub fn folders(origin: &Namespace, is_shared: bool) -> BTreeSet<String> {
    let mut origins = vec![origin.clone()];
    if is_shared {
        let Namespace {
            database, layout, ..
        } = origin;
        origins.extend(
            [database.as_str(), ""].map(|whole| Namespace::with_layout(whole, "", *layout)),
        );
    }
    let folder = |origin: Namespace| format!("{}/{}", origin.folder(), gap::FOLDER);
    origins.into_iter().map(folder).collect()
}
