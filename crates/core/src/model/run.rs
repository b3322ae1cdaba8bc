//! Runs a plan, checks the world after every step, and in the end heals it and sees it through.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};

use super::master::{Master, Pending, config};
use super::plan::{Op, Plan};
use super::world::World;
use crate::machine::{Input, OnHistoryLost, StartAt};
use crate::position::ClusterTime;

/// More rounds than any healed world needs to come to rest.
const ROUNDS_MAX: usize = 400;

pub(super) struct Run {
    pub world: World,
    pub masters: Vec<Master>,
    plan: Plan,
    processes: u64,
    /// Who finishes now isn't started again.
    is_over: bool,
    /// What happened, if somebody wants to know.
    pub log: Option<String>,
}

impl Run {
    pub fn new(plan: &Plan) -> Result<Self> {
        let mut world = World::new(plan.limits.file_limit_bytes, plan.limits.file_limit_commits);
        world.source.tells_time = plan.tells_time;
        let mut run = Self {
            world,
            masters: Vec::new(),
            plan: plan.clone(),
            processes: 0,
            is_over: false,
            log: None,
        };
        for _ in 0..plan.masters {
            let master = run.start()?;
            run.masters.push(master);
        }
        Ok(run)
    }

    fn start(&mut self) -> Result<Master> {
        self.processes += 1;
        let start_at = if self.plan.starts_now {
            StartAt::Now
        } else {
            StartAt::Time(ClusterTime {
                seconds: 1,
                increment: 0,
            })
        };
        let mut master = Master::new(config(
            self.processes,
            &self.plan.limits,
            start_at,
            self.plan.on_history_lost,
        ));
        master.give(&self.world, Input::Start)?;
        Ok(master)
    }

    /// All of it.
    pub fn go(&mut self) -> Result<()> {
        for (step, op) in self.plan.ops.clone().iter().enumerate() {
            self.step(op)
                .and_then(|()| self.world.check())
                .with_context(|| format!("step {step}: {op:?}"))?;
            self.note(&format!("{step}: {op:?}"));
        }
        self.see_through().context("at the end")
    }

    /// Writes down where everything stands.
    fn note(&mut self, title: &str) {
        let Some(log) = &mut self.log else { return };
        let _ = writeln!(log, "{title}\n  {}", self.world.summary());
        for master in &mut self.masters {
            let notices = std::mem::take(&mut master.notices);
            let pending: Vec<_> = master.pending.iter().map(Pending::summary).collect();
            let _ = writeln!(
                log,
                "  pending {pending:?}\n  cursor {:?} buffered {} said {notices:?}",
                master.cursor,
                master.feed.buffered_changes()
            );
        }
    }

    fn step(&mut self, op: &Op) -> Result<()> {
        let Self { world, masters, .. } = self;
        let count = masters.len();
        match *op {
            Op::Happen(what) => {
                world.source.happen(what);
                masters.iter_mut().for_each(Master::calm);
            }
            Op::Work {
                master,
                pick,
                fault,
            } => masters[master % count].work(world, pick, fault)?,
            Op::Settle { master } => masters[master % count].settle(world)?,
            Op::Deliver { master, changes } => {
                masters[master % count].calm();
                masters[master % count].deliver(world, changes)?;
            }
            Op::Idle {
                master,
                is_last_change,
            } => masters[master % count].idle(world, is_last_change)?,
            Op::Break { master, fault } => masters[master % count].break_stream(world, fault)?,
            Op::Flush { master, reason } => {
                masters[master % count].give(world, Input::Flush(reason))?;
            }
            Op::Pass { ms, clock_set_ms } => self.pass(ms, clock_set_ms)?,
            Op::Wake => {
                let now = world.now;
                let wishes = masters
                    .iter()
                    .filter_map(|master| master.feed.wake_at_ms(now));
                if let Some(at_ms) = wishes.min() {
                    self.pass(at_ms - now.monotonic_ms, 0)?;
                }
            }
            Op::Land { pick } => {
                if !world.late.is_empty() {
                    let late = world.late.remove(pick % world.late.len());
                    world.land(late);
                    masters.iter_mut().for_each(Master::calm);
                }
            }
            Op::Crash { master, fate } => {
                let fresh = self.start()?;
                let crashed = std::mem::replace(&mut self.masters[master % count], fresh);
                crashed.crash(&mut self.world, fate);
            }
            Op::Drain { master } => {
                masters[master % count].calm();
                masters[master % count].drain(world)?;
            }
            Op::Forbid(is_forbidden) => world.lake.is_forbidden = is_forbidden,
            Op::LoseCheckpoint => {
                // Not while somebody who hasn't seen the lake yet chooses a starting position.
                if masters.iter().all(|master| master.feed.is_watching()) {
                    masters.iter_mut().for_each(Master::calm);
                    world.lose_checkpoint();
                }
            }
            Op::Truncate { keep, is_known } => world.source.truncate(keep, is_known),
        }
        self.restart_finished()
    }

    fn pass(&mut self, ms: u64, clock_set_ms: i64) -> Result<()> {
        self.world.pass(ms, clock_set_ms);
        for master in &mut self.masters {
            if ms > 0 {
                master.calm();
            }
            master.tick(&self.world)?;
        }
        Ok(())
    }

    fn restart_finished(&mut self) -> Result<()> {
        for number in 0..self.masters.len() {
            if self.masters[number].is_finished() {
                self.masters[number] = self.start()?;
            }
        }
        Ok(())
    }

    /// Everything is well again and time goes by: all changes come to the lake, and it is known.
    fn see_through(&mut self) -> Result<()> {
        self.world.heal();
        self.rest(Self::is_at_rest)?;
        // A stale view shows at the next save at the latest.
        self.look_on()?;
        self.rest(Self::is_at_rest)?;
        if let [master] = &mut self.masters[..] {
            master.idle(&mut self.world, false)?;
            let looked = self.world.last_idle_place();
            self.rest(|run| run.world.stored_place() == Some(looked))
                .context("an idle position is to be saved")?;
            self.masters[0].idle(&mut self.world, false)?;
        }
        let looked = self.world.last_idle_place();
        self.is_over = true;
        for master in &mut self.masters {
            master.calm();
            master.drain(&self.world)?;
        }
        self.rest(|run| run.masters.iter().all(Master::is_finished))
            .context("drain")?;
        ensure!(
            self.masters.len() > 1 || self.world.stored_place() == Some(looked),
            "drain saves the idle position"
        );
        Ok(())
    }

    /// A person lets the feeds that have halted at lost history go on behind it.
    fn restart_halted(&mut self) -> Result<bool> {
        let mut is_any = false;
        for number in 0..self.masters.len() {
            if self.masters[number].is_halted_by_loss() {
                let is_first = self.plan.on_history_lost == OnHistoryLost::Halt;
                ensure!(!is_first || self.world.lake.gaps.is_empty(), "a gap");
                self.plan.on_history_lost = OnHistoryLost::Restart;
                self.masters[number] = self.start()?;
                is_any = true;
            }
        }
        Ok(is_any)
    }

    /// The server has looked on and found nothing, and the time to save that has come.
    fn look_on(&mut self) -> Result<()> {
        for master in &mut self.masters {
            master.idle(&mut self.world, false)?;
        }
        self.pass(self.plan.limits.idle_checkpoint_ms, 0)
    }

    /// Lets everything happen, and time go by, until it is as it should be.
    fn rest(&mut self, is_done: impl Fn(&Self) -> bool) -> Result<()> {
        for round in 0..ROUNDS_MAX {
            self.note(&format!("round {round}"));
            let mut is_busy = false;
            for master in &mut self.masters {
                is_busy |= !master.pending.is_empty();
                master.settle(&mut self.world)?;
                let before = master.cursor.as_ref().map(|cursor| cursor.looked.changes);
                master.calm();
                master.deliver(&self.world, usize::MAX / 2)?;
                if master.feed.trouble().is_some() {
                    // A stream that works shows it, be there changes or not.
                    master.idle(&mut self.world, false)?;
                }
                is_busy |= before != master.cursor.as_ref().map(|cursor| cursor.looked.changes);
                is_busy |= !master.pending.is_empty();
                self.world.check()?;
            }
            if !self.is_over {
                self.restart_finished()?;
                is_busy |= self.restart_halted()?;
            }
            if is_done(self) {
                return Ok(());
            }
            if is_busy {
                continue;
            }
            let now = self.world.now;
            let wishes = self
                .masters
                .iter()
                .filter_map(|master| master.feed.wake_at_ms(now));
            match wishes.min() {
                Some(at_ms) => self.pass(at_ms - now.monotonic_ms, 0)?,
                // A view of the deleted checkpoint shows as stale at the next save.
                None if self.world.was_forgotten => self.look_on()?,
                None => anyhow::bail!("asleep for ever"),
            }
        }
        anyhow::bail!("no rest")
    }

    fn is_at_rest(&self) -> bool {
        let changes = self.world.source.len();
        let is_stored = self
            .world
            .stored_place()
            .is_some_and(|place| place.changes == changes);
        is_stored && self.world.is_complete() && self.masters.iter().all(Master::is_at_rest)
    }
}
