//! Lost history where somebody else is at work, be it the process before this one.

use super::history::{left_behind, lost};
use super::*;
use crate::batch::FlushReason;
use crate::model::plan::Fate;
use crate::position::Position;

/// A process whose commit is on its way is killed; the next one has gone on behind a gap when it lands.
fn overtaken() -> Result<Bench> {
    let mut bench = left_behind(OnHistoryLost::Restart)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.crash(Fate::Late)?;
    bench.settle()?;
    assert!(bench.master.feed.is_watching());
    assert_eq!(bench.gaps(), [bench.gap(1, 5)]);
    Ok(bench)
}

#[test]
fn what_lands_within_a_gap_is_gone_on_behind() -> Result<()> {
    for is_restarted in [false, true] {
        let mut bench = overtaken()?;
        bench.land_late();
        if is_restarted {
            bench.crash(Fate::Lost)?;
        }
        bench.check_holds(&[0, 1, 2, 5])?;
        let stored = bench.world.store.load().unwrap().checkpoint;
        assert_eq!(
            stored.collections[0].last_change,
            bench.world.source.last_change(5)
        );
        assert!(!has_said(&bench.said(), |notice| *notice == Notice::OverlapFound));
    }
    Ok(())
}

#[test]
fn what_lands_within_a_gap_is_known_though_nothing_new_comes() -> Result<()> {
    let mut bench = overtaken()?;
    let until = bench.world.source.time(5);
    bench.land_late();
    bench.crash(Fate::Lost)?;
    bench.settle()?;
    let stored = bench.world.store.load().unwrap().checkpoint;
    assert_eq!(stored.position, Position::At(until));
    assert_eq!(stored.restarted_at, Some(until));
    // So a further gap begins with the newest that there is.
    bench.happen(2, 60);
    bench.world.source.truncate(1, true);
    bench.check_holds(&[0, 1, 2, 7])?;
    assert_eq!(
        bench.gaps()[1].last_change,
        Some(bench.world.source.last_change(2))
    );
    Ok(())
}

#[test]
fn what_lands_within_a_gap_is_gone_on_behind_from_an_idle_position() -> Result<()> {
    for is_restarted in [false, true] {
        let mut bench = left_behind(OnHistoryLost::Restart)?;
        bench.world.source.truncate(0, true);
        bench.give(Input::Flush(FlushReason::Cron))?;
        bench.crash(Fate::Late)?;
        bench.settle()?;
        bench.idle()?;
        bench.pass(limits().idle_checkpoint_ms)?;
        bench.settle()?;
        let looked = bench.world.last_idle_place();
        assert_eq!(bench.world.stored_place(), Some(looked));
        bench.land_late();
        if is_restarted {
            bench.crash(Fate::Lost)?;
        }
        bench.see_through()?;
        bench.read(1)?;
        bench.check_holds(&[0, 1, 2, 6])?;
    }
    Ok(())
}

#[test]
fn what_lands_behind_a_gap_is_passed_over() -> Result<()> {
    let mut bench = lost(OnHistoryLost::Restart)?;
    bench.see_through()?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.work(Fault::None)?;
    assert_eq!(bench.pending(), ["save"]);
    bench.crash(Fate::Lost)?;
    bench.check_holds(&[0, 1, 2, 5])?;
    assert!(bench.said().contains(&Notice::OverlapPassed { skipped: 1 }));
    Ok(())
}

#[test]
fn a_record_never_shrinks_below_what_was_passed() -> Result<()> {
    let mut bench = left_behind(OnHistoryLost::Restart)?;
    bench.world.source.truncate(1, false);
    bench.deliver()?;
    bench.go_to_anchor()?;
    let from_now = bench.gaps();
    // Its anchor behind all six lands while the next process, who knows the oplog's beginning, is
    // on its way to the sixth.
    bench.crash(Fate::Late)?;
    bench.world.source.truncate(1, true);
    bench.go_to("put")?;
    bench.land_late();
    bench.check_holds(&[0, 1, 2])?;
    assert_eq!(bench.gaps(), from_now);
    Ok(())
}

#[test]
fn a_record_that_lands_late_is_taken_in() -> Result<()> {
    let mut bench = lost(OnHistoryLost::Restart)?;
    bench.go_to("put")?;
    bench.crash(Fate::Late)?;
    bench.go_to("put")?;
    bench.land_late();
    bench.work(Fault::None)?;
    assert_eq!(
        bench.pending(),
        ["Record"],
        "it is not the record that it looked at"
    );
    bench.check_holds(&[0, 1, 2, 5])?;
    assert_eq!(bench.gaps(), [bench.gap(2, 5)]);
    Ok(())
}
