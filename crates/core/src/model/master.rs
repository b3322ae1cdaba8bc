//! One feed with a worker that performs its actions, and a second book of what it should hold.

use std::collections::VecDeque;

use anyhow::{Context as _, Result, ensure};

use super::faults::failure_of;
use super::gaps::Put;
use super::history::History;
use super::lake::{FORMAT, indexes, summary};
use super::plan::Fault;
use super::source::Place;
use super::store::Save;
use super::world::World;
use crate::file::commit::tests::origin as namespace;
use crate::file::hour_file::Hour;
use crate::gap::Gap;
use crate::limits::Limits;
use crate::machine::{Action, Config, Feed, Input, Notice, OnHistoryLost, StartAt, WriteOrder};
use crate::namespace::selection::Watched;
use crate::position::{Position, Stored};

/// An operation under way.
#[derive(Debug)]
pub(super) enum Pending {
    ReadCheckpoint,
    ReadTail(Option<Stored>),
    AskClusterTime,
    Open(Position),
    Commit(WriteOrder),
    Inspect,
    Save(Save),
    Record(Gap),
    PutRecord(Gap, Put),
}

impl Pending {
    pub fn summary(&self) -> String {
        match self {
            Self::Commit(order) => summary(order),
            Self::ReadTail(stored) => format!("ReadTail of {:?}", stored.is_some()),
            Self::Save(save) => save.summary(),
            Self::PutRecord(_, put) => put.summary(),
            other => format!("{other:?}"),
        }
    }

    fn is_load(&self) -> bool {
        matches!(
            self,
            Self::ReadCheckpoint | Self::ReadTail(_) | Self::AskClusterTime
        )
    }

    fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    fn is_commit(&self) -> bool {
        matches!(self, Self::Commit(_) | Self::Inspect)
    }

    fn is_save(&self) -> bool {
        matches!(self, Self::Save(_))
    }
}

/// An open stream.
#[derive(Debug)]
pub(super) struct Cursor {
    /// How far it has looked.
    pub looked: Place,
    /// What it gave last was an invalidate.
    pub has_ended: bool,
    /// What it gave last was a change.
    pub gave_change: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Running,
    Draining,
    Finished,
}

#[derive(Debug)]
pub(super) struct Master {
    pub feed: Feed,
    pub pending: Vec<Pending>,
    pub cursor: Option<Cursor>,
    pub life: Life,
    /// What it said.
    pub notices: Vec<Notice>,
    /// Whether a halt is expected that wasn't injected.
    pub may_halt: bool,
    limits: Limits,
    stream_hash: String,
    pub on_history_lost: OnHistoryLost,
    pub writer: u64,
    /// It goes back to loading as soon as nothing is under way.
    is_reloading: bool,
    /// What it read and the lake isn't known to have.
    pub held: VecDeque<usize>,
    /// The change that it is to hold next.
    pub next_held: Option<usize>,
    /// Changes in the commit under way.
    in_order: usize,
    pub history: History,
    /// Operations begun since time or something else went on.
    spins: usize,
}

/// A feed's settings. The seed tells the writers apart, too.
pub(super) fn config(
    writer: u64,
    limits: &Limits,
    start_at: StartAt,
    on_history_lost: OnHistoryLost,
) -> Config {
    Config {
        watched: Watched::Collection(namespace()),
        format: FORMAT,
        start_at,
        on_history_lost,
        limits: limits.clone(),
        stream_hash: "pipeline".to_owned(),
        seed: writer,
    }
}

impl Master {
    pub fn new(config: Config) -> Self {
        Self {
            writer: config.seed,
            limits: config.limits.clone(),
            stream_hash: config.stream_hash.clone(),
            on_history_lost: config.on_history_lost,
            feed: Feed::new(config),
            pending: Vec::new(),
            cursor: None,
            life: Life::Running,
            notices: Vec::new(),
            may_halt: false,
            is_reloading: false,
            held: VecDeque::new(),
            next_held: None,
            in_order: 0,
            history: History::default(),
            spins: 0,
        }
    }

    /// Whether it reads its stream, and nothing is left to do.
    pub fn is_at_rest(&self) -> bool {
        self.pending.is_empty()
            && self.feed.buffered_bytes() == 0
            && self.feed.trouble().is_none()
            && self.feed.is_watching()
    }

    pub fn is_finished(&self) -> bool {
        self.life == Life::Finished
    }

    /// Something happened that a feed may answer with new work.
    pub fn calm(&mut self) {
        self.spins = 0;
    }

    /// Gives an input, begins what follows from it, and checks.
    pub fn give(&mut self, world: &World, input: Input) -> Result<()> {
        for action in self.feed.handle(input, world.now) {
            self.begin(world, action)?;
        }
        self.check(world)
    }

    pub fn tick(&mut self, world: &World) -> Result<()> {
        let is_due = self
            .feed
            .wake_at_ms(world.now)
            .is_some_and(|at_ms| at_ms <= world.now.monotonic_ms);
        let spins = self.spins;
        self.give(world, Input::Tick)?;
        ensure!(
            is_due || self.spins == spins,
            "a feed that asked for no tick had something to do"
        );
        Ok(())
    }

    pub fn drain(&mut self, world: &World) -> Result<()> {
        self.life = Life::Draining;
        self.give(world, Input::Drain)
    }

    /// The stream gives changes, up to an invalidate, behind which it ends.
    pub fn deliver(&mut self, world: &World, changes: usize) -> Result<()> {
        let Some(cursor) = &mut self.cursor else {
            return Ok(());
        };
        if cursor.has_ended {
            self.cursor = None;
            return self.give(world, Input::Closed(None));
        }
        let source = &world.source;
        let begin = cursor.looked.changes;
        if let Some(failure) = source.end_of_too_slow(begin) {
            self.history.lose(cursor.looked, source.known_oldest());
            self.cursor = None;
            return self.give(world, Input::Closed(Some(failure)));
        }
        let mut end = begin;
        while end < source.len().min(begin + changes) && !cursor.has_ended {
            cursor.has_ended = source.is_invalidate(end);
            end += 1;
        }
        if end == begin {
            return Ok(());
        }
        cursor.looked = Place {
            changes: end,
            time: source.time(end - 1),
        };
        cursor.gave_change = true;
        self.history.stream_worked();
        if self.life == Life::Running && !self.is_reloading {
            for index in begin..end {
                self.hold(index)?;
            }
        }
        self.give(world, Input::Changes(source.read(begin..end)))?;
        if self.may_halt && self.cursor.is_none() {
            // It stopped somewhere in between.
            let taken = usize::try_from(self.feed.buffered_changes())?;
            let left = self.held.split_off(taken).front().copied();
            self.next_held = left.or(self.next_held);
        }
        Ok(())
    }

    fn hold(&mut self, index: usize) -> Result<()> {
        let next = self.next_held.context("it reads before it has loaded")?;
        ensure!(index <= next, "change {next} was passed over at {index}");
        if index == next {
            self.held.push_back(index);
            self.next_held = Some(next + 1);
        }
        Ok(())
    }

    /// The server tells how far it has looked. The token may be that of the last change.
    pub fn idle(&mut self, world: &mut World, is_last_change: bool) -> Result<()> {
        let Some(cursor) = &mut self.cursor else {
            return Ok(());
        };
        if cursor.has_ended {
            return Ok(());
        }
        let token = if is_last_change && cursor.gave_change {
            world.source.last_change(cursor.looked.changes - 1).token
        } else {
            cursor.gave_change = false;
            world.source.idle_token(&mut cursor.looked)
        };
        self.history.stream_worked();
        self.give(world, Input::Idle(token))
    }

    pub fn break_stream(&mut self, world: &World, fault: Fault) -> Result<()> {
        match failure_of(fault) {
            Some(failure) if self.cursor.take().is_some() => {
                self.give(world, Input::Closed(Some(failure)))
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, world: &World, action: Action) -> Result<()> {
        if !matches!(action, Action::Notify(..) | Action::Close | Action::Finish) {
            self.spins += 1;
        }
        match action {
            Action::Load => {
                ensure!(self.pending.is_empty(), "loads beside {:?}", self.pending);
                ensure!(self.cursor.is_none(), "loads with an open stream");
                self.is_reloading = false;
                self.held.clear();
                self.in_order = 0;
                self.history = History::default();
                self.pending.push(Pending::ReadCheckpoint);
            }
            Action::AskClusterTime => {
                ensure!(self.pending.is_empty(), "asks beside {:?}", self.pending);
                self.pending.push(Pending::AskClusterTime);
            }
            Action::Open(position) => self.begin_open(world, position)?,
            Action::Close => {
                self.cursor = None;
                self.pending.retain(|pending| !pending.is_open());
            }
            Action::LoadTail(lane) => anyhow::bail!("looks at {lane:?} beside its load"),
            Action::Commit(_, order) => self.begin_commit(world, order)?,
            Action::Inspect(_) => {
                ensure!(!self.has(Pending::is_commit), "inspects beside a commit");
                self.pending.push(Pending::Inspect);
            }
            Action::Save {
                checkpoint,
                replaces,
            } => {
                ensure!(!self.has(Pending::is_save), "two saves at once");
                if replaces > 0 && !self.may_halt {
                    // One of two starting positions comes too late, and may be anywhere.
                    world.check_checkpoint(&checkpoint)?;
                }
                ensure!(
                    checkpoint.stream_hash == self.stream_hash,
                    "another stream's hash"
                );
                self.pending.push(Pending::Save(Save {
                    writer: self.writer,
                    checkpoint,
                    replaces,
                }));
            }
            Action::Record(records) => self.begin_record(world, records)?,
            Action::Notify(_, notice) => self.hear(world, notice)?,
            Action::Finish => {
                ensure!(self.life == Life::Draining, "finishes undrained");
                ensure!(
                    self.pending.is_empty() && self.cursor.is_none(),
                    "finishes beside {:?}",
                    self.pending
                );
                self.life = Life::Finished;
            }
            Action::Exit(reason) => anyhow::bail!("exits: {reason}"),
        }
        Ok(())
    }

    fn has(&self, is_it: fn(&Pending) -> bool) -> bool {
        self.pending.iter().any(is_it)
    }

    fn begin_open(&mut self, world: &World, position: Position) -> Result<()> {
        ensure!(
            self.cursor.is_none() && !self.has(Pending::is_open),
            "two streams at once"
        );
        ensure!(!self.has(Pending::is_load), "opens while it loads");
        ensure!(self.life == Life::Running, "opens a stream in drain");
        ensure!(
            world.is_anchored(),
            "reads before its starting position is saved"
        );
        self.history.check_open()?;
        let place = world.source.place(&position);
        let next = *self.next_held.get_or_insert(place.changes);
        ensure!(place.changes <= next, "{place:?} is behind change {next}");
        self.pending.push(Pending::Open(position));
        Ok(())
    }

    fn begin_commit(&mut self, world: &World, order: WriteOrder) -> Result<()> {
        ensure!(!self.has(Pending::is_commit), "two commits at once");
        let batch = &order.batch;
        let changes = indexes(batch);
        let source = &world.source;
        ensure!(batch.changes as usize == changes.len(), "a miscount");
        ensure!(batch.sealed == Some(order.reason), "an open batch");
        ensure!(
            self.held.iter().take(changes.len()).eq(&changes),
            "commits {changes:?}, holds {:?}",
            self.held
        );
        ensure!(
            changes
                .iter()
                .all(|index| Hour::of(source.time(*index)) == batch.hour),
            "a batch of mixed hours"
        );
        let (first, last) = (changes[0], changes[changes.len() - 1]);
        ensure!(batch.first_cluster_time == source.time(first), "first time");
        ensure!(batch.last == source.last_change(last), "last change");
        ensure!(order.name.hour == batch.hour, "a file of another hour");
        ensure!(
            changes.len() == 1 || batch.len_bytes() <= self.limits.batch_limit_bytes,
            "a batch over its limit"
        );
        self.in_order = changes.len();
        self.pending.push(Pending::Commit(order));
        Ok(())
    }

    fn hear(&mut self, world: &World, notice: Notice) -> Result<()> {
        match &notice {
            Notice::Reloading(_) => self.is_reloading = true,
            Notice::CommitConfirmed(_) => self.forget_order(),
            Notice::Watching(_) => ensure!(world.is_anchored(), "watches without an anchor"),
            Notice::Halted(message) => {
                ensure!(
                    self.may_halt || message.starts_with("injected"),
                    "{message}"
                );
            }
            _ => {}
        }
        self.notices.push(notice);
        Ok(())
    }

    pub fn forget_order(&mut self) {
        self.spins = self.spins.saturating_sub(4);
        let count = std::mem::take(&mut self.in_order);
        self.held.drain(..count.min(self.held.len()));
    }

    fn check(&self, world: &World) -> Result<()> {
        let held_bytes: u64 = self
            .held
            .iter()
            .map(|index| world.source.line_len_bytes(*index))
            .sum();
        let (changes, bytes) = (self.feed.buffered_changes(), self.feed.buffered_bytes());
        if self.is_reloading || self.may_halt {
            // What it held may be dropped already.
            ensure!(bytes <= held_bytes, "{bytes} of {held_bytes} bytes");
        } else {
            ensure!(
                (changes, bytes) == (self.held.len() as u64, held_bytes),
                "counts {changes} changes, {bytes} bytes; holds {:?}, {held_bytes} bytes",
                self.held
            );
        }
        if self.life == Life::Finished {
            return Ok(());
        }
        let at_ms = self.feed.wake_at_ms(world.now);
        ensure!(
            at_ms.is_none_or(|at_ms| at_ms > world.now.monotonic_ms),
            "wants a tick at {at_ms:?}, now is {}",
            world.now.monotonic_ms
        );
        let spins_max = 20 + 4 * self.held.len();
        ensure!(self.spins <= spins_max, "{} operations at once", self.spins);
        Ok(())
    }
}
