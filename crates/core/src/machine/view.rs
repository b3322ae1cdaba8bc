//! What a feed shows of itself.

use super::lane::Lane;
use super::{Attempt, Feed, LaneId, Stage, Stream, Trouble, Troubles};
use crate::batch::{Batch, Changes};
use crate::file::hour_file::HourFile;
use crate::namespace::Namespace;
use crate::position::ClusterTime;

/// What a feed is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activity {
    /// It reads checkpoint and tail, or saves where it starts.
    #[default]
    Starting,
    /// It reads its stream.
    Watching,
    /// Its stream is closed and will be opened again.
    Reconnecting,
    /// It needs a person.
    Halted,
    /// It reads no more, flushes and saves.
    Draining,
    /// It is done.
    Stopped,
}

/// What a feed or one of its lanes has brought into the lake since it was made.
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
        match (self.stage, &self.stream) {
            (Stage::Finished, _) => Activity::Stopped,
            _ if self.draining => Activity::Draining,
            _ if self.trouble().is_some_and(|trouble| trouble.is_halt) => Activity::Halted,
            (Stage::Running, Stream::Open) => Activity::Watching,
            (Stage::Running, _) => Activity::Reconnecting,
            _ => Activity::Starting,
        }
    }

    /// What it has brought into the lake.
    #[must_use]
    pub fn archived(&self) -> Archived {
        self.archived
    }

    /// What a lane has brought into the lake.
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

    /// The newest hour file of a lane.
    #[must_use]
    pub fn file(&self, lane: LaneId) -> Option<&HourFile> {
        self.lanes.get(lane).and_then(|lane| lane.file.as_ref())
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

    /// Whether a lane's commit is under way or waits for its next try.
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
        let is_certain = self.save != Attempt::Running && self.uncertain_save.is_none();
        let saved = self.saved.as_ref().filter(|_| is_certain)?;
        saved.position.cluster_time()
    }

    /// Whether all that was read is in the lake.
    #[must_use]
    pub fn is_all_archived(&self) -> bool {
        let nothing_waits = self.lanes.are_archived() && self.waiting.is_none();
        self.stage == Stage::Running && nothing_waits && !self.lanes.have_overlap()
    }

    /// Whether changes came that wait until it is known where the lake ends for their collections:
    /// nothing more is to be read until then.
    #[must_use]
    pub fn has_waiting_changes(&self) -> bool {
        self.waiting.is_some()
    }

    /// Encoded bytes that the feed holds in memory.
    #[must_use]
    pub fn buffered_bytes(&self) -> u64 {
        let held = self.waiting.as_ref().map_or(0, Changes::len_bytes);
        held + self.lanes.busy().map(Lane::buffered_bytes).sum::<u64>()
    }

    /// Changes that the feed holds in memory.
    #[must_use]
    pub fn buffered_changes(&self) -> u64 {
        let held = self.waiting.as_ref().map_or(0, |held| held.len() as u64);
        held + self.lanes.busy().map(Lane::buffered_changes).sum::<u64>()
    }

    /// Changes that were read and dropped without knowing that the lake has them, and that weren't read again since.
    /// The next start reads them again.
    #[must_use]
    pub fn given_up_changes(&self) -> u64 {
        self.dropped.as_ref().map_or(0, |dropped| dropped.changes)
    }

    /// Whether a commit is under way or waits for its next try.
    #[must_use]
    pub fn is_committing(&self) -> bool {
        self.lanes.committing() > 0
    }

    /// What is wrong now, the worst first.
    #[must_use]
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble_and_its_collection()
            .map(|(trouble, _)| trouble)
    }

    /// The same, and the collection, if it is one's alone.
    #[must_use]
    pub fn trouble_and_its_collection(&self) -> Option<(&Trouble, Option<&Namespace>)> {
        let Troubles {
            start,
            stream,
            save,
        } = &self.troubles;
        let lanes = self.lanes.busy();
        let lanes = lanes.flat_map(|lane| {
            let troubles = [&lane.tail_trouble, &lane.commit_trouble].into_iter();
            troubles.map(|trouble| (trouble, Some(&lane.namespace)))
        });
        let all = std::iter::once((start, None)).chain(lanes);
        let all = all.chain([(save, None), (stream, None)]);
        let all = all.filter_map(|(trouble, namespace)| Some((trouble.as_ref()?, namespace)));
        all.max_by_key(|(trouble, _)| trouble.is_halt)
    }

    /// Whether the feed reads its stream.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.stream == Stream::Open
    }
}
