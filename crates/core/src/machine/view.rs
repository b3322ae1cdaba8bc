//! What can be seen of a feed.

use super::lane::Lane;
use super::{Feed, LaneId, Stage, Trouble};
use crate::batch::{Batch, Changes};
use crate::file::hour_file::HourFile;
use crate::namespace::Namespace;
use crate::position::ClusterTime;

/// What a feed is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activity {
    /// It reads the checkpoint and the tail, or saves its starting position.
    #[default]
    Starting,
    /// It reads its stream.
    Watching,
    /// Its stream is closed and will be opened again.
    Reconnecting,
    /// Manual action is required.
    Halted,
    /// It has stopped reading, and flushes and saves.
    Draining,
    /// It is done.
    Stopped,
}

/// What a feed or one of its lanes has committed to the lake since it was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Archived {
    /// Commits.
    pub flushes: u64,
    /// Changes.
    pub changes: u64,
    /// Their lines.
    pub encoded_bytes: u64,
}

impl Archived {
    pub(super) fn note(&mut self, batch: &Batch) {
        self.flushes += 1;
        self.changes += u64::from(batch.changes);
        self.encoded_bytes += batch.len_bytes();
    }
}

impl Feed {
    /// What it is doing.
    #[must_use]
    pub fn activity(&self) -> Activity {
        let is_halted = self.trouble().is_some_and(|trouble| trouble.is_halt);
        match self.stage {
            Stage::Finished => Activity::Stopped,
            _ if self.draining => Activity::Draining,
            _ if is_halted => Activity::Halted,
            Stage::Running if self.is_watching() => Activity::Watching,
            Stage::Running => Activity::Reconnecting,
            _ => Activity::Starting,
        }
    }

    /// What it has committed to the lake.
    #[must_use]
    pub fn archived(&self) -> Archived {
        self.archived
    }

    /// What a lane has committed to the lake.
    #[must_use]
    pub fn archived_by(&self, lane: Option<LaneId>) -> Archived {
        let lane = lane.and_then(|lane| self.lanes.get(lane));
        lane.map(|lane| lane.archived).unwrap_or_default()
    }

    /// The collection of a lane, if there is such a lane.
    #[must_use]
    pub fn namespace(&self, lane: LaneId) -> Option<&Namespace> {
        self.lanes.get(lane).map(|lane| &lane.namespace)
    }

    /// All lanes.
    pub fn lanes(&self) -> impl Iterator<Item = LaneId> {
        self.lanes.iter().map(|lane| lane.id)
    }

    /// The newest hour file of a lane.
    #[must_use]
    pub fn file(&self, lane: LaneId) -> Option<&HourFile> {
        let tail = self.lanes.get(lane)?.tail.as_ref()?;
        Some(&tail.file)
    }

    /// The cluster time of the last change that the lake is known to hold.
    #[must_use]
    pub fn last_change_time(&self) -> Option<ClusterTime> {
        self.last_change_time
    }

    /// The same of one lane.
    #[must_use]
    pub fn last_change_time_of(&self, lane: LaneId) -> Option<ClusterTime> {
        let last = self.lanes.get(lane)?.last_change.as_ref()?;
        Some(last.cluster_time)
    }

    /// Whether a lane's commit is in progress or waits for its next attempt.
    #[must_use]
    pub fn is_lane_committing(&self, lane: LaneId) -> bool {
        self.lanes
            .get(lane)
            .is_some_and(|lane| !lane.commit.is_idle())
    }

    /// Whether the feed carries many collections.
    #[must_use]
    pub fn carries_many(&self) -> bool {
        self.config.only_namespace().is_none()
    }

    /// The cluster time up to which all changes are in the lake, once that is known.
    #[must_use]
    pub fn archived_until(&self) -> Option<ClusterTime> {
        let is_known = matches!(self.stage, Stage::Running | Stage::Finished);
        let safe = self.progress.safe();
        safe.position.cluster_time().filter(|_| is_known)
    }

    /// The cluster time of the saved position; `None` while that is uncertain.
    #[must_use]
    pub fn saved_until(&self) -> Option<ClusterTime> {
        let saved = self.saves.saved.as_ref()?;
        let is_certain = self.saves.is_certain();
        saved.position.cluster_time().filter(|_| is_certain)
    }

    /// Whether everything that was read is in the lake.
    #[must_use]
    pub fn is_all_archived(&self) -> bool {
        let nothing_waits = self.lanes.are_archived() && self.stream.waiting.is_none();
        self.stage == Stage::Running && nothing_waits && !self.lanes.have_overlap()
    }

    /// Whether changes wait until the tails of their collections are known. Nothing more is to be read until
    /// then.
    #[must_use]
    pub fn has_waiting_changes(&self) -> bool {
        self.stream.waiting.is_some()
    }

    /// Encoded bytes in memory.
    #[must_use]
    pub fn buffered_bytes(&self) -> u64 {
        let waiting = self.stream.waiting.as_ref().map_or(0, Changes::len_bytes);
        waiting + self.lanes.busy().map(Lane::buffered_bytes).sum::<u64>()
    }

    /// Changes in memory.
    #[must_use]
    pub fn buffered_changes(&self) -> u64 {
        let waiting = self.stream.waiting.as_ref().map_or(0, Changes::len);
        waiting as u64 + self.lanes.buffered_changes()
    }

    /// Changes that were read and dropped without knowing that the lake has them, and that weren't read again since.
    /// The next start reads them again.
    #[must_use]
    pub fn given_up_changes(&self) -> u64 {
        self.dropped.as_ref().map_or(0, |dropped| dropped.changes)
    }

    /// Whether a commit is in progress or waits for its next attempt.
    #[must_use]
    pub fn is_committing(&self) -> bool {
        self.lanes.committing() > 0
    }

    /// The current trouble; a halt takes precedence.
    #[must_use]
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble_and_its_collection()
            .map(|(trouble, _)| trouble)
    }

    /// The same, and the collection if only that is concerned.
    #[must_use]
    pub fn trouble_and_its_collection(&self) -> Option<(&Trouble, Option<&Namespace>)> {
        let lanes = self.lanes.busy();
        let of_lanes = lanes.flat_map(|lane| {
            let troubles = lane.troubles();
            troubles.map(|trouble| (trouble, Some(&lane.namespace)))
        });
        let start = self
            .start
            .operation
            .trouble()
            .map(|trouble| (trouble, None));
        let rest = [&self.saves.operation, &self.stream.operation];
        let rest = rest.into_iter().filter_map(|operation| operation.trouble());
        let all = start.into_iter().chain(of_lanes);
        all.chain(rest.map(|trouble| (trouble, None)))
            .max_by_key(|(trouble, _)| trouble.is_halt)
    }

    /// Whether the feed reads its stream.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.stream.is_open()
    }
}
