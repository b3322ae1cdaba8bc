//! Starting: checkpoint, tail, starting position.

use super::*;
use crate::position::Position;

#[test]
fn a_starting_position_is_saved_before_anything_is_read() -> Result<()> {
    let mut bench = Bench::with(config(1, &limits(), StartAt::Now, OnHistoryLost::Halt))?;
    bench.work(Fault::None)?;
    bench.work(Fault::None)?;
    assert_eq!(bench.pending(), ["AskClusterTime"]);
    let asked = bench.world.source.clock();
    bench.work(Fault::None)?;
    // The cluster's time is in the past already, and a start at a time is inclusive.
    let next = ClusterTime {
        increment: asked.increment + 1,
        ..asked
    };
    assert_eq!(bench.save().unwrap().position, Position::At(next));
    assert_eq!(bench.pending(), ["save"]);
    bench.work(Fault::Refused)?;
    assert_eq!(
        bench.pending(),
        [""; 0],
        "it goes on without its position saved"
    );
    assert!(!has_said(&bench.said(), |notice| matches!(
        notice,
        Notice::Watching(_)
    )));
    bench.wake()?;
    bench.settle()?;
    assert!(bench.master.feed.is_watching());
    bench.read(3)?;
    bench.master.drain(&bench.world)?;
    bench.settle()?;
    assert!(bench.master.is_finished());
    bench.check_complete()
}

#[test]
fn a_feed_starts_at_a_given_time() -> Result<()> {
    let mut bench = Bench::started(&limits())?;
    bench.happen(3, 0);
    let time = bench.world.source.time(1);
    bench.config.start_at = StartAt::Time(time);
    bench.restart()?;
    bench.settle()?;
    let notices = bench.said();
    let position = Position::At(time);
    assert!(notices.contains(&Notice::StartsAt {
        position: position.clone(),
        from_tail: false
    }));
    assert_eq!(
        bench.world.store.load().unwrap().checkpoint.position,
        position
    );
    bench.deliver()?;
    bench.give(Input::Drain)?;
    assert_eq!(bench.master.feed.buffered_changes(), 2);
    Ok(())
}

#[test]
fn without_a_checkpoint_the_lakes_tail_decides() -> Result<()> {
    for start_at in [
        StartAt::Now,
        StartAt::Time(ClusterTime {
            seconds: 1,
            increment: 0,
        }),
    ] {
        let mut bench = archived(4)?;
        bench.config.start_at = start_at;
        bench.happen(3, 0);
        bench.world.store.forget();
        bench.restart()?;
        bench.settle()?;
        let position = Position::After(bench.world.source.last_change(3).token);
        assert!(has_said(&bench.said(), |notice| *notice
            == Notice::StartsAt {
                position: position.clone(),
                from_tail: true
            }));
        bench.deliver()?;
        bench.master.drain(&bench.world)?;
        bench.settle()?;
        bench.check_complete()?;
    }
    Ok(())
}

#[test]
fn a_lake_ahead_of_its_checkpoint_is_passed_over() -> Result<()> {
    let mut bench = archived(2)?;
    bench.restart()?;
    bench.settle()?;
    bench.read(3)?;
    bench.give(Input::Flush(crate::batch::FlushReason::Cron))?;
    bench.work(Fault::None)?;
    assert_eq!(bench.pending(), ["save"], "the lake first");
    bench.restart()?;
    bench.settle()?;
    bench.happen(2, 0);
    bench.deliver()?;
    let notices = bench.said();
    assert!(notices.contains(&Notice::OverlapFound));
    assert!(notices.contains(&Notice::OverlapPassed { skipped: 3 }));
    assert_eq!(bench.master.feed.buffered_changes(), 2);
    bench.settle()?;
    assert_eq!(
        bench.world.stored_place().unwrap().changes,
        5,
        "what it found is saved"
    );
    bench.master.drain(&bench.world)?;
    bench.settle()?;
    bench.check_complete()
}

/// A lake with two hours, so many changes in each, and a feed that is drained.
fn archived(changes: usize) -> Result<Bench> {
    let mut bench = Bench::watching(&limits())?;
    bench.happen(changes / 2, 0);
    bench.happen(changes - changes / 2, 3600);
    bench.deliver()?;
    bench.master.drain(&bench.world)?;
    bench.settle()?;
    assert!(bench.master.is_finished());
    bench.check_complete()?;
    assert_eq!(bench.world.lake.files.len(), 2);
    Ok(bench)
}

#[test]
fn a_lake_behind_its_checkpoint_halts_until_the_files_are_back() -> Result<()> {
    let mut bench = archived(4)?;
    let newest = bench.world.lake.files.pop_last().unwrap();
    bench.restart()?;
    bench.master.may_halt = true;
    bench.settle()?;
    let trouble = bench.master.feed.trouble().unwrap().clone();
    assert!(
        trouble.is_halt
            && trouble
                .message
                .contains("the lake is older than its checkpoint")
    );
    let file = bench.file_names().pop().unwrap();
    assert!(trouble.message.contains(&file), "{}", trouble.message);
    assert_eq!(bench.wake_in_ms(), Some(60_000));
    bench.wake()?;
    bench.settle()?;
    let notices = bench.said();
    let halts = notices
        .iter()
        .filter(|notice| matches!(notice, Notice::Halted(_)));
    assert_eq!(halts.count(), 1, "it is said once");
    bench.world.lake.files.insert(newest.0, newest.1);
    bench.wake()?;
    bench.settle()?;
    assert!(bench.master.feed.trouble().is_none());
    assert!(has_said(&bench.said(), |notice| matches!(
        notice,
        Notice::Recovered(_)
    )));
    bench.read(2)?;
    bench.master.drain(&bench.world)?;
    bench.settle()?;
    bench.check_complete()
}

#[test]
fn a_lake_behind_within_one_cluster_time_is_found_in_the_stream() -> Result<()> {
    {
        let mut bench = Bench::watching(&limits())?;
        bench.world.source.happen(Happening {
            changes: 4,
            seconds_later: 0,
            is_transaction: true,
            ends_in_invalidate: false,
            line_len_bytes: 0,
        });
        bench.deliver()?;
        bench.master.drain(&bench.world)?;
        bench.settle()?;
        // A backup from the middle of a transaction: its end has the time of the last change.
        let whole = bench.world.lake.files.clone();
        let file = bench.world.lake.files.values_mut().next().unwrap();
        file.changes.truncate(2);
        bench.happen(3, 10);
        bench.restart()?;
        bench.master.may_halt = true;
        while bench.master.cursor.is_none() {
            ensure!(
                !bench.master.pending.is_empty(),
                "it doesn't open its stream"
            );
            bench.work(Fault::None)?;
        }
        bench.deliver()?;
        let trouble = bench.master.feed.trouble().unwrap();
        assert!(trouble.is_halt && trouble.message.contains("the lake is older"));
        assert!(bench.master.cursor.is_none(), "the stream is left alone");
        bench.pass(60_000)?;
        bench.settle()?;
        bench.deliver()?;
        assert_eq!(
            bench.master.feed.buffered_changes(),
            0,
            "nothing is read past a gap"
        );
        bench.world.lake.files = whole;
        bench.wake()?;
        bench.settle()?;
        bench.deliver()?;
        bench.settle()?;
        assert!(bench.master.feed.trouble().is_none());
        bench.master.drain(&bench.world)?;
        bench.settle()?;
        bench.check_complete()?;
    }
    Ok(())
}

#[test]
fn a_lake_whose_files_are_all_gone_is_gone_on_with() -> Result<()> {
    let mut bench = archived(4)?;
    bench.world.lake.clear();
    bench.restart()?;
    bench.settle()?;
    assert!(bench.master.feed.is_watching() && bench.master.feed.trouble().is_none());
    bench.read(2)?;
    bench.master.drain(&bench.world)?;
    bench.settle()?;
    assert!(bench.master.is_finished());
    assert_eq!(bench.world.lake.changes().collect::<Vec<_>>(), [4, 5]);
    Ok(())
}

#[test]
fn files_that_go_while_a_commit_fails_are_gone_on_without() -> Result<()> {
    let mut bench = archived(4)?;
    bench.restart()?;
    bench.settle()?;
    bench.read(2)?;
    bench.give(Input::Flush(crate::batch::FlushReason::Cron))?;
    bench.world.lake.clear();
    bench.work(Fault::None)?;
    bench.settle()?;
    assert!(has_said(&bench.said(), |notice| matches!(
        notice,
        Notice::Reloading(_)
    )));
    bench.wake()?;
    bench.settle()?;
    bench.deliver()?;
    bench.master.drain(&bench.world)?;
    bench.settle()?;
    assert_eq!(bench.world.lake.changes().collect::<Vec<_>>(), [4, 5]);
    Ok(())
}

#[test]
fn a_stream_of_other_options_is_opened_at_the_time_that_is_saved_first() -> Result<()> {
    let mut bench = archived(4)?;
    let stored = std::mem::replace(&mut bench.config.stream_hash, "other".to_owned());
    let time = bench.world.source.time(3);
    bench.restart()?;
    while bench.save().is_none() {
        assert!(
            bench.master.cursor.is_none(),
            "it reads before it has saved"
        );
        bench.work(Fault::None)?;
    }
    let checkpoint = bench.save().unwrap();
    assert_eq!(checkpoint.position, Position::At(time));
    assert_eq!(checkpoint.stream_hash, "other");
    bench.settle()?;
    let (current, at) = ("other".to_owned(), Some(time));
    let changed = Notice::StreamChanged {
        stored,
        current,
        at,
    };
    assert!(bench.said().contains(&changed));
    // It begins with a change that the lake holds, and passes over that.
    bench.read(2)?;
    assert!(bench.said().contains(&Notice::OverlapPassed { skipped: 1 }));
    assert_eq!(bench.master.feed.buffered_changes(), 2);
    bench.restart()?;
    bench.settle()?;
    assert!(!has_said(&bench.said(), |notice| matches!(
        notice,
        Notice::StreamChanged { .. }
    )));
    bench.deliver()?;
    bench.master.drain(&bench.world)?;
    bench.settle()?;
    bench.check_complete()
}

#[test]
fn a_feed_that_is_drained_before_it_has_begun_finishes() -> Result<()> {
    for steps in 0..5 {
        let mut bench = Bench::with(config(1, &limits(), StartAt::Now, OnHistoryLost::Halt))?;
        for _ in 0..steps {
            bench.work(Fault::None)?;
        }
        bench.master.drain(&bench.world)?;
        bench.settle()?;
        assert!(bench.master.is_finished(), "after {steps} steps");
    }
    Ok(())
}
