//! Loads the checkpoints that a handover depends on.

use silt_core::handover::{self, Candidates, Handover};
use silt_core::namespace::selection::Watched;
use silt_core::position::Stored;

use super::{CheckpointError, Checkpoints};

/// Where a feed is to resume, unless that is where its own checkpoint says: see [`handover::handover`].
///
/// # Errors
///
/// The store can't be read.
pub async fn handover(
    checkpoints: &dyn Checkpoints,
    watched: &Watched,
    own: Option<&Stored>,
) -> Result<Option<Handover>, CheckpointError> {
    let others = match Candidates::of(watched, own) {
        Candidates::None => return Ok(None),
        Candidates::All => checkpoints.list().await?,
        Candidates::Feeds(feeds) => {
            let mut others = Vec::new();
            for feed in feeds {
                let stored = checkpoints.load(&feed).await?;
                others.extend(stored.map(|stored| (feed, stored)));
            }
            others
        }
    };
    Ok(handover::handover(watched, own, others))
}
