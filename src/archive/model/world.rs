//! The world around the feeds: a stream, a lake and a checkpoint store, in memory.

use std::collections::BTreeMap;

use anyhow::ensure;

use super::super::batch::{Batch, Changes};
use super::super::failure::{Disposition, Failure};
use super::super::hour_file::{
    Compression, FileFormat, Hour, HourFile, HourFileName, OutputFormat,
};
use super::super::machine::{Now, Tail, WriteOrder};
use super::super::position::{
    Checkpoint, ClusterTime, LastChange, Position, ResumeToken, Stored,
};

pub(super) const FORMAT: FileFormat = FileFormat {
    output: OutputFormat::Ndjson,
    compression: Compression::None,
};
const BEGIN: ClusterTime = ClusterTime {
    seconds: 1_705_327_000,
    increment: 0,
};
const FRAME_BYTES: u64 = 100;

/// A place in the stream: behind so many changes, then behind so many idle tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub changes: usize,
    pub idle: usize,
}

/// What the stream does next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Happening {
    pub changes: usize,
    pub seconds_later: u32,
    pub is_transaction: bool,
    pub ends_in_invalidate: bool,
    pub line_len_bytes: usize,
}

#[derive(Debug)]
struct Event {
    time: ClusterTime,
    is_invalidate: bool,
    line: Vec<u8>,
}

/// The database's side: all changes, in order.
#[derive(Debug)]
pub(super) struct Source {
    events: Vec<Event>,
    clock: ClusterTime,
    idle_tokens: usize,
}

impl Source {
    pub fn len(&self) -> usize {
        self.events.len()
    }

    pub fn clock(&self) -> ClusterTime {
        self.clock
    }

    pub fn time(&self, index: usize) -> ClusterTime {
        self.events[index].time
    }

    pub fn is_invalidate(&self, index: usize) -> bool {
        self.events[index].is_invalidate
    }

    pub fn line_len_bytes(&self, index: usize) -> u64 {
        self.events[index].line.len() as u64
    }

    pub fn happen(&mut self, what: Happening) {
        self.clock.seconds += what.seconds_later;
        self.clock.increment += 1;
        for number in 1..=what.changes {
            if !what.is_transaction {
                self.clock.increment += 1;
            }
            let pad = " ".repeat(what.line_len_bytes);
            let line = format!("{:08}{pad}\n", self.events.len()).into_bytes();
            self.events.push(Event {
                time: self.clock,
                is_invalidate: what.ends_in_invalidate && number == what.changes,
                line,
            });
        }
    }

    fn token(index: usize) -> String {
        format!(r#"{{"_data":"82{index:08}"}}"#)
    }

    pub fn last_change(&self, index: usize) -> LastChange {
        LastChange {
            token: ResumeToken::from_canonical(&Self::token(index)),
            cluster_time: self.time(index),
        }
    }

    /// A post-batch token behind so many changes.
    pub fn idle_token(&mut self, changes: usize) -> ResumeToken {
        self.idle_tokens += 1;
        let text = format!(r#"{{"_data":"83{changes:08}{:08}"}}"#, self.idle_tokens);
        ResumeToken::from_canonical(&text)
    }

    pub fn place(&self, position: &Position) -> Place {
        match position {
            Position::At(time) => Place {
                changes: self.events.partition_point(|event| event.time < *time),
                idle: 0,
            },
            Position::After(token) => {
                let digits = &token.as_extended_json()[10..];
                let number = |from: usize| digits[from..from + 8].parse::<usize>().unwrap();
                match &digits[..2] {
                    "82" => Place {
                        changes: number(2) + 1,
                        idle: 0,
                    },
                    _ => Place {
                        changes: number(2),
                        idle: number(10),
                    },
                }
            }
        }
    }

    pub fn read(&self, range: std::ops::Range<usize>) -> Changes {
        let mut changes = Changes::default();
        for index in range {
            let event = &self.events[index];
            let write = |lines: &mut Vec<u8>, tokens: &mut String| {
                lines.extend_from_slice(&event.line);
                tokens.push_str(&Self::token(index));
                Ok::<_, ()>(event.time)
            };
            changes.push(write).unwrap();
        }
        changes
    }
}

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
    is_excused: bool,
}

/// The lake's side.
#[derive(Clone, Debug, Default)]
pub(super) struct Lake {
    pub files: BTreeMap<(Hour, u32, &'static str), File>,
    pub is_forbidden: bool,
}

impl Lake {
    fn key(name: HourFileName) -> (Hour, u32, &'static str) {
        (name.hour, name.part, name.format.extension())
    }

    /// What the feeds know of a file.
    fn describe(source: &Source, file: &File) -> HourFile {
        HourFile {
            name: file.name,
            len_bytes: file.len_bytes,
            head_len_bytes: 0,
            foot_len_bytes: 0,
            commits: file.commits,
            changes: file.changes.len() as u64,
            first_cluster_time: None,
            last: source.last_change(*file.changes.last().unwrap()),
        }
    }

    pub fn tail(&self, source: &Source) -> Tail {
        let newest = self.files.values().next_back();
        newest.map(|file| Self::describe(source, file))
    }

    /// A commit: refused unless the file is what the order says it is.
    pub fn commit(&mut self, source: &Source, order: &WriteOrder) -> Result<HourFile, Failure> {
        let key = Self::key(order.name);
        let there = self.files.get(&key);
        let is_as_known = match (there, &order.base) {
            (None, None) => true,
            (Some(there), Some(base)) => Self::describe(source, there) == *base,
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
        file.is_excused = order.batch.changes == 1 || file.commits == 1;
        Ok(Self::describe(source, file))
    }

    /// All changes, in the files' order.
    pub fn changes(&self) -> impl Iterator<Item = usize> {
        self.files
            .values()
            .flat_map(|file| file.changes.iter().copied())
    }
}

/// A checkpoint on its way to the store.
#[derive(Clone, Debug)]
pub(super) struct Save {
    pub writer: u64,
    pub checkpoint: Checkpoint,
    pub replaces: u64,
}

/// The checkpoint store's side.
#[derive(Debug, Default)]
pub(super) struct Store {
    stored: Option<Stored>,
    /// The first checkpoint ever saved: where the archive starts.
    first: Option<Checkpoint>,
    writer: u64,
}

impl Store {
    pub fn load(&self) -> Option<Stored> {
        self.stored.clone()
    }

    pub fn forget(&mut self) {
        self.stored = None;
    }

    fn revision(&self) -> u64 {
        self.stored.as_ref().map_or(0, |stored| stored.revision)
    }

    fn is_own(&self, save: &Save) -> bool {
        self.revision() == save.replaces + 1 && self.writer == save.writer
    }

    /// One write, as it lands.
    fn write(&mut self, save: Save, is_rewrite: bool) -> Result<(), Failure> {
        let is_expected = if is_rewrite {
            self.is_own(&save)
        } else {
            self.revision() == save.replaces
        };
        if !is_expected {
            return Err(failure(Disposition::Reload));
        }
        self.writer = save.writer;
        self.first.get_or_insert_with(|| save.checkpoint.clone());
        self.stored = Some(Stored {
            checkpoint: save.checkpoint,
            revision: save.replaces + 1,
        });
        Ok(())
    }

    /// A save. A writer that meets its own earlier try, whose reply was lost, writes over it.
    pub fn save(&mut self, save: Save) -> Result<(), Failure> {
        let is_rewrite = self.is_own(&save);
        self.write(save, is_rewrite)
    }
}

/// A write that lands after its caller has given it up.
#[derive(Debug)]
pub(super) enum Late {
    Commit(WriteOrder),
    Save { save: Save, is_rewrite: bool },
}

impl Late {
    fn summary(&self) -> String {
        match self {
            Self::Commit(order) => summary(order),
            Self::Save { save, is_rewrite } => format!(
                "save {:?} replaces {} rewrite {is_rewrite}",
                save.checkpoint.position, save.replaces
            ),
        }
    }
}

pub(super) fn summary(order: &WriteOrder) -> String {
    let base = order.base.as_ref().map(|base| base.commits);
    let changes = indexes(&order.batch);
    format!("{changes:?} to {} behind {base:?}", order.name)
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
    /// The newest place ever saved.
    newest: Option<Place>,
}

impl World {
    pub fn new(file_limit_bytes: u64, file_limit_commits: u32) -> Self {
        Self {
            file_limit_bytes,
            file_limit_commits,
            newest: None,
            source: Source {
                events: Vec::new(),
                clock: BEGIN,
                idle_tokens: 0,
            },
            lake: Lake::default(),
            store: Store::default(),
            late: Vec::new(),
            now: Now {
                monotonic_ms: 1_000_000,
                unix_ms: i64::from(BEGIN.seconds) * 1000,
            },
        }
    }

    /// A save that its caller gives up on its way: what was sent last.
    pub fn late_save(&self, save: Save) -> Late {
        let is_rewrite = self.store.is_own(&save);
        Late::Save { save, is_rewrite }
    }

    pub fn land(&mut self, late: Late) {
        // Nobody hears the answer.
        let _ = match late {
            Late::Commit(order) => self.lake.commit(&self.source, &order).map(|_| ()),
            Late::Save { save, is_rewrite } => self.store.write(save, is_rewrite),
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
            self.late.retain(|late| !matches!(late, Late::Save { save, .. } if save.replaces == 0));
            self.newest = None;
        }
    }

    pub fn has_anchor(&self) -> bool {
        self.store.first.is_some()
    }

    /// Where the archive starts.
    fn start(&self) -> Option<usize> {
        let first = self.store.first.as_ref()?;
        Some(self.source.place(&first.position).changes)
    }

    pub fn stored_place(&self) -> Option<Place> {
        let stored = self.store.load()?;
        Some(self.source.place(&stored.checkpoint.position))
    }

    /// The place of the newest idle token.
    pub fn last_idle_place(&self) -> Place {
        Place {
            changes: self.source.len(),
            idle: self.source.idle_tokens,
        }
    }

    pub fn is_complete(&self) -> bool {
        let in_lake = self.lake.changes().count();
        self.start()
            .is_some_and(|start| start + in_lake == self.source.len())
    }

    /// A checkpoint speaks of nothing that the lake doesn't have.
    pub fn check_checkpoint(&self, checkpoint: &Checkpoint) -> anyhow::Result<()> {
        let Some(start) = self.start() else {
            return Ok(());
        };
        let place = self.source.place(&checkpoint.position);
        let end = start + self.lake.changes().count();
        ensure!(
            place.changes <= end,
            "{place:?} is ahead of the lake, which ends before {end}"
        );
        let last_change = match &checkpoint.last_change {
            Some(last) => self.source.place(&Position::After(last.token.clone())).changes,
            None => start,
        };
        ensure!(
            last_change == place.changes,
            "the last change ends before {last_change}, the position is {place:?}"
        );
        Ok(())
    }

    /// The lake is a part of the stream without a gap, and the checkpoint follows it.
    pub fn check(&mut self) -> anyhow::Result<()> {
        if let Some(place) = self.stored_place() {
            ensure!(
                self.newest <= Some(place),
                "the checkpoint went back from {:?} to {place:?}",
                self.newest
            );
            self.newest = Some(place);
        }
        if let Some(stored) = self.store.load() {
            self.check_checkpoint(&stored.checkpoint)?;
        }
        let start = self.start().unwrap_or(0);
        for (number, index) in self.lake.changes().enumerate() {
            ensure!(
                index == start + number,
                "the lake has change {index} in the place of {}: {:?}",
                start + number,
                self.lake
            );
        }
        self.check_files()
    }

    fn check_files(&self) -> anyhow::Result<()> {
        let mut before: Option<&File> = None;
        for file in self.lake.files.values() {
            let is_own_hour =
                |index: &usize| Hour::of(self.source.time(*index)) == file.name.hour;
            ensure!(file.changes.iter().all(is_own_hour), "mixed hours: {file:?}");
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
            "{} changes, lake {files:?}, stored {:?} revision {}, late {late:?}",
            self.source.len(),
            self.stored_place(),
            self.store.revision(),
        )
    }
}

pub(super) fn failure(disposition: Disposition) -> Failure {
    Failure {
        disposition,
        message: format!("injected: {disposition:?}"),
    }
}
