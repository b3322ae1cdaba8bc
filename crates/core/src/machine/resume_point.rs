//! Where a feed comes into its stream, and how that and the end of a collection in the lake go together.

use std::collections::BTreeMap;

use super::lane::Overlap;
use crate::failure::{Disposition, Failure};
use crate::file::hour_file::{Hour, HourFile};
use crate::namespace::Namespace;
use crate::position::{Checkpoint, ClusterTime, LastChange, Position, ResumeToken, Watermark};

/// Where a feed came in, which tells of each collection whether the lake is ahead of it.
#[derive(Debug, Default)]
pub(super) struct ResumePoint {
    /// Where each collection ended, by database and name.
    watermarks: BTreeMap<(String, String), Watermark>,
    /// All changes of an earlier cluster time lie before the position.
    read_until: Option<ClusterTime>,
    /// The token that the stream begins behind. Without one it begins with that time: what has it or a later one
    /// lies behind the position.
    after: Option<ResumeToken>,
    restarted_at: Option<ClusterTime>,
    refiltered_at: Option<ClusterTime>,
}

impl ResumePoint {
    /// That of a feed that goes on from a checkpoint.
    pub(super) fn of(checkpoint: &Checkpoint, only: Option<&Namespace>) -> Self {
        let mut watermarks = checkpoint.collections.clone();
        if let Some(namespace) = only {
            let last_change = checkpoint.last_change_in(&namespace.folder());
            let watermark = last_change.map(|last_change| Watermark {
                database: namespace.database.clone(),
                collection: namespace.collection.clone(),
                last_change: last_change.clone(),
                is_after_position: false,
            });
            watermarks = watermark.into_iter().collect();
        }
        let key =
            |watermark: &Watermark| (watermark.database.clone(), watermark.collection.clone());
        let after = match &checkpoint.position {
            Position::At(_) => None,
            Position::After(token) => Some(token.clone()),
        };
        Self {
            watermarks: watermarks
                .into_iter()
                .map(|watermark| (key(&watermark), watermark))
                .collect(),
            read_until: restart_time(checkpoint),
            after,
            restarted_at: checkpoint.restarted_at,
            refiltered_at: checkpoint.refiltered_at,
        }
    }

    /// The same, for a stream that is opened at a time instead.
    pub(super) fn at(mut self, time: ClusterTime) -> Self {
        for watermark in self.watermarks.values_mut() {
            watermark.is_after_position = watermark.last_change.cluster_time >= time;
        }
        self.read_until = Some(time);
        self.after = None;
        self
    }

    pub(super) fn mark(&self, namespace: &Namespace) -> Option<&Watermark> {
        let key = (namespace.database.clone(), namespace.collection.clone());
        self.watermarks.get(&key)
    }

    pub(super) fn watermarks(&self) -> impl Iterator<Item = &Watermark> {
        self.watermarks.values()
    }

    /// What is to be passed over up to this change.
    fn overlap(&self, until: LastChange) -> Overlap {
        Overlap {
            may_be_filtered: Some(until.cluster_time) <= self.refiltered_at,
            is_invalidate: until.token.is_of_invalidate(),
            until,
            skipped: 0,
            uncertain_since: None,
        }
    }

    /// Whether the lake's last change lies behind the feed's position.
    fn is_ahead(&self, last: &LastChange, watermark: Option<&Watermark>) -> bool {
        let is_late = Some(last.cluster_time) >= self.read_until;
        let Some(after) = &self.after else {
            return is_late;
        };
        match watermark {
            Some(watermark) if watermark.last_change.token == last.token => {
                watermark.is_after_position
            }
            // It lies in the gap that the position stands behind.
            _ if Some(last.cluster_time) < self.restarted_at => false,
            // It was committed after the watermark was saved, when all that lies before the position was in
            // the lake already.
            Some(_) => true,
            None => is_late && *after != last.token,
        }
    }
}

/// What of the stream a collection's files hold already.
///
/// # Errors
///
/// The lake is behind the checkpoint.
pub(super) fn reconcile_lane(
    watermark: Option<&Watermark>,
    tail: Option<&HourFile>,
    resume_point: &ResumePoint,
) -> Result<Option<Overlap>, Failure> {
    let Some(file) = tail else {
        // Lifecycle rules delete old files. What was read stays read.
        let ahead = watermark.filter(|watermark| watermark.is_after_position);
        return Ok(ahead.map(|watermark| resume_point.overlap(watermark.last_change.clone())));
    };
    if let Some(watermark) = watermark {
        refuse_older_tail(&watermark.last_change, file)?;
    }
    let is_ahead = resume_point.is_ahead(&file.last, watermark);
    Ok(is_ahead.then(|| resume_point.overlap(file.last.clone())))
}

/// Where a stream is to begin that can't go on with the checkpoint's token: nothing before that is
/// missing in the lake.
#[must_use]
pub fn restart_time(checkpoint: &Checkpoint) -> Option<ClusterTime> {
    checkpoint
        .read_until
        .max(checkpoint.position.cluster_time())
}

/// A newest file that is older than the checkpoint's last change means that the lake was restored or lost
/// files. No file at all doesn't: lifecycle rules delete old ones.
pub(super) fn refuse_older_tail(last_change: &LastChange, file: &HourFile) -> Result<(), Failure> {
    if file.last.token == last_change.token || file.last.cluster_time >= last_change.cluster_time {
        return Ok(());
    }
    Err(lake_older(
        &file.last,
        last_change.cluster_time,
        &file.name.to_string(),
    ))
}

pub(super) fn lake_older(tail: &LastChange, expected: ClusterTime, file: &str) -> Failure {
    Failure {
        disposition: Disposition::Halt,
        cause: "lake_behind",
        message: format!(
            "the lake is older than its checkpoint: its newest file {file} ends at {}, the checkpoint \
             knows of changes up to {expected}. Were files deleted or restored? Put the missing \
             files back, or delete this feed's checkpoint to archive again from the end of {file} \
             (the oplog must still hold that time; a shared stream needs START_AT with it, at or before \
             that end)",
            tail.cluster_time
        ),
    }
}

pub(super) fn time_went_back(time: ClusterTime, newest: Hour) -> Failure {
    Failure {
        disposition: Disposition::Halt,
        cause: "mongodb_time_ran_back",
        message: format!(
            "cluster time ran back: a change of {time} came behind the hour {newest}. Was the cluster \
             restored from a backup? Archive it into a new lake or prefix (LAKE_URL)"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(data: &str, seconds: u32) -> LastChange {
        LastChange {
            token: ResumeToken::from_canonical(&format!(r#"{{"_data":"{data}"}}"#)),
            cluster_time: ClusterTime {
                seconds,
                increment: 1,
            },
        }
    }

    #[test]
    fn an_end_without_a_mark_is_judged_by_its_token_and_its_time() {
        let read = last("8250", 50);
        let checkpoint = Checkpoint {
            read_until: Some(read.cluster_time),
            ..Checkpoint::new(Position::After(read.token.clone()), "hash")
        };
        let resume_point = ResumePoint::of(&checkpoint, None);
        for (end, is_ahead) in [
            (read, false),
            (last("8250FF", 50), true),
            (last("8260", 60), true),
            (last("8240", 40), false),
        ] {
            assert_eq!(resume_point.is_ahead(&end, None), is_ahead, "{end:?}");
        }
    }
}
