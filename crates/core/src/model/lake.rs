//! The lake: files of changes, and commits that compare and set.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::faults::failure;
use super::gaps::Gaps;
use super::source::Source;
use crate::batch::Batch;
use crate::failure::{Disposition, Failure};
use crate::file::format::{Compression, FileFormat, OutputFormat};
use crate::file::hour_file::{Hour, HourFile, HourFileName};
use crate::file::version::Version;
use crate::machine::{Tail, WriteOrder};
use crate::position::ClusterTime;

pub(super) const FORMAT: FileFormat = FileFormat {
    output: OutputFormat::Ndjson,
    compression: Compression::None,
};
const FRAME_BYTES: u64 = 100;

/// The changes of a batch.
pub(super) fn indexes(batch: &Batch) -> Vec<usize> {
    let text = std::str::from_utf8(&batch.lines).unwrap();
    text.lines()
        .map(|line| line[..8].parse().unwrap())
        .collect()
}

/// An hour file in the lake.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub name: HourFileName,
    pub changes: Vec<usize>,
    pub commits: u32,
    pub len_bytes: u64,
    /// It may be too long: its last commit couldn't be made smaller.
    pub is_excused: bool,
}

/// The lake's side.
#[derive(Clone, Debug, Default)]
pub(super) struct Lake {
    /// Changes before this one were in files which aren't there any more.
    pub gone: usize,
    pub gaps: Gaps,
    pub files: BTreeMap<(Hour, u32, &'static str), File>,
    pub is_forbidden: bool,
    /// What the files of closed hours held when they were closed.
    frozen: BTreeMap<(Hour, u32, &'static str), Vec<usize>>,
}

impl Lake {
    fn key(name: HourFileName) -> (Hour, u32, &'static str) {
        (name.hour, name.part, name.format.extension())
    }

    /// What the feeds know of a file.
    fn describe(source: &Source, file: &File) -> Tail {
        let described = HourFile {
            name: file.name,
            len_bytes: file.len_bytes,
            head_len_bytes: 0,
            foot_len_bytes: 0,
            commits: file.commits,
            changes: file.changes.len() as u64,
            first_cluster_time: None,
            last: source.last_change(*file.changes.last().unwrap()),
        };
        Tail {
            file: described,
            version: Version::new(&format!("{:?}", file.changes)),
            is_closed: false,
        }
    }

    pub fn tail(&self, source: &Source) -> Option<Tail> {
        let newest = self.files.values().next_back();
        newest.map(|file| Tail {
            is_closed: self.is_closed(file.name.hour),
            ..Self::describe(source, file)
        })
    }

    /// Closes every hour that has files and ended before the durable position, as early as that may be.
    pub fn close(&mut self, durable_until: ClusterTime) {
        for (key, file) in &self.files {
            if key.0.last_cluster_time() < durable_until {
                let held = || file.changes.clone();
                self.frozen.entry(*key).or_insert_with(held);
            }
        }
    }

    fn is_closed(&self, hour: Hour) -> bool {
        self.frozen.keys().any(|key| key.0 == hour)
    }

    /// Nothing was ever appended to a closed hour, but changes that one feed has recorded as lost while a rival still
    /// held them.
    pub fn check_closed(&self, source: &Source) -> Result<()> {
        let is_lost = |index: &usize| self.gaps.end_from(source, *index) > *index;
        for (key, file) in &self.files {
            if !self.is_closed(key.0) {
                continue;
            }
            let frozen = self.frozen.get(key).map_or(&[][..], Vec::as_slice);
            let appended = file.changes.strip_prefix(frozen);
            ensure!(
                appended.is_some_and(|appended| appended.iter().all(is_lost)),
                "appended to a closed hour: {file:?}, it was {frozen:?}"
            );
        }
        Ok(())
    }

    /// A commit: refused unless the file is what the order says it is.
    pub fn commit(
        &mut self,
        source: &Source,
        order: &WriteOrder,
    ) -> std::result::Result<Tail, Failure> {
        let key = Self::key(order.name);
        let there = self.files.get(&key);
        let is_as_known = match (there, &order.base) {
            (None, None) => true,
            (Some(there), Some(base)) => {
                let there = Self::describe(source, there);
                (there.file, there.version) == (base.file.clone(), base.version.clone())
            }
            _ => false,
        };
        if !is_as_known {
            return Err(failure(Disposition::Reload));
        }
        let file = self.files.entry(key).or_insert_with(|| File {
            name: order.name,
            changes: Vec::new(),
            commits: 0,
            len_bytes: FRAME_BYTES,
            is_excused: false,
        });
        file.changes.extend(indexes(&order.batch));
        file.commits += 1;
        file.len_bytes += order.batch.len_bytes();
        file.is_excused = order.batch.changes == 1;
        Ok(Self::describe(source, file))
    }

    /// Somebody deletes all files.
    pub fn clear(&mut self) {
        self.gone = self.changes().last().map_or(self.gone, |last| last + 1);
        self.files.clear();
    }

    /// All changes, in the files' order.
    pub fn changes(&self) -> impl Iterator<Item = usize> {
        self.files
            .values()
            .flat_map(|file| file.changes.iter().copied())
    }
}

pub(super) fn summary(order: &WriteOrder) -> String {
    let base = order.base.as_ref().map(|base| base.file.commits);
    let changes = indexes(&order.batch);
    format!("{changes:?} to {} after {base:?}", order.name)
}
