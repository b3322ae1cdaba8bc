//! Two silts on the same collections: no file is harmed, nothing is lost or doubled. Whoever is behind
//! is refused, steps back by itself, and says so.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::folder::{FolderWatch, Step};
use crate::harness::http::Kind;
use crate::harness::http_proxy::{Held, HttpProxy, Moment, Which};
use crate::harness::ledger::Load;
use crate::harness::rounds::{Round, at_once, rounds};
use crate::harness::scene::{Scene, insert, tokens};
use crate::harness::silt::{Settings, Signal, Silt, WAIT_LIMIT};
use crate::harness::variable;

const STEPS_BACK: &str = "reloading checkpoint and tail";
/// Times that a rival is frozen in one round.
const FREEZES: u32 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_at_once_lose_nothing_and_double_nothing() {
    for store in ["mongodb", "lake"] {
        let local = Scene::new().await.with("CHECKPOINT_STORE", store);
        let azurite = Scene::new()
            .await
            .on_azurite()
            .with("CHECKPOINT_STORE", store);
        for scene in [local, azurite] {
            let scene = scene.with("BATCH_SIZE", "3");
            let mut witness = scene.witness("users").await;
            let mut first = Silt::watching(&scene.settings, &["users"]);
            let mut second = Silt::watching(&scene.settings, &["users"]);
            insert(&scene.users(), 0..300).await;
            let expected = witness.tokens(300).await;
            scene.flush_until(&mut first, "users", 300).await;
            // Whoever was refused has stepped back by itself and says so.
            second.signal(Signal::USR1);
            second.wait_for("flushing all collections on SIGUSR1");
            let [first, second] = [first, second].map(stopped);
            assert!(
                first.count(STEPS_BACK) + second.count(STEPS_BACK) > 0,
                "{}",
                second.text()
            );
            assert_eq!(
                tokens(&scene.archived_anywhere("users").await),
                expected,
                "{store}"
            );
        }
    }
}

/// Stops one of two: it drains, or lets go what the other may have.
fn stopped(silt: Silt) -> Silt {
    silt.signal(Signal::TERM);
    let (code, silt) = silt.wait();
    assert!(code == 0 || code == 3, "{code}: {}", silt.text());
    silt
}

/// Two silts, of which one is frozen.
struct Rivals {
    scene: Scene,
    first: Silt,
    second: Option<Silt>,
    load: Load,
}

#[test]
fn a_frozen_silt_that_wakes_up_harms_nothing_in_azurite() {
    at_once(rounds("frozen, Azurite", 8, 80), 3, async |round| {
        let proxy = HttpProxy::new(&variable("SILT_TEST_AZURITE"));
        let scene = scene(&round).await.on_azurite();
        let settings = scene.settings_behind(&proxy);
        let mut random = round.random();
        let mut rivals = Rivals::begin(scene, &settings).await;
        let held = rivals.freeze_at_a_request(&proxy, &mut random);
        if random.bool() {
            // What was on its way lands before the other begins.
            held.release();
            assert!(rivals.second_goes_on().await);
        } else {
            assert!(rivals.second_goes_on().await);
            held.release();
        }
        rivals.first_wakes_up();
        rivals.first.wait_for(STEPS_BACK);
        rivals.are_right().await;
    });
}

#[test]
fn a_frozen_silt_that_wakes_up_harms_nothing_in_a_folder() {
    at_once(rounds("frozen, local lake", 8, 80), 3, async |round| {
        let scene = scene(&round).await;
        let settings = scene.settings.clone();
        let mut rivals = Rivals::begin(scene, &settings).await;
        rivals.freeze_at_a_step(&mut round.random());
        let is_behind = rivals.second_goes_on().await;
        rivals.first_wakes_up();
        if is_behind {
            rivals.first.wait_for(STEPS_BACK);
        }
        rivals.are_right().await;
    });
}

/// Both stores, one after the other.
async fn scene(round: &Round) -> Scene {
    let store = ["mongodb", "lake"][round.number as usize % 2];
    Scene::new()
        .await
        .with("CHECKPOINT_STORE", store)
        .with("BATCH_SIZE", "3")
}

/// Both are at work from the beginning, and one is frozen at any time.
#[test]
fn a_rival_that_is_frozen_at_any_time_harms_nothing() {
    at_once(rounds("frozen rivals", 4, 40), 4, async |round| {
        let scene = scene(&round).await;
        let scene = match round.number / 2 % 2 {
            0 => scene,
            _ => scene.on_azurite(),
        };
        let settings = scene.settings.clone();
        let mut rivals = Rivals::begin(scene, &settings).await;
        rivals.second();
        let mut random = round.random();
        for _ in 0..FREEZES {
            tokio::time::sleep(Duration::from_micros(random.u64(..500_000))).await;
            rivals.first.signal(Signal::STOP);
            rivals.second_goes_on().await;
            rivals.first_wakes_up();
        }
        if rivals.first.count(STEPS_BACK) == 0 {
            rivals.first.wait_for(STEPS_BACK);
        }
        rivals.are_right().await;
    });
}

impl Rivals {
    async fn begin(scene: Scene, first: &Settings) -> Self {
        let mut first = Silt::watching(first, &["users"]);
        let load = Load::begin(&scene, Duration::from_millis(2)).await;
        first.wait_for("flushed");
        Self {
            scene,
            first,
            second: None,
            load,
        }
    }

    /// Freezes the first while a request of its is held: before or after the server has acted.
    fn freeze_at_a_request(&mut self, proxy: &HttpProxy, random: &mut fastrand::Rng) -> Held {
        let mut kinds = vec![Kind::Block(1), Kind::Block(2), Kind::Commit];
        if self.scene.settings["CHECKPOINT_STORE"] == "lake" {
            kinds.extend([Kind::ReadCheckpoint, Kind::SaveCheckpoint]);
        }
        let kind = kinds[random.usize(..kinds.len())];
        let moment = [Moment::Before, Moment::After][random.usize(..2)];
        let held = proxy.hold(Which::next(kind), moment).reached();
        self.first.signal(Signal::STOP);
        held
    }

    /// Freezes the first at a step of a local commit or save.
    fn freeze_at_a_step(&mut self, random: &mut fastrand::Rng) {
        let mut folders = vec!["users"];
        if self.scene.settings["CHECKPOINT_STORE"] == "lake" {
            folders.push("_silt/checkpoints");
        }
        let folder = folders[random.usize(..folders.len())];
        let step = [Step::Created, Step::Written, Step::Published][random.usize(..3)];
        FolderWatch::new(&self.scene.lake(), folder).wait_for(step);
        self.first.signal(Signal::STOP);
    }

    fn second(&mut self) -> &mut Silt {
        let start = || Silt::watching(&self.scene.settings, &["users"]);
        self.second.get_or_insert_with(start)
    }

    /// The second goes on while the first is frozen. Returns whether it could add to the lake: a process
    /// that was frozen in the middle of a local commit has the folder's lock, and nobody can know
    /// whether it will go on. Then the other waits, and says so.
    async fn second_goes_on(&mut self) -> bool {
        let before = self.scene.archived_anywhere("users").await.len();
        let mut heard = self.second().log.len();
        let second = self.second.as_mut().unwrap();
        let begun = Instant::now();
        while begun.elapsed() < WAIT_LIMIT {
            if self.scene.archived_anywhere("users").await.len() > before {
                return true;
            }
            second.hear();
            if second.log[heard..].iter().any(is_locked_out) {
                return false;
            }
            heard = second.log.len();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the second does not go on; its log:\n{}", second.text());
    }

    /// Whatever it said before is past.
    fn first_wakes_up(&mut self) {
        self.first.skip();
        self.first.signal(Signal::CONT);
    }

    async fn are_right(self) {
        let Self {
            scene,
            first,
            second,
            load,
            ..
        } = self;
        let ledger = load.end().await;
        stopped(first);
        ledger.verify(&scene, second.unwrap()).await;
    }
}

fn is_locked_out(line: &Value) -> bool {
    let error = line["error"].as_str().unwrap_or_default();
    error.contains("users/.silt.lock is locked by another process")
}
