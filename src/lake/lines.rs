//! Counts the lines of files that don't say how many they have.

use super::{Lake, LakeError, LakePath, Version};

/// Bytes that are read at once.
const WINDOW_BYTES: u64 = 4 * 1024 * 1024;

/// Reads an uncompressed file of this length to its end and counts its lines.
///
/// # Errors
///
/// The lake's.
pub async fn count(
    lake: &dyn Lake,
    path: &LakePath,
    version: &Version,
    len_bytes: u64,
) -> Result<u64, LakeError> {
    let (mut lines, mut at) = (0, 0);
    while at < len_bytes {
        let end = (at + WINDOW_BYTES).min(len_bytes);
        let bytes = lake.read(path, version, at..end).await?;
        let ends = bytes.iter().filter(|byte| **byte == b'\n');
        lines += ends.count() as u64;
        at = end;
    }
    Ok(lines)
}
