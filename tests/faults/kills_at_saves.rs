//! SIGKILL right before and right after a save of the checkpoint in MongoDB.

use std::time::Duration;

use bson::{Document, doc};

use crate::harness::fail_point::{FailPoint, Strikes};
use crate::harness::ledger::Load;
use crate::harness::rounds::rounds;
use crate::harness::scene::Scene;
use crate::harness::servers::Server;
use crate::harness::silt::{Silt, WAIT_LIMIT};

/// `InterruptedAtShutdown`: the save is lost.
const LOST: Option<i32> = Some(11600);
/// The save lands when its sender is dead.
const LANDS: Option<i32> = None;

/// When a kill strikes.
#[derive(Clone, Copy, Debug)]
enum Strike {
    /// The server has the command and hasn't done it; then it is lost, or lands.
    Before(Option<i32>),
    /// The server has done it.
    After,
}

const STRIKES: [Strike; 3] = [Strike::Before(LOST), Strike::Before(LANDS), Strike::After];

/// Waits for the moment. A save is an `insert` at first, then an `update`.
async fn await_moment(
    strike: Strike,
    scene: &Scene,
    command: &str,
    delay_ms: u32,
    silt: &mut Option<Silt>,
) {
    let start = || Silt::start(&scene.settings);
    match strike {
        Strike::Before(code) => {
            let delay = delay(scene, delay_ms, code);
            let once = Strikes::Times(1);
            let save = FailPoint::arm(&scene.client, "silt", &[command], once, &delay).await;
            silt.get_or_insert_with(start);
            save.struck(1).await;
        }
        Strike::After => {
            let mut saves = scene.checkpoints().watch().await.unwrap();
            silt.get_or_insert_with(start);
            let saved = async { while saves.next_if_any().await.unwrap().is_none() {} };
            tokio::time::timeout(WAIT_LIMIT, saved).await.unwrap();
        }
    }
}

/// The save waits. Then it is done, or it fails with this code; its sender may be gone by then.
fn delay(scene: &Scene, delay_ms: u32, code: Option<i32>) -> Document {
    let mut failure = doc! {
        "namespace": scene.checkpoints().namespace().to_string(),
        "blockConnection": true,
        "blockTimeMS": delay_ms,
    };
    if let Some(code) = code {
        failure.insert("errorCode", code);
    }
    failure
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_around_a_save_in_mongodb_lose_nothing() {
    let mongod = Server::mongod();
    for round in rounds("SIGKILL at saves in MongoDB", 2, 20) {
        let mut random = round.random();
        let scene = Scene::on(&mongod.uri()).await.with("BATCH_SIZE", "3");
        let mut silt = Some(Silt::watching(&scene.settings, &["users"]));
        let load = Load::begin(&scene, Duration::ZERO).await;
        let mut strikes = STRIKES.repeat(2);
        random.shuffle(&mut strikes);
        for strike in strikes {
            await_moment(strike, &scene, "update", random.u32(1..600), &mut silt).await;
            silt.take().unwrap().kill();
            scene.archived_anywhere("users").await;
            silt = Some(Silt::watching(&scene.settings, &["users"]));
        }
        load.end().await.verify(&scene, silt.unwrap()).await;
    }
}

/// A feed's first save anchors its start: what happens from then on is archived.
#[tokio::test(flavor = "multi_thread")]
async fn kills_around_a_feeds_first_save_in_mongodb_do_not_move_its_start() {
    let mongod = Server::mongod();
    for round in rounds("SIGKILL at first saves in MongoDB", 3, 30) {
        let strike = STRIKES[round.number as usize % STRIKES.len()];
        let scene = Scene::on(&mongod.uri()).await.with("BATCH_SIZE", "3");
        let mut silt = None;
        let delay_ms = round.random().u32(1..600);
        await_moment(strike, &scene, "insert", delay_ms, &mut silt).await;
        silt.take().unwrap().kill();
        let start = || Silt::watching(&scene.settings, &["users"]);
        let early = matches!(strike, Strike::Before(_)).then(start);
        let load = Load::begin(&scene, Duration::ZERO).await;
        load.wait_for_more(10).await;
        let mut silt = early.unwrap_or_else(start);
        load.wait_until_followed(&scene, &mut silt).await;
        load.end().await.verify(&scene, silt).await;
    }
}
