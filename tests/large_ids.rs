//! What silt writes it reads, however long an `_id` is. A resume token is more than twice as long.

use bson::{Document, doc};
use serde_json::Value;

use crate::harness::scene::{Scene, tokens};
use crate::harness::silt::{Silt, run};

const LONG: usize = 530_000;
/// About the longest that the server puts into an event, which contains it four times.
const LONGEST: usize = 3_000_000;

fn document(letter: &str, id_len: usize) -> Document {
    doc! { "_id": letter.repeat(id_len), "number": 1 }
}

async fn archive_over_restarts(scene: Scene, streams: &str, format: &str, compression: &str) {
    let mut scene = scene
        .with("STREAMS", streams)
        .with("OUTPUT_FORMAT", format)
        .with("COMPRESSION", compression)
        .with("SNAPSHOT", "initial");
    if streams == "shared" {
        scene.set("MONGODB_COLLECTIONS", "users,orders");
    }
    let case = format!("{streams} {format} {compression}");
    let users = scene.users();
    users.insert_one(document("a", LONG)).await.unwrap();
    users.insert_one(document("b", LONGEST)).await.unwrap();
    let mut witness = scene.witness("users").await;
    let mut silt = Silt::start(&scene.settings);
    silt.wait_for("watching");
    silt.wait_where("the snapshot's end", |line| {
        let message = line["message"].as_str();
        message.is_some_and(|message| message.starts_with("snapshot finished"))
    });
    let mut count = 0;
    for (letter, len) in [("c", LONG), ("d", LONGEST), ("e", 5)] {
        users.insert_one(document(letter, len)).await.unwrap();
        count += 1;
        scene.flush_until(&mut silt, "users", count).await;
        // The next start reads the file's end and the checkpoint, whose last change has this `_id`.
        silt.restart(&scene.settings);
        silt.wait_for("watching");
    }
    users.delete_one(document("d", LONGEST)).await.unwrap();
    count += 1;
    scene.flush_until(&mut silt, "users", count).await;
    silt.drain();
    let archived = scene.archived_anywhere("users").await;
    assert_eq!(tokens(&archived), witness.tokens(count).await, "{case}");
    let (status, listed) = run(&scene.settings, &["ls", "--count", "--json"]);
    assert_eq!(status, 0, "{case}: {listed}");
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["damaged"], serde_json::json!([]), "{case}: {listed}");
}

#[tokio::test]
async fn a_local_lake_is_read_as_it_was_written() {
    for (streams, format, compression) in [
        ("per-collection", "json", "none"),
        ("shared", "ndjson", "none"),
    ] {
        archive_over_restarts(Scene::new().await, streams, format, compression).await;
    }
}

#[tokio::test]
async fn a_lake_in_azure_is_read_as_it_was_written() {
    for (streams, format, compression) in [
        ("shared", "json", "gzip"),
        ("per-collection", "ndjson", "gzip"),
    ] {
        let scene = Scene::new()
            .await
            .on_azurite()
            .with("CHECKPOINT_STORE", "lake");
        archive_over_restarts(scene, streams, format, compression).await;
    }
}
