//! Faults of the lake and of MongoDB while a snapshot is read.

use std::sync::Arc;

use bson::{Document, doc};
use mongodb::{Client, Collection};
use silt::lake::Lake;
use silt::snapshot::{Handle, State, Status};

use super::world::{World, until};
use crate::harness::asks::{get, status_when};
use crate::harness::fail_point::{FailPoint, Strikes};
use crate::harness::http::{Answer, Kind};
use crate::harness::http_proxy::{Fault, HttpProxy, Moment, Which};
use crate::harness::replica_set::ReplicaSet;
use crate::harness::rounds::{at_once, rounds};
use crate::harness::scene::{Scene, insert};
use crate::harness::servers::{Server, azurite_within};
use crate::harness::silt::Silt;
use crate::harness::{unique, variable};

const DOCUMENTS: i32 = 3_000;

/// A world whose lake is in Azurite and reached through a proxy.
async fn through_proxy(request_limit_ms: u64) -> (World, HttpProxy) {
    let proxy = HttpProxy::new(&variable("SILT_TEST_AZURITE"));
    let world = World::of(Scene::new().await.on_azurite()).await;
    let mut world = world.with_small_parts(20_000, 100_000);
    world.edges.lake = lake_through(&world, &proxy, request_limit_ms);
    world.insert(0..DOCUMENTS).await;
    (world, proxy)
}

fn lake_through(world: &World, proxy: &HttpProxy, request_limit_ms: u64) -> Arc<dyn Lake> {
    let filesystem = world.scene.filesystem();
    Arc::new(azurite_within(
        request_limit_ms,
        &proxy.endpoint(),
        filesystem,
        "",
    ))
}

async fn whole(world: &World, handle: &Handle) {
    world
        .until(handle, |status| status.state == State::Done)
        .await;
    let snapshot = world.snapshot().await;
    assert_eq!(snapshot.sorted_keys().len(), DOCUMENTS as usize);
}

/// Each kind of request that a snapshot sends fails now and then, in every way.
#[test]
fn every_document_is_archived_once_under_every_fault_of_azure() {
    let faults = [
        Fault::LoseReply,
        Fault::StallReply,
        Fault::Reset,
        Fault::Stall,
        Fault::Misreport(Answer::new(500, "InternalError")),
        Fault::Answer(Answer::new(503, "ServerBusy")),
        Fault::Answer(Answer::new(412, "ConditionNotMet")),
    ];
    let all = rounds("Azure fails a snapshot", faults.len() as u32, 140);
    at_once(all, 4, async |round| {
        let mut random = round.random();
        let fault = &faults[round.number as usize % faults.len()];
        let (world, proxy) = through_proxy(500).await;
        let kinds = [
            Kind::Commit,
            Kind::Commit,
            Kind::Block(1),
            Kind::List,
            Kind::OpenFile,
            Kind::ReadFile,
            Kind::PutFile,
        ];
        for kind in kinds {
            // Plan and manifest are the only small files.
            let nth = random.u32(1..if kind == Kind::PutFile { 3 } else { 8 });
            proxy.fail(Which::nth(kind, nth), fault.clone());
        }
        let handle = world.start();
        whole(&world, &handle).await;
        assert!(proxy.seen().iter().any(|seen| seen.is_hit), "{fault:?}");
    });
}

/// A commit that timed out is still in transit, and succeeds after the range has resumed.
#[test]
fn a_late_commit_duplicates_nothing() {
    at_once(
        rounds("a snapshot's commit lands late", 2, 40),
        2,
        async |round| {
            let (mut world, proxy) = through_proxy(300).await;
            world.settings.ranges = 1;
            let nth = round.random().u32(1..6);
            let late = proxy.hold(Which::nth(Kind::Commit, nth), Moment::Before);
            let handle = world.start();
            let held = late.reached();
            // The next commit was attempted: the range has checked the lake and found nothing.
            proxy.wait_until("the next commit", |seen| {
                seen.iter().filter(|seen| seen.kind == Kind::Commit).count() > nth as usize
            });
            held.release();
            whole(&world, &handle).await;
        },
    );
}

/// A plan whose write timed out is still in transit, and arrives after silt has written one. Meanwhile every other
/// attempt times out too, or is told that the plan exists.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_plan_begins_no_second_snapshot() {
    let exists = Fault::Answer(Answer::new(412, "ConditionNotMet"));
    for fault in [Fault::Stall, exists] {
        a_late_plan_arrives_after(fault).await;
    }
}

async fn a_late_plan_arrives_after(fault: Fault) {
    let (world, proxy) = through_proxy(300).await;
    proxy.fail(Which::every(Kind::PutFile), fault);
    let late = proxy.hold(Which::next(Kind::PutFile), Moment::Before);
    let handle = world.start();
    let held = late.reached();
    // A plan that is made after this has another name.
    let deployment = &world.edges.deployment;
    let begun = deployment.cluster_time().await.unwrap();
    let others: Collection<Document> = world.scene.database.collection("others");
    while deployment.cluster_time().await.unwrap().seconds == begun.seconds {
        let put = proxy.seen().iter().filter(|seen| seen.is_hit).count();
        proxy.wait_for_hits(put + 1);
        others.insert_one(doc! {}).await.unwrap();
    }
    proxy.mend();
    proxy.wait_until("a plan", |seen| {
        seen.iter()
            .any(|seen| seen.kind == Kind::PutFile && !seen.is_hit)
    });
    held.release();
    whole(&world, &handle).await;
}

/// Each command of a snapshot fails with every transient error of the server.
#[test]
fn every_document_is_archived_once_under_every_fault_of_mongod() {
    let codes = [6, 7, 43, 50, 89, 91, 189, 10107, 11600, 11602, 13435, 13436];
    // A server has one fail point, so the rounds run one at a time.
    let server = Server::mongod();
    at_once(rounds("mongod fails a snapshot", 6, 60), 1, async |round| {
        let mut random = round.random();
        let name = unique("snapshot");
        let uri = server.uri();
        let client = Client::with_uri_str(&uri).await.unwrap();
        let scene = Scene::on(&uri).await;
        let world = World::of(scene.with("MONGODB_URI", &format!("{uri}&appName={name}"))).await;
        let world = world.with_small_parts(20_000, 100_000);
        world.insert(0..DOCUMENTS).await;
        let failure = if round.number.is_multiple_of(3) {
            doc! { "closeConnection": true }
        } else {
            doc! { "errorCode": codes[random.usize(..codes.len())] }
        };
        let commands = ["find", "aggregate", "count", "listCollections", "ping"];
        let times = random.i32(1..10);
        let point =
            FailPoint::arm(&client, &name, &commands, Strikes::Times(times), &failure).await;
        let handle = world.start();
        point.struck(times.into()).await;
        whole(&world, &handle).await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_resumes_with_the_next_primary() {
    let set = ReplicaSet::start().await;
    let mut world = World::of(Scene::on(set.uri()).await).await;
    world = world.with_small_parts(20_000, 100_000);
    world.insert(0..DOCUMENTS).await;
    world.settings.rate_limit_bytes = Some(150_000);
    let handle = world.start();
    for _ in 0..2 {
        let statuses = handle.statuses();
        let before = statuses.borrow().get(&world.target.origin).cloned();
        let before = before.unwrap_or_default().progress.documents;
        world
            .until(&handle, |status| status.progress.documents > before)
            .await;
        let old = set.primary().await;
        set.step_down().await;
        set.next_primary(old).await;
    }
    whole(&world, &handle).await;
}

#[tokio::test]
async fn a_lake_that_denies_access_halts_and_says_how_to_fix_it() {
    let (world, proxy) = through_proxy(500).await;
    let refusal = Answer::new(403, "AuthorizationPermissionMismatch");
    proxy.fail(Which::every(Kind::Commit), Fault::Answer(refusal));
    let handle = world.start();
    let halted = world
        .until(&handle, |status| status.state == State::Halted)
        .await;
    assert!(
        halted
            .trouble
            .unwrap()
            .contains("Storage Blob Data Contributor")
    );
    proxy.mend();
    handle.send(world.target.clone());
    whole(&world, &handle).await;
}

/// Makes the server reject every read of `users`.
async fn unreadable(client: &Client, name: &str, database: &str) -> FailPoint {
    let failure = doc! { "errorCode": 50, "namespace": format!("{database}.users") };
    FailPoint::arm(client, name, &["find"], Strikes::Always, &failure).await
}

/// Before the snapshot begins, and while it is read.
#[tokio::test]
async fn a_failing_collection_says_why_and_does_not_block_the_others() {
    // A server has one fail point, so the rounds run one at a time.
    let server = Server::mongod();
    let uri = server.uri();
    let client = Client::with_uri_str(&uri).await.unwrap();
    for is_begun in [false, true] {
        let name = unique("snapshot");
        let scene = Scene::on(&uri).await;
        let world = World::of(scene.with("MONGODB_URI", &format!("{uri}&appName={name}"))).await;
        let mut world = world.with_small_parts(20_000, 100_000);
        world.settings.rate_limit_bytes = is_begun.then_some(200_000);
        world.insert(0..DOCUMENTS).await;
        let mut other = world.target.clone();
        other.origin.collection = "orders".to_owned();
        let database = world.scene.database.name();
        let (handle, point);
        if is_begun {
            handle = world.start();
            world
                .until(&handle, |status| status.progress.documents > 0)
                .await;
            point = unreadable(&client, &name, database).await;
        } else {
            point = unreadable(&client, &name, database).await;
            handle = world.start();
        }
        handle.send(other.clone());
        let is_well = |status: &Status| status.state == State::Done && status.trouble.is_none();
        until(&handle, &other.origin, is_well).await;
        let is_told = |status: &Status| status.state == State::Retrying && status.trouble.is_some();
        let trouble = world.until(&handle, is_told).await.trouble.unwrap();
        assert!(trouble.contains("50"), "{trouble}");
        point.disarm().await;
        world.until(&handle, is_well).await;
        whole(&world, &handle).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_stream_that_can_not_be_listed_is_reported_everywhere() {
    let server = Server::mongod();
    let name = unique("snapshot");
    let uri = server.uri();
    let client = Client::with_uri_str(&uri).await.unwrap();
    let mut scene = Scene::on(&uri).await;
    insert(&scene.users(), 0..3).await;
    for (setting, value) in [
        ("MONGODB_URI", &*format!("{uri}&appName={name}")),
        ("MONGODB_COLLECTIONS", "*"),
        ("STREAMS", "shared"),
        ("SNAPSHOT", "initial"),
        ("HTTP_ADDR", "127.0.0.1:0"),
        ("RETRY_ATTEMPTS", "1"),
    ] {
        scene.set(setting, value);
    }
    let failure = doc! { "errorCode": 50 };
    let commands = ["listCollections"];
    let point = FailPoint::arm(&client, &name, &commands, Strikes::Always, &failure).await;
    let mut silt = Silt::start(&scene.settings);
    let status = status_when(&mut silt, |status| {
        status["snapshots"][0]["trouble"].is_string()
    });
    let told = &status["snapshots"][0];
    let trouble = told["trouble"].as_str().unwrap();
    assert_eq!(
        (&told["collection"], &told["state"]),
        (&"*".into(), &"retrying".into())
    );
    assert!(trouble.contains("can't be listed"), "{trouble}");
    let metrics = get(&mut silt, "/metrics").body;
    for line in ["silt_snapshot_trouble{", "silt_snapshot_state{"] {
        let lines: Vec<&str> = metrics
            .lines()
            .filter(|one| one.starts_with(line))
            .collect();
        let ends = |end: &str| lines.iter().filter(|line| line.ends_with(end)).count();
        assert_eq!(ends(" 1"), 1, "{lines:?}");
    }
    point.disarm().await;
    let status = status_when(&mut silt, |status| {
        status["snapshots"][0]["state"] == "done"
    });
    assert_eq!(status["snapshots"].as_array().unwrap().len(), 1);
    assert_eq!(status["snapshots"][0]["collection"], "users");
    assert_eq!(status["snapshots"][0]["documents"], 3);
    silt.drain();
}
