//! Rules of a feed of many collections, where randomness rarely goes.

use anyhow::{Context as _, Result, ensure};

use super::super::master::Life;
use super::super::plan::{Fault, Plan};
use super::super::source::Happening;
use super::master::{Master, Pending};
use super::run::config;
use super::world::{World, is_of, namespace_of, namespaces_of};
use crate::batch::FlushReason;
use crate::gap::Record;
use crate::large_event::LargeEvent;
use crate::limits::Limits;
use crate::machine::{Action, Config, Feed, Input, LaneId, Notice, OnHistoryLost, StartState};
use crate::namespace::Namespace;
use crate::namespace::selection::{NameSet, Watched};
use crate::position::{Checkpoint, ClusterTime, Position, ResumeToken, Stored};

pub(super) fn plan() -> Plan {
    Plan {
        masters: 1,
        starts_now: false,
        on_history_lost: OnHistoryLost::Restart,
        tells_time: true,
        limits: Limits {
            batch_size_changes: 100,
            batch_limit_bytes: 10_000,
            file_limit_bytes: 100_000,
            file_limit_commits: 100,
            ..Limits::default()
        },
        ops: Vec::new(),
    }
}

/// One feed in a world where only what a test says happens.
pub(super) struct Bench {
    pub world: World,
    pub master: Master,
    config: Config,
}

impl Bench {
    pub fn watching() -> Result<Self> {
        Self::with(config(&plan(), 1, "wide"))
    }

    pub fn with(config: Config) -> Result<Self> {
        let mut world = World::new();
        let mut master = Master::new(config.clone(), &world);
        master.give(&world, Input::Start)?;
        master.settle(&mut world)?;
        ensure!(master.feed.is_watching());
        Ok(Self {
            world,
            master,
            config,
        })
    }

    pub fn restart(&mut self) -> Result<()> {
        self.config.seed += 1;
        self.master = Master::new(self.config.clone(), &self.world);
        self.master.give(&self.world, Input::Start)
    }

    /// Works until gaps are to be recorded, and says which.
    fn records(&mut self) -> Result<Vec<(Namespace, Record)>> {
        loop {
            if let [Pending::Record(records)] = self.master.pending.as_slice() {
                return Ok(records.clone());
            }
            self.work(|_| true, Fault::None)?;
        }
    }

    /// So many changes happen and are read.
    pub fn read(&mut self, changes: usize) -> Result<()> {
        self.happen(changes, false);
        self.master.deliver(&self.world, changes)
    }

    pub fn happen(&mut self, changes: usize, is_transaction: bool) {
        self.world.source.happen(Happening {
            changes,
            seconds_later: 0,
            is_transaction,
            ends_in_invalidate: false,
            line_len_bytes: 0,
        });
    }

    pub fn give(&mut self, input: Input) -> Result<()> {
        self.master.give(&self.world, input)
    }

    pub fn settle(&mut self) -> Result<()> {
        self.master.settle(&mut self.world)?;
        self.world.check()
    }

    pub fn pass(&mut self, ms: u64) -> Result<()> {
        self.world.now.monotonic_ms += ms;
        self.world.now.unix_ms += i64::try_from(ms)?;
        self.give(Input::Tick)
    }

    pub fn drain(&mut self) -> Result<()> {
        self.master.life = Life::Draining;
        self.give(Input::Drain)?;
        self.settle()
    }

    fn commits(&self) -> Vec<(String, FlushReason)> {
        let pending = self.master.pending.iter();
        let commits = pending.filter_map(|pending| match pending {
            Pending::Commit(_, namespace, order) => {
                Some((namespace.collection.clone(), order.reason))
            }
            _ => None,
        });
        commits.collect()
    }

    fn saves(&self) -> usize {
        let is_save = |pending: &&Pending| matches!(pending, Pending::Save(_));
        self.master.pending.iter().filter(is_save).count()
    }

    /// Ends the operation that this closure knows.
    pub fn work(&mut self, is_it: impl Fn(&Pending) -> bool, fault: Fault) -> Result<()> {
        let at = self.master.pending.iter().position(is_it);
        let at = at.context("no such operation")?;
        self.master.work(&mut self.world, at, fault)
    }

    fn has_said(&self, is_it: impl Fn(&Notice) -> bool) -> bool {
        self.master.notices.iter().any(is_it)
    }
}

#[test]
fn nothing_is_taken_of_a_collection_before_its_end_in_the_lake_is_known() -> Result<()> {
    let mut bench = Bench::watching()?;
    bench.read(20)?;
    ensure!(
        bench.master.feed.has_waiting_changes(),
        "nothing is known of them"
    );
    bench.give(Input::Flush(FlushReason::Cron))?;
    assert_eq!(bench.commits(), []);
    assert_eq!(bench.master.pending.len(), 4, "one look each, at once");
    bench.work(|_| true, Fault::Refused)?;
    while !bench.master.pending.is_empty() {
        bench.work(|_| true, Fault::None)?;
    }
    ensure!(
        bench.master.feed.has_waiting_changes(),
        "one of them failed"
    );
    bench.pass(1000)?;
    bench.settle()?;
    ensure!(!bench.master.feed.has_waiting_changes());
    let changes: usize = (0..20).map(|index| namespaces_of(index).count()).sum();
    assert_eq!(bench.master.feed.buffered_changes(), changes as u64);
    Ok(())
}

#[test]
fn a_flush_takes_all_collections_and_saves_once_when_all_are_in() -> Result<()> {
    let mut bench = Bench::watching()?;
    bench.read(20)?;
    bench.settle()?;
    bench.pass(10)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    assert_eq!(bench.commits().len(), 4);
    let is_commit = |pending: &Pending| matches!(pending, Pending::Commit(..));
    for left in (0..4).rev() {
        bench.work(is_commit, Fault::None)?;
        // The last but one is as good as the last: nothing more is to be won by waiting.
        assert_eq!(bench.saves(), usize::from(left <= 1), "{left} are left");
    }
    bench.settle()?;
    ensure!(bench.world.is_complete());
    Ok(())
}

#[test]
fn a_position_that_moves_on_under_many_commits_is_saved_every_second() -> Result<()> {
    let mut bench = Bench::watching()?;
    bench.read(20)?;
    bench.settle()?;
    bench.pass(10)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    // The collection of the first change: with its batch the position moves on.
    let first = namespace_of(0);
    let is_first = |pending: &Pending| matches!(pending, Pending::Commit(_, namespace, _) if *namespace == first);
    bench.work(is_first, Fault::None)?;
    assert_eq!(bench.saves(), 0);
    let in_ms = bench.master.feed.wake_at_ms(bench.world.now);
    let in_ms = in_ms.context("no alarm")? - bench.world.now.monotonic_ms;
    assert_eq!(in_ms, 990);
    bench.pass(in_ms)?;
    assert_eq!(bench.saves(), 1);
    Ok(())
}

#[test]
fn a_collection_with_few_changes_does_not_hold_the_position_for_long() -> Result<()> {
    let mut plan = plan();
    plan.limits.hold_limit_changes = 30;
    let mut bench = Bench::with(config(&plan, 1, "wide"))?;
    bench.read(31)?;
    bench.settle()?;
    assert_eq!(bench.commits(), []);
    bench.read(1)?;
    // Only the oldest is in the way.
    let oldest = namespace_of(0).collection;
    assert_eq!(bench.commits(), [(oldest, FlushReason::Position)]);
    bench.settle()
}

#[test]
fn one_collections_trouble_stops_no_other() -> Result<()> {
    let mut bench = Bench::watching()?;
    bench.read(20)?;
    bench.settle()?;
    bench.world.is_forbidden = true;
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.settle()?;
    let lakes: Vec<_> = bench
        .world
        .lakes
        .keys()
        .map(|namespace| &namespace.collection)
        .collect();
    assert_eq!(lakes, ["c0", "c2", "c3"]);
    let trouble = bench.master.feed.trouble().context("no trouble")?;
    ensure!(trouble.is_halt);
    bench.read(10)?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.settle()?;
    let c0 = bench.world.lakes.values().next().context("no c0")?;
    ensure!(c0.files.values().map(|file| file.commits).sum::<u32>() == 2);
    bench.world.is_forbidden = false;
    bench.pass(60_000)?;
    bench.settle()?;
    bench.drain()?;
    ensure!(bench.world.is_complete());
    Ok(())
}

#[test]
fn what_each_collection_holds_is_passed_over_after_a_crash() -> Result<()> {
    let mut bench = Bench::watching()?;
    bench.read(20)?;
    bench.settle()?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    // All are in, and nothing is saved.
    let is_commit = |pending: &Pending| matches!(pending, Pending::Commit(..));
    for _ in 0..4 {
        bench.work(is_commit, Fault::None)?;
    }
    bench.restart()?;
    bench.settle()?;
    bench.master.deliver(&bench.world, 20)?;
    bench.settle()?;
    ensure!(bench.has_said(|notice| matches!(notice, Notice::OverlapPassed { .. })));
    assert_eq!(
        bench.master.feed.buffered_changes(),
        0,
        "the lake has them all"
    );
    bench.drain()?;
    ensure!(bench.world.is_complete());
    Ok(())
}

#[test]
fn lost_history_is_told_to_every_collection_that_is_known() -> Result<()> {
    let mut bench = Bench::watching()?;
    bench.read(20)?;
    bench.settle()?;
    bench.give(Input::Flush(FlushReason::Cron))?;
    bench.settle()?;
    bench.restart()?;
    bench.world.source.happen(Happening {
        changes: 30,
        seconds_later: 10,
        is_transaction: false,
        ends_in_invalidate: false,
        line_len_bytes: 0,
    });
    bench.world.source.truncate(5, true);
    let records = bench.records()?;
    let told: Vec<_> = records
        .iter()
        .map(|(namespace, _)| namespace.collection.as_str())
        .collect();
    assert_eq!(told, ["", "c0", "c1", "c2", "c3"]);
    for (namespace, record) in &records {
        let Record::Lost(gap) = record else {
            anyhow::bail!("{record:?}");
        };
        let last = gap.last_change.as_ref().context("no last change")?;
        let position = Position::After(last.token.clone());
        let last = bench.world.source.place(&position).changes - 1;
        ensure!(namespace.collection.is_empty() || is_of(last, namespace));
    }
    bench.settle()?;
    bench.master.deliver(&bench.world, 100)?;
    bench.settle()?;
    bench.drain()?;
    ensure!(bench.world.is_complete(), "{}", bench.world.summary());
    Ok(())
}

#[test]
fn what_others_hold_behind_a_held_back_position_is_not_lost() -> Result<()> {
    let mut bench = Bench::watching()?;
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
    let ahead = stored.checkpoint.collections.iter();
    assert_eq!(
        ahead
            .filter(|watermark| watermark.is_after_position)
            .count(),
        3
    );
    // The oplog still holds the last ten of what the others have archived.
    bench.world.is_forbidden = false;
    bench.world.source.truncate(10, true);
    bench.restart()?;
    let records = bench.records()?;
    let told: Vec<_> = records
        .iter()
        .map(|(namespace, _)| &namespace.collection[..])
        .collect();
    assert_eq!(told, ["", "c1"], "the others have more than what was lost");
    bench.settle()?;
    bench.master.deliver(&bench.world, 100)?;
    bench.settle()?;
    bench.drain()?;
    ensure!(bench.world.is_complete(), "{}", bench.world.summary());
    let lost: Vec<_> = bench
        .world
        .lost
        .iter()
        .map(|(namespace, _)| namespace)
        .collect();
    assert!(
        lost.iter().all(|namespace| namespace.collection == "c1"),
        "{lost:?}"
    );
    Ok(())
}

/// What a feed of these collections saves first, having found a checkpoint of others.
pub(super) fn first_save(apart: &[&str], found: StartState) -> Result<Checkpoint> {
    let mut config = config(&plan(), 1, "wide");
    let Watched::Many { selection, .. } = &mut config.watched else {
        anyhow::bail!("one collection");
    };
    let namespace = |name: &&str| ("mydb".to_owned(), (*name).to_owned());
    selection.collections = NameSet::of_names(&["c0", "c1", "c2", "c3"]);
    selection.apart = apart.iter().map(namespace).collect();
    config.stream_hash = format!("apart {apart:?}");
    let mut feed = Feed::new(config);
    let world = World::new();
    feed.handle(Input::Start, world.now);
    feed.handle(Input::Loaded(Ok(Box::new(found))), world.now);
    let clock = world.source.clock();
    let actions = feed.handle(Input::ClusterTime(Ok(clock)), world.now);
    let save = actions.into_iter().find_map(|action| match action {
        Action::Save { checkpoint, .. } => Some(checkpoint),
        _ => None,
    });
    save.context("it isn't saved")
}

pub(super) fn large(namespace: &Namespace, seconds: u32) -> LargeEvent {
    LargeEvent {
        origin: namespace.clone(),
        token: ResumeToken::from_canonical(r#"{"_data":"82FF"}"#),
        cluster_time: ClusterTime {
            seconds,
            increment: 1,
        },
        operation_type: "update".to_owned(),
        document_key: Some(r#"{"_id":1}"#.to_owned()),
    }
}

#[test]
fn a_change_that_cannot_be_sent_is_recorded_before_it_is_passed() -> Result<()> {
    let namespace = Namespace::new("mydb", "c0");
    let mut feed = Feed::new(config(&plan(), 1, "wide"));
    let now = World::new().now;
    let event = large(&namespace, 90);
    let stored = Stored {
        checkpoint: crate::position::Checkpoint::new(
            Position::At(ClusterTime {
                seconds: 77,
                increment: 3,
            }),
            "wide",
        ),
        revision: 4,
        lake: None,
    };
    let found = StartState {
        stored: Some(stored),
        ..StartState::default()
    };
    feed.handle(Input::Start, now);
    feed.handle(Input::Loaded(Ok(Box::new(found))), now);
    let actions = feed.handle(Input::Opened(Ok(())), now);
    ensure!(feed.is_watching(), "{actions:?}");
    let actions = feed.handle(Input::TooLarge(event.clone()), now);
    let records = |actions: &[Action]| {
        let mut actions = actions.iter();
        actions.any(|action| matches!(action, Action::Record(records) if records.len() == 1))
    };
    ensure!(records(&actions), "{actions:?}");
    let refused = super::super::faults::failure(crate::failure::Disposition::RETRY);
    let actions = feed.handle(Input::Recorded(Err(refused)), now);
    ensure!(!records(&actions), "at once");
    let at_ms = feed.wake_at_ms(now).context("it isn't tried again")?;
    let later = crate::machine::Now {
        monotonic_ms: at_ms,
        ..now
    };
    ensure!(records(&feed.handle(Input::Tick, later)));
    let actions = feed.handle(Input::Recorded(Ok(())), later);
    let behind = Position::After(event.token.clone());
    let opens = |action: &Action| matches!(action, Action::Open(position) if *position == behind);
    ensure!(actions.iter().any(opens), "{actions:?}");
    let tells = |action: &Action| matches!(action, Action::Notify(None, Notice::LargeEventRecorded(passed)) if *passed == event);
    ensure!(actions.iter().any(tells), "{actions:?}");
    // Nothing was saved for long, so this is.
    let saves = |action: &Action| matches!(action, Action::Save { checkpoint, .. } if checkpoint.position == behind);
    ensure!(actions.iter().any(saves), "{actions:?}");
    assert_eq!(feed.namespace(LaneId(0)), None, "no change, no lane");
    Ok(())
}
