//! Drains: a feed is drained exactly if all that it read is in the lake.

use anyhow::{Result, ensure};

use super::super::faults::failure_of;
use super::super::master::Life;
use super::super::plan::Fault;
use super::master::Pending;
use super::rules::Bench;
use crate::batch::FlushReason;
use crate::machine::Input;

/// Changes before those that a test reads: the next three are of one collection, and the one after them of others.
const EARLIER_CHANGES: usize = 11;

/// What the stream is at when the feed is told to drain.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Watching,
    /// It broke after the changes came.
    Broken,
}

/// Changes that wait until it is known where the lake ends for their collections.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Held {
    Nothing,
    /// Their tails are being loaded.
    Loading,
    /// Loading one of them has failed, and is tried again at once when the feed is told to drain.
    FailedOnce,
    /// Their tails can't be loaded.
    InVain,
}

/// The operation under way.
#[derive(Clone, Copy, Debug, PartialEq)]
enum InFlight {
    Nothing,
    /// A commit that does this.
    Commit(Fault),
    /// A save that does this.
    Save(Fault),
}

impl InFlight {
    const ALL: [Self; 6] = [
        Self::Nothing,
        Self::Commit(Fault::None),
        Self::Commit(Fault::Refused),
        Self::Save(Fault::None),
        Self::Save(Fault::Refused),
        Self::Save(Fault::Stale),
    ];
}

#[derive(Clone, Copy, Debug)]
struct Case {
    stage: Stage,
    held: Held,
    is_buffered: bool,
    in_flight: InFlight,
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        let stages = [Stage::Watching, Stage::Broken];
        let helds = [Held::Nothing, Held::Loading, Held::FailedOnce, Held::InVain];
        stages.into_iter().flat_map(move |stage| {
            helds.into_iter().flat_map(move |held| {
                [false, true].into_iter().flat_map(move |is_buffered| {
                    InFlight::ALL.into_iter().map(move |in_flight| Self {
                        stage,
                        held,
                        is_buffered,
                        in_flight,
                    })
                })
            })
        })
    }

    /// Whether something fails for as long as the feed drains.
    fn is_stuck(self) -> bool {
        matches!(
            self.in_flight,
            InFlight::Commit(Fault::Refused) | InFlight::Save(Fault::Refused)
        ) || self.held == Held::InVain && self.stage == Stage::Watching && !self.is_stale()
    }

    fn is_stale(self) -> bool {
        self.in_flight == InFlight::Save(Fault::Stale)
    }

    /// Whether the feed drops changes that it read.
    fn drops(self) -> bool {
        let is_held = self.held != Held::Nothing;
        is_held && (self.is_stale() || self.stage == Stage::Broken)
    }

    /// A feed that is at this.
    fn bench(self) -> Result<Bench> {
        let mut bench = Bench::watching()?;
        bench.read(EARLIER_CHANGES)?;
        bench.settle()?;
        bench.give(Input::Flush(FlushReason::Cron))?;
        bench.settle()?;
        // Another process knows nothing of the tails.
        bench.restart()?;
        bench.settle()?;
        bench.read(if self.is_buffered { 1 } else { 3 })?;
        bench.settle()?;
        bench.give(Input::Flush(FlushReason::Cron))?;
        match self.in_flight {
            InFlight::Nothing => bench.settle()?,
            InFlight::Commit(_) => {}
            InFlight::Save(_) => bench.work(|_| true, Fault::None)?,
        }
        if self.is_buffered {
            bench.read(2)?;
            ensure!(!bench.master.feed.has_waiting_changes());
        }
        if self.held != Held::Nothing {
            bench.read(1)?;
            ensure!(bench.master.feed.has_waiting_changes());
        }
        if self.held == Held::FailedOnce {
            bench.work(
                |pending| matches!(pending, Pending::Look(..)),
                Fault::Refused,
            )?;
        }
        if self.stage == Stage::Broken {
            bench.give(Input::Closed(failure_of(Fault::Refused)))?;
        }
        Ok(bench)
    }

    /// What happens to an operation.
    fn fault(self, pending: &Pending) -> Fault {
        match (pending, self.in_flight) {
            (Pending::Look(..), _) if self.held == Held::InVain => Fault::Refused,
            (Pending::Commit(..), InFlight::Commit(fault))
            | (Pending::Save(_), InFlight::Save(fault)) => fault,
            _ => Fault::None,
        }
    }
}

#[test]
fn a_feed_is_drained_exactly_if_all_that_it_read_is_in_the_lake() -> Result<()> {
    for case in Case::all() {
        let mut bench = case.bench()?;
        bench.master.life = Life::Draining;
        bench.give(Input::Drain)?;
        while let Some(pending) = bench.master.pending.first() {
            let fault = case.fault(pending);
            bench.work(|_| true, fault)?;
        }
        let feed = &bench.master.feed;
        let is_finished = bench.master.life == Life::Finished;
        let is_archived = bench.world.is_archived_up_to(bench.world.source.len());
        assert_eq!(is_finished, !case.is_stuck(), "{case:?}");
        assert_eq!(feed.given_up_changes() > 0, case.drops(), "{case:?}");
        let missing_changes = feed.given_up_changes() + feed.buffered_changes();
        assert_eq!(missing_changes == 0, is_archived, "{case:?}");
    }
    Ok(())
}

#[test]
fn a_feed_that_has_read_nothing_drains_at_once_at_every_stage_of_its_start() -> Result<()> {
    let mut bench = Bench::watching()?;
    bench.read(EARLIER_CHANGES)?;
    bench.settle()?;
    // As many steps as a start has: load, open.
    for steps in 0..=2 {
        bench.restart()?;
        for _ in 0..steps {
            bench.work(|_| true, Fault::None)?;
        }
        bench.drain()?;
        assert_eq!(bench.master.life, Life::Finished, "{steps} steps");
        assert_eq!(bench.master.feed.given_up_changes(), 0, "{steps} steps");
    }
    Ok(())
}

#[test]
fn a_feed_that_records_a_gap_drains_with_all_that_it_read() -> Result<()> {
    let mut bench = Bench::watching()?;
    bench.read(EARLIER_CHANGES)?;
    bench.settle()?;
    bench.happen(3, false);
    bench.world.source.truncate(0, true);
    bench.master.deliver(&bench.world, 3)?;
    while !matches!(bench.master.pending.as_slice(), [Pending::Record(_)]) {
        bench.work(|_| true, Fault::None)?;
    }
    bench.drain()?;
    assert_eq!(bench.master.life, Life::Finished);
    assert_eq!(bench.master.feed.given_up_changes(), 0);
    ensure!(bench.world.is_archived_up_to(EARLIER_CHANGES));
    Ok(())
}

/// What a feed has done since it dropped changes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Since {
    Nothing,
    /// It has opened its stream again.
    Opened,
    /// The server had nothing more to send so far, from before the dropped changes.
    Idle,
    /// It has read all but the last of them again.
    ReadSome,
    /// It has read all of them again.
    ReadAll,
    /// And the server had nothing more to send.
    ReadAllAndIdle,
}

#[test]
fn what_was_dropped_counts_until_it_is_read_again() -> Result<()> {
    const DROPPED_CHANGES: usize = 4;
    const ALL_CHANGES: usize = EARLIER_CHANGES + DROPPED_CHANGES;
    for (is_transaction, is_idle_before) in [(false, false), (true, false), (true, true)] {
        for (since, gives_up) in [
            (Since::Nothing, true),
            (Since::Opened, true),
            (Since::Idle, true),
            (Since::ReadSome, true),
            // The server's own token was the last that was read, so only such a one tells.
            (Since::ReadAll, is_idle_before),
            (Since::ReadAllAndIdle, false),
        ] {
            let mut bench = Bench::watching()?;
            bench.read(EARLIER_CHANGES)?;
            bench.settle()?;
            bench.give(Input::Flush(FlushReason::Cron))?;
            while !matches!(bench.master.pending.as_slice(), [Pending::Save(_)]) {
                bench.work(|_| true, Fault::None)?;
            }
            bench.happen(DROPPED_CHANGES, is_transaction);
            bench.master.deliver(&bench.world, DROPPED_CHANGES)?;
            if is_idle_before {
                bench.master.idle(&mut bench.world)?;
            }
            bench.work(|_| true, Fault::Stale)?;
            if since != Since::Nothing {
                bench.pass(60_000)?;
                bench.settle()?;
                ensure!(bench.master.feed.is_watching());
            }
            match since {
                Since::Nothing | Since::Opened => {}
                Since::Idle => bench.master.idle(&mut bench.world)?,
                Since::ReadSome => bench.master.deliver(&bench.world, ALL_CHANGES - 1)?,
                Since::ReadAll => bench.master.deliver(&bench.world, ALL_CHANGES)?,
                Since::ReadAllAndIdle => {
                    bench.master.deliver(&bench.world, ALL_CHANGES)?;
                    bench.settle()?;
                    bench.master.idle(&mut bench.world)?;
                }
            }
            bench.settle()?;
            bench.drain()?;
            let case = format!("{since:?} {is_transaction} {is_idle_before}");
            assert_eq!(bench.master.life, Life::Finished, "{case}");
            assert_eq!(bench.master.feed.given_up_changes() > 0, gives_up, "{case}");
        }
    }
    Ok(())
}
