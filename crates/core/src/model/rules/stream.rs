//! The stream: errors, its end, time that runs back.

use super::*;
use crate::batch::FlushReason;
use crate::failure::Failure;

#[test]
fn a_stream_opens_again_behind_what_was_read() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    bench.read(3)?;
    bench.master.break_stream(&bench.world, Fault::Refused)?;
    assert!(!bench.master.feed.is_watching());
    assert!(bench.wake_in_ms().unwrap() >= 750);
    bench.wake()?;
    bench.settle()?;
    assert!(bench.master.feed.is_watching());
    bench.read(2)?;
    assert_eq!(bench.master.feed.buffered_changes(), 5, "nothing twice");
    assert!(has_said(&bench.said(), |notice| matches!(
        notice,
        Notice::Recovered(_)
    )));
    bench.master.drain(&bench.world)?;
    bench.settle()?;
    bench.check_complete()
}

#[test]
fn a_stream_that_opens_and_fails_again_waits_longer() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    let mut delays = Vec::new();
    for _ in 0..10 {
        bench.master.break_stream(&bench.world, Fault::Refused)?;
        delays.push(bench.wake_in_ms().unwrap());
        bench.wake()?;
        bench.settle()?;
    }
    assert!(
        delays[3] > 4 * delays[0] && delays[9] <= 60_000,
        "{delays:?}"
    );
    Ok(())
}

#[test]
fn behind_an_invalidate_the_stream_opens_at_once() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    bench.world.source.happen(Happening {
        changes: 2,
        seconds_later: 0,
        is_transaction: false,
        ends_in_invalidate: true,
        line_len_bytes: 0,
    });
    bench.happen(1, 0);
    bench.deliver()?;
    bench.deliver()?;
    assert_eq!(bench.pending(), ["Open"]);
    bench.settle()?;
    bench.deliver()?;
    bench.master.drain(&bench.world)?;
    bench.settle()?;
    bench.check_complete()
}

#[test]
fn time_that_runs_back_halts_and_what_is_held_is_kept() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    bench.happen(2, 7200);
    bench.deliver()?;
    bench.world.source.run_back(3600);
    bench.happen(1, 0);
    bench.master.may_halt = true;
    for _ in 0..3 {
        bench.deliver()?;
        let trouble = bench.master.feed.trouble().unwrap();
        assert!(trouble.is_halt && trouble.message.contains("cluster time ran back"));
        bench.settle()?;
        assert_eq!(
            bench.world.lake.changes().count(),
            2,
            "what came before is archived"
        );
        assert_eq!(bench.wake_in_ms(), Some(60_000));
        bench.wake()?;
        bench.settle()?;
    }
    let notices = bench.said();
    let halts = notices
        .iter()
        .filter(|notice| matches!(notice, Notice::Halted(_)));
    assert_eq!(halts.count(), 1, "it is said once: {notices:?}");
    Ok(())
}

#[test]
fn time_that_runs_back_behind_a_commit_under_way_halts() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    bench.happen(2, 7200);
    bench.deliver()?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.world.source.run_back(3600);
    bench.happen(1, 0);
    bench.master.may_halt = true;
    bench.deliver()?;
    let trouble = bench.master.feed.trouble().unwrap();
    assert!(trouble.is_halt && trouble.message.contains("cluster time ran back"));
    Ok(())
}

#[test]
fn a_halted_stream_archives_what_it_gave_and_tries_again() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    bench.read(2)?;
    bench.master.break_stream(&bench.world, Fault::Halted)?;
    assert_eq!(bench.order().unwrap().reason, FlushReason::Halt);
    bench.settle()?;
    bench.check_complete()?;
    assert!(bench.master.feed.trouble().unwrap().is_halt);
    assert_eq!(bench.wake_in_ms(), Some(60_000));
    bench.wake()?;
    bench.settle()?;
    bench.idle()?;
    assert!(bench.master.feed.trouble().is_none());
    Ok(())
}

#[test]
fn a_drained_feed_reads_no_more() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    bench.read(2)?;
    bench.master.drain(&bench.world)?;
    assert!(bench.master.cursor.is_none());
    bench.happen(1, 0);
    let changes = bench.world.source.read(2..3);
    bench.give(Input::Changes(changes))?;
    assert_eq!(bench.master.feed.buffered_changes(), 2);
    bench.settle()?;
    assert!(bench.master.is_finished());
    assert!(
        bench
            .master
            .feed
            .handle(Input::Tick, bench.world.now)
            .is_empty()
    );
    Ok(())
}

#[test]
fn a_process_that_cant_do_its_job_says_why() -> Result<()> {
    let mut bench = Bench::started(&limits())?;
    let failure = Failure {
        cause: "of_the_model",
        disposition: Disposition::Exit,
        message: "no such file system".to_owned(),
    };
    let actions = bench
        .master
        .feed
        .handle(Input::Loaded(Err(failure)), bench.world.now);
    assert!(matches!(
        &actions[..],
        [crate::machine::Action::Exit(reason)] if reason == "no such file system"
    ));
    Ok(())
}
