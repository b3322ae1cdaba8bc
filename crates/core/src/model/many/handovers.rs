//! Rules of a feed of many that takes over what other feeds carried.

use anyhow::{Result, ensure};

use super::super::plan::Plan;
use super::rules::{first_save, plan};
use super::run::config;
use super::world::World;
use crate::handover::Handover;
use crate::machine::{Action, Feed, Input, Notice, OnHistoryLost, StartAt, StartState};
use crate::position::{Checkpoint, ClusterTime, Departure, Position, Stored};

fn at(seconds: u32) -> ClusterTime {
    ClusterTime {
        seconds,
        increment: 1,
    }
}

fn handover(seconds: u32) -> Handover {
    Handover {
        at: at(seconds),
        from: "mydb.c1".to_owned(),
        watermarks: Vec::new(),
    }
}

/// What a feed without a checkpoint does that is to go on at 77.
fn begun(plan: &Plan, start_at: StartAt, oldest: Option<ClusterTime>) -> Vec<Action> {
    let mut config = config(plan, 1, "wide");
    config.start_at = start_at;
    let mut feed = Feed::new(config);
    let world = World::new();
    feed.handle(Input::Start, world.now);
    let found = StartState {
        handover: Some(handover(77)),
        oldest,
        ..StartState::default()
    };
    let mut actions = feed.handle(Input::Loaded(Ok(Box::new(found))), world.now);
    let clock = world.source.clock();
    actions.extend(feed.handle(Input::ClusterTime(Ok(clock)), world.now));
    actions
}

fn begins_at(actions: &[Action]) -> Option<&Position> {
    actions.iter().find_map(|action| match action {
        Action::Save { checkpoint, .. } => Some(&checkpoint.position),
        _ => None,
    })
}

#[test]
fn who_leaves_a_feed_of_many_is_kept_in_mind_until_he_is_back() -> Result<()> {
    let stored = |checkpoint, revision| StartState {
        stored: Some(Stored {
            checkpoint,
            revision,
            lake: None,
        }),
        ..StartState::default()
    };
    let mut first = first_save(
        &[],
        StartState {
            handover: Some(handover(50)),
            ..StartState::default()
        },
    )?;
    assert_eq!(first.departed, []);
    first.position = Position::At(at(70));
    first.read_until = Some(at(70));
    let left = first_save(&["c1"], stored(first, 1))?;
    let is_c1 = |departed: &Departure| departed.collection == "c1" && departed.until == at(70);
    ensure!(matches!(&left.departed[..], [c1] if is_c1(c1)), "{left:?}");
    let mut later = left.clone();
    later.position = Position::At(at(90));
    later.read_until = Some(at(90));
    let more = first_save(&["c1", "c2"], stored(later.clone(), 2))?;
    ensure!(is_c1(&more.departed[0]) && more.departed[1].until == at(90));
    let back = StartState {
        handover: Some(handover(70)),
        ..stored(later, 3)
    };
    let back = first_save(&[], back)?;
    assert_eq!(back.departed, []);
    assert_eq!(back.position, Position::At(at(70)), "what it left out");
    ensure!(back.refiltered_at.is_some(), "others may have had filters");
    Ok(())
}

#[test]
fn it_goes_on_where_the_earliest_feed_of_one_of_its_collections_stands() {
    let actions = begun(&plan(), StartAt::Now, None);
    assert_eq!(begins_at(&actions), Some(&Position::At(at(77))));
}

#[test]
fn a_start_that_is_set_counts_unless_the_oplog_has_lost_it() {
    for (set, oldest, expected) in [
        (70, None, 70),
        (70, Some(71), 77),
        (70, Some(70), 70),
        (90, None, 90),
        (90, Some(91), 90),
    ] {
        let actions = begun(&plan(), StartAt::Time(at(set)), oldest.map(at));
        let expected = Position::At(at(expected));
        assert_eq!(begins_at(&actions), Some(&expected), "{set}, {oldest:?}");
    }
}

#[test]
fn it_goes_ahead_only_where_the_oplog_has_lost_its_own_position() -> Result<()> {
    // What is lost ahead of it is told when the stream is opened.
    for (oldest, expected) in [(None, 10), (Some(10), 10), (Some(11), 77), (Some(78), 77)] {
        let stored = Stored {
            checkpoint: Checkpoint::new(Position::At(at(10)), "apart []"),
            revision: 1,
            lake: None,
        };
        let found = StartState {
            stored: Some(stored),
            handover: Some(handover(77)),
            oldest: oldest.map(at),
            ..StartState::default()
        };
        let saved = first_save(&[], found)?;
        assert_eq!(saved.position, Position::At(at(expected)), "{oldest:?}");
        ensure!(saved.refiltered_at.is_some());
    }
    Ok(())
}

#[test]
fn nobody_takes_it_back_to_what_the_oplog_has_lost() {
    for (on_history_lost, oldest, is_refused) in [
        (OnHistoryLost::Halt, 77, false),
        (OnHistoryLost::Halt, 78, true),
        // The gap goes on record.
        (OnHistoryLost::Restart, 78, false),
    ] {
        let plan = Plan {
            on_history_lost,
            ..plan()
        };
        let actions = begun(&plan, StartAt::Now, Some(at(oldest)));
        let says_how = |action: &Action| matches!(action, Action::Notify(None, Notice::Halted(why)) if why.contains("mydb.c1"));
        assert_eq!(actions.iter().any(says_how), is_refused, "{actions:?}");
        assert_eq!(begins_at(&actions).is_none(), is_refused, "{actions:?}");
    }
}
