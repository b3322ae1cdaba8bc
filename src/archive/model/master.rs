//! One feed with a worker that performs its actions, and a second book of what it should hold.

use std::collections::VecDeque;

use anyhow::{Context as _, Result, ensure};

use super::super::failure::{Disposition, Failure};
use super::super::frame::tests::origin;
use super::super::hour_file::Hour;
use super::super::limits::Limits;
use super::super::machine::{Action, Config, Feed, Input, Notice, StartAt, WriteOrder};
use super::super::position::{Position, Stored};
use super::plan::{Fate, Fault};
use super::world::{FORMAT, Late, Save, World, failure, indexes, summary};

pub(super) const STREAM_HASH: &str = "pipeline";

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
}

impl Pending {
    pub fn summary(&self) -> String {
        match self {
            Self::Commit(order) => summary(order),
            Self::ReadTail(stored) => format!("ReadTail of {:?}", stored.is_some()),
            Self::Save(save) => {
                format!("save {:?} replaces {}", save.checkpoint.position, save.replaces)
            }
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
    /// The change that it gives next.
    pub next: usize,
    /// What it gave last was an invalidate.
    pub has_ended: bool,
    /// What it gave last was a change.
    pub gave_change: bool,
}

#[derive(Debug)]
pub(super) struct Master {
    pub feed: Feed,
    pub pending: Vec<Pending>,
    pub cursor: Option<Cursor>,
    pub is_draining: bool,
    pub is_finished: bool,
    /// What it said.
    pub notices: Vec<Notice>,
    limits: Limits,
    writer: u64,
    /// It goes back to loading as soon as nothing is under way.
    is_reloading: bool,
    /// What it read and the lake isn't known to have.
    held: VecDeque<usize>,
    /// The change that it is to hold next.
    next_held: Option<usize>,
    /// Changes in the commit under way.
    in_order: usize,
    /// Operations begun since time or something else went on.
    spins: usize,
}

impl Master {
    pub fn new(writer: u64, limits: &Limits, start_at: StartAt) -> Self {
        let config = Config {
            origin: origin(),
            format: FORMAT,
            start_at,
            limits: limits.clone(),
            stream_hash: STREAM_HASH.to_owned(),
            seed: writer,
        };
        Self {
            feed: Feed::new(config),
            pending: Vec::new(),
            cursor: None,
            is_draining: false,
            is_finished: false,
            notices: Vec::new(),
            limits: limits.clone(),
            writer,
            is_reloading: false,
            held: VecDeque::new(),
            next_held: None,
            in_order: 0,
            spins: 0,
        }
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
        self.is_draining = true;
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
        let begin = cursor.next;
        let mut end = begin;
        while end < source.len().min(begin + changes) && !cursor.has_ended {
            cursor.has_ended = source.is_invalidate(end);
            end += 1;
        }
        if end == begin {
            return Ok(());
        }
        cursor.next = end;
        cursor.gave_change = true;
        if !self.is_draining && !self.is_reloading {
            for index in begin..end {
                self.hold(index)?;
            }
        }
        self.give(world, Input::Changes(source.read(begin..end)))
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
            world.source.last_change(cursor.next - 1).token
        } else {
            cursor.gave_change = false;
            world.source.idle_token(cursor.next)
        };
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

    /// Ends an operation.
    pub fn work(&mut self, world: &mut World, pick: usize, fault: Fault) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = self.pending.remove(pick % self.pending.len());
        let failed = failure_of(fault);
        match pending {
            Pending::Commit(order) => return self.end_commit(world, order, fault),
            Pending::Save(save) => return self.end_save(world, save, fault),
            _ => {}
        }
        let is_refused =
            world.lake.is_forbidden && matches!(pending, Pending::ReadTail(_) | Pending::Inspect);
        let failed = failed.or_else(|| is_refused.then(|| failure(Disposition::Halt)));
        match (pending, failed) {
            (Pending::ReadCheckpoint, None) => {
                self.pending.push(Pending::ReadTail(world.store.load()));
                Ok(())
            }
            (Pending::ReadTail(stored), None) => self.end_load(world, stored),
            (Pending::ReadCheckpoint | Pending::ReadTail(_), Some(failure)) => {
                self.give(world, Input::Loaded(Err(failure)))
            }
            (Pending::AskClusterTime, failed) => {
                let answer = failed.map_or(Ok(world.source.clock()), Err);
                self.give(world, Input::ClusterTime(answer))
            }
            (Pending::Open(position), None) => {
                self.cursor = Some(Cursor {
                    next: world.source.place(&position).changes,
                    has_ended: false,
                    gave_change: false,
                });
                self.give(world, Input::Opened(Ok(())))
            }
            (Pending::Open(_), Some(failure)) => self.give(world, Input::Opened(Err(failure))),
            (Pending::Inspect, failed) => {
                let answer = failed.map_or(Ok(world.lake.tail(&world.source)), Err);
                self.give(world, Input::Inspected(answer))
            }
            (Pending::Commit(_) | Pending::Save(_), _) => Ok(()),
        }
    }

    fn end_load(&mut self, world: &World, stored: Option<Stored>) -> Result<()> {
        let tail = world.lake.tail(&world.source);
        let in_lake = tail.as_ref().map(|file| {
            let last = Position::After(file.last.token.clone());
            world.source.place(&last).changes
        });
        let in_store = stored
            .as_ref()
            .map(|stored| world.source.place(&stored.checkpoint.position).changes);
        self.next_held = in_lake.max(in_store);
        self.give(world, Input::Loaded(Ok((stored, tail))))
    }

    fn end_commit(&mut self, world: &mut World, order: WriteOrder, fault: Fault) -> Result<()> {
        let failed = failure_of(fault);
        let answer = if world.lake.is_forbidden {
            Err(failure(Disposition::Halt))
        } else if fault == Fault::Late {
            world.late.push(Late::Commit(order));
            Err(failure(Disposition::RETRY))
        } else if matches!(fault, Fault::None | Fault::Unheard) {
            let answer = world.lake.commit(&world.source, &order);
            failed.map_or(answer, Err)
        } else {
            failed.map_or_else(|| Err(failure(Disposition::RETRY)), Err)
        };
        if answer.is_ok() {
            self.forget_order();
        }
        self.give(world, Input::Committed(answer))
    }

    fn end_save(&mut self, world: &mut World, save: Save, fault: Fault) -> Result<()> {
        let failed = failure_of(fault).map_or(Ok(()), Err);
        let answer = match fault {
            Fault::None => world.store.save(save),
            Fault::Unheard => {
                let _ = world.store.save(save);
                failed
            }
            Fault::Late => {
                world.late.push(world.late_save(save));
                failed
            }
            _ => failed,
        };
        self.give(world, Input::Saved(answer))
    }

    /// The process dies; what it had begun may still take effect.
    pub fn crash(self, world: &mut World, fate: Fate) {
        for pending in self.pending {
            let late = match pending {
                Pending::Commit(order) => Late::Commit(order),
                Pending::Save(save) => world.late_save(save),
                _ => continue,
            };
            match fate {
                Fate::Lost => {}
                Fate::Late => world.late.push(late),
                Fate::Done => world.land(late),
            }
        }
    }

    fn begin(&mut self, world: &World, action: Action) -> Result<()> {
        if !matches!(action, Action::Tell(_) | Action::Close | Action::Finish) {
            self.spins += 1;
        }
        match action {
            Action::Load => {
                ensure!(self.pending.is_empty(), "loads beside {:?}", self.pending);
                ensure!(self.cursor.is_none(), "loads with an open stream");
                self.is_reloading = false;
                self.held.clear();
                self.in_order = 0;
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
            Action::Commit(order) => self.begin_commit(world, order)?,
            Action::Inspect => {
                ensure!(!self.has(Pending::is_commit), "inspects beside a commit");
                self.pending.push(Pending::Inspect);
            }
            Action::Save {
                checkpoint,
                replaces,
            } => {
                ensure!(!self.has(Pending::is_save), "two saves at once");
                if replaces > 0 {
                    // One of two starting positions comes too late, and may be anywhere.
                    world.check_checkpoint(&checkpoint)?;
                }
                ensure!(checkpoint.stream_hash == STREAM_HASH, "another stream's hash");
                self.pending.push(Pending::Save(Save {
                    writer: self.writer,
                    checkpoint,
                    replaces,
                }));
            }
            Action::Tell(notice) => self.hear(world, notice)?,
            Action::Finish => {
                ensure!(self.is_draining, "finishes undrained");
                ensure!(
                    self.pending.is_empty() && self.cursor.is_none(),
                    "finishes beside {:?}",
                    self.pending
                );
                self.is_finished = true;
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
        ensure!(!self.is_draining, "opens a stream in drain");
        ensure!(
            world.has_anchor(),
            "reads before its starting position is saved"
        );
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
            batch.len_bytes() - source.line_len_bytes(last) < self.limits.batch_limit_bytes,
            "a batch over its limit"
        );
        self.in_order = changes.len();
        self.pending.push(Pending::Commit(order));
        Ok(())
    }

    fn hear(&mut self, world: &World, notice: Notice) -> Result<()> {
        match &notice {
            Notice::Reloading(_) => self.is_reloading = true,
            Notice::FoundCommitted(_) => self.forget_order(),
            Notice::Watching(_) => ensure!(world.has_anchor(), "watches without an anchor"),
            // Nothing but what was injected is a reason to halt.
            Notice::Halted(message) => ensure!(message.starts_with("injected"), "{message}"),
            _ => {}
        }
        self.notices.push(notice);
        Ok(())
    }

    fn forget_order(&mut self) {
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
        if self.is_reloading {
            // The commit that found the stale view may be dropped already.
            ensure!(bytes <= held_bytes, "{bytes} of {held_bytes} bytes");
        } else {
            ensure!(
                (changes, bytes) == (self.held.len() as u64, held_bytes),
                "counts {changes} changes, {bytes} bytes; holds {:?}, {held_bytes} bytes",
                self.held
            );
        }
        if self.is_finished {
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

fn failure_of(fault: Fault) -> Option<Failure> {
    let disposition = match fault {
        Fault::None => return None,
        Fault::Refused | Fault::Unheard | Fault::Late => Disposition::RETRY,
        Fault::Throttled => Disposition::Retry {
            after_ms: Some(90_000),
        },
        Fault::Stale => Disposition::Reload,
        Fault::Halted => Disposition::Halt,
    };
    Some(failure(disposition))
}
