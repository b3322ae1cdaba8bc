//! The oplog moved on while silt was down: a visible halt by default, or a gap on record.

use std::process::Stdio;
use std::time::{Duration, Instant};

use bson::{Document, Timestamp, doc};
use chrono::DateTime;
use mongodb::Collection;
use mongodb::options::FullDocumentType;
use serde_json::Value;

use crate::harness::ledger::{operation_time, tokens_of};
use crate::harness::rounds::rounds;
use crate::harness::scene::{Scene, hour_files, insert, tokens};
use crate::harness::servers::Server;
use crate::harness::silt::{Signal, Silt, WAIT_LIMIT, is_of};

/// A mongod whose oplog is soon full and soon cut off.
fn small_oplog() -> Server {
    Server::mongod_with(&["--oplog-mb", "8", "--sync-seconds", "1"])
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_history_halts_and_says_what_was_lost_and_restarts_behind_a_recorded_gap() {
    for _round in rounds("oplog rolled over", 1, 5) {
        let mongod = small_oplog();
        let scene = Scene::on(&mongod.uri()).await;
        let mut silt = Silt::watching(&scene.settings, &["users"]);
        insert(&scene.users(), 0..5).await;
        scene.flush_until(&mut silt, "users", 5).await;
        silt.drain();
        let archived = tokens(&scene.archived("users"));
        assert_eq!(archived.len(), 5);

        let down_at = operation_time(&scene.client).await;
        insert(&scene.users(), 5..15).await;
        roll_over(&scene, operation_time(&scene.client).await).await;
        insert(&scene.users(), 15..25).await;

        halts_and_says_what_was_lost(&scene, down_at);
        assert_eq!(tokens(&scene.archived("users")), archived);
        restarts_behind_the_gap(&scene, &archived, down_at).await;
    }
}

/// Two times that frame what was lost, and the remedy. Nothing is written.
fn halts_and_says_what_was_lost(scene: &Scene, down_at: Timestamp) {
    let mut silt = Silt::start(&scene.settings);
    let line = silt.wait_where("halted", |line| {
        line["message"].as_str().unwrap().starts_with("halted")
    });
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("ON_HISTORY_LOST=restart"), "{error}");
    let [from, until] = times_in(error);
    assert!(from <= i64::from(down_at.time), "{error}");
    assert!(until >= from, "{error}");
    assert_eq!(scene.files("users").len(), 1);
    silt.drain();
}

/// The seconds of the times in `between … and …`.
fn times_in(error: &str) -> [i64; 2] {
    let (_, times) = error.split_once("between ").unwrap();
    let mut times = times.split(' ');
    [times.next().unwrap(), times.nth(1).unwrap()].map(|time| {
        let (time, _) = time.split_once('/').unwrap();
        chrono::DateTime::parse_from_rfc3339(time)
            .unwrap()
            .timestamp()
    })
}

/// Not one change more is lost than the oplog lost.
async fn restarts_behind_the_gap(scene: &Scene, archived: &[String], down_at: Timestamp) {
    let mut settings = scene.settings.clone();
    settings.insert("ON_HISTORY_LOST".into(), "restart".into());
    let mut silt = Silt::watching(&settings, &["users"]);
    assert_eq!(silt.count("recorded the gap, continuing after it"), 1);
    insert(&scene.users(), 25..30).await;
    let gap = the_gap(scene);
    let until = timestamp(&gap["until_cluster_time"]);
    assert!(timestamp(&gap["from_cluster_time"]) <= down_at, "{gap}");
    assert!(until > down_at, "{gap}");
    assert_eq!(gap["reason"], "historyLost");
    assert_eq!(
        gap["last_change"]["token"]["_data"].as_str(),
        archived.last().map(String::as_str)
    );

    let mut expected = archived.to_vec();
    expected.extend(changes_from(&scene.users(), until, 29).await);
    scene.flush_until(&mut silt, "users", expected.len()).await;
    silt.drain();
    assert_eq!(tokens(&scene.archived("users")), expected);

    // The gap is passed for good.
    let mut silt = Silt::watching(&settings, &["users"]);
    insert(&scene.users(), 30..31).await;
    scene
        .flush_until(&mut silt, "users", expected.len() + 1)
        .await;
    silt.drain();
    assert_eq!(the_gap(scene), gap);
}

/// A checkpoint that was set back is of no use, but the lake knows better.
#[tokio::test(flavor = "multi_thread")]
async fn a_lake_ahead_of_a_lost_position_loses_nothing() {
    let mongod = small_oplog();
    let scene = Scene::on(&mongod.uri()).await;
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    insert(&scene.users(), 0..5).await;
    scene.flush_until(&mut silt, "users", 5).await;
    silt.drain();
    let old = scene.checkpoint().await.unwrap();

    let mut silt = Silt::watching(&scene.settings, &["users"]);
    roll_over(&scene, operation_time(&scene.client).await).await;
    insert(&scene.users(), 5..10).await;
    scene.flush_until(&mut silt, "users", 10).await;
    silt.drain();
    insert(&scene.users(), 10..15).await;
    let id = doc! { "_id": old.get_str("_id").unwrap() };
    scene.checkpoints().replace_one(id, &old).await.unwrap();

    let mut silt = Silt::watching(&scene.settings, &["users"]);
    scene.flush_until(&mut silt, "users", 15).await;
    silt.drain();
    let archived = scene.archived("users");
    assert_eq!(numbers(&archived), (0..15).collect::<Vec<_>>());
    assert!(hour_files(&scene.lake().join("users/_gaps")).is_empty());
}

/// What silt had read before the oplog passed it is archived first.
#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_the_oplog_overtakes_archives_what_it_had_read() {
    let mongod = small_oplog();
    let scene = Scene::on(&mongod.uri()).await;
    let scene = scene
        .with("ON_HISTORY_LOST", "restart")
        .with("LOG_LEVEL", "debug");
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    insert(&scene.users(), 0..5).await;
    let mut read = 0;
    while read < 5 {
        read += silt.wait_for("read")["changes"].as_u64().unwrap();
    }
    silt.signal(Signal::STOP);
    insert(&scene.users(), 5..10).await;
    roll_over(&scene, operation_time(&scene.client).await).await;
    silt.signal(Signal::CONT);
    silt.wait_for("recorded the gap, continuing after it");
    silt.wait_for("watching");
    insert(&scene.users(), 10..15).await;
    let until = timestamp(&the_gap(&scene)["until_cluster_time"]);
    let behind = changes_from(&scene.users(), until, 14).await;
    let last = behind.last().unwrap();
    while tokens(&scene.archived("users")).last() != Some(last) {
        silt.signal(Signal::USR1);
        silt.wait_for("flushing all collections on SIGUSR1");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    silt.drain();
    let archived = scene.archived("users");
    let (before, after) = archived.split_at(archived.len() - behind.len());
    assert_eq!(tokens(after), behind);
    // The server may have sent one more before silt was stopped.
    assert!(before.len() >= 5);
    assert_eq!(
        numbers(before),
        (0..before.len() as i64).collect::<Vec<_>>()
    );
}

/// A collection that lost nothing goes on beside one that did.
#[tokio::test(flavor = "multi_thread")]
async fn a_halt_for_lost_history_leaves_the_others_alone() {
    let mongod = small_oplog();
    let scene = Scene::on(&mongod.uri()).await;
    Silt::watching(&scene.settings, &["users"]).drain();
    roll_over(&scene, operation_time(&scene.client).await).await;
    let scene = scene.with("MONGODB_COLLECTIONS", "users,orders");
    let mut silt = Silt::start(&scene.settings);
    silt.wait_where("halted", |line| {
        is_of(line, "users") && line["message"].as_str().unwrap().starts_with("halted")
    });
    insert(&scene.database.collection("orders"), 0..5).await;
    scene.flush_until(&mut silt, "orders", 5).await;
    silt.signal(Signal::TERM);
    assert_eq!(silt.wait().0, 0);
}

/// A look at changes that are gone ends, and says where the oplog begins.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_from_before_the_oplog_ends_with_status_1() {
    let mongod = small_oplog();
    let scene = Scene::on(&mongod.uri()).await;
    let before = operation_time(&scene.client).await;
    roll_over(&scene, before).await;
    let time = DateTime::from_timestamp(i64::from(before.time), 0).unwrap();
    let from = ["watch", "--from", &time.to_rfc3339()];
    let (code, silt) = Silt::with_output(&scene.settings, &from, Stdio::null()).wait();
    let told = silt.text();
    assert_eq!(code, 1, "{told}");
    for words in [
        "the oplog no longer holds",
        "It begins at 20",
        "begin later, with --from",
    ] {
        assert!(told.contains(words), "{words:?} is missing in: {told}");
    }
}

/// Writes until the oplog no longer holds this time.
async fn roll_over(scene: &Scene, time: Timestamp) {
    let other: Collection<Document> = scene.database.collection("noise");
    let noise = vec![doc! { "text": "x".repeat(100_000) }; 10];
    let begun = Instant::now();
    while oldest_time(scene).await <= time {
        other.insert_many(&noise).await.unwrap();
        assert!(begun.elapsed() < WAIT_LIMIT, "the oplog isn't cut off");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn oldest_time(scene: &Scene) -> Timestamp {
    let oplog: Collection<Document> = scene.client.database("local").collection("oplog.rs");
    let first = oplog.find_one(doc! {}).sort(doc! { "$natural": 1 });
    let first = first.await.unwrap().unwrap();
    first.get_timestamp("ts").unwrap()
}

/// The tokens of the changes from a time on up to that of this number.
async fn changes_from(
    collection: &Collection<Document>,
    time: Timestamp,
    last: i32,
) -> Vec<String> {
    let mut stream = collection
        .watch()
        .full_document(FullDocumentType::UpdateLookup)
        .start_at_operation_time(time)
        .await
        .unwrap()
        .with_type::<bson::RawDocumentBuf>();
    let mut changes = Vec::new();
    loop {
        let Some(change) = stream.next_if_any().await.unwrap() else {
            continue;
        };
        let document = change.get_document("fullDocument").unwrap();
        let number = document.get_i32("number").unwrap();
        changes.push(change);
        if number == last {
            return tokens_of(&changes);
        }
    }
}

fn numbers(changes: &[Value]) -> Vec<i64> {
    changes
        .iter()
        .map(|change| change["fullDocument"]["number"].as_i64().unwrap())
        .collect()
}

/// The one record of a gap.
fn the_gap(scene: &Scene) -> Value {
    let records = hour_files(&scene.lake().join("users/_gaps"));
    assert_eq!(records.len(), 1, "{records:?}");
    serde_json::from_slice(&std::fs::read(&records[0]).unwrap()).unwrap()
}

fn timestamp(value: &Value) -> Timestamp {
    let part = |name: &str| u32::try_from(value["$timestamp"][name].as_u64().unwrap()).unwrap();
    Timestamp {
        time: part("t"),
        increment: part("i"),
    }
}
