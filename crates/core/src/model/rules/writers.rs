//! Two writers on one collection: who is refused looks, and goes on behind the other.

use std::ops::Range;
use std::sync::Arc;

use super::*;
use crate::batch::{Batch, FlushReason};
use crate::file::hour_file::{Hour, HourFileName};
use crate::model::lake::FORMAT;

/// Another writer commits these changes to their hour's first file.
fn other_commits(bench: &mut Bench, indexes: Range<usize>) {
    let World { source, lake, .. } = &mut bench.world;
    let hour = Hour::of(source.time(indexes.start));
    let changes = source.read(indexes);
    let mut changes = changes.iter();
    let mut batch = Batch::begin(&changes.next().unwrap(), 0);
    changes.for_each(|change| batch.add(&change));
    let name = HourFileName {
        hour,
        part: 1,
        format: FORMAT,
    };
    let order = WriteOrder {
        base: lake.tail(source).filter(|tail| tail.file.name == name),
        name,
        batch: Arc::new(batch),
        reason: FlushReason::Cron,
    };
    lake.commit(source, &order).unwrap();
}

/// So many changes are read and on their way to the lake.
fn begin_commit(bench: &mut Bench, changes: usize) -> Result<()> {
    bench.read(changes)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    assert!(bench.order().is_some());
    Ok(())
}

/// A feed that has to go back starts again, and gets all that is left to the lake.
fn finish(mut bench: Bench) -> Result<()> {
    bench.wake()?;
    bench.settle()?;
    bench.deliver()?;
    bench.master.drain(&bench.world)?;
    bench.settle()?;
    bench.check_complete()
}

#[test]
fn another_writers_commit_leads_back_to_its_end() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    begin_commit(&mut bench, 3)?;
    other_commits(&mut bench, 0..2);
    bench.settle()?;
    assert!(has_said(&bench.said(), |notice| matches!(
        notice,
        Notice::Reloading(why) if why.contains("another writer has appended to 2024-01-15-13.ndjson")
    )));
    assert_eq!(bench.master.feed.buffered_changes(), 0);
    bench.wake()?;
    bench.settle()?;
    bench.deliver()?;
    assert!(bench.said().contains(&Notice::OverlapPassed { skipped: 2 }));
    bench.master.drain(&bench.world)?;
    bench.settle()?;
    bench.check_complete()
}

#[test]
fn another_writers_file_is_not_taken_for_the_one_that_was_there() -> Result<()> {
    // As long as the file that was there, but of the next hour.
    let mut bench = Bench::watching(&limits())?;
    begin_commit(&mut bench, 2)?;
    bench.settle()?;
    begin_commit(&mut bench, 2)?;
    bench.happen(2, 3600);
    other_commits(&mut bench, 2..4);
    other_commits(&mut bench, 4..6);
    bench.work(Fault::None)?;
    bench.work(Fault::None)?;
    assert!(has_said(&bench.said(), |notice| matches!(
        notice,
        Notice::Reloading(why) if why.contains("another writer has appended to 2024-01-15-14.ndjson")
    )));
    finish(bench)
}

#[test]
fn what_was_in_trouble_is_forgotten_with_a_stale_view() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    begin_commit(&mut bench, 2)?;
    bench.work(Fault::Refused)?;
    assert!(bench.master.feed.trouble().is_some());
    // Another writer does all there is to do.
    bench.happen(1, 0);
    other_commits(&mut bench, 0..2);
    other_commits(&mut bench, 2..3);
    bench.wake()?;
    bench.settle()?;
    assert!(bench.master.feed.trouble().is_none());
    finish(bench)
}

#[test]
fn a_drain_says_how_many_changes_it_leaves_to_another_writer() -> Result<()> {
    let mut bench = Bench::watching(&limits())?;
    begin_commit(&mut bench, 3)?;
    bench.read(4)?;
    other_commits(&mut bench, 0..2);
    bench.master.drain(&bench.world)?;
    bench.settle()?;
    assert!(bench.master.is_finished());
    assert_eq!(bench.master.feed.given_up_changes(), 7);
    bench.restart()?;
    bench.settle()?;
    bench.deliver()?;
    bench.master.drain(&bench.world)?;
    bench.settle()?;
    assert_eq!(bench.master.feed.given_up_changes(), 0);
    bench.check_complete()
}
