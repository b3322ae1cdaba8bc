//! The lake's records of gaps: small files, and puts that compare and set.

use std::collections::BTreeMap;
use std::ops::Range;

use super::faults::failure;
use super::source::Source;
use crate::failure::{Disposition, Failure};
use crate::file::commit::tests::origin as namespace;
use crate::gap::Gap;
use crate::position::Position;

/// A record on its way to the lake.
#[derive(Clone, Debug)]
pub(super) struct Put {
    name: String,
    gap: Gap,
    /// The version of what it replaces; 0 is none.
    replaces: u64,
}

impl Put {
    pub fn summary(&self) -> String {
        format!(
            "put {} of {} in place of {}",
            self.name, self.gap, self.replaces
        )
    }
}

#[derive(Clone, Debug)]
struct Record {
    gap: Gap,
    bytes: Vec<u8>,
    version: u64,
}

/// All records.
#[derive(Clone, Debug, Default)]
pub(super) struct Gaps {
    records: BTreeMap<String, Record>,
    versions: u64,
}

impl Gaps {
    /// Reads what a record is to replace.
    pub fn look(&self, gap: Gap) -> Put {
        let name = gap.file_name().unwrap();
        let (gap, replaces) = match self.records.get(&name) {
            Some(there) => (gap.merged(&there.bytes).unwrap(), there.version),
            None => (gap, 0),
        };
        Put {
            name,
            gap,
            replaces,
        }
    }

    pub fn put(&mut self, put: Put) -> Result<(), Failure> {
        let there = self.records.get(&put.name);
        if there.map_or(0, |there| there.version) != put.replaces {
            return Err(failure(Disposition::Reload));
        }
        self.versions += 1;
        let record = Record {
            bytes: put.gap.record(&namespace(), 0).unwrap(),
            gap: put.gap,
            version: self.versions,
        };
        self.records.insert(put.name, record);
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What is on record, in the order of the files' names.
    pub fn iter(&self) -> impl Iterator<Item = &Gap> {
        self.records.values().map(|record| &record.gap)
    }

    /// Where the records end that begin at this change or before, one after the other.
    pub fn end_from(&self, source: &Source, change: usize) -> usize {
        let covered: Vec<_> = self.iter().map(|gap| changes(source, gap)).collect();
        let mut end = change;
        while let Some(gap) = covered.iter().find(|gap| gap.contains(&end)) {
            end = gap.end;
        }
        end
    }

    pub fn summary(&self) -> Vec<String> {
        self.iter().map(Gap::to_string).collect()
    }
}

/// The changes that a record says are lost.
fn changes(source: &Source, gap: &Gap) -> Range<usize> {
    let at = |time| source.place(&Position::At(time)).changes;
    let behind_last = gap.last_change.as_ref().map_or(0, Source::end);
    behind_last.max(gap.from.map_or(0, at))..gap.until.map_or(0, at)
}
