//! What a collection needs next: nothing, resuming a snapshot, or a new one.

use super::SnapshotMode;
use super::folder::FolderName;
use crate::position::ClusterTime;

/// What the lake holds of the snapshots of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// The position of the newest finished one.
    pub finished: Option<ClusterTime>,
    /// The unfinished ones.
    pub unfinished: Vec<Unfinished>,
    /// The end of the latest gap in the collection's changes.
    pub lost_until: Option<ClusterTime>,
}

/// An unfinished snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Its folder.
    pub folder: FolderName,
    /// Its position.
    pub position: ClusterTime,
    /// Whether it is of the collection that has the name now, as far as the role may see. A collection that was dropped and recreated is another one.
    pub is_of_this_collection: bool,
}

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The lake has what it needs.
    Nothing,
    /// Resume this one.
    Resume(FolderName),
    /// Begin a new one.
    Begin,
}

impl Holdings {
    /// The next step.
    #[must_use]
    pub fn next(&self, mode: SnapshotMode) -> Next {
        let is_enough = match (mode, self.finished) {
            (SnapshotMode::Never, _) => true,
            (SnapshotMode::Initial, finished) => finished.is_some(),
            (SnapshotMode::WhenLost, Some(position)) => !self.has_gap_after(position),
            (SnapshotMode::WhenLost, None) => false,
        };
        if is_enough {
            return Next::Nothing;
        }
        let wanted = self.unfinished.iter().filter(|unfinished| {
            unfinished.is_of_this_collection
                && Some(unfinished.position) > self.finished
                && !self.has_gap_after(unfinished.position)
        });
        // If two processes began one each at once, both take the older.
        wanted
            .min_by_key(|unfinished| unfinished.folder)
            .map_or(Next::Begin, |unfinished| Next::Resume(unfinished.folder))
    }

    /// Whether changes are missing that documents read at this position would need.
    #[must_use]
    pub fn has_gap_after(&self, position: ClusterTime) -> bool {
        self.lost_until > Some(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: u32) -> ClusterTime {
        ClusterTime {
            seconds,
            increment: 1,
        }
    }

    fn unfinished(seconds: u32) -> Unfinished {
        Unfinished {
            folder: FolderName::of(time(seconds)),
            position: time(seconds),
            is_of_this_collection: true,
        }
    }

    #[test]
    fn a_finished_snapshot_suffices_until_later_changes_are_lost() {
        let holdings = |lost_until: Option<u32>| Holdings {
            finished: Some(time(50)),
            unfinished: Vec::new(),
            lost_until: lost_until.map(time),
        };
        for (lost_until, when_lost) in [
            (None, Next::Nothing),
            (Some(50), Next::Nothing),
            (Some(51), Next::Begin),
        ] {
            let holdings = holdings(lost_until);
            assert_eq!(holdings.next(SnapshotMode::Never), Next::Nothing);
            assert_eq!(holdings.next(SnapshotMode::Initial), Next::Nothing);
            assert_eq!(holdings.next(SnapshotMode::WhenLost), when_lost);
        }
        let none = Holdings::default();
        assert_eq!(none.next(SnapshotMode::Never), Next::Nothing);
        assert_eq!(none.next(SnapshotMode::Initial), Next::Begin);
        assert_eq!(none.next(SnapshotMode::WhenLost), Next::Begin);
    }

    #[test]
    fn an_unfinished_snapshot_is_resumed_if_it_can_be_finished() {
        let lost = Holdings {
            finished: None,
            unfinished: vec![unfinished(60), unfinished(50), unfinished(40)],
            lost_until: Some(time(45)),
        };
        for mode in [SnapshotMode::Initial, SnapshotMode::WhenLost] {
            let older = FolderName::of(time(50));
            assert_eq!(lost.next(mode), Next::Resume(older), "{mode:?}");
        }
        let other = Holdings {
            unfinished: vec![Unfinished {
                is_of_this_collection: false,
                ..unfinished(60)
            }],
            ..lost.clone()
        };
        assert_eq!(other.next(SnapshotMode::Initial), Next::Begin);
        let older_than_the_finished = Holdings {
            finished: Some(time(42)),
            unfinished: vec![unfinished(41)],
            ..lost
        };
        let next = older_than_the_finished.next(SnapshotMode::WhenLost);
        assert_eq!(next, Next::Begin);
    }
}
