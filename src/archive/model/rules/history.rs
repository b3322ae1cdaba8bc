//! Lost history: the halt, the gap on record, the start behind it.

use super::*;
use crate::archive::batch::FlushReason;
use crate::archive::failure::Failure;
use crate::archive::gap::Gap;
use crate::archive::machine::OnHistoryLost;
use crate::archive::position::Position;

/// A feed that watches, and goes on behind gaps.
fn restarting() -> Result<Bench> {
    let begin = ClusterTime {
        seconds: 1,
        increment: 0,
    };
    let mut config = config(1, &limits(), StartAt::Time(begin));
    config.on_history_lost = OnHistoryLost::Restart;
    let mut bench = Bench::with(config)?;
    bench.settle()?;
    bench.said();
    Ok(bench)
}

/// The oplog moves on past the feed's position, and begins here now. No change is in the gap, so
/// that the lake can be complete in the end.
fn lose(bench: &mut Bench) -> Result<ClusterTime> {
    bench.happen(0, 100);
    let oldest = bench.world.source.clock();
    break_off(bench, Some(oldest))?;
    Ok(oldest)
}

/// The stream ends, and the server says that the oplog begins here.
fn break_off(bench: &mut Bench, oldest: Option<ClusterTime>) -> Result<()> {
    bench.master.cursor.take().context("no stream")?;
    let failure = Failure {
        disposition: Disposition::HistoryLost { oldest },
        message: "injected: history lost".to_owned(),
    };
    bench.give(Input::Closed(Some(failure)))
}

/// The gap that is being recorded.
fn gap(bench: &Bench) -> Result<Gap> {
    match &bench.master.pending[..] {
        [Pending::Record(gap)] => Ok(gap.clone()),
        other => anyhow::bail!("no record alone: {other:?}"),
    }
}

/// So many changes are read and come to the lake.
fn archive(bench: &mut Bench, changes: usize) -> Result<()> {
    bench.read(changes)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.settle()
}

fn finish(mut bench: Bench) -> Result<()> {
    bench.read(1)?;
    bench.master.drain(&bench.world)?;
    bench.settle()?;
    assert!(bench.master.is_finished());
    bench.check_complete()
}

#[test]
fn lost_history_halts_and_says_what_is_lost() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    bench.read(2)?;
    let oldest = lose(&mut bench)?;
    assert_eq!(bench.order().unwrap().reason, FlushReason::Halt);
    bench.settle()?;
    bench.check_complete()?;
    let trouble = bench.master.feed.trouble().unwrap();
    let last = bench.world.source.time(1);
    for part in [
        "injected: history lost".to_owned(),
        format!("its changes between {last} and {oldest}"),
        "ON_HISTORY_LOST=restart".to_owned(),
    ] {
        assert!(trouble.message.contains(&part), "{}", trouble.message);
    }
    assert!(trouble.is_halt);
    assert_eq!(bench.wake_in_ms(), Some(60_000));
    bench.wake()?;
    assert_eq!(bench.pending(), ["Open"], "where it was");
    bench.settle()?;
    bench.idle()?;
    assert!(bench.master.feed.trouble().is_none());
    finish(bench)
}

#[test]
fn a_gap_is_recorded_and_then_gone_behind() -> Result<()> {
    let mut bench = restarting()?;
    bench.read(2)?;
    let oldest = lose(&mut bench)?;
    assert!(has_said(&bench.said(), |notice| matches!(
        notice,
        Notice::HistoryLost(message) if message.contains("its changes between")
    )));
    assert_eq!(bench.order().unwrap().reason, FlushReason::Halt);
    bench.work(Fault::None)?;
    assert_eq!(bench.pending(), ["save"], "what was read comes first");
    bench.work(Fault::None)?;
    let gap = gap(&bench)?;
    let last_change = bench.world.source.last_change(1);
    assert_eq!(gap.from, Some(last_change.cluster_time));
    assert_eq!(gap.until, Some(oldest));
    assert_eq!(gap.last_change, Some(last_change));
    bench.work(Fault::None)?;
    assert!(bench.said().contains(&Notice::Restarted(gap)));
    for fault in [Fault::Refused, Fault::None] {
        assert_eq!(bench.pending(), ["save"], "nothing is read before");
        assert_eq!(bench.save().unwrap().position, Position::At(oldest));
        bench.work(fault)?;
        if fault != Fault::None {
            bench.wake()?;
        }
    }
    bench.settle()?;
    assert!(bench.master.feed.is_watching() && bench.master.feed.trouble().is_none());
    finish(bench)
}

#[test]
fn a_gap_begins_where_the_feed_had_read_to() -> Result<()> {
    let mut bench = restarting()?;
    lose(&mut bench)?;
    let StartAt::Time(begin) = bench.config.start_at else {
        anyhow::bail!("it starts at a time");
    };
    let gap = gap(&bench)?;
    assert_eq!((gap.from, gap.last_change), (Some(begin), None));
    bench.settle()?;
    finish(bench)
}

#[test]
fn where_no_beginning_is_known_behind_the_lake_it_goes_on_from_now() -> Result<()> {
    for oldest_changes_ago in [None, Some(1), Some(2)] {
        let mut bench = restarting()?;
        archive(&mut bench, 2)?;
        let oldest = oldest_changes_ago.map(|ago: usize| bench.world.source.time(2 - ago));
        break_off(&mut bench, oldest)?;
        assert_eq!(bench.pending(), ["AskClusterTime"], "{oldest:?}");
        bench.work(Fault::Refused)?;
        assert!(bench.master.feed.trouble().is_some() && bench.wake_in_ms().unwrap() >= 750);
        bench.wake()?;
        let now = bench.world.source.clock();
        bench.work(Fault::None)?;
        let next = ClusterTime {
            increment: now.increment + 1,
            ..now
        };
        assert_eq!(gap(&bench)?.until, Some(next));
        bench.work(Fault::None)?;
        assert!(bench.master.feed.trouble().is_none());
        bench.settle()?;
        finish(bench)?;
    }
    Ok(())
}

#[test]
fn a_second_loss_in_a_row_goes_on_from_now() -> Result<()> {
    for answers in [false, true] {
        let mut bench = restarting()?;
        archive(&mut bench, 2)?;
        lose(&mut bench)?;
        bench.settle()?;
        if answers {
            bench.idle()?;
            bench.settle()?;
        }
        let oldest = lose(&mut bench)?;
        if answers {
            assert_eq!(gap(&bench)?.until, Some(oldest), "it was read in between");
        } else {
            assert_eq!(bench.pending(), ["AskClusterTime"]);
        }
        bench.settle()?;
        finish(bench)?;
    }
    Ok(())
}

#[test]
fn a_lake_that_is_further_than_the_lost_position_saves_the_day() -> Result<()> {
    for on_history_lost in [OnHistoryLost::Halt, OnHistoryLost::Restart] {
        let mut bench = Bench::watching(&limits())?;
        bench.config.on_history_lost = on_history_lost;
        bench.read(3)?;
        bench.give(Input::Flush(FlushReason::Cron))?;
        bench.work(Fault::None)?;
        bench.restart()?;
        bench.settle()?;
        assert!(bench.said().contains(&Notice::LakeAhead));
        lose(&mut bench)?;
        let tail = bench.world.source.last_change(2).token;
        let is_open_behind_tail = |pending: &Pending| matches!(pending, Pending::Open(position) if *position == Position::After(tail.clone()));
        assert!(bench.master.pending.iter().any(is_open_behind_tail));
        assert_eq!(bench.said(), [], "nothing is lost");
        bench.settle()?;
        bench.check_complete()?;
        finish(bench)?;
    }
    Ok(())
}

#[test]
fn a_gap_that_cant_be_recorded_is_not_passed() -> Result<()> {
    let mut bench = restarting()?;
    archive(&mut bench, 2)?;
    lose(&mut bench)?;
    let wanted = gap(&bench)?;
    for fault in [Fault::Refused, Fault::Halted, Fault::Unheard] {
        bench.work(fault)?;
        assert!(bench.pending().is_empty() && bench.master.feed.trouble().is_some());
        bench.wake()?;
        assert_eq!(gap(&bench)?, wanted, "the same once more");
    }
    bench.work(Fault::None)?;
    assert!(has_said(&bench.said(), |notice| matches!(
        notice,
        Notice::Recovered(_)
    )));
    bench.settle()?;
    finish(bench)
}

#[test]
fn a_gap_waits_until_it_is_known_what_is_saved() -> Result<()> {
    let mut bench = restarting()?;
    bench.read(1)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.work(Fault::None)?;
    lose(&mut bench)?;
    assert_eq!(bench.pending(), ["save"]);
    bench.work(Fault::Unheard)?;
    assert_eq!(bench.pending(), [""; 0]);
    bench.wake()?;
    assert_eq!(bench.pending(), ["save"]);
    bench.work(Fault::None)?;
    gap(&bench)?;
    bench.settle()?;
    finish(bench)
}

#[test]
fn a_drain_ends_at_a_gap_and_loses_nothing() -> Result<()> {
    for steps in 0..6 {
        let mut bench = restarting()?;
        bench.read(2)?;
        lose(&mut bench)?;
        for _ in 0..steps {
            bench.work(Fault::None)?;
        }
        bench.master.drain(&bench.world)?;
        bench.settle()?;
        assert!(bench.master.is_finished(), "after {steps} steps");
        bench.check_complete()?;
        bench.restart()?;
        bench.settle()?;
        finish(bench)?;
    }
    Ok(())
}
