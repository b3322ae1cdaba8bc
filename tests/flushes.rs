//! Flushes of every kind leave one valid file for a collection and hour.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};

use bson::doc;

use crate::harness::scene::{Scene, changes_in, hour_files, insert, tokens};
use crate::harness::silt::Silt;

/// One file an hour, and the hour may change while a test runs.
fn assert_one_file_an_hour(scene: &Scene, collection: &str) {
    let files = scene.files(collection);
    let hours: BTreeSet<String> = scene
        .archived(collection)
        .iter()
        .map(|change| change["clusterTime"]["$timestamp"]["t"].as_i64().unwrap() / 3600)
        .map(|hour| hour.to_string())
        .collect();
    assert_eq!(files.len(), hours.len(), "{files:?}");
}

#[tokio::test]
async fn every_trigger_in_one_hour_leaves_one_file_with_every_change_once() {
    for (format, compression) in [
        ("json", "none"),
        ("json", "gzip"),
        ("ndjson", "none"),
        ("ndjson", "gzip"),
    ] {
        let scene = Scene::new()
            .await
            .with("OUTPUT_FORMAT", format)
            .with("COMPRESSION", compression)
            .with("BATCH_SIZE", "10")
            .with("BATCH_BYTES", "20000");
        let mut witness = scene.witness("users").await;
        let mut silt = Silt::watching(&scene.settings, &["users"]);
        let by_reason = |reason: &'static str| {
            move |line: &serde_json::Value| line["message"] == "flushed" && line["reason"] == reason
        };
        insert(&scene.users(), 0..10).await;
        silt.wait_where("count", by_reason("count"));
        insert(&scene.users(), 10..13).await;
        witness.see(13).await;
        silt.wait_for_flushed("users", 10);
        scene.flush_until(&mut silt, "users", 13).await;
        silt.wait_for_flushed("users", 13);
        assert!(silt.log.iter().any(by_reason("signal")));
        scene
            .users()
            .insert_one(doc! { "text": "x".repeat(30_000) })
            .await
            .unwrap();
        silt.wait_where("bytes", by_reason("bytes"));
        insert(&scene.users(), 20..25).await;
        scene.flush_until(&mut silt, "users", 19).await;
        silt.drain();

        assert_eq!(tokens(&scene.archived("users")), witness.tokens(19).await);
        assert_one_file_an_hour(&scene, "users");
    }
}

#[tokio::test]
async fn the_schedule_flushes() {
    let scene = Scene::new().await.with("DUMP_SCHEDULE", "* * * * * *");
    let mut witness = scene.witness("users").await;
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    for number in 0..3 {
        insert(&scene.users(), number..number + 1).await;
        silt.wait_where("cron", |line| {
            line["message"] == "flushed" && line["reason"] == "cron"
        });
    }
    silt.drain();
    assert_eq!(tokens(&scene.archived("users")), witness.tokens(3).await);
    assert_one_file_an_hour(&scene, "users");
}

/// The Node program wrote the whole file anew at each flush: of an hour's flushes the last was left.
#[tokio::test]
async fn an_hours_earlier_flushes_survive_its_later_ones() {
    let scene = Scene::new().await.with("BATCH_SIZE", "1");
    let mut witness = scene.witness("users").await;
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    for number in 0..20 {
        insert(&scene.users(), number..number + 1).await;
        silt.wait_for_flushed("users", number as u64 + 1);
    }
    let silt = silt.drain();
    assert_eq!(silt.count("flushed"), 20);
    assert_eq!(tokens(&scene.archived("users")), witness.tokens(20).await);
    assert_one_file_an_hour(&scene, "users");
}

/// Reads every file of a folder again and again until nobody asks any more how many changes there
/// were. Panics at one that is not whole.
fn read_on(folder: &Path, counts: &Sender<usize>) {
    loop {
        for path in hour_files(folder) {
            let bytes = std::fs::read(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            let changes = changes_in(name, &bytes).unwrap();
            if counts.send(changes.len()).is_err() {
                return;
            }
        }
    }
}

#[tokio::test]
async fn a_reader_sees_a_valid_file_at_every_instant() {
    let scene = Scene::new()
        .await
        .with("BATCH_SIZE", "7")
        .with("MONGODB_COLLECTIONS", "users,orders");
    let mut silt = Silt::watching(&scene.settings, &["users", "orders"]);
    let (sender, counts) = channel();
    let folder = scene.lake().join("users");
    let reader = std::thread::spawn(move || read_on(&folder, &sender));
    let (mut reads, mut lens, mut written) = (0, BTreeSet::new(), 0);
    // A reader who gets little of a busy machine is written for until he has seen enough.
    while written < 700 || reads < 50 || lens.len() < 5 {
        insert(&scene.users(), written..written + 70).await;
        written += 70;
        scene
            .flush_until(&mut silt, "users", written as usize)
            .await;
        for changes in counts.try_iter() {
            reads += 1;
            lens.insert(changes);
        }
        assert!(!reader.is_finished(), "after {reads} reads of {lens:?}");
    }
    drop(counts);
    reader.join().unwrap();
    silt.drain();
    assert_eq!(
        tokens(&scene.archived("users"))
            .into_iter()
            .collect::<BTreeSet<_>>()
            .len(),
        written as usize
    );
}

#[tokio::test]
async fn a_full_file_goes_on_in_the_next_part() {
    let scene = Scene::new()
        .await
        .with("MAX_FILE_SIZE", "65536")
        .with("BATCH_BYTES", "20000");
    let mut witness = scene.witness("users").await;
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    for _ in 0..30 {
        scene
            .users()
            .insert_one(doc! { "text": "x".repeat(10_000) })
            .await
            .unwrap();
    }
    scene.flush_until(&mut silt, "users", 30).await;
    silt.drain();
    let files = scene.files("users");
    assert!(files.len() >= 5, "{files:?}");
    for path in &files {
        assert!(path.metadata().unwrap().len() <= 65_536, "{path:?}");
    }
    let mut archived = tokens(&scene.archived("users"));
    // By name `.json` sorts before `.part10`, so the order over parts is compared as a set.
    archived.sort();
    assert_eq!(archived, witness.tokens(30).await);
}

#[tokio::test]
async fn a_changed_format_goes_on_in_a_part_of_its_own() {
    let mut scene = Scene::new().await;
    let mut witness = scene.witness("users").await;
    for (number, format) in ["json", "ndjson", "json"].into_iter().enumerate() {
        scene.set("OUTPUT_FORMAT", format);
        let mut silt = Silt::watching(&scene.settings, &["users"]);
        insert(&scene.users(), 0..2).await;
        scene.flush_until(&mut silt, "users", number * 2 + 2).await;
        silt.drain();
    }
    let mut archived = tokens(&scene.archived("users"));
    archived.sort();
    assert_eq!(archived, witness.tokens(6).await);
}
