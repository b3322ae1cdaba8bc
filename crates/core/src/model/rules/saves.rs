//! Saves: when, and what after a failure.

use super::*;
use crate::batch::FlushReason;

#[test]
fn an_idle_position_is_saved_at_a_bounded_rate() -> Result<()> {
    let limits = limits();
    let mut bench = Bench::watching(&limits)?;
    bench.read(1)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.settle()?;
    let mut saves = 0;
    for _ in 0..100 {
        bench.idle()?;
        bench.pass(limits.idle_checkpoint_ms / 10)?;
        saves += usize::from(bench.save().is_some());
        bench.settle()?;
    }
    assert_eq!(saves, 10);
    assert_eq!(bench.wake_in_ms(), None, "all is saved");
    bench.idle()?;
    assert_eq!(bench.wake_in_ms(), Some(limits.idle_checkpoint_ms));
    Ok(())
}

#[test]
fn an_idle_position_waits_for_what_is_open_or_under_way() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    bench.read(2)?;
    bench.idle()?;
    bench.pass(300_000)?;
    assert!(bench.save().is_none(), "two changes are open");
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.idle()?;
    bench.pass(300_000)?;
    assert!(bench.save().is_none(), "two changes are under way");
    bench.work(Fault::Late)?;
    bench.idle()?;
    assert!(bench.save().is_none(), "nobody knows where two changes are");
    bench.wake()?;
    bench.settle()?;
    let looked = bench.world.last_idle_place();
    assert_eq!(bench.world.stored_place(), Some(looked));
    Ok(())
}

#[test]
fn an_idle_position_is_saved_at_drain() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    bench.read(2)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.settle()?;
    bench.idle()?;
    assert!(bench.save().is_none());
    bench.master.drain(&bench.world)?;
    assert!(bench.save().is_some() && !bench.master.is_finished());
    bench.work_save(Fault::Refused)?;
    assert!(!bench.master.is_finished());
    bench.wake()?;
    bench.settle()?;
    assert!(bench.master.is_finished());
    assert_eq!(
        bench.world.stored_place(),
        Some(bench.world.last_idle_place())
    );
    Ok(())
}

#[test]
fn an_idle_position_within_the_overlap_is_saved_with_the_tail_after_it() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    bench.read(3)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.work(Fault::None)?;
    bench.restart()?;
    bench.settle()?;
    bench.master.deliver(&bench.world, 1)?;
    bench.idle()?;
    bench.pass(300_000)?;
    let save = bench.save().unwrap();
    assert_eq!(bench.world.source.place(&save.position).changes, 1);
    assert!(save.collections[0].is_after_position, "{save:?}");
    bench.settle()?;
    bench.restart()?;
    bench.settle()?;
    bench.deliver()?;
    assert!(bench.said().contains(&Notice::OverlapPassed { skipped: 2 }));
    bench.settle()?;
    bench.check_complete()
}

#[test]
fn a_save_of_unknown_outcome_is_repeated_as_it_was() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    bench.read(1)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.work(Fault::None)?;
    let unsure = bench.save().unwrap().clone();
    bench.work_save(Fault::Unheard)?;
    bench.read(1)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.work(Fault::None)?;
    assert!(
        bench.save().is_none(),
        "the backoff counts for newer positions, too"
    );
    bench.wake()?;
    assert_eq!(bench.save(), Some(&unsure));
    bench.work_save(Fault::None)?;
    assert_ne!(bench.save(), Some(&unsure), "and then the newer one");
    bench.settle()?;
    bench.check_complete()
}

#[test]
fn a_conflict_leads_back_to_the_checkpoint() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    bench.read(1)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.work(Fault::None)?;
    bench.read(3)?;
    bench.work_save(Fault::Stale)?;
    assert_eq!(
        bench.master.feed.buffered_bytes(),
        0,
        "it will be read once more"
    );
    assert!(bench.master.cursor.is_none() && !bench.master.feed.is_watching());
    assert!(
        bench.wake_in_ms().unwrap() >= 750,
        "two writers must not fight without a pause"
    );
    bench.wake()?;
    bench.settle()?;
    assert!(bench.said().contains(&Notice::OverlapFound));
    bench.deliver()?;
    bench.master.drain(&bench.world)?;
    bench.settle()?;
    bench.check_complete()
}

#[test]
fn a_store_that_forbids_saves_stops_nothing_but_the_end() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    bench.read(1)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.work(Fault::None)?;
    bench.work_save(Fault::Halted)?;
    assert!(bench.master.feed.trouble().unwrap().is_halt);
    assert_eq!(bench.wake_in_ms(), Some(60_000));
    bench.read(2)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.work(Fault::None)?;
    bench.master.drain(&bench.world)?;
    assert!(bench.save().is_some(), "a drain tries at once");
    assert!(!bench.master.is_finished());
    bench.settle()?;
    assert!(bench.master.is_finished());
    bench.check_complete()
}
