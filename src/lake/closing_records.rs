//! Reads and writes closing records: `<collection>/_closed/YYYY-MM-DD-HH.json` and `latest.json`.

use std::collections::BTreeSet;

use super::{Lake, LakeError, LakePath, SmallFile};
use silt_core::closing::{self, Latest, Link, Record};
use silt_core::file::hour_file::Hour;
use silt_core::namespace::Namespace;

/// A record, and what its neighbour says of it.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The record.
    pub record: Record,
    /// The link to it.
    pub link: Link,
}

/// The folder of a collection's records.
#[must_use]
pub fn folder(namespace: &Namespace) -> String {
    format!("{}/{}", namespace.folder(), closing::FOLDER)
}

fn path(namespace: &Namespace, name: String) -> LakePath {
    LakePath {
        folder: folder(namespace),
        name,
    }
}

/// The hours of a collection that are closed.
///
/// # Errors
///
/// The lake can't be listed.
pub async fn closed_hours(
    lake: &dyn Lake,
    namespace: &Namespace,
) -> Result<BTreeSet<Hour>, LakeError> {
    let files = lake.list(&folder(namespace)).await?;
    let names = files.iter().map(|file| file.path.name.as_str());
    Ok(names.filter_map(closing::hour_of).collect())
}

/// Whether an hour of a collection is closed.
///
/// # Errors
///
/// The lake can't be read.
pub async fn is_closed(
    lake: &dyn Lake,
    namespace: &Namespace,
    hour: Hour,
) -> Result<bool, LakeError> {
    let path = path(namespace, closing::record_name(hour));
    Ok(lake.open(&path).await?.is_some())
}

/// Reads the record of a closed hour; `None` if there is none.
///
/// # Errors
///
/// The lake can't be read, or the file is no closing record.
pub async fn read(
    lake: &dyn Lake,
    namespace: &Namespace,
    hour: Hour,
) -> Result<Option<Recorded>, LakeError> {
    let path = path(namespace, closing::record_name(hour));
    let Some(file) = lake.get(&path).await? else {
        return Ok(None);
    };
    recorded(&path, &file.bytes).map(Some)
}

fn recorded(path: &LakePath, bytes: &[u8]) -> Result<Recorded, LakeError> {
    let read = Record::link(path.name.clone(), bytes);
    let (record, link) = read.map_err(|error| foreign(path, &error))?;
    let link = link.ok_or_else(|| foreign(path, &"it names no file"))?;
    Ok(Recorded { record, link })
}

/// Writes a record, unless the hour has one already: then that one counts. Returns what is in the lake.
///
/// # Errors
///
/// The lake can't be written, or the existing file is no closing record.
pub async fn write(
    lake: &dyn Lake,
    namespace: &Namespace,
    hour: Hour,
    bytes: Vec<u8>,
) -> Result<Recorded, LakeError> {
    let path = path(namespace, closing::record_name(hour));
    match lake.put(&path, None, bytes.clone()).await {
        Ok(_) => recorded(&path, &bytes),
        Err(LakeError::Stale { path: stale }) => {
            let existing = read(lake, namespace, hour).await?;
            existing.ok_or(LakeError::Stale { path: stale })
        }
        Err(error) => Err(error),
    }
}

/// Reads how far a collection is complete, and the file's state; `None` if that was never written.
///
/// # Errors
///
/// The lake can't be read, or silt didn't write the file.
pub async fn latest(
    lake: &dyn Lake,
    namespace: &Namespace,
) -> Result<Option<(Latest, SmallFile)>, LakeError> {
    let path = path(namespace, closing::LATEST.to_owned());
    let Some(file) = lake.get(&path).await? else {
        return Ok(None);
    };
    let latest = serde_json::from_slice(&file.bytes);
    let latest = latest.map_err(|error| foreign(&path, &error))?;
    Ok(Some((latest, file)))
}

/// Writes how far a collection is complete, in place of what was read. Fails with [`LakeError::Stale`] if another
/// silt was quicker.
///
/// # Errors
///
/// The lake's.
pub async fn write_latest(
    lake: &dyn Lake,
    namespace: &Namespace,
    replaced: Option<&SmallFile>,
    bytes: Vec<u8>,
) -> Result<(), LakeError> {
    let path = path(namespace, closing::LATEST.to_owned());
    let base = replaced.map(|file| &file.version);
    lake.put(&path, base, bytes).await.map(drop)
}

fn foreign(path: &LakePath, reason: &dyn std::fmt::Display) -> LakeError {
    LakeError::Blocked {
        path: path.to_string(),
        reason: format!("it is not what silt writes there: {reason}"),
        remedy: "move it out of the lake",
    }
}
