//! Counts the lines of files that don't record their number.

use super::{Lake, LakeError, LakePath, Version};

/// Bytes in one read.
const READ_BYTES: u64 = 4 * 1024 * 1024;

/// Reads an uncompressed file of this length to its end and counts its lines.
///
/// # Errors
///
/// The file can't be read, or is no longer in this state.
pub async fn count(
    lake: &dyn Lake,
    path: &LakePath,
    version: &Version,
    len_bytes: u64,
) -> Result<u64, LakeError> {
    let (mut lines, mut offset) = (0, 0);
    while offset < len_bytes {
        let end = (offset + READ_BYTES).min(len_bytes);
        let bytes = lake.read(path, version, offset..end).await?;
        let newlines = bytes.iter().filter(|byte| **byte == b'\n');
        lines += newlines.count() as u64;
        offset = end;
    }
    Ok(lines)
}
