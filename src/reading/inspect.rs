//! Checks a whole hour file.

use super::read_ahead::ReadAhead;
use crate::lake::{FileState, Lake, LakeError, LakePath};
use crate::pace::Pace;
use silt_core::file::damage::Damage;
use silt_core::file::hour_file::HourFileName;
use silt_core::namespace::Namespace;
use silt_core::reading::{Change, Inspection, Line, Summary};

/// Reads an hour file in this state to its end, no faster than `pace` allows. `each` sees every change, and may find it damaged: whether
/// tokens are unique among several files is for it to say.
///
/// # Errors
///
/// The lake's; [`LakeError::Stale`] if the file has changed; [`LakeError::Damaged`] with line and offset if
/// it isn't what silt writes.
pub async fn inspect(
    lake: &dyn Lake,
    (path, name): (&LakePath, HourFileName),
    state: &FileState,
    namespace: &Namespace,
    pace: &Pace,
    mut each: impl FnMut(&Change<'_>, &Line<'_>) -> Result<(), Damage> + Send,
) -> Result<Summary, LakeError> {
    let damaged = |damage| LakeError::Damaged {
        path: path.to_string(),
        damage,
    };
    let mut inspection = Inspection::new(namespace.clone(), name);
    let mut bytes = ReadAhead::new(lake, path, state, 0);
    loop {
        pace.wait().await;
        let Some(bytes) = bytes.next().await? else {
            break;
        };
        pace.charge(bytes.len() as u64);
        inspection.feed(bytes, &mut each).map_err(damaged)?;
        // Parsing takes a while; others have their turn.
        tokio::task::yield_now().await;
    }
    inspection.finish(&mut each).map_err(damaged)
}
