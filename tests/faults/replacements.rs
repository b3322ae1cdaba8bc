//! What replaces or moves a collection of a shared stream is archived with that collection, and the temporary
//! collections that the server uses for it leave nothing in the lake or the checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use bson::{Document, doc};
use mongodb::Client;
use serde_json::Value;

use crate::harness::ledger::operation_time;
use crate::harness::scene::{Scene, canonical, insert, token, tokens};
use crate::harness::silt::Silt;
use crate::harness::streams::next;

/// Runs of `$out`.
const RUNS: usize = 300;
/// Its last change ends the scenario.
const END: &str = "end";

async fn admin(client: &Client, command: Document) {
    client.database("admin").run_command(command).await.unwrap();
}

async fn write(scene: &Scene) {
    let database = &scene.database;
    let name = database.name();
    insert(&scene.users(), 0..3).await;
    insert(&database.collection("source"), 0..5).await;
    for _ in 0..RUNS {
        let source = database.collection::<Document>("source");
        let out = source.aggregate([doc! { "$out": "users" }]).await.unwrap();
        drop(out);
    }
    let capped = doc! { "convertToCapped": "users", "size": 4096 };
    database.run_command(capped).await.unwrap();
    let other = scene.client.database(&format!("{name}_other"));
    insert(&other.collection("moved"), 0..4).await;
    for (from, to) in [
        (format!("{name}_other.moved"), format!("{name}.users")),
        (format!("{name}.users"), format!("{name}.renamed")),
        (format!("{name}.source"), format!("{name}_other.away")),
    ] {
        let rename = doc! { "renameCollection": from, "to": to, "dropTarget": true };
        admin(&scene.client, rename).await;
    }
    other.drop().await.unwrap();
    insert(&database.collection(END), 0..1).await;
}

/// The tokens that each collection must have, from a stream that silt has nothing to do with.
async fn expected(scene: &Scene, since: bson::Timestamp) -> BTreeMap<String, Vec<String>> {
    let stream = scene.database.watch().start_at_operation_time(since).await;
    let mut stream = stream.unwrap().with_type::<bson::RawDocumentBuf>();
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    loop {
        let Some(event) = stream.next_if_any().await.unwrap() else {
            continue;
        };
        let event = canonical(&event);
        let old = event["ns"]["coll"].as_str().unwrap();
        let new = event["to"]["coll"].as_str();
        let is_in_database = event["to"]["db"] == scene.database.name();
        let own = [Some(old), new.filter(|_| is_in_database)];
        for collection in own.into_iter().flatten() {
            if !collection.starts_with("tmp") {
                let tokens = expected.entry(collection.to_owned()).or_default();
                tokens.push(token(&event));
            }
        }
        if old == END {
            return expected;
        }
    }
}

#[tokio::test]
async fn what_replaces_a_collection_is_archived_with_it_and_leaves_nothing_else() {
    let scene = Scene::new().await.with("MONGODB_COLLECTIONS", "*");
    let since = next(operation_time(&scene.client).await);
    let mut silt = Silt::watching(&scene.settings, &["*"]);
    write(&scene).await;
    scene.flush_until(&mut silt, END, 1).await;
    silt.drain();
    let expected = expected(&scene, since).await;
    let names: Vec<&String> = expected.keys().collect();
    assert_eq!(names, [END, "renamed", "source", "users"]);
    for (collection, expected) in &expected {
        let archived = scene.archived(collection);
        assert_eq!(&tokens(&archived), expected, "{collection}");
    }
    let renames = |collection: &str| {
        let changes = scene.archived(collection).into_iter();
        changes
            .filter(|change: &Value| change["operationType"] == "rename")
            .count()
    };
    // Each $out, the convertToCapped, and the renames from the other database and to the new name.
    assert_eq!(renames("users"), RUNS + 3);
    assert_eq!(renames("renamed"), 1, "it has the rename too");
    let folders: BTreeSet<String> = std::fs::read_dir(scene.lake())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with(['_', '.']))
        .collect();
    assert_eq!(folders, expected.keys().cloned().collect());
    let checkpoint = scene
        .checkpoints()
        .find_one(doc! {})
        .await
        .unwrap()
        .unwrap();
    let marks = checkpoint.get_document("collections").unwrap();
    let marks: BTreeSet<&str> = marks
        .values()
        .map(|mark| mark.as_document().unwrap().get_str("collection").unwrap())
        .collect();
    assert_eq!(marks, expected.keys().map(String::as_str).collect());
}
