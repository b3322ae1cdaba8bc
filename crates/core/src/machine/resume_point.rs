//! Where a feed resumes its stream, and which changes after that the lake already holds.

use std::collections::BTreeMap;

use super::lane::Overlap;
use crate::failure::{Disposition, Failure};
use crate::file::hour_file::{Hour, HourFile};
use crate::namespace::Namespace;
use crate::position::{Checkpoint, ClusterTime, LastChange, Position, ResumeToken, Watermark};

/// Where a feed resumes. For each collection it tells whether the lake holds changes after the position.
#[derive(Debug, Default)]
pub(super) struct ResumePoint {
    /// The collections' last changes, by database and collection.
    watermarks: BTreeMap<(String, String), Watermark>,
    /// All changes of an earlier cluster time are before the position.
    read_until: Option<ClusterTime>,
    /// The token after which the stream begins. Without one it begins at `read_until`: changes of that time or
    /// later are after the position.
    after: Option<ResumeToken>,
    restarted_at: Option<ClusterTime>,
    refiltered_at: Option<ClusterTime>,
}

impl ResumePoint {
    /// That of a feed that resumes from a checkpoint.
    pub(super) fn of(checkpoint: &Checkpoint) -> Self {
        let key = |watermark: &Watermark| {
            let Watermark {
                database,
                collection,
                ..
            } = watermark;
            (database.clone(), collection.clone())
        };
        let watermarks = checkpoint.collections.iter();
        Self {
            watermarks: watermarks.map(|it| (key(it), it.clone())).collect(),
            read_until: checkpoint.restart_time(),
            after: match &checkpoint.position {
                Position::At(_) => None,
                Position::After(token) => Some(token.clone()),
            },
            restarted_at: checkpoint.restarted_at,
            refiltered_at: checkpoint.refiltered_at,
        }
    }

    /// The same for a stream that is opened at a time instead.
    pub(super) fn at(mut self, time: ClusterTime) -> Self {
        for watermark in self.watermarks.values_mut() {
            watermark.is_after_position = watermark.last_change.cluster_time >= time;
        }
        self.read_until = Some(time);
        self.after = None;
        self
    }

    pub(super) fn watermark(&self, namespace: &Namespace) -> Option<&Watermark> {
        let key = (namespace.database.clone(), namespace.collection.clone());
        self.watermarks.get(&key)
    }

    pub(super) fn watermarks(&self) -> impl Iterator<Item = &Watermark> {
        self.watermarks.values()
    }

    /// The changes of a collection that the lake holds after the position.
    ///
    /// # Errors
    ///
    /// The tail is older than the checkpoint.
    pub(super) fn overlap(
        &self,
        watermark: Option<&Watermark>,
        tail: Option<&HourFile>,
    ) -> Result<Option<Overlap>, Failure> {
        let Some(file) = tail else {
            // Lifecycle rules delete old files. What they held is not archived again.
            let deleted = watermark.filter(|watermark| watermark.is_after_position);
            return Ok(deleted.map(|watermark| self.overlap_until(&watermark.last_change)));
        };
        if let Some(watermark) = watermark {
            refuse_older_tail(&watermark.last_change, file)?;
        }
        let is_after = self.is_before(&file.last, watermark);
        Ok(is_after.then(|| self.overlap_until(&file.last)))
    }

    fn overlap_until(&self, last: &LastChange) -> Overlap {
        Overlap {
            may_be_filtered: Some(last.cluster_time) <= self.refiltered_at,
            is_invalidate: last.token.is_of_invalidate(),
            until: last.clone(),
            skipped: 0,
            uncertain_since: None,
        }
    }

    /// Whether the position is before a tail's last change.
    fn is_before(&self, last: &LastChange, watermark: Option<&Watermark>) -> bool {
        let is_late = Some(last.cluster_time) >= self.read_until;
        let Some(after) = &self.after else {
            return is_late;
        };
        match watermark {
            Some(watermark) if watermark.last_change.token == last.token => {
                watermark.is_after_position
            }
            // It is in the gap that the position is after.
            _ if Some(last.cluster_time) < self.restarted_at => false,
            // It was committed after the watermark had been saved, when all changes before the position were
            // already in the lake.
            Some(_) => true,
            None => is_late && *after != last.token,
        }
    }
}

/// Refuses a tail that is older than its collection's last change: the lake was restored from a backup or has lost
/// files. A collection without files is accepted, since lifecycle rules delete old ones.
///
/// # Errors
///
/// The failure that the lane halts with.
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
            "cluster time ran back: a change of {time} follows changes of the hour {newest}. Was the cluster \
             restored from a backup? Archive it into a new lake or prefix (LAKE_URL)"
        ),
    }
}

pub(super) fn hour_closed(time: ClusterTime, hour: Hour) -> Failure {
    Failure {
        disposition: Disposition::Halt,
        cause: "hour_closed",
        message: format!(
            "a change of {time} belongs to the hour {hour}, which is closed: all its changes were in the lake when \
             its record, _closed/{hour}.json, was written. Was the checkpoint replaced by an older one, or deleted \
             while PIPELINE or OPERATION_TYPES changed? Put the newer checkpoint back, or delete the checkpoint and \
             set START_AT to the end of that hour"
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
    fn a_tail_without_a_watermark_is_judged_by_its_token_and_its_time() {
        let read = last("8250", 50);
        let checkpoint = Checkpoint {
            read_until: Some(read.cluster_time),
            ..Checkpoint::new(Position::After(read.token.clone()), "hash")
        };
        let resume_point = ResumePoint::of(&checkpoint);
        for (end, is_before) in [
            (read, false),
            (last("8250FF", 50), true),
            (last("8260", 60), true),
            (last("8240", 40), false),
        ] {
            assert_eq!(resume_point.is_before(&end, None), is_before, "{end:?}");
        }
    }
}
