//! The lanes of a feed: one for each collection whose tail it has loaded.

use std::collections::{BTreeSet, HashMap};
use std::ops::{Index, IndexMut};

use super::Config;
use super::lane::Lane;
use crate::batch::FlushReason;
use crate::namespace::Namespace;
use crate::position::ClusterTime;

/// A lane of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub(crate) usize);

/// The lanes.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    all: Vec<Lane>,
    by_namespace: HashMap<Namespace, LaneId>,
    /// The lanes that may have something to do. Of hundreds of collections most are idle.
    busy: BTreeSet<LaneId>,
}

impl Lanes {
    /// The lane of a collection, created if it is new.
    pub fn of(&mut self, namespace: &Namespace, config: &Config) -> LaneId {
        if let Some(id) = self.by_namespace.get(namespace) {
            return *id;
        }
        let id = LaneId(self.all.len());
        self.all.push(Lane::new(id, namespace.clone(), config));
        self.by_namespace.insert(namespace.clone(), id);
        self.busy.insert(id);
        id
    }

    pub fn get(&self, id: LaneId) -> Option<&Lane> {
        self.all.get(id.0)
    }

    /// The lane of a collection, if it has one.
    pub fn find(&self, namespace: &Namespace) -> Option<LaneId> {
        self.by_namespace.get(namespace).copied()
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    pub fn iter(&self) -> impl Iterator<Item = &Lane> {
        self.all.iter()
    }

    /// Those that may have something to do.
    pub fn busy(&self) -> impl Iterator<Item = &Lane> {
        self.busy.iter().map(|id| &self[*id])
    }

    pub fn busy_ids(&self) -> Vec<LaneId> {
        self.busy.iter().copied().collect()
    }

    /// Notes whether a lane has still something to do.
    pub fn settle(&mut self, id: LaneId) {
        if self[id].is_busy() {
            self.busy.insert(id);
        } else {
            self.busy.remove(&id);
        }
    }

    pub fn seal_open(&mut self, reason: FlushReason) {
        for id in self.busy_ids() {
            self[id].seal_open(reason);
        }
    }

    pub fn hurry(&mut self) {
        for id in self.busy_ids() {
            self[id].hurry();
        }
    }

    /// Discards the overlaps that end before this time: the rest of them is lost.
    pub fn drop_overlaps_before(&mut self, time: ClusterTime) {
        for lane in &mut self.all {
            lane.overlap
                .take_if(|overlap| overlap.until.cluster_time < time);
        }
    }

    /// The time of the first dropped change that may not be in the lake.
    pub fn uncertain_time(&self) -> Option<ClusterTime> {
        let overlaps = self.all.iter().filter_map(|lane| lane.overlap.as_ref());
        let uncertain = overlaps.filter(|overlap| overlap.uncertain_since.is_some());
        uncertain.map(|overlap| overlap.until.cluster_time).min()
    }

    /// Whether all that was read is in the lake.
    pub fn are_archived(&self) -> bool {
        self.busy().all(Lane::is_archived)
    }

    /// Whether changes that the lake holds are being read again.
    pub fn have_overlap(&self) -> bool {
        self.iter().any(|lane| lane.overlap.is_some())
    }

    /// Changes in memory.
    pub fn buffered_changes(&self) -> u64 {
        self.busy().map(Lane::buffered_changes).sum()
    }

    pub fn committing(&self) -> usize {
        self.busy().filter(|lane| !lane.commit.is_idle()).count()
    }
}

impl Index<LaneId> for Lanes {
    type Output = Lane;

    fn index(&self, id: LaneId) -> &Lane {
        &self.all[id.0]
    }
}

impl IndexMut<LaneId> for Lanes {
    fn index_mut(&mut self, id: LaneId) -> &mut Lane {
        &mut self.all[id.0]
    }
}
