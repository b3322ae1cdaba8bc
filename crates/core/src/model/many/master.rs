//! One feed of many collections with a worker that performs its actions.

use anyhow::{Result, ensure};

use super::super::faults::{failure, failure_of};
use super::super::lake::indexes;
use super::super::master::{Cursor, Life};
use super::super::plan::{Fate, Fault};
use super::super::source::Place;
use super::super::store::Save;
use super::world::{Late, World, is_odd, is_of, namespaces_of};
use crate::batch::Changes;
use crate::failure::{Disposition, Failure};
use crate::gap::Record;
use crate::machine::{Action, Config, Feed, Input, LaneId, Notice, StartState, Tail, WriteOrder};
use crate::namespace::Namespace;
use crate::position::Position;

/// The hash of a stream that leaves some changes out.
pub(super) const NARROW: &str = "narrow";

/// An operation under way.
#[derive(Debug)]
pub(super) enum Pending {
    Load,
    AskClusterTime,
    Open(Position),
    Look(LaneId, Namespace),
    Commit(LaneId, Namespace, WriteOrder),
    Inspect(LaneId, Namespace),
    Save(Save),
    Record(Vec<(Namespace, Record)>),
}

#[derive(Debug)]
pub(super) struct Master {
    pub feed: Feed,
    pub pending: Vec<Pending>,
    pub cursor: Option<Cursor>,
    pub life: Life,
    pub notices: Vec<Notice>,
    pub is_narrow: bool,
    writer: u64,
    /// Where the stream was when history was lost.
    lost_at: Place,
}

impl Master {
    pub fn new(config: Config, world: &World) -> Self {
        Self {
            writer: config.seed,
            is_narrow: config.stream_hash == NARROW,
            feed: Feed::new(config),
            pending: Vec::new(),
            cursor: None,
            life: Life::Running,
            notices: Vec::new(),
            lost_at: Place {
                changes: 0,
                time: world.source.clock(),
            },
        }
    }

    pub fn give(&mut self, world: &World, input: Input) -> Result<()> {
        for action in self.feed.handle(input, world.now) {
            self.begin(world, action)?;
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
        Ok(())
    }

    fn begin(&mut self, world: &World, action: Action) -> Result<()> {
        let namespace = |lane| self.feed.namespace(lane).cloned().unwrap();
        let pending = match action {
            Action::Load => {
                ensure!(self.pending.is_empty(), "loads beside {:?}", self.pending);
                ensure!(self.cursor.is_none(), "loads with an open stream");
                Pending::Load
            }
            Action::AskClusterTime => Pending::AskClusterTime,
            Action::LoadTail(lane) => Pending::Look(lane, namespace(lane)),
            Action::Open(position) => {
                ensure!(self.cursor.is_none(), "two streams at once");
                ensure!(world.store.first.is_some(), "reads before it is anchored");
                Pending::Open(position)
            }
            Action::Close => {
                self.cursor = None;
                let is_open = |pending: &mut Pending| matches!(pending, Pending::Open(_));
                self.pending.extract_if(.., is_open).for_each(drop);
                return Ok(());
            }
            Action::Commit(lane, order) => {
                let namespace = namespace(lane);
                let is_own = |index: &usize| is_of(*index, &namespace);
                ensure!(indexes(&order.batch).iter().all(is_own), "another's change");
                ensure!(!self.is_writing(lane), "two commits of {namespace} at once");
                Pending::Commit(lane, namespace, order)
            }
            Action::Inspect(lane) => {
                ensure!(!self.is_writing(lane), "inspects beside a commit");
                Pending::Inspect(lane, namespace(lane))
            }
            Action::Save {
                checkpoint,
                replaces,
            } => {
                let is_save = |pending: &Pending| matches!(pending, Pending::Save(_));
                ensure!(!self.pending.iter().any(is_save), "two saves at once");
                if replaces > 0 {
                    world.check_checkpoint(&checkpoint)?;
                }
                Pending::Save(Save {
                    writer: self.writer,
                    checkpoint,
                    replaces,
                })
            }
            Action::Record(records) => {
                ensure!(
                    self.feed.buffered_bytes() == 0,
                    "records before it is archived"
                );
                Pending::Record(records)
            }
            Action::Notify(_, notice) => {
                self.notices.push(notice);
                return Ok(());
            }
            Action::Finish => {
                ensure!(self.life == Life::Draining, "finishes undrained");
                ensure!(
                    self.pending.is_empty(),
                    "finishes beside {:?}",
                    self.pending
                );
                self.life = Life::Finished;
                return Ok(());
            }
            Action::Exit(reason) => anyhow::bail!("exits: {reason}"),
        };
        self.pending.push(pending);
        Ok(())
    }

    fn is_writing(&self, lane: LaneId) -> bool {
        self.pending.iter().any(|pending| {
            matches!(pending, Pending::Commit(own, ..) | Pending::Inspect(own, _) if *own == lane)
        })
    }

    /// The stream gives changes, up to an invalidate, behind which it ends.
    pub fn deliver(&mut self, world: &World, changes: usize) -> Result<()> {
        // The worker takes nothing while the feed waits for a look at the lake.
        let Some(cursor) = self
            .cursor
            .as_mut()
            .filter(|_| !self.feed.has_waiting_changes())
        else {
            return Ok(());
        };
        if cursor.has_ended {
            self.cursor = None;
            return self.give(world, Input::Closed(None));
        }
        let source = &world.source;
        let begin = cursor.looked.changes;
        if let Some(failure) = source.end_of_too_slow(begin) {
            self.lost_at = cursor.looked;
            self.cursor = None;
            return self.give(world, Input::Closed(Some(failure)));
        }
        let mut given = Changes::default();
        let mut end = begin;
        while end < source.len().min(begin + changes) && !cursor.has_ended {
            cursor.has_ended = source.is_invalidate(end);
            if !(self.is_narrow && is_odd(end) && !cursor.has_ended) {
                for namespace in namespaces_of(end) {
                    let place = given.place_of(&namespace);
                    source.push(&mut given, place, end);
                }
            }
            end += 1;
        }
        if end > begin {
            cursor.looked = Place {
                changes: end,
                time: source.time(end - 1),
            };
        }
        if given.is_empty() {
            return Ok(());
        }
        self.give(world, Input::Changes(given))
    }

    pub fn idle(&mut self, world: &mut World) -> Result<()> {
        let cursor = self
            .cursor
            .as_mut()
            .filter(|_| !self.feed.has_waiting_changes());
        let Some(cursor) = cursor.filter(|cursor| !cursor.has_ended) else {
            return Ok(());
        };
        let token = world.source.idle_token(&mut cursor.looked);
        self.give(world, Input::Idle(token))
    }

    pub fn break_stream(&mut self, world: &World, fault: Fault) -> Result<()> {
        match failure_of(fault) {
            Some(failure) if self.cursor.is_some() && !self.feed.has_waiting_changes() => {
                self.cursor = None;
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
        let input = match pending {
            Pending::Load => Input::Loaded(failed.map_or_else(
                || {
                    Ok(Box::new(StartState {
                        stored: world.store.load(),
                        ..StartState::default()
                    }))
                },
                Err,
            )),
            Pending::AskClusterTime => {
                Input::ClusterTime(failed.map_or(Ok(world.source.clock()), Err))
            }
            Pending::Open(position) => return self.end_open(world, &position, failed),
            Pending::Look(lane, namespace) => {
                Input::TailLoaded(lane, tail(world, &namespace, failed))
            }
            Pending::Inspect(lane, namespace) => {
                Input::Inspected(lane, tail(world, &namespace, failed))
            }
            Pending::Commit(lane, namespace, order) => {
                Input::Committed(lane, commit(world, namespace, order, fault))
            }
            Pending::Save(save) => Input::Saved(end_save(world, save, fault)),
            Pending::Record(records) => {
                if matches!(fault, Fault::None | Fault::Unheard) {
                    world.record(&records, self.lost_at)?;
                }
                Input::Recorded(failed.map_or(Ok(()), Err))
            }
        };
        self.give(world, input)
    }

    fn end_open(
        &mut self,
        world: &World,
        position: &Position,
        failed: Option<Failure>,
    ) -> Result<()> {
        let place = world.source.place(position);
        let refusal = world.source.refusal(position);
        if refusal.is_some() {
            self.lost_at = place;
        }
        if let Some(failure) = failed.or(refusal) {
            return self.give(world, Input::Opened(Err(failure)));
        }
        self.cursor = Some(Cursor {
            looked: place,
            has_ended: false,
            gave_change: false,
        });
        self.give(world, Input::Opened(Ok(())))
    }

    pub fn settle(&mut self, world: &mut World) -> Result<()> {
        while !self.pending.is_empty() {
            self.work(world, 0, Fault::None)?;
        }
        Ok(())
    }

    /// The process dies; what it had begun may still take effect.
    pub fn crash(self, world: &mut World, fate: Fate) {
        for pending in self.pending {
            let late = match pending {
                Pending::Commit(_, namespace, order) => Late::Commit(namespace, order),
                Pending::Save(save) => Late::Save(save),
                _ => continue,
            };
            match fate {
                Fate::Lost => {}
                Fate::Late => world.late.push(late),
                Fate::Done => world.land(late),
            }
        }
    }
}

fn tail(
    world: &World,
    namespace: &Namespace,
    failed: Option<Failure>,
) -> Result<Option<Tail>, Failure> {
    if world.is_refused(namespace) {
        return Err(failure(Disposition::Halt));
    }
    let lake = world.lakes.get(namespace);
    let tail = lake.and_then(|lake| lake.tail(&world.source));
    failed.map_or(Ok(tail), Err)
}

fn commit(
    world: &mut World,
    namespace: Namespace,
    order: WriteOrder,
    fault: Fault,
) -> Result<Tail, Failure> {
    if world.is_refused(&namespace) {
        return Err(failure(Disposition::Halt));
    }
    match (fault, failure_of(fault)) {
        (Fault::Late, _) => {
            world.late.push(Late::Commit(namespace, order));
            Err(failure(Disposition::RETRY))
        }
        (Fault::None | Fault::Unheard, failed) => {
            let lake = world.lakes.entry(namespace).or_default();
            let answer = lake.commit(&world.source, &order);
            failed.map_or(answer, Err)
        }
        (_, failed) => Err(failed.unwrap_or_else(|| failure(Disposition::RETRY))),
    }
}

fn end_save(world: &mut World, save: Save, fault: Fault) -> Result<(), Failure> {
    let failed = failure_of(fault).map_or(Ok(()), Err);
    match fault {
        Fault::None => world.store.save(save),
        Fault::Unheard => {
            let _ = world.store.save(save);
            failed
        }
        Fault::Late => {
            world.late.push(Late::Save(save));
            failed
        }
        _ => failed,
    }
}
