//! A checkpoint has a limit, however long its tokens and names are.

use anyhow::{Context as _, Result, ensure};

use super::rules::{Bench, first_save, large, plan};
use super::run::config;
use super::world::World;
use crate::batch::FlushReason;
use crate::limits::CHECKPOINT_LIMIT_BYTES;
use crate::machine::{Action, Feed, Input, StartState};
use crate::namespace::Namespace;
use crate::position::{
    Checkpoint, ClusterTime, LastChange, Position, ResumeToken, Stored, Watermark,
};

fn token(digits: usize) -> ResumeToken {
    ResumeToken::from_canonical(&format!(r#"{{"_data":"{}"}}"#, "8".repeat(digits)))
}

/// A checkpoint of so many collections, whose tokens have 200,000 digits.
fn stored(collections: u32, stream_hash: &str) -> StartState {
    let watermark = |number: u32| Watermark {
        database: "mydb".to_owned(),
        collection: format!("c{number}"),
        last_change: LastChange {
            token: token(200_000),
            cluster_time: ClusterTime {
                seconds: number,
                increment: 1,
            },
        },
        is_after_position: false,
    };
    let time = ClusterTime {
        seconds: 1000,
        increment: 1,
    };
    let mut checkpoint = Checkpoint::new(Position::At(time), stream_hash);
    checkpoint.collections = (0..collections).map(watermark).collect();
    StartState {
        stored: Some(Stored {
            checkpoint,
            revision: 1,
            lake: None,
        }),
        ..StartState::default()
    }
}

fn names(checkpoint: &Checkpoint) -> Vec<&str> {
    let watermarks = checkpoint.collections.iter();
    watermarks
        .map(|watermark| &watermark.collection[..])
        .collect()
}

#[test]
fn a_checkpoint_has_room_for_the_newest_ends() -> Result<()> {
    let saved = first_save(&[], stored(100, "another"))?;
    let newest: Vec<String> = (59..100).map(|number| format!("c{number}")).collect();
    assert_eq!(names(&saved), newest, "8 MiB hold 41 of them");
    Ok(())
}

/// The position is that of a change with an `_id` of 5 MB.
#[test]
fn the_position_takes_its_room_from_the_ends() -> Result<()> {
    let mut feed = Feed::new(config(&plan(), 1, "wide"));
    let now = World::new().now;
    let mut event = large(&Namespace::new("mydb", "c0"), 1090);
    event.token = token(10_500_000);
    feed.handle(Input::Start, now);
    feed.handle(Input::Loaded(Ok(Box::new(stored(41, "wide")))), now);
    feed.handle(Input::Opened(Ok(())), now);
    ensure!(feed.is_watching());
    feed.handle(Input::TooLarge(event.clone()), now);
    let actions = feed.handle(Input::Recorded(Ok(())), now);
    let saved = actions.into_iter().find_map(|action| match action {
        Action::Save { checkpoint, .. } => Some(checkpoint),
        _ => None,
    });
    let saved = saved.context("it isn't saved")?;
    assert_eq!(saved.position, Position::After(event.token));
    let len_bytes = serde_json::to_vec(&saved)?.len();
    assert!(len_bytes <= CHECKPOINT_LIMIT_BYTES, "{len_bytes}");
    let newest: Vec<String> = (15..41).map(|number| format!("c{number}")).collect();
    assert_eq!(names(&saved), newest, "5.2 MB hold 26 of them");
    Ok(())
}

/// One collection holds the position back. The others' ends after it aren't saved, and are found in the lake.
#[test]
fn of_many_collections_the_ends_after_the_position_are_not_saved() -> Result<()> {
    let mut plan = plan();
    for (watermarks_max, saved) in [(100, 4), (0, 1)] {
        plan.limits.watermarks_max = watermarks_max;
        let mut bench = Bench::with(config(&plan, 1, "wide"))?;
        bench.read(11)?;
        bench.settle()?;
        bench.give(Input::Flush(FlushReason::Cron))?;
        bench.settle()?;
        bench.world.is_forbidden = true;
        bench.read(40)?;
        bench.settle()?;
        bench.give(Input::Flush(FlushReason::Cron))?;
        bench.settle()?;
        bench.pass(3_600_000)?;
        bench.settle()?;
        let stored = bench.world.store.load().context("nothing is saved")?;
        assert_eq!(stored.checkpoint.collections.len(), saved);
        bench.world.is_forbidden = false;
        bench.restart()?;
        bench.settle()?;
        bench.master.deliver(&bench.world, 100)?;
        bench.settle()?;
        bench.drain()?;
        ensure!(bench.world.is_complete(), "{}", bench.world.summary());
    }
    Ok(())
}
