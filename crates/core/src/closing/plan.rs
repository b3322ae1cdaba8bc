//! Which hour is closed next.

use std::collections::{BTreeMap, BTreeSet};

use crate::file::damage::Damage;
use crate::file::hour_file::{Hour, HourFileName};
use crate::position::ClusterTime;

/// What the lake holds of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// The hours that have files, with their parts in order.
    files: BTreeMap<Hour, Vec<HourFileName>>,
    /// The hours that have a record.
    closed: BTreeSet<Hour>,
}

/// An hour to be closed, and the record that the new one names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The hour.
    pub hour: Hour,
    /// The neighbour that is closed already.
    pub neighbour: Neighbour,
}

/// The closed hour to which a record is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// It is the first record of the collection.
    None,
    /// The newest closed hour, which is before it.
    Previous(Hour),
    /// The oldest closed hour, which is after it: the hour was archived before silt closed hours.
    Next(Hour),
}

impl Step {
    /// Whether the hour ended before the collection's first record was written, so that nobody waits for it.
    #[must_use]
    pub fn is_backlog(&self) -> bool {
        matches!(self.neighbour, Neighbour::Next(_))
    }
}

impl Survey {
    /// From the names of the hour files and of the closed hours.
    #[must_use]
    pub fn new(
        names: impl IntoIterator<Item = HourFileName>,
        closed: impl IntoIterator<Item = Hour>,
    ) -> Self {
        let mut files: BTreeMap<Hour, Vec<HourFileName>> = BTreeMap::new();
        for name in names {
            files.entry(name.hour).or_default().push(name);
        }
        for parts in files.values_mut() {
            parts.sort_by_key(HourFileName::age_key);
        }
        Self {
            files,
            closed: closed.into_iter().collect(),
        }
    }

    /// The hour to be closed next: the oldest after the newest closed one; if there is none, the newest before the
    /// oldest closed one. A lake without records begins with its newest hour, because that is what readers wait for.
    /// So the records are a chain without a hole, at whatever moment closing is interrupted.
    ///
    /// Only hours that ended before `durable_until` are due: every change before that cluster time is in the lake.
    #[must_use]
    pub fn next(&self, durable_until: ClusterTime) -> Option<Step> {
        let is_due = |hour: &&Hour| hour.last_cluster_time() < durable_until;
        let (Some(oldest), Some(newest)) = (self.closed.first(), self.closed.last()) else {
            let hour = *self.files.keys().rev().find(is_due)?;
            let neighbour = Neighbour::None;
            return Some(Step { hour, neighbour });
        };
        let after = self.files.keys().find(|hour| *hour > newest);
        if let Some(hour) = after.filter(is_due) {
            return Some(Step {
                hour: *hour,
                neighbour: Neighbour::Previous(*newest),
            });
        }
        let before = self.files.keys().rev().find(|hour| *hour < oldest);
        before.map(|hour| Step {
            hour: *hour,
            neighbour: Neighbour::Next(*oldest),
        })
    }

    /// Notes that an hour has its record.
    pub fn close(&mut self, hour: Hour) {
        self.closed.insert(hour);
    }

    /// The oldest closed hour.
    #[must_use]
    pub fn oldest_closed(&self) -> Option<Hour> {
        self.closed.first().copied()
    }

    /// The newest closed hour.
    #[must_use]
    pub fn newest_closed(&self) -> Option<Hour> {
        self.closed.last().copied()
    }

    /// Whether there are files of an earlier hour.
    #[must_use]
    pub fn has_files_before(&self, hour: Hour) -> bool {
        self.files.keys().next().is_some_and(|first| *first < hour)
    }

    /// The files of an hour, in order.
    ///
    /// # Errors
    ///
    /// A part is missing, or is there twice.
    pub fn parts(&self, hour: Hour) -> Result<&[HourFileName], Damage> {
        let parts = self.files.get(&hour).map_or(&[][..], Vec::as_slice);
        for (expected, name) in (1..).zip(parts) {
            if name.part != expected {
                let what = if name.part < expected {
                    format!("{name}: another file has the same hour and part")
                } else {
                    format!("{name}: part {expected}, which comes before it, is missing")
                };
                return Err(Damage::Broken(what));
            }
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    fn hour(number: u32) -> Hour {
        Hour::of(ClusterTime {
            seconds: number * 3600,
            increment: 0,
        })
    }

    fn end_of(number: u32) -> ClusterTime {
        hour(number + 1).first_cluster_time()
    }

    fn file(number: u32, part: u32) -> HourFileName {
        HourFileName {
            hour: hour(number),
            part,
            format: crate::file::format::FileFormat::ALL[0],
        }
    }

    fn survey(hours: &[u32], closed: &[u32]) -> Survey {
        let files = hours.iter().map(|number| file(*number, 1));
        Survey::new(files, closed.iter().map(|number| hour(*number)))
    }

    #[test]
    fn an_hour_is_due_when_the_position_has_passed_its_end() {
        let survey = survey(&[5], &[]);
        assert_eq!(survey.next(hour(5).last_cluster_time()), None);
        let step = survey.next(end_of(5)).unwrap();
        assert_eq!((step.hour, step.neighbour), (hour(5), Neighbour::None));
    }

    #[test]
    fn new_hours_go_first_and_the_backlog_newest_first() {
        let step = |closed: &[u32], until| {
            let step = survey(&[1, 2, 4, 7, 9], closed).next(until)?;
            Some((step.hour, step.neighbour))
        };
        assert_eq!(step(&[], end_of(8)), Some((hour(7), Neighbour::None)));
        let next = Neighbour::Next(hour(7));
        assert_eq!(step(&[7], end_of(8)), Some((hour(4), next)));
        let previous = Neighbour::Previous(hour(7));
        assert_eq!(step(&[4, 7], end_of(9)), Some((hour(9), previous)));
        let next = Neighbour::Next(hour(4));
        assert_eq!(step(&[4, 7, 9], end_of(9)), Some((hour(2), next)));
        assert_eq!(step(&[1, 2, 4, 7, 9], end_of(9)), None);
    }

    #[test]
    fn files_that_were_deleted_reopen_nothing() {
        assert_eq!(survey(&[3], &[1, 2, 3]).next(end_of(9)), None);
        let step = survey(&[4], &[1, 2]).next(end_of(9)).unwrap();
        assert_eq!(step.neighbour, Neighbour::Previous(hour(2)));
    }

    #[test]
    fn parts_are_without_a_hole() {
        let parts = |numbers: &[u32]| {
            let files = numbers.iter().map(|part| file(1, *part));
            let survey = Survey::new(files, []);
            survey.parts(hour(1)).map(<[_]>::len)
        };
        assert_eq!(parts(&[2, 1, 3]), Ok(3));
        assert!(parts(&[1, 3]).is_err());
        assert!(parts(&[2]).is_err());
        assert!(parts(&[1, 2, 2]).is_err());
    }

    proptest! {
        /// However often closing is interrupted while hours are added, every due hour is closed once, and the
        /// closed hours are a run without a hole.
        #[test]
        fn every_due_hour_is_closed_once(
            old in btree_set(0u32..50, 0..20),
            new in btree_set(50u32..100, 0..20),
            taken in 0usize..40,
        ) {
            let mut closed = Vec::new();
            let mut go = |hours: &[u32], until: u32, most: usize| {
                for _ in 0..most {
                    let survey = Survey::new(hours.iter().map(|it| file(*it, 1)), closed.clone());
                    let Some(step) = survey.next(end_of(until)) else { break };
                    prop_assert!(!closed.contains(&step.hour));
                    closed.push(step.hour);
                    let all: BTreeSet<Hour> = closed.iter().copied().collect();
                    let (first, last) = (*all.first().unwrap(), *all.last().unwrap());
                    let within = hours.iter().map(|it| hour(*it)).filter(|it| (first..=last).contains(it));
                    prop_assert_eq!(within.count(), all.len());
                }
                Ok(())
            };
            let old: Vec<u32> = old.into_iter().collect();
            let all: Vec<u32> = old.iter().copied().chain(new).collect();
            go(&old, 49, taken)?;
            go(&all, 100, usize::MAX)?;
            prop_assert_eq!(closed.len(), all.len());
        }
    }
}
