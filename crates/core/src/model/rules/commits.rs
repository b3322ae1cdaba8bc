//! Flushes: when, where to, and what after a failure.

use super::*;
use crate::batch::FlushReason;
use crate::file::format::OutputFormat;

#[test]
fn a_flush_takes_what_is_open_whatever_the_reason() -> Result<()> {
    for reason in [
        FlushReason::Cron,
        FlushReason::Signal,
        FlushReason::Pressure,
    ] {
        let mut bench = Bench::watching(&limits())?;
        bench.give(Input::Flush(reason))?;
        assert!(bench.order().is_none(), "nothing waits");
        bench.read(3)?;
        assert!(bench.order().is_none(), "nothing is due");
        bench.give(Input::Flush(reason))?;
        let order = bench.order().unwrap();
        assert_eq!((order.reason, order.batch.changes), (reason, 3));
        bench.settle()?;
        bench.check_complete()?;
    }
    Ok(())
}

#[test]
fn a_batch_is_due_at_its_count() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    bench.read(99)?;
    assert!(bench.order().is_none());
    bench.read(1)?;
    assert_eq!(bench.order().unwrap().reason, FlushReason::Count);
    // While the lake is slow, batches grow: fewer, larger commits.
    bench.read(150)?;
    bench.read(150)?;
    bench.work(Fault::None)?;
    assert_eq!(bench.order().unwrap().batch.changes, 300);
    Ok(())
}

#[test]
fn a_batch_is_sealed_before_it_passes_its_bytes() -> Result<()> {
    let limits = Limits {
        batch_limit_bytes: 100,
        ..limits()
    };
    let mut bench = Bench::watching(&limits)?;
    bench.read(11)?;
    assert!(bench.order().is_none(), "99 of 100 bytes");
    bench.read(1)?;
    let order = bench.order().unwrap();
    assert_eq!(
        (order.reason, order.batch.changes),
        (FlushReason::Bytes, 11)
    );
    bench.settle()?;
    assert_eq!(bench.master.feed.buffered_changes(), 1);
    Ok(())
}

#[test]
fn a_batch_may_be_as_long_as_its_bytes() -> Result<()> {
    let limits = Limits {
        batch_limit_bytes: 99,
        ..limits()
    };
    let mut bench = Bench::watching(&limits)?;
    bench.read(10)?;
    assert!(bench.order().is_none(), "90 of 99 bytes");
    bench.read(1)?;
    let order = bench.order().unwrap();
    assert_eq!(
        (order.reason, order.batch.changes),
        (FlushReason::Bytes, 11)
    );
    Ok(())
}

#[test]
fn an_hour_is_flushed_when_a_newer_one_begins() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    bench.read(2)?;
    bench.happen(2, 3600);
    bench.deliver()?;
    let order = bench.order().unwrap();
    assert_eq!((order.reason, order.batch.changes), (FlushReason::Hour, 2));
    bench.settle()?;
    assert_eq!(bench.master.feed.buffered_changes(), 2);
    assert_eq!(bench.file_names(), ["2024-01-15-13.ndjson"]);
    Ok(())
}

#[test]
fn an_hour_is_flushed_when_the_wall_clock_says_that_it_is_over() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    bench.read(2)?;
    let end_ms = u64::try_from(1_705_327_200_000 - bench.world.now.unix_ms)?;
    assert_eq!(bench.wake_in_ms(), Some(end_ms));
    bench.pass(end_ms - 1)?;
    assert!(bench.order().is_none());
    bench.pass(1)?;
    assert_eq!(bench.order().unwrap().reason, FlushReason::Hour);
    // No tick is wanted for the next hour's end while the lake is busy.
    bench.read(1)?;
    bench.pass(3_600_000)?;
    assert_eq!(bench.wake_in_ms(), None);
    bench.settle()?;
    bench.check_complete()
}

#[test]
fn a_past_hour_is_given_a_moment() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    bench.world.pass(8_000_000, 0);
    for _ in 0..9 {
        bench.read(2)?;
        bench.pass(100)?;
        assert!(
            bench.order().is_none(),
            "catching up must not commit change by change"
        );
    }
    assert_eq!(bench.wake_in_ms(), Some(100));
    bench.wake()?;
    let order = bench.order().unwrap();
    assert_eq!((order.reason, order.batch.changes), (FlushReason::Hour, 18));
    Ok(())
}

/// Commits one batch of so many changes, and tells the file's name.
fn flush(bench: &mut Bench, changes: usize) -> Result<String> {
    bench.read(changes)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    let name = bench.order().context("no commit")?.name.to_string();
    bench.settle()?;
    bench.check_complete()?;
    Ok(name)
}

#[test]
fn a_full_file_goes_on_in_the_next_part() -> Result<()> {
    let limits = Limits {
        file_limit_bytes: 1000,
        ..limits()
    };
    let mut bench = Bench::watching(&limits)?;
    let mut names = Vec::new();
    for _ in 0..12 {
        names.push(flush(&mut bench, 10)?);
    }
    names.dedup();
    assert_eq!(names.len(), 6);
    assert_eq!(names[0], "2024-01-15-13.ndjson");
    assert_eq!(names[5], "2024-01-15-13.part6.ndjson");
    assert!(
        bench
            .world
            .lake
            .files
            .values()
            .all(|file| file.commits == 2)
    );
    // A new hour begins with its first part.
    bench.happen(1, 3600);
    assert_eq!(flush(&mut bench, 0)?, "2024-01-15-14.ndjson");
    Ok(())
}

#[test]
fn the_file_alone_decides_whether_it_is_full() -> Result<()> {
    let limits = Limits {
        file_limit_bytes: 1000,
        ..limits()
    };
    for first in [1, 20, 27, 28, 40] {
        let names = [1, 20, 55].map(|second| {
            let mut bench = Bench::watching(&limits)?;
            flush(&mut bench, first)?;
            flush(&mut bench, second)
        });
        let names: Vec<String> = names.into_iter().collect::<Result<_>>()?;
        assert!(
            names.iter().all(|name| *name == names[0]),
            "{first}: {names:?}"
        );
    }
    Ok(())
}

#[test]
fn a_file_with_enough_commits_goes_on_in_the_next_part() -> Result<()> {
    let limits = Limits {
        file_limit_commits: 3,
        ..limits()
    };
    let mut bench = Bench::watching(&limits)?;
    for _ in 0..7 {
        flush(&mut bench, 1)?;
    }
    let commits = bench.world.lake.files.values().map(|file| file.commits);
    assert_eq!(commits.collect::<Vec<_>>(), [3, 3, 1]);
    Ok(())
}

#[test]
fn a_file_of_another_format_is_left_for_the_next_part() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    flush(&mut bench, 2)?;
    bench.config.format.output = OutputFormat::Json;
    bench.restart()?;
    bench.settle()?;
    assert_eq!(flush(&mut bench, 2)?, "2024-01-15-13.part2.json");
    assert_eq!(flush(&mut bench, 2)?, "2024-01-15-13.part2.json");
    bench.happen(1, 3600);
    assert_eq!(flush(&mut bench, 0)?, "2024-01-15-14.json");
    Ok(())
}

#[test]
fn a_failed_flush_is_looked_up_and_tried_on_for_ever() -> Result<()> {
    for archived in [0, 3] {
        let mut bench = Bench::watching(&limits())?;
        if archived > 0 {
            flush(&mut bench, archived)?;
        }
        bench.read(4)?;
        bench.give(Input::Flush(FlushReason::Cron))?;
        for failures in 1..=10 {
            bench.work(Fault::Refused)?;
            assert!(bench.wake_in_ms().unwrap() <= 60_000);
            assert_eq!(bench.master.feed.trouble().unwrap().failures, failures);
            bench.wake()?;
            assert_eq!(
                bench.pending(),
                ["Inspect"],
                "an unknown outcome is looked up"
            );
            assert!(bench.master.feed.is_committing());
            bench.work(Fault::None)?;
            assert_eq!(bench.order().unwrap().batch.changes, 4);
        }
        check_report(&bench.said())?;
        bench.settle()?;
        assert!(!bench.master.feed.is_committing());
        assert!(has_said(&bench.said(), |notice| matches!(
            notice,
            Notice::Recovered(_)
        )));
        bench.check_complete()?;
    }
    Ok(())
}

/// A flush of four changes that fails on and on is reported once, after as many tries as was wished.
fn check_report(notices: &[Notice]) -> Result<()> {
    let failing = notices
        .iter()
        .filter(|notice| matches!(notice, Notice::FlushFailing { .. }));
    assert_eq!(failing.count(), 1);
    let report = notices
        .iter()
        .position(|notice| matches!(notice, Notice::FlushFailing { changes: 4, .. }));
    let tries = notices[..report.unwrap()].iter();
    let tries = tries
        .filter(|notice| matches!(notice, Notice::Retrying { .. }))
        .count();
    assert_eq!(u32::try_from(tries)?, limits().retry_attempts);
    Ok(())
}

#[test]
fn a_lakes_wish_for_a_delay_is_honoured() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    bench.read(1)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.work(Fault::Throttled)?;
    assert_eq!(bench.wake_in_ms(), Some(90_000));
    bench.wake()?;
    bench.settle()?;
    bench.check_complete()
}

#[test]
fn an_answer_that_was_lost_is_found() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    bench.read(2)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.work(Fault::Unheard)?;
    bench.wake()?;
    bench.work(Fault::None)?;
    assert!(has_said(&bench.said(), |notice| matches!(
        notice,
        Notice::CommitConfirmed(_)
    )));
    assert!(bench.order().is_none());
    bench.settle()?;
    bench.check_complete()
}

#[test]
fn a_commit_that_lands_beside_its_repetition_counts_once() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    bench.read(2)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.work(Fault::Late)?;
    bench.wake()?;
    bench.work(Fault::None)?;
    assert!(bench.order().is_some(), "the lake is as it was: again");
    let late = bench.world.late.remove(0);
    bench.world.land(late);
    bench.settle()?;
    bench.wake()?;
    bench.settle()?;
    assert!(has_said(&bench.said(), |notice| matches!(
        notice,
        Notice::CommitConfirmed(_)
    )));
    bench.check_complete()
}

#[test]
fn a_stale_view_that_proves_fresh_is_not_tried_without_a_pause() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    bench.read(2)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.work(Fault::Stale)?;
    assert_eq!(bench.pending(), ["Inspect"], "at once the first time");
    bench.work(Fault::None)?;
    bench.work(Fault::Stale)?;
    assert!(bench.pending().is_empty() && bench.wake_in_ms().unwrap() >= 750);
    bench.wake()?;
    bench.settle()?;
    bench.check_complete()
}

#[test]
fn a_forbidden_lake_is_tried_again_every_minute_and_keeps_the_changes() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    bench.world.lake.is_forbidden = true;
    bench.read(2)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    for _ in 0..5 {
        bench.settle()?;
        assert!(bench.master.feed.trouble().unwrap().is_halt);
        assert_eq!(bench.wake_in_ms(), Some(60_000));
        bench.read(1)?;
        bench.wake()?;
    }
    let notices = bench.said();
    let halts = notices
        .iter()
        .filter(|notice| matches!(notice, Notice::Halted(_)));
    assert_eq!(halts.count(), 1, "it is said once");
    assert_eq!(bench.master.feed.buffered_changes(), 7);
    bench.world.lake.is_forbidden = false;
    bench.settle()?;
    bench.master.drain(&bench.world)?;
    bench.settle()?;
    bench.check_complete()
}

#[test]
fn a_drain_tries_at_once_what_waits() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    bench.read(2)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.work(Fault::Throttled)?;
    bench.read(1)?;
    bench.master.drain(&bench.world)?;
    assert_eq!(bench.pending(), ["Inspect"]);
    bench.settle()?;
    assert!(bench.master.is_finished());
    bench.check_complete()
}
