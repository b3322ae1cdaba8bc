//! Changes that are larger than a server can send: in pieces where it makes pieces, on record where it doesn't.

use std::fs;

use bson::{Document, doc};
use serde_json::{Value, json};

use crate::harness::fail_point::{FailPoint, Strikes};
use crate::harness::ledger::Ledger;
use crate::harness::scene::{Scene, token};
use crate::harness::servers::Server;
use crate::harness::silt::Silt;
use crate::harness::streams::{NO_PIECES, PIECES};

/// Of the delta, and of the document that is looked up: together too much.
const LEN_BYTES: usize = 9 << 20;

/// An update that is too large with its document.
async fn enlarge(scene: &Scene, letter: &str) {
    let set = doc! { "$set": { "text": letter.repeat(LEN_BYTES) } };
    let large = doc! { "_id": "large" };
    scene.users().update_one(large, set).await.unwrap();
}

fn is_large(change: &Value) -> bool {
    change["documentKey"]["_id"] == "large" && change["operationType"] == "update"
}

/// The lake has the changes, the checkpoint doesn't know. Until they are read again their document has
/// shrunk or is gone, so that they come in one piece.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_change_is_known_again_when_it_is_large_no_longer() {
    let mongod = Server::mongod_with(PIECES);
    let scene = Scene::on(&mongod.uri()).await.with("BATCH_SIZE", "1");
    scene
        .users()
        .insert_one(doc! { "_id": "large" })
        .await
        .unwrap();
    let mut ledger = Ledger::of(&scene, "users").await;
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    ledger.insert(&scene, 3).await;
    silt.wait_for_flushed("users", 3);
    let refused = doc! {
        "namespace": scene.checkpoints().namespace().to_string(), "errorCode": 11600,
    };
    let saves = FailPoint::arm(
        &scene.client,
        "silt",
        &["update"],
        Strikes::Always,
        &refused,
    )
    .await;
    enlarge(&scene, "a").await;
    ledger.insert(&scene, 1).await;
    enlarge(&scene, "b").await;
    silt.wait_for_flushed("users", 6);
    silt.kill();
    saves.disarm().await;
    let before: Vec<Value> = scene
        .archived("users")
        .into_iter()
        .filter(is_large)
        .collect();
    for (change, letter) in before.iter().zip(["a", "b"]) {
        let text = &change["updateDescription"]["updatedFields"]["text"];
        assert!(text.as_str().unwrap() == letter.repeat(LEN_BYTES));
        assert_eq!(
            change["fullDocument"]["text"].as_str().unwrap().len(),
            LEN_BYTES
        );
    }

    let shrunk = doc! { "_id": "large" };
    scene.users().delete_one(shrunk).await.unwrap();
    let silt = Silt::watching(&scene.settings, &["users"]);
    ledger.insert(&scene, 2).await;
    ledger.verify(&scene, silt).await;
    let after: Vec<Value> = scene
        .archived("users")
        .into_iter()
        .filter(is_large)
        .collect();
    assert_eq!(before.len(), 2);
    assert!(before == after, "what was archived stays as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_cannot_be_had_is_on_record_and_the_feed_goes_on() {
    let mongod = Server::mongod_with(NO_PIECES);
    let mut scene = Scene::on(&mongod.uri()).await;
    scene
        .users()
        .insert_one(doc! { "_id": "large" })
        .await
        .unwrap();
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let numbers = scene.database.collection::<Document>("users");
    for number in 1..=2 {
        numbers.insert_one(doc! { "_id": number }).await.unwrap();
        enlarge(&scene, "a").await;
        enlarge(&scene, "b").await;
    }
    numbers.insert_one(doc! { "_id": 3 }).await.unwrap();
    let halted = silt.wait_where("halted", |line| {
        line["message"].as_str().unwrap().starts_with("halted")
    });
    let error = halted["error"].as_str().unwrap();
    assert!(
        error.contains(r#"the update of {"_id":"large"}"#),
        "{error}"
    );
    silt.wait_for_flushed("users", 1);
    silt.kill();

    scene.set("ON_LARGE_EVENT", "record");
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    scene.flush_until(&mut silt, "users", 3).await;
    silt.drain();
    let archived = scene.archived("users");
    let ids: Vec<&Value> = archived
        .iter()
        .map(|change| &change["documentKey"]["_id"])
        .collect();
    assert_eq!(ids, [1, 2, 3]);
    let files = fs::read_dir(scene.lake().join("users/_gaps")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let mut records: Vec<Value> = files
        .map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
        .collect();
    let key = |record: &Value| record["resume_token"]["_data"].as_str().unwrap().to_owned();
    records.sort_by_key(key);
    assert_eq!(records.len(), 4);
    for record in &records {
        assert_eq!(record["operation_type"], "update");
        assert_eq!(record["document_key"], json!({ "_id": "large" }));
    }
    let distinct: std::collections::HashSet<String> = records.iter().map(key).collect();
    assert_eq!(distinct.len(), 4);
    assert!(
        archived
            .iter()
            .all(|change| !distinct.contains(&token(change)))
    );
}

/// The change fits into 16 MiB, but its reply doesn't: that holds the token, which is twice as long as the `_id`, twice.
/// Some servers (6.0.5) cut the connection instead of saying so.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_with_a_huge_id_does_not_stop_the_stream_for_ever() {
    let mongod = Server::mongod();
    let scene = Scene::on(&mongod.uri()).await;
    let scene = scene.with("ON_LARGE_EVENT", "record");
    let scene = scene.with("LOG_LEVEL", "debug");
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let huge = "x".repeat(3 << 20);
    let large = doc! { "_id": &huge };
    scene.users().insert_one(large).await.unwrap();
    let passed = silt.wait_where("the change is archived or on record", |line| {
        line["message"] == "read"
            || line["message"] == "recorded a change that is too large to send, continuing after it"
    });
    let is_archived = usize::from(passed["message"] == "read");
    scene.users().insert_one(doc! { "_id": 2 }).await.unwrap();
    scene.flush_until(&mut silt, "users", is_archived + 1).await;
    silt.drain();
    let archived = scene.archived("users");
    assert_eq!(archived[is_archived]["documentKey"]["_id"], 2);
    if is_archived == 1 {
        assert!(archived[0]["documentKey"]["_id"] == huge.as_str());
    }
}
