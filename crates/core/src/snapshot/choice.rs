//! What a collection needs: nothing, to go on with a snapshot, or a new one.

use super::SnapshotMode;
use super::folder::FolderName;
use crate::position::ClusterTime;

/// What the lake holds of a collection's snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// The position of the newest finished one.
    pub finished: Option<ClusterTime>,
    /// Those that were begun and not finished.
    pub unfinished: Vec<Unfinished>,
    /// Where the latest gap in the collection's changes ends.
    pub lost_until: Option<ClusterTime>,
}

/// A snapshot that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Its folder.
    pub folder: FolderName,
    /// Its position.
    pub position: ClusterTime,
    /// Whether it is of the collection that now has the name, as far as that can be seen.
    pub is_of_this_collection: bool,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The lake has what it should have.
    Nothing,
    /// Go on with this one.
    GoOn(FolderName),
    /// Begin a new one.
    Begin,
}

impl Holdings {
    /// What comes next.
    #[must_use]
    pub fn next(&self, mode: SnapshotMode) -> Next {
        let is_enough = match (mode, self.finished) {
            (SnapshotMode::Never, _) => true,
            (SnapshotMode::Initial, finished) => finished.is_some(),
            (SnapshotMode::WhenLost, Some(position)) => !self.is_lost_behind(position),
            (SnapshotMode::WhenLost, None) => false,
        };
        if is_enough {
            return Next::Nothing;
        }
        let wanted = self.unfinished.iter().filter(|begun| {
            begun.is_of_this_collection
                && Some(begun.position) > self.finished
                && !self.is_lost_behind(begun.position)
        });
        // Of two that were begun at once, everybody takes the elder.
        wanted
            .min_by_key(|begun| begun.folder)
            .map_or(Next::Begin, |begun| Next::GoOn(begun.folder))
    }

    /// Whether changes are lost that documents read at this position would need.
    #[must_use]
    pub fn is_lost_behind(&self, position: ClusterTime) -> bool {
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

    fn begun(seconds: u32) -> Unfinished {
        Unfinished {
            folder: FolderName::of(time(seconds)),
            position: time(seconds),
            is_of_this_collection: true,
        }
    }

    #[test]
    fn a_finished_snapshot_is_enough_until_changes_are_lost_behind_it() {
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
    fn one_that_was_begun_is_gone_on_with_while_it_can_be_finished() {
        let lost = Holdings {
            finished: None,
            unfinished: vec![begun(60), begun(50), begun(40)],
            lost_until: Some(time(45)),
        };
        for mode in [SnapshotMode::Initial, SnapshotMode::WhenLost] {
            let elder = FolderName::of(time(50));
            assert_eq!(lost.next(mode), Next::GoOn(elder), "{mode:?}");
        }
        let other = Holdings {
            unfinished: vec![Unfinished {
                is_of_this_collection: false,
                ..begun(60)
            }],
            ..lost.clone()
        };
        assert_eq!(other.next(SnapshotMode::Initial), Next::Begin);
        let older_than_the_finished = Holdings {
            finished: Some(time(42)),
            unfinished: vec![begun(41)],
            ..lost
        };
        let next = older_than_the_finished.next(SnapshotMode::WhenLost);
        assert_eq!(next, Next::Begin);
    }
}
