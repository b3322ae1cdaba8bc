//! Lost history: the halt, the record of the gap, the way on behind it.

use super::*;
use crate::batch::FlushReason;
use crate::gap::Gap;
use crate::model::faults::history_lost;
use crate::model::plan::Fate;
use crate::model::source::BEGIN;
use crate::position::Position;

/// More steps than a feed needs to go on.
const STEPS_MAX: usize = 20;

/// A feed that watches an empty stream.
pub(super) fn watching(on_history_lost: OnHistoryLost) -> Result<Bench> {
    let begin = ClusterTime {
        seconds: 1,
        increment: 0,
    };
    let start_at = StartAt::Time(begin);
    let mut bench = Bench::with(config(1, &limits(), start_at, on_history_lost))?;
    bench.settle()?;
    bench.said();
    Ok(bench)
}

/// A feed that has read three of six changes, two of them in the lake. The oplog holds the last one.
pub(super) fn left_behind(on_history_lost: OnHistoryLost) -> Result<Bench> {
    let mut bench = watching(on_history_lost)?;
    bench.read(2)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.settle()?;
    bench.read(1)?;
    bench.happen(3, 60);
    bench.world.source.truncate(1, true);
    Ok(bench)
}

/// The same, and it has met its loss.
pub(super) fn lost(on_history_lost: OnHistoryLost) -> Result<Bench> {
    let mut bench = left_behind(on_history_lost)?;
    bench.deliver()?;
    Ok(bench)
}

/// A feed that has lost history, after all up to this operation.
fn lost_and_at(operation: &str) -> Result<Bench> {
    let mut bench = lost(OnHistoryLost::Restart)?;
    bench.go_to(operation)?;
    Ok(bench)
}

impl Bench {
    /// Ends operations well until this one is under way.
    pub(super) fn go_to(&mut self, operation: &str) -> Result<()> {
        for _ in 0..STEPS_MAX {
            if self.pending() == [operation] {
                return Ok(());
            }
            self.work(Fault::None)?;
        }
        anyhow::bail!("no {operation}, but {:?}", self.pending());
    }

    /// The anchor behind the gap is under way.
    pub(super) fn go_to_anchor(&mut self) -> Result<()> {
        self.go_to("put")?;
        self.work(Fault::None)?;
        ensure!(self.pending() == ["save"], "{:?}", self.pending());
        Ok(())
    }

    /// Another process in place of this one, which is killed.
    pub(super) fn crash(&mut self, fate: Fate) -> Result<()> {
        self.config.seed += 1;
        let fresh = Master::new(self.config.clone());
        std::mem::replace(&mut self.master, fresh).crash(&mut self.world, fate);
        self.give(Input::Start)
    }

    pub(super) fn land_late(&mut self) {
        for late in std::mem::take(&mut self.world.late) {
            self.world.land(late);
        }
    }

    /// Time goes by until nothing more is to be done.
    pub(super) fn see_through(&mut self) -> Result<()> {
        self.settle()?;
        for _ in 0..STEPS_MAX {
            if self.master.feed.is_watching() {
                self.deliver()?;
                return self.settle();
            }
            self.wake()?;
            self.settle()?;
        }
        anyhow::bail!("it never watches: {:?}", self.master.feed.trouble());
    }

    /// The feed goes on and finishes; the lake holds just these changes.
    pub(super) fn check_holds(&mut self, changes: &[usize]) -> Result<()> {
        self.see_through()?;
        self.give(Input::Flush(FlushReason::Cron))?;
        self.see_through()?;
        self.master.drain(&self.world)?;
        self.settle()?;
        ensure!(self.master.is_finished());
        self.check_complete()?;
        let there: Vec<_> = self.world.lake.changes().collect();
        ensure!(there == changes, "{there:?} instead of {changes:?}");
        Ok(())
    }

    pub(super) fn gaps(&self) -> Vec<Gap> {
        self.world.lake.gaps.iter().cloned().collect()
    }

    /// From one change, or where the stream begins, to another.
    pub(super) fn gap(&self, last: usize, until: usize) -> Gap {
        let source = &self.world.source;
        Gap {
            from: Some(source.time(last)),
            until: Some(source.time(until)),
            last_change: Some(source.last_change(last)),
        }
    }
}

#[test]
fn a_halt_skips_nothing_and_says_what_is_lost() -> Result<()> {
    let mut bench = lost(OnHistoryLost::Halt)?;
    let order = bench.order().context("what was read is to be flushed")?;
    assert_eq!((order.reason, order.batch.changes), (FlushReason::Halt, 1));
    for _ in 0..3 {
        bench.settle()?;
        let trouble = bench.master.feed.trouble().context("no trouble")?;
        let lost =
            "changes between 2024-01-15T13:56:40Z/5 and 2024-01-15T13:57:40Z/9 (0 h 1 min 0 s)";
        assert!(trouble.is_halt && trouble.message.contains(lost));
        assert!(trouble.message.contains("ON_HISTORY_LOST=restart"));
        assert_eq!(bench.wake_in_ms(), Some(60_000));
        bench.wake()?;
    }
    bench.settle()?;
    assert_eq!(bench.world.lake.changes().collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(bench.world.stored_place().context("no place")?.changes, 3);
    assert!(bench.gaps().is_empty());
    let notices = bench.said();
    let halts = notices
        .iter()
        .filter(|notice| matches!(notice, Notice::Halted(_)));
    assert_eq!(halts.count(), 1, "it is said once: {notices:?}");
    // A person decides.
    bench.config.on_history_lost = OnHistoryLost::Restart;
    bench.restart()?;
    bench.check_holds(&[0, 1, 2, 5])?;
    assert_eq!(bench.gaps(), [bench.gap(2, 5)]);
    Ok(())
}

#[test]
fn what_was_read_is_archived_then_the_gap_recorded_then_the_position_saved() -> Result<()> {
    let mut bench = lost(OnHistoryLost::Restart)?;
    assert_eq!(bench.order().unwrap().reason, FlushReason::Halt);
    let steps = ["[2]", "save", "Record", "put", "save", "Open"];
    for (number, step) in steps.into_iter().enumerate() {
        assert_eq!(bench.pending(), [step]);
        assert_eq!(bench.gaps().is_empty(), number < 4);
        bench.work(Fault::None)?;
    }
    assert!(bench.master.feed.is_watching());
    let gap = bench.gap(2, 5);
    assert_eq!(bench.gaps(), std::slice::from_ref(&gap));
    let checkpoint = bench.world.store.load().unwrap().checkpoint;
    assert_eq!(checkpoint.position, Position::At(gap.until.unwrap()));
    assert_eq!(
        Some(checkpoint.collections[0].last_change.clone()),
        gap.last_change
    );
    let notices = bench.said();
    let lost = format!("injected: history lost; {gap}");
    assert!(notices.contains(&Notice::HistoryLost(lost)));
    assert!(notices.contains(&Notice::Restarted(gap)));
    bench.check_holds(&[0, 1, 2, 5])
}

#[test]
fn what_was_read_is_archived_first_however_long_it_takes() -> Result<()> {
    for fault in [Fault::Refused, Fault::Unheard, Fault::Late, Fault::Halted] {
        let mut bench = lost(OnHistoryLost::Restart)?;
        bench.work(fault)?;
        assert!(bench.pending().is_empty(), "the lake first");
        bench.wake()?;
        bench.go_to("save")?;
        bench.work(fault)?;
        assert!(bench.pending().is_empty(), "who knows what is saved");
        bench.wake()?;
        assert_eq!(bench.pending(), ["save"]);
        bench.check_holds(&[0, 1, 2, 5])?;
    }
    Ok(())
}

#[test]
fn a_record_that_fails_is_tried_until_it_is_there() -> Result<()> {
    for operation in ["Record", "put"] {
        for fault in [
            Fault::Refused,
            Fault::Throttled,
            Fault::Unheard,
            Fault::Late,
            Fault::Stale,
            Fault::Halted,
        ] {
            let mut bench = lost_and_at(operation)?;
            bench.work(fault)?;
            bench.land_late();
            if fault == Fault::Stale {
                assert_eq!(bench.pending(), ["Record"], "at once the first time");
            } else {
                let trouble = bench.master.feed.trouble().context("no trouble")?;
                assert_eq!(trouble.is_halt, fault == Fault::Halted);
                assert!(bench.pending().is_empty());
                bench.wake()?;
            }
            bench.check_holds(&[0, 1, 2, 5])?;
            assert_eq!(bench.gaps(), [bench.gap(2, 5)]);
        }
    }
    Ok(())
}

#[test]
fn a_signal_tries_at_once_to_record_a_gap() -> Result<()> {
    let mut bench = lost_and_at("put")?;
    bench.work(Fault::Halted)?;
    assert_eq!(bench.wake_in_ms(), Some(60_000));
    bench.give(Input::Flush(FlushReason::Signal))?;
    assert_eq!(bench.pending(), ["Record"]);
    bench.check_holds(&[0, 1, 2, 5])
}

#[test]
fn behind_a_gap_nothing_is_read_before_the_position_is_saved() -> Result<()> {
    let mut bench = lost(OnHistoryLost::Restart)?;
    bench.go_to_anchor()?;
    for fault in [Fault::Refused, Fault::Unheard, Fault::Late, Fault::Halted] {
        bench.work_save(fault)?;
        assert!(bench.pending().is_empty());
        bench.wake()?;
        assert_eq!(bench.pending(), ["save"]);
    }
    bench.check_holds(&[0, 1, 2, 5])
}

#[test]
fn a_feed_that_is_killed_on_its_way_over_a_gap_goes_on() -> Result<()> {
    for fate in [Fate::Lost, Fate::Done, Fate::Late] {
        for steps in 0..7 {
            let mut bench = lost(OnHistoryLost::Restart)?;
            for _ in 0..steps {
                bench.work(Fault::None)?;
            }
            bench.crash(fate)?;
            bench.work(Fault::None)?;
            bench.work(Fault::None)?;
            bench.land_late();
            // What was only in memory is lost with it.
            let is_archived = steps > 0 || fate != Fate::Lost;
            let there = [0, 1, 2, 5];
            let without = [0, 1, 5];
            bench.check_holds(if is_archived { &there } else { &without })?;
        }
    }
    Ok(())
}

#[test]
fn a_feed_that_is_drained_on_its_way_over_a_gap_goes_on_later() -> Result<()> {
    for steps in 0..7 {
        let mut bench = lost(OnHistoryLost::Restart)?;
        for _ in 0..steps {
            bench.work(Fault::None)?;
        }
        bench.master.drain(&bench.world)?;
        bench.settle()?;
        assert!(bench.master.is_finished(), "after {steps} steps");
        // What has begun is brought to its end.
        let gaps = usize::from(steps > 1);
        assert_eq!(bench.gaps().len(), gaps, "after {steps} steps");
        bench.restart()?;
        bench.check_holds(&[0, 1, 2, 5])?;
    }
    Ok(())
}

#[test]
fn a_second_loss_in_a_row_goes_on_from_now() -> Result<()> {
    let mut bench = lost_and_at("Open")?;
    bench.happen(3, 60);
    bench.world.source.truncate(2, true);
    bench.work(Fault::None)?;
    assert_eq!(bench.pending(), ["AskClusterTime"]);
    bench.work(Fault::None)?;
    bench.happen(1, 0);
    bench.see_through()?;
    let end = ClusterTime {
        increment: bench.world.source.time(8).increment + 1,
        ..bench.world.source.time(8)
    };
    let second = Gap {
        from: Some(bench.world.source.time(5)),
        until: Some(end),
        last_change: Some(bench.world.source.last_change(2)),
    };
    assert_eq!(bench.gaps(), [bench.gap(2, 5), second]);
    // It has read one change since, so the next loss is a first one again.
    bench.happen(3, 60);
    bench.world.source.truncate(1, true);
    bench.deliver()?;
    bench.check_holds(&[0, 1, 2, 9, 12])?;
    assert_eq!(bench.gaps()[2], bench.gap(9, 12));
    Ok(())
}

#[test]
fn an_idle_answer_makes_the_next_loss_a_first_one() -> Result<()> {
    let mut bench = lost_and_at("Open")?;
    bench.settle()?;
    bench.idle()?;
    bench.happen(2, 60);
    bench.world.source.truncate(1, true);
    bench.deliver()?;
    bench.check_holds(&[0, 1, 2, 7])
}

#[test]
fn a_loss_behind_a_stale_view_is_a_first_one() -> Result<()> {
    let mut bench = lost(OnHistoryLost::Restart)?;
    bench.go_to_anchor()?;
    bench.happen(1, 60);
    bench.world.source.truncate(1, true);
    bench.work_save(Fault::Stale)?;
    bench.check_holds(&[0, 1, 2, 6])?;
    assert_eq!(bench.gaps(), [bench.gap(2, 6)]);
    Ok(())
}

#[test]
fn where_the_oplogs_beginning_is_unknown_it_goes_on_from_now() -> Result<()> {
    let mut bench = left_behind(OnHistoryLost::Restart)?;
    bench.world.source.truncate(1, false);
    bench.deliver()?;
    bench.go_to("AskClusterTime")?;
    let lost = "injected: history lost; its changes from 2024-01-15T13:56:40Z/5 up to now are lost";
    assert!(bench.said().contains(&Notice::HistoryLost(lost.to_owned())));
    bench.work(Fault::Refused)?;
    assert!(bench.pending().is_empty() && bench.gaps().is_empty());
    bench.wake()?;
    assert_eq!(bench.pending(), ["AskClusterTime"]);
    bench.see_through()?;
    bench.read(1)?;
    bench.check_holds(&[0, 1, 2, 6])
}

/// The stream ends, and the oplog is said to begin here, where it can't.
fn lose_at(bench: &mut Bench, oldest: ClusterTime) -> Result<()> {
    let cursor = bench.master.cursor.take().context("no stream")?;
    bench.master.history.lose(cursor.looked, Some(oldest));
    bench.give(Input::Closed(Some(history_lost(Some(oldest)))))
}

#[test]
fn a_beginning_before_what_was_read_is_not_believed() -> Result<()> {
    for is_last_read in [false, true] {
        let mut bench = watching(OnHistoryLost::Restart)?;
        bench.read(2)?;
        let last_read = bench.world.source.time(1);
        lose_at(&mut bench, if is_last_read { last_read } else { BEGIN })?;
        bench.go_to("AskClusterTime")?;
        bench.see_through()?;
        bench.read(1)?;
        bench.check_holds(&[0, 1, 2])?;
    }
    Ok(())
}

#[test]
fn a_cluster_whose_time_ran_back_is_not_gone_on_with() -> Result<()> {
    let mut bench = watching(OnHistoryLost::Restart)?;
    bench.read(2)?;
    lose_at(&mut bench, BEGIN)?;
    bench.go_to("AskClusterTime")?;
    bench.world.source.run_back(60);
    bench.master.may_halt = true;
    for _ in 0..3 {
        bench.settle()?;
        let trouble = bench.master.feed.trouble().context("no trouble")?;
        assert!(trouble.is_halt && trouble.message.contains("cluster time ran back"));
        assert_eq!(bench.wake_in_ms(), Some(60_000));
        bench.wake()?;
    }
    assert!(bench.gaps().is_empty());
    let notices = bench.said();
    let halts = notices
        .iter()
        .filter(|notice| matches!(notice, Notice::Halted(_)));
    assert_eq!(halts.count(), 1, "it is said once: {notices:?}");
    bench.master.may_halt = false;
    bench.happen(1, 60);
    bench.see_through()?;
    assert!(bench.master.feed.trouble().is_none());
    Ok(())
}

/// The lake holds two changes that the checkpoint doesn't know of.
fn ahead(on_history_lost: OnHistoryLost) -> Result<Bench> {
    let mut bench = watching(on_history_lost)?;
    bench.read(2)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.work(Fault::None)?;
    bench.crash(Fate::Lost)?;
    Ok(bench)
}

#[test]
fn a_lake_ahead_of_the_lost_position_is_gone_on_from() -> Result<()> {
    for on_history_lost in [OnHistoryLost::Halt, OnHistoryLost::Restart] {
        let mut bench = ahead(on_history_lost)?;
        bench.world.source.truncate(1, true);
        bench.settle()?;
        assert!(bench.master.feed.is_watching() && bench.master.feed.trouble().is_none());
        assert_eq!(bench.world.stored_place().context("no place")?.changes, 2);
        bench.read(1)?;
        bench.check_holds(&[0, 1, 2])?;
        assert!(bench.gaps().is_empty());
    }
    Ok(())
}

#[test]
fn a_stream_that_is_lost_half_way_to_the_lakes_end_goes_on_there() -> Result<()> {
    let mut bench = ahead(OnHistoryLost::Halt)?;
    bench.settle()?;
    bench.master.deliver(&bench.world, 1)?;
    bench.world.source.truncate(1, true);
    bench.master.break_stream(&bench.world, Fault::Refused)?;
    bench.see_through()?;
    bench.read(2)?;
    bench.check_holds(&[0, 1, 2, 3])?;
    assert!(bench.gaps().is_empty());
    Ok(())
}

#[test]
fn where_the_lakes_end_is_lost_too_the_gap_begins_there() -> Result<()> {
    let mut bench = ahead(OnHistoryLost::Restart)?;
    bench.happen(3, 60);
    bench.world.source.truncate(1, true);
    bench.check_holds(&[0, 1, 4])?;
    assert_eq!(bench.gaps(), [bench.gap(1, 4)]);
    Ok(())
}

#[test]
fn a_start_before_the_oplogs_beginning_is_a_gap() -> Result<()> {
    let begin = ClusterTime {
        seconds: 1,
        increment: 0,
    };
    let start_at = StartAt::Time(begin);
    let mut bench = Bench::with(config(1, &limits(), start_at, OnHistoryLost::Restart))?;
    bench.happen(3, 0);
    bench.world.source.truncate(1, true);
    bench.check_holds(&[2])?;
    let gap = Gap {
        from: Some(begin),
        until: Some(bench.world.source.time(2)),
        last_change: None,
    };
    assert_eq!(bench.gaps(), [gap]);
    Ok(())
}
