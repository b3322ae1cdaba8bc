//! The world around the feeds, and what must hold in it at every instant.

use anyhow::{Result, ensure};

use super::gaps::Put;
use super::lake::{File, Lake, summary};
use super::source::{BEGIN, Place, Source};
use super::store::{Save, Store};
use crate::file::hour_file::Hour;
use crate::machine::{Now, WriteOrder};
use crate::position::{Checkpoint, ClusterTime, Position};

/// A write that lands after its caller has given it up.
#[derive(Debug)]
pub(super) enum Late {
    Commit(WriteOrder),
    Save(Save),
    Record(Put),
}

impl Late {
    fn summary(&self) -> String {
        match self {
            Self::Commit(order) => summary(order),
            Self::Save(save) => save.summary(),
            Self::Record(put) => put.summary(),
        }
    }
}

/// All of it, and the time.
#[derive(Debug)]
pub(super) struct World {
    pub source: Source,
    pub lake: Lake,
    pub store: Store,
    pub late: Vec<Late>,
    pub now: Now,
    file_limit_bytes: u64,
    file_limit_commits: u32,
    /// The newest place ever saved, and how often the stream had changed before.
    newest: Option<(u32, Place)>,
    /// Revisions began anew, so somebody who knows old ones may save an older place once more.
    pub was_forgotten: bool,
}

impl World {
    pub fn new(file_limit_bytes: u64, file_limit_commits: u32) -> Self {
        Self {
            file_limit_bytes,
            file_limit_commits,
            newest: None,
            was_forgotten: false,
            source: Source::new(),
            lake: Lake::default(),
            store: Store::default(),
            late: Vec::new(),
            now: Now {
                monotonic_ms: 1_000_000,
                unix_ms: i64::from(BEGIN.seconds) * 1000,
            },
        }
    }

    pub fn land(&mut self, late: Late) {
        // Nobody hears the answer.
        let _ = match late {
            Late::Commit(order) => self.lake.commit(&self.source, &order).map(|_| ()),
            Late::Save(save) => self.store.write(save),
            Late::Record(put) => self.lake.gaps.put(put),
        };
    }

    pub fn pass(&mut self, ms: u64, clock_set_ms: i64) {
        self.now.monotonic_ms += ms;
        self.now.unix_ms += i64::try_from(ms).unwrap() + clock_set_ms;
    }

    /// No more faults.
    pub fn heal(&mut self) {
        self.lake.is_forbidden = false;
        for late in std::mem::take(&mut self.late) {
            self.land(late);
        }
    }

    /// Somebody deletes the checkpoint. The lake alone must do, so there has to be something in it.
    pub fn lose_checkpoint(&mut self) {
        if !self.lake.files.is_empty() {
            self.store.forget();
            self.late
                .retain(|late| !matches!(late, Late::Save(save) if save.replaces == 0));
            self.was_forgotten = true;
        }
    }

    pub fn is_anchored(&self) -> bool {
        self.store.first.is_some()
    }

    /// Where the archive starts.
    pub fn start(&self) -> Option<usize> {
        let first = self.store.first.as_ref()?;
        Some(self.source.place(&first.position).changes)
    }

    pub fn stored_place(&self) -> Option<Place> {
        let stored = self.store.load()?;
        Some(self.source.place(&stored.checkpoint.position))
    }

    /// The place of a stream that has just looked as far as it goes.
    pub fn last_idle_place(&self) -> Place {
        Place {
            changes: self.source.len(),
            time: self.source.clock(),
        }
    }

    /// Whether all that happened is in the lake, or on record as lost.
    pub fn is_complete(&self) -> bool {
        self.end() == Some(self.source.len())
    }

    /// Where the lake ends, with the gaps on record.
    fn end(&self) -> Option<usize> {
        let start = self.start()?.max(self.lake.gone);
        let end = self.lake.changes().last().map_or(start, |last| last + 1);
        Some(self.lake.gaps.end_from(&self.source, end))
    }

    /// A checkpoint speaks of nothing that the lake doesn't have.
    pub fn check_checkpoint(&self, checkpoint: &Checkpoint) -> Result<()> {
        let (Some(start), Some(end)) = (self.start(), self.end()) else {
            return Ok(());
        };
        let place = self.source.place(&checkpoint.position);
        ensure!(
            place.changes <= end,
            "{place:?} is ahead of the lake, which ends before {end}"
        );
        let watermark = checkpoint.collections.first();
        let last_change = watermark.map_or(start, |it| Source::end(&it.last_change));
        if watermark.is_some_and(|it| it.is_after_position) {
            ensure!(
                place.changes < last_change,
                "the last change ends before {last_change}, the position is {place:?}"
            );
            return Ok(());
        }
        let restarted_at = checkpoint.restarted_at.map(Position::At);
        let restart = restarted_at.map(|at| self.source.place(&at).changes);
        ensure!(
            Some(place.changes) == restart.max(Some(last_change)),
            "the last change ends before {last_change}, the position is {place:?}"
        );
        Ok(())
    }

    /// The lake is a part of the stream without a gap but those on record, and the checkpoint follows
    /// it.
    pub fn check(&mut self) -> Result<()> {
        if let Some(stored) = self.store.load() {
            self.check_checkpoint(&stored.checkpoint)?;
            let place = self.source.place(&stored.checkpoint.position);
            let place = Some((self.store.streams, place));
            ensure!(
                self.newest <= place || self.was_forgotten,
                "the checkpoint went back from {:?} to {place:?}",
                self.newest
            );
            self.newest = place;
        }
        self.lake.check_closed(&self.source)?;
        if let Some(time) = self.durable_until() {
            self.lake.close(time);
        }
        let mut next = self.start().unwrap_or(0).max(self.lake.gone);
        for index in self.lake.changes() {
            let is_next = index == next
                || index > next && index <= self.lake.gaps.end_from(&self.source, next);
            ensure!(
                is_next,
                "the lake has change {index} in the place of {next}: {:?}",
                self.lake
            );
            next = index + 1;
        }
        self.check_files()
    }

    /// The cluster time of the saved position.
    fn durable_until(&self) -> Option<ClusterTime> {
        self.store.load()?.checkpoint.position.cluster_time()
    }

    fn check_files(&self) -> Result<()> {
        let mut before: Option<&File> = None;
        for file in self.lake.files.values() {
            let is_own_hour = |index: &usize| Hour::of(self.source.time(*index)) == file.name.hour;
            ensure!(
                file.changes.iter().all(is_own_hour),
                "mixed hours: {file:?}"
            );
            let part = match before {
                Some(before) if before.name.hour == file.name.hour => before.name.part + 1,
                _ => 1,
            };
            ensure!(file.name.part == part, "no part {part}: {file:?}");
            ensure!(file.commits <= self.file_limit_commits, "many: {file:?}");
            ensure!(
                file.len_bytes <= self.file_limit_bytes || file.is_excused,
                "long: {file:?}"
            );
            before = Some(file);
        }
        Ok(())
    }

    pub fn summary(&self) -> String {
        let files: Vec<_> = self
            .lake
            .files
            .values()
            .map(|file| (file.name.to_string(), &file.changes, file.commits))
            .collect();
        let late: Vec<_> = self.late.iter().map(Late::summary).collect();
        format!(
            "{} changes, lake {files:?}, gaps {:?}, stored {:?} revision {}, late {late:?}",
            self.source.len(),
            self.lake.gaps.summary(),
            self.stored_place(),
            self.store.revision(),
        )
    }
}
