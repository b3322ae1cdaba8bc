//! The small JSON files of a snapshot: plan and manifest.

use serde::de::DeserializeOwned;

use crate::lake::{Lake, LakeError, LakePath, SmallFile};
use silt_core::failure::{Disposition, Failure};
use silt_core::json;
use silt_core::snapshot::folder::FileNames;

/// Encodes a small file.
pub(crate) fn encode(value: &impl serde::Serialize) -> Result<Vec<u8>, Failure> {
    json::to_document(value).map_err(|error| Failure {
        disposition: Disposition::Halt,
        cause: "silt_encoding",
        message: format!("a snapshot's plan or manifest can't be encoded: {error}"),
    })
}

/// Gets a small file of a snapshot, under whichever of its names it has; `None` if it doesn't exist.
pub(crate) async fn get(
    lake: &dyn Lake,
    folder: &str,
    file: FileNames,
) -> Result<Option<(LakePath, SmallFile)>, LakeError> {
    for name in file.names() {
        let path = LakePath {
            folder: folder.to_owned(),
            name: name.to_owned(),
        };
        if let Some(object) = lake.get(&path).await? {
            return Ok(Some((path, object)));
        }
    }
    Ok(None)
}

/// Reads a small file of a snapshot, under whichever of its names it has; `None` if it doesn't exist.
pub(crate) async fn read<T: DeserializeOwned>(
    lake: &dyn Lake,
    folder: &str,
    file: FileNames,
) -> Result<Option<T>, LakeError> {
    let Some((path, object)) = get(lake, folder, file).await? else {
        return Ok(None);
    };
    let read = serde_json::from_slice(&object.bytes);
    read.map(Some).map_err(|error| unreadable(&path, &error))
}

/// The error for a file whose content silt didn't write.
pub(crate) fn unreadable(path: &LakePath, error: &serde_json::Error) -> LakeError {
    LakeError::Blocked {
        path: path.to_string(),
        reason: format!("it isn't what silt writes there: {error}"),
        remedy: "move it out of the lake",
    }
}
