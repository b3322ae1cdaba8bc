//! The rules of the machine one by one, above all those where randomness rarely goes.

mod commits;
mod history;
mod rivals;
mod saves;
mod start;
mod stream;
mod writers;

use anyhow::{Context as _, Result, ensure};

use super::master::{Master, Pending, config};
use super::plan::Fault;
use super::source::Happening;
use super::world::World;
use crate::failure::Disposition;
use crate::limits::Limits;
use crate::machine::{Config, Input, Notice, OnHistoryLost, StartAt, WriteOrder};
use crate::position::{Checkpoint, ClusterTime};

/// One feed in a world where only what a test says happens.
struct Bench {
    world: World,
    master: Master,
    config: Config,
}

impl Bench {
    /// A feed that watches an empty stream.
    fn watching(limits: &Limits) -> Result<Self> {
        let mut bench = Self::started(limits)?;
        bench.settle()?;
        ensure!(bench.master.feed.is_watching());
        bench.said();
        Ok(bench)
    }

    /// A feed that has got its first input.
    fn started(limits: &Limits) -> Result<Self> {
        let begin = ClusterTime {
            seconds: 1,
            increment: 0,
        };
        Self::with(config(1, limits, StartAt::Time(begin), OnHistoryLost::Halt))
    }

    fn with(config: Config) -> Result<Self> {
        let limits = &config.limits;
        let world = World::new(limits.file_limit_bytes, limits.file_limit_commits);
        let mut master = Master::new(config.clone());
        master.give(&world, Input::Start)?;
        Ok(Self {
            world,
            master,
            config,
        })
    }

    /// Another process in place of this one.
    fn restart(&mut self) -> Result<()> {
        self.config.seed += 1;
        self.master = Master::new(self.config.clone());
        self.give(Input::Start)
    }

    fn give(&mut self, input: Input) -> Result<()> {
        self.master.calm();
        self.master.give(&self.world, input)
    }

    /// Ends the first operation under way.
    fn work(&mut self, fault: Fault) -> Result<()> {
        self.master.work(&mut self.world, 0, fault)
    }

    /// Ends the save under way.
    fn work_save(&mut self, fault: Fault) -> Result<()> {
        let is_save = |pending: &Pending| matches!(pending, Pending::Save(_));
        let at = self.master.pending.iter().position(is_save);
        self.master
            .work(&mut self.world, at.context("no save")?, fault)
    }

    fn settle(&mut self) -> Result<()> {
        self.master.calm();
        self.master.settle(&mut self.world)
    }

    /// So many changes happen and are read.
    fn read(&mut self, changes: usize) -> Result<()> {
        self.happen(changes, 0);
        self.deliver()
    }

    fn happen(&mut self, changes: usize, seconds_later: u32) {
        self.world.source.happen(Happening {
            changes,
            seconds_later,
            is_transaction: false,
            ends_in_invalidate: false,
            line_len_bytes: 0,
        });
    }

    /// All that has happened is read.
    fn deliver(&mut self) -> Result<()> {
        self.master.calm();
        self.master.deliver(&self.world, 1000)
    }

    fn idle(&mut self) -> Result<()> {
        self.master.idle(&mut self.world, false)
    }

    fn pass(&mut self, ms: u64) -> Result<()> {
        self.world.pass(ms, 0);
        self.master.calm();
        self.master.tick(&self.world)
    }

    /// How long until the feed wants a tick.
    fn wake_in_ms(&self) -> Option<u64> {
        let now = self.world.now;
        let at_ms = self.master.feed.wake_at_ms(now)?;
        Some(at_ms - now.monotonic_ms)
    }

    fn wake(&mut self) -> Result<()> {
        let ms = self.wake_in_ms().context("it sleeps for ever")?;
        self.pass(ms)
    }

    /// What it said since it was last asked.
    fn said(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.master.notices)
    }

    fn order(&self) -> Option<&WriteOrder> {
        self.master
            .pending
            .iter()
            .find_map(|pending| match pending {
                Pending::Commit(order) => Some(order),
                _ => None,
            })
    }

    fn save(&self) -> Option<&Checkpoint> {
        self.master
            .pending
            .iter()
            .find_map(|pending| match pending {
                Pending::Save(save) => Some(&save.checkpoint),
                _ => None,
            })
    }

    fn pending(&self) -> Vec<String> {
        let names = self.master.pending.iter().map(Pending::summary);
        names
            .map(|text| text.split([' ', '(']).next().unwrap_or_default().to_owned())
            .collect()
    }

    fn file_names(&self) -> Vec<String> {
        let files = self.world.lake.files.values();
        files.map(|file| file.name.to_string()).collect()
    }

    /// Everything that happened is in the lake, once, and the store knows.
    fn check_complete(&mut self) -> Result<()> {
        self.world.check()?;
        ensure!(self.world.is_complete(), "{}", self.world.summary());
        let place = self.world.stored_place().context("nothing is stored")?;
        ensure!(place.changes == self.world.source.len(), "{place:?}");
        Ok(())
    }
}

/// Whether something was said that this closure knows.
fn has_said(notices: &[Notice], is_it: impl Fn(&Notice) -> bool) -> bool {
    notices.iter().any(is_it)
}

fn limits() -> Limits {
    Limits {
        batch_size_changes: 100,
        batch_limit_bytes: 10_000,
        file_limit_bytes: 100_000,
        file_limit_commits: 100,
        ..Limits::default()
    }
}
