//! Runs a plan with a feed of many collections, and in the end heals the world and sees it through.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};

use super::super::lake::FORMAT;
use super::super::master::Life;
use super::super::plan::{Op, Plan};
use super::master::{Master, NARROW};
use super::world::World;
use crate::machine::{Config, Input, OnHistoryLost, StartAt};
use crate::namespace::Layout;
use crate::namespace::selection::{NameSet, Selection, Watched};
use crate::position::ClusterTime;

/// More rounds than any healed world needs to come to rest.
const ROUNDS_MAX: usize = 400;

pub(super) struct Run {
    pub world: World,
    pub masters: Vec<Master>,
    plan: Plan,
    processes: u64,
    /// What happened, if somebody wants to know.
    pub log: Option<String>,
}

/// What a feed of all collections of a database is to do.
pub(super) fn config(plan: &Plan, writer: u64, stream_hash: &str) -> Config {
    let selection = Selection {
        databases: NameSet::of_names(&["mydb"]),
        collections: NameSet::default(),
        apart: Vec::new(),
    };
    Config {
        watched: Watched::Many {
            selection,
            layout: Layout::Collection,
        },
        format: FORMAT,
        start_at: StartAt::Time(ClusterTime {
            seconds: 1,
            increment: 0,
        }),
        on_history_lost: plan.on_history_lost,
        limits: plan.limits.clone(),
        stream_hash: stream_hash.to_owned(),
        seed: writer,
    }
}

impl Run {
    pub fn new(plan: &Plan) -> Self {
        let mut world = World::new();
        world.source.tells_time = plan.tells_time;
        Self {
            world,
            masters: Vec::new(),
            plan: plan.clone(),
            processes: 0,
            log: None,
        }
    }

    /// A process, which may read without some of the changes.
    pub fn start(&mut self, is_narrow: bool) -> Result<Master> {
        self.processes += 1;
        self.world.has_narrow_streams |= is_narrow;
        let hash = if is_narrow { NARROW } else { "wide" };
        let config = config(&self.plan, self.processes, hash);
        let mut master = Master::new(config, &self.world);
        master.give(&self.world, Input::Start)?;
        Ok(master)
    }

    /// All of it.
    pub fn go(&mut self) -> Result<()> {
        for _ in 0..self.plan.masters {
            let master = self.start(false)?;
            self.masters.push(master);
        }
        for (step, op) in self.plan.ops.clone().iter().enumerate() {
            self.step(op)
                .and_then(|()| self.world.check())
                .with_context(|| format!("step {step}: {op:?}"))?;
            self.note(&format!("{step}: {op:?}"));
        }
        self.see_through().context("at the end")
    }

    fn note(&mut self, title: &str) {
        let Some(log) = &mut self.log else { return };
        let _ = writeln!(log, "{title}\n  {}", self.world.summary());
        for master in &mut self.masters {
            let notices = std::mem::take(&mut master.notices);
            let _ = writeln!(
                log,
                "  pending {:?}\n  cursor {:?} buffered {} said {notices:?}",
                master.pending,
                master.cursor,
                master.feed.buffered_changes()
            );
        }
    }

    fn step(&mut self, op: &Op) -> Result<()> {
        let Self { world, masters, .. } = self;
        let count = masters.len();
        match *op {
            Op::Happen(what) => world.source.happen(what),
            Op::Work {
                master,
                pick,
                fault,
            } => masters[master % count].work(world, pick, fault)?,
            Op::Settle { master } => masters[master % count].settle(world)?,
            Op::Deliver { master, changes } => masters[master % count].deliver(world, changes)?,
            Op::Idle { master, .. } => masters[master % count].idle(world)?,
            Op::Break { master, fault } => masters[master % count].break_stream(world, fault)?,
            Op::Flush { master, reason } => {
                masters[master % count].give(world, Input::Flush(reason))?;
            }
            Op::Pass { ms, clock_set_ms } => self.pass(ms, clock_set_ms)?,
            Op::Wake => self.wake()?,
            Op::Land { pick } => {
                if !world.late.is_empty() {
                    let late = world.late.remove(pick % world.late.len());
                    world.land(late);
                }
            }
            Op::Crash { master, fate } => self.crash(master % count, fate)?,
            Op::Drain { master } => {
                let master = &mut masters[master % count];
                if master.life == Life::Running {
                    master.life = Life::Draining;
                    master.give(world, Input::Drain)?;
                }
            }
            Op::Forbid(is_forbidden) => world.is_forbidden = is_forbidden,
            // A start without a checkpoint is where somebody wants it: see the rules.
            Op::LoseCheckpoint => {}
            Op::Truncate { keep, is_known } => world.source.truncate(keep, is_known),
        }
        self.restart_finished()
    }

    /// Another process, which may have another filter, where two at once have the same.
    fn crash(&mut self, number: usize, fate: super::super::plan::Fate) -> Result<()> {
        let may_change = self.masters.len() == 1 && self.plan.starts_now;
        let is_narrow = may_change && !self.masters[number].is_narrow;
        let fresh = self.start(is_narrow)?;
        let crashed = std::mem::replace(&mut self.masters[number], fresh);
        crashed.crash(&mut self.world, fate);
        Ok(())
    }

    fn restart_finished(&mut self) -> Result<()> {
        for number in 0..self.masters.len() {
            if self.masters[number].life == Life::Finished {
                self.masters[number] = self.start(false)?;
            }
        }
        Ok(())
    }

    fn pass(&mut self, ms: u64, clock_set_ms: i64) -> Result<()> {
        self.world.now.monotonic_ms += ms;
        self.world.now.unix_ms += i64::try_from(ms)? + clock_set_ms;
        for master in &mut self.masters {
            master.give(&self.world, Input::Tick)?;
        }
        Ok(())
    }

    fn wake(&mut self) -> Result<()> {
        let now = self.world.now;
        let wishes = self.masters.iter();
        let wishes = wishes.filter_map(|master| master.feed.wake_at_ms(now));
        match wishes.min() {
            Some(at_ms) => self.pass(at_ms - now.monotonic_ms, 0),
            None => Ok(()),
        }
    }

    /// Everything is well again: all changes come to the lake, and it is known.
    fn see_through(&mut self) -> Result<()> {
        self.world.is_forbidden = false;
        for late in std::mem::take(&mut self.world.late) {
            self.world.land(late);
        }
        self.plan.on_history_lost = OnHistoryLost::Restart;
        // One with all changes, for which nothing is filtered out that the lake ends with.
        self.masters.clear();
        let master = self.start(false)?;
        self.masters.push(master);
        for _ in 0..ROUNDS_MAX {
            self.round()?;
            if self.world.is_complete() && self.masters[0].feed.is_all_archived() {
                return self.drain();
            }
        }
        anyhow::bail!("no rest: {}", self.world.summary())
    }

    fn round(&mut self) -> Result<()> {
        let Self { world, masters, .. } = self;
        let master = &mut masters[0];
        master.settle(world)?;
        master.deliver(world, 1000)?;
        master.settle(world)?;
        if !master.feed.has_waiting_changes() {
            master.idle(world)?;
        }
        master.give(world, Input::Flush(crate::batch::FlushReason::Cron))?;
        master.settle(world)?;
        world.check()?;
        self.note("round");
        self.wake()
    }

    fn drain(&mut self) -> Result<()> {
        let Self { world, masters, .. } = self;
        let master = &mut masters[0];
        master.life = Life::Draining;
        master.give(world, Input::Drain)?;
        master.settle(world)?;
        ensure!(master.life == Life::Finished, "it doesn't finish");
        ensure!(master.feed.given_up_changes() == 0, "it gives changes up");
        world.check()
    }
}
