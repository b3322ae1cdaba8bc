//! The checkpoint store is away, slow, or acts without an answer: the checkpoint is never ahead of the
//! lake and never goes back, and nothing is lost or doubled.

use std::time::Duration;

use bson::{Document, doc};
use fastrand::Rng;
use serde_json::Value;
use silt::lake::Lake as _;

use crate::harness::checkpoint_watch::CheckpointWatch;
use crate::harness::fail_point::{FailPoint, Strikes};
use crate::harness::lake_view::{CHECKPOINTS, Exchange};
use crate::harness::ledger::Load;
use crate::harness::replica_set::QUICK;
use crate::harness::rounds::{Round, at_once, rounds};
use crate::harness::scene::Scene;
use crate::harness::servers::{Pool, Server};
use crate::harness::silt::{Signal, Silt};
use crate::harness::tcp_proxy::{Fault, TcpProxy, Trigger};
use crate::harness::{unique, variable};

/// Rounds at once.
const WIDTH: usize = 4;
/// Faults of one round, one after another.
const FAULTS: usize = 4;
/// silt's own limit in these rounds, a delay within it, and one that passes it.
const LIMIT_SECONDS: &str = "2";
const DELAY_MS: i32 = 500;
const TOO_LATE_MS: i32 = 2500;

const SAVES: [&str; 3] = ["insert", "update", "find"];

/// What happens to the store in MongoDB.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// The server refuses, once or several times.
    Refused,
    /// It acts, and can't say whether that will last.
    Unsure,
    /// It closes the connection before it acts.
    Closed,
    /// It acts late, perhaps when silt has given up.
    Late,
    /// It acts, and the answer is lost.
    AnswerLost(Fault),
    /// silt is killed meanwhile.
    Killed,
    /// A right is missing until a person grants it.
    Forbidden,
    /// The store is well, and the lake is away: nothing may be saved.
    LakeAway,
}

const TROUBLES: [Trouble; 9] = [
    Trouble::Refused,
    Trouble::AnswerLost(Fault::Reset),
    Trouble::LakeAway,
    Trouble::Late,
    Trouble::Unsure,
    Trouble::Killed,
    Trouble::AnswerLost(Fault::BlackHole),
    Trouble::Closed,
    Trouble::Forbidden,
];

#[test]
fn a_store_in_mongodb_that_fails_is_never_ahead_and_never_goes_back() {
    let servers = Pool::mongods(WIDTH);
    let rounds = rounds("checkpoints in MongoDB", 9, 200);
    at_once(rounds, WIDTH, async |round| {
        let server = servers.take();
        in_mongodb(&round, &server).await;
        servers.give_back(server);
    });
}

async fn in_mongodb(round: &Round, server: &Server) {
    let mut random = round.random();
    let proxy = TcpProxy::before(server.address()).await;
    let app_name = unique("silt");
    let uri = format!(
        "mongodb://{}/?directConnection=true&{QUICK}&appName={app_name}",
        proxy.address()
    );
    let scene = Scene::on(&server.uri())
        .await
        .with("MONGODB_URI", &uri)
        .with("MONGODB_TIMEOUT_SECONDS", LIMIT_SECONDS)
        .with("IDLE_CHECKPOINT_SECONDS", "1")
        .with("BATCH_SIZE", &random.u32(3..20).to_string());
    let watch = CheckpointWatch::of(&scene).await;
    if random.bool() {
        // The very first save has no revision to replace.
        proxy.arm_times(2, answer_to("insert"), Fault::Reset);
    }
    let silt = Silt::watching(&scene.settings, &["users"]);
    let load = Load::begin(&scene, Duration::from_millis(10)).await;
    let mut store = Store {
        app_name,
        proxy,
        scene: &scene,
        silt,
    };
    for number in 0..FAULTS {
        let trouble = TROUBLES[(round.number as usize * FAULTS + number) % TROUBLES.len()];
        store.suffers(trouble, &mut random).await;
        store.proxy.mend();
        load.wait_until_followed(&scene, &mut store.silt).await;
        assert_saves_were_known(&mut store.silt);
        watch.wait_for_more(2).await;
    }
    let silt = store.silt;
    let changes = load.end().await.verify(&scene, silt).await;
    watch.end(&scene, &changes).await;
}

/// The answer to a command to the checkpoint collection.
fn answer_to(command: &str) -> Trigger {
    // A string of BSON: its type, its key, its length, itself.
    let mut marker = vec![0x02];
    marker.extend_from_slice(command.as_bytes());
    marker.extend_from_slice(b"\0\x14\0\0\0change_stream_state\0");
    Trigger::AnswerTo(marker)
}

/// A store in MongoDB, and all that can happen to it.
struct Store<'a> {
    app_name: String,
    proxy: TcpProxy,
    scene: &'a Scene,
    silt: Silt,
}

impl Store<'_> {
    async fn suffers(&mut self, trouble: Trouble, random: &mut Rng) {
        match trouble {
            Trouble::Refused => {
                let codes = [6, 8, 50, 91, 189, 10107, 11600, 11602];
                let code = codes[random.usize(..codes.len())];
                self.fails_times(random, doc! { "errorCode": code }).await;
            }
            Trouble::Unsure => {
                let code = [64, 91, 11602][random.usize(..3)];
                let concern = doc! { "code": code, "errmsg": "who knows" };
                self.fails_times(random, doc! { "writeConcernError": concern })
                    .await;
            }
            Trouble::Closed => {
                self.fails_times(random, doc! { "closeConnection": true })
                    .await
            }
            Trouble::Late => {
                let delay_ms = [DELAY_MS, TOO_LATE_MS][random.usize(..2)];
                let late = doc! { "blockConnection": true, "blockTimeMS": delay_ms };
                self.fails_times(random, late).await;
            }
            Trouble::AnswerLost(fault) => {
                // The driver tries a second time by itself.
                let struck = self
                    .proxy
                    .arm_times(random.u32(1..4), answer_to("update"), fault);
                struck.wait().await;
            }
            Trouble::Killed => {
                let failing = self.arm(Strikes::Always, doc! { "errorCode": 8 }).await;
                failing.struck(random.i64(1..4)).await;
                // The next silt finds the lake ahead of the checkpoint.
                self.silt.restart(&self.scene.settings);
                failing.disarm().await;
                self.silt.wait_for("watching");
            }
            Trouble::Forbidden => {
                let failing = self.arm(Strikes::Always, doc! { "errorCode": 13 }).await;
                let line = self.silt.wait_where("halted", is_halt);
                let error = line["error"].as_str().unwrap();
                assert!(
                    error.contains("Grant readWrite on CHECKPOINT_DATABASE"),
                    "{error}"
                );
                failing.disarm().await;
                self.silt.signal(Signal::USR1);
            }
            Trouble::LakeAway => {
                let users = Exchange::of(self.scene, "users");
                self.silt.wait_for("flushed");
                users.swap();
                self.silt.wait_where("flushes fail", |line| {
                    line["message"]
                        .as_str()
                        .unwrap()
                        .starts_with("flushes fail")
                });
                users.swap();
            }
        }
    }

    async fn fails_times(&self, random: &mut Rng, failure: Document) {
        let times = random.i32(1..4);
        let failing = self.arm(Strikes::Times(times), failure).await;
        failing.struck(i64::from(times)).await;
    }

    async fn arm(&self, strikes: Strikes, failure: Document) -> FailPoint {
        FailPoint::arm(
            &self.scene.client,
            &self.app_name,
            &SAVES,
            strikes,
            &failure,
        )
        .await
    }
}

/// Nobody else writes the checkpoint, so a save without an answer is never taken for another's.
fn assert_saves_were_known(silt: &mut Silt) {
    silt.hear();
    let reloads = silt.count("reloading checkpoint and tail");
    assert_eq!(reloads, 0, "{}", silt.text());
}

fn is_halt(line: &Value) -> bool {
    line["message"].as_str().unwrap().starts_with("halted")
}

#[test]
fn a_store_in_a_local_lake_that_fails_is_never_ahead_and_never_goes_back() {
    at_once(
        rounds("checkpoints in a local lake", 4, 100),
        WIDTH,
        in_local_lake,
    );
}

async fn in_local_lake(round: Round) {
    let mut random = round.random();
    let scene = Scene::new()
        .await
        .with("CHECKPOINT_STORE", "lake")
        .with("IDLE_CHECKPOINT_SECONDS", "1")
        .with("BATCH_SIZE", &random.u32(3..20).to_string());
    let watch = CheckpointWatch::of(&scene).await;
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let load = Load::begin(&scene, Duration::from_millis(10)).await;
    for number in 0..FAULTS {
        silt.wait_for("flushed");
        let is_killed = number + 1 == FAULTS;
        let folder = [CHECKPOINTS, "users"][(number + round.number as usize) % 2];
        let folder = Exchange::of(&scene, folder);
        folder.swap();
        for _ in 0..random.u32(1..4) {
            silt.wait_for("failed, retrying");
        }
        if is_killed {
            silt.restart(&scene.settings);
        }
        folder.swap();
        load.wait_until_followed(&scene, &mut silt).await;
        assert_saves_were_known(&mut silt);
        watch.wait_for_more(2).await;
    }
    let changes = load.end().await.verify(&scene, silt).await;
    watch.end(&scene, &changes).await;
}

#[test]
fn a_store_in_azurite_whose_answers_are_lost_is_never_ahead_and_never_goes_back() {
    at_once(rounds("checkpoints in Azurite", 4, 100), WIDTH, in_azurite);
}

async fn in_azurite(round: Round) {
    let mut random = round.random();
    let azurite = variable("SILT_TEST_AZURITE");
    let (host, account) = azurite
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let proxy = TcpProxy::before(host.parse().unwrap()).await;
    let endpoint = format!("http://{}/{account}", proxy.address());
    let scene = Scene::new()
        .await
        .on_azurite()
        .with("AZURE_STORAGE_ENDPOINT", &endpoint)
        .with("CHECKPOINT_STORE", "lake")
        .with("LAKE_TIMEOUT_SECONDS", LIMIT_SECONDS)
        .with("BATCH_SIZE", &random.u32(5..20).to_string());
    scene.azurite().prepare().await.unwrap();
    let path = CHECKPOINTS.replace('/', "%2F");
    let path = format!("PUT /{account}/{}/{path}", scene.filesystem());
    // Slow, so that a save that came before its commit would be seen.
    proxy.delay(Duration::from_millis(10));
    let watch = CheckpointWatch::of(&scene).await;
    if random.bool() {
        proxy.arm(Trigger::AnswerTo(path.clone().into()), Fault::Reset);
    }
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let load = Load::begin(&scene, Duration::from_millis(10)).await;
    for number in 0..FAULTS {
        let fault =
            [Fault::Reset, Fault::Cut, Fault::BlackHole][(number + round.number as usize) % 3];
        let answer = Trigger::AnswerTo(path.clone().into());
        proxy
            .arm_times(random.u32(1..3), answer, fault)
            .wait()
            .await;
        load.wait_until_followed(&scene, &mut silt).await;
        assert_saves_were_known(&mut silt);
        watch.wait_for_more(2).await;
    }
    proxy.mend();
    let changes = load.end().await.verify(&scene, silt).await;
    watch.end(&scene, &changes).await;
}
