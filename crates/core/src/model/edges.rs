//! The operations' ends, good and bad.

use anyhow::Result;

use super::faults::{failure, failure_of};
use super::gaps::Put;
use super::master::{Cursor, Master, Pending};
use super::plan::{Fate, Fault};
use super::store::Save;
use super::world::{Late, World};
use crate::failure::Disposition;
use crate::file::commit::tests::origin as namespace;
use crate::gap::Gap;
use crate::machine::{Input, LaneId, StartState, WriteOrder};
use crate::position::{Position, Stored};

impl Master {
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
            Pending::PutRecord(gap, put) => return self.end_put(world, &gap, put, fault),
            _ => {}
        }
        let is_at_lake = matches!(
            pending,
            Pending::ReadTail(_) | Pending::Inspect | Pending::Record(_)
        );
        let is_refused = world.lake.is_forbidden && is_at_lake;
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
                self.history.asked(world.source.clock());
                self.give(world, Input::ClusterTime(answer))
            }
            (Pending::Open(position), None) => self.end_open(world, &position),
            (Pending::Open(_), Some(failure)) => self.give(world, Input::Opened(Err(failure))),
            (Pending::Record(gap), None) => {
                let put = world.lake.gaps.look(gap.clone());
                self.pending.push(Pending::PutRecord(gap, put));
                Ok(())
            }
            (Pending::Record(_), Some(failure)) => self.give(world, Input::Recorded(Err(failure))),
            (Pending::Inspect, failed) => {
                let answer = failed.map_or(Ok(world.lake.tail(&world.source)), Err);
                self.give(world, Input::Inspected(LaneId(0), answer))
            }
            (Pending::Commit(_) | Pending::Save(_) | Pending::PutRecord(..), _) => Ok(()),
        }
    }

    /// Ends operations well until there are none.
    pub fn settle(&mut self, world: &mut World) -> Result<()> {
        while !self.pending.is_empty() {
            self.work(world, 0, Fault::None)?;
        }
        Ok(())
    }

    fn end_load(&mut self, world: &World, stored: Option<Stored>) -> Result<()> {
        let tail = world.lake.tail(&world.source);
        let in_lake = tail.as_ref().map(|tail| {
            let last = Position::After(tail.file.last.token.clone());
            world.source.place(&last).changes
        });
        let in_store = stored
            .as_ref()
            .map(|stored| world.source.place(&stored.checkpoint.position).changes);
        self.next_held = in_lake.max(in_store);
        let found = StartState {
            stored,
            tails: vec![(namespace(), tail)],
            ..StartState::default()
        };
        self.give(world, Input::Loaded(Ok(Box::new(found))))
    }

    fn end_open(&mut self, world: &World, position: &Position) -> Result<()> {
        if let Some(failure) = world.source.refusal(position) {
            let place = world.source.place(position);
            self.history.lose(place, world.source.known_oldest());
            return self.give(world, Input::Opened(Err(failure)));
        }
        self.cursor = Some(Cursor {
            looked: world.source.place(position),
            has_ended: false,
            gave_change: false,
        });
        self.give(world, Input::Opened(Ok(())))
    }

    fn end_put(&mut self, world: &mut World, gap: &Gap, put: Put, fault: Fault) -> Result<()> {
        let failed = failure_of(fault);
        let answer = match fault {
            _ if world.lake.is_forbidden => Err(failure(Disposition::Halt)),
            Fault::None | Fault::Unheard => {
                let answer = world.lake.gaps.put(put);
                failed.map_or(answer, Err)
            }
            Fault::Late => {
                world.late.push(Late::Record(put));
                Err(failure(Disposition::RETRY))
            }
            _ => failed.map_or(Ok(()), Err),
        };
        if answer.is_ok() {
            self.note_record(world, gap)?;
        }
        self.give(world, Input::Recorded(answer))
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
        self.give(world, Input::Committed(LaneId(0), answer))
    }

    fn end_save(&mut self, world: &mut World, save: Save, fault: Fault) -> Result<()> {
        let position = save.checkpoint.position.clone();
        let failed = failure_of(fault).map_or(Ok(()), Err);
        let answer = match fault {
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
        };
        if answer.is_ok() {
            self.history.saved(&position);
        }
        self.give(world, Input::Saved(answer))
    }

    /// The process dies; what it had begun may still take effect.
    pub fn crash(self, world: &mut World, fate: Fate) {
        for pending in self.pending {
            let late = match pending {
                Pending::Commit(order) => Late::Commit(order),
                Pending::Save(save) => Late::Save(save),
                Pending::PutRecord(_, put) => Late::Record(put),
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
