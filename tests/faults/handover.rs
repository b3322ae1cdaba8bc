//! A collection that changes streams goes on where the other one stood, whatever happened meanwhile.

use std::path::PathBuf;

use bson::{Document, doc};
use mongodb::Collection;
use serde_json::Value;

use crate::harness::ledger::{Ledger, verify_all};
use crate::harness::scene::Scene;
use crate::harness::silt::{Settings, Silt, is_of};

const HALTED: &str = "halted: manual action required; retrying every minute";

/// The settings with a section for `users`.
fn with_section(scene: &Scene, folder: &tempfile::TempDir, section: &str) -> Settings {
    let file: PathBuf = folder.path().join("silt.toml");
    std::fs::write(&file, format!("[collections.users]\n{section}\n")).unwrap();
    let mut settings = scene.settings.clone();
    settings.insert("SILT_CONFIG".to_owned(), file.to_str().unwrap().to_owned());
    settings
}

#[tokio::test]
async fn a_quiet_collection_gets_a_stream_of_its_own_and_loses_nothing() {
    for store in ["mongodb", "lake"] {
        let scene = Scene::new()
            .await
            .with("MONGODB_COLLECTIONS", "users,orders")
            .with("CHECKPOINT_STORE", store);
        let single = scene.settings.clone();
        let shared = scene.with("STREAMS", "shared");
        let mut users = Ledger::of(&shared, "users").await;
        let mut orders = Ledger::of(&shared, "orders").await;
        let silt = Silt::watching(&shared.settings, &["users,orders"]);
        orders.insert(&shared, 5).await;
        silt.drain();
        // Nobody is there, and of users there has been no change before.
        users.insert(&shared, 5).await;
        orders.insert(&shared, 5).await;
        let silt = Silt::watching(&single, &["users", "orders"]);
        verify_all(&[&users, &orders], &shared, silt).await;
    }
}

#[tokio::test]
async fn a_section_comes_and_goes_without_a_loss() {
    let scene = Scene::new().await.with("MONGODB_COLLECTIONS", "*");
    let folder = tempfile::tempdir().unwrap();
    let apart = with_section(&scene, &folder, "BATCH_SIZE = 2");
    let mut users = Ledger::of(&scene, "users").await;
    let mut orders = Ledger::of(&scene, "orders").await;
    let silt = Silt::watching(&scene.settings, &["*"]);
    silt.drain();
    for settings in [&apart, &scene.settings, &apart, &scene.settings] {
        users.insert(&scene, 3).await;
        orders.insert(&scene, 3).await;
        let names: &[&str] = match settings.get("SILT_CONFIG") {
            Some(_) => &["*", "users"],
            None => &["*"],
        };
        let silt = Silt::watching(settings, names);
        users.insert(&scene, 1).await;
        // What it read is lost with it.
        silt.kill();
    }
    let silt = Silt::watching(&apart, &["*", "users"]);
    verify_all(&[&users, &orders], &scene, silt).await;
}

#[tokio::test]
async fn a_collection_that_fell_behind_on_its_own_is_made_up_for_by_the_shared_stream() {
    let scene = Scene::new().await.with("MONGODB_COLLECTIONS", "*");
    let folder = tempfile::tempdir().unwrap();
    let images = "FULL_DOCUMENT_BEFORE_CHANGE = \"required\"";
    let apart = with_section(&scene, &folder, images);
    let mut orders = Ledger::of(&scene, "orders").await;
    let users = scene.users();
    users.insert_one(doc! { "_id": 0 }).await.unwrap();
    let mut silt = Silt::watching(&apart, &["*", "users"]);
    // There are no images, so its own stream halts.
    let update = doc! { "$set": { "a": 1 } };
    users.update_one(doc! { "_id": 0 }, update).await.unwrap();
    silt.wait_where("the halt", |line| {
        line["message"] == HALTED && is_of(line, "users")
    });
    users.insert_one(doc! { "_id": 1 }).await.unwrap();
    orders.insert(&scene, 5).await;
    scene.flush_until(&mut silt, "orders", 5).await;
    silt.kill();
    let mut silt = Silt::watching(&scene.settings, &["*"]);
    users.insert_one(doc! { "_id": 2 }).await.unwrap();
    let has_all = |changes: &[Value]| {
        let is_last = |change: &Value| change["documentKey"]["_id"] == 2;
        changes.iter().any(is_last)
    };
    scene.flush_until_it(&mut silt, "users", has_all).await;
    let archived = scene.archived("users");
    let kinds: Vec<_> = archived
        .iter()
        .map(|change| change["operationType"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["update", "insert", "insert"]);
    verify_all(&[&orders], &scene, silt).await;
}

#[tokio::test]
async fn one_more_database_loses_nothing_of_the_first() {
    let scene = Scene::new().await.with("MONGODB_COLLECTIONS", "us*");
    let name = scene.database.name().to_owned();
    let silt = Silt::watching(&scene.settings, &["us*"]);
    let users = scene.users();
    silt.drain();
    users.insert_one(doc! { "_id": 1 }).await.unwrap();
    let both = format!("{name},{name}-other");
    let scene = scene.with("MONGODB_DATABASE", &both);
    let mut silt = Silt::watching(&scene.settings, &[&format!("{both}.us*")]);
    scene
        .flush_until(&mut silt, &format!("{name}/users"), 1)
        .await;
    silt.drain();
    users.insert_one(doc! { "_id": 2 }).await.unwrap();
    let scene = scene.with("MONGODB_DATABASE", &name);
    let mut silt = Silt::watching(&scene.settings, &["us*"]);
    scene.flush_until(&mut silt, "users", 2).await;
    silt.drain();
}

#[tokio::test]
async fn a_shared_stream_without_its_checkpoint_does_not_start_now_beside_what_it_archived() {
    for on_azurite in [false, true] {
        let mut scene = Scene::new().await.with("MONGODB_COLLECTIONS", "*");
        if on_azurite {
            scene = scene.on_azurite();
        }
        let before = chrono::Utc::now() - chrono::Duration::seconds(2);
        let mut users = Ledger::of(&scene, "users").await;
        let mut silt = Silt::watching(&scene.settings, &["*"]);
        users.insert(&scene, 3).await;
        scene.flush_until(&mut silt, "users", 3).await;
        silt.drain();
        users.insert(&scene, 2).await;
        scene.checkpoints().drop().await.unwrap();
        let mut silt = Silt::start(&scene.settings);
        let halt = silt.wait_for(HALTED);
        let error = halt["error"].as_str().unwrap();
        assert!(
            error.contains("users/") && error.contains("START_AT"),
            "{error}"
        );
        silt.kill();
        let scene = scene.with("START_AT", &before.to_rfc3339());
        let silt = Silt::watching(&scene.settings, &["*"]);
        verify_all(&[&users], &scene, silt).await;
    }
}

/// Its own stream ended it with an `invalidate`, which the shared stream doesn't have.
#[tokio::test]
async fn a_collection_dropped_at_its_own_streams_end_does_not_hold_a_shared_stream_up() {
    let mut scene = Scene::new()
        .await
        .with("MONGODB_COLLECTIONS", "users,orders");
    let mut orders = Ledger::of(&scene, "orders").await;
    Silt::watching(&scene.settings, &["users", "orders"]).drain();
    // The shared stream will begin before the drop.
    orders.insert(&scene, 3).await;
    scene.set("MONGODB_COLLECTIONS", "users");
    let users = scene.users();
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    users.insert_one(doc! { "_id": 1 }).await.unwrap();
    users.drop().await.unwrap();
    scene.flush_until(&mut silt, "users", 3).await;
    silt.drain();

    scene.set("MONGODB_COLLECTIONS", "users,orders");
    scene.set("STREAMS", "shared");
    let mut silt = Silt::watching(&scene.settings, &["users,orders"]);
    orders.insert(&scene, 3).await;
    scene.flush_until(&mut silt, "orders", 6).await;
    silt.drain();
    let last = scene.archived("orders").last().unwrap()["clusterTime"].clone();
    let id = format!("{}.*", scene.database.name());
    let saved = scene.checkpoints().find_one(doc! { "_id": id }).await;
    let read_until = saved.unwrap().unwrap().get_timestamp("read_until").unwrap();
    assert!(
        u64::from(read_until.time) >= last["$timestamp"]["t"].as_u64().unwrap(),
        "the drop holds the position: {read_until}, {last}"
    );

    let mut silt = Silt::watching(&scene.settings, &["users,orders"]);
    users.insert_one(doc! { "_id": 2 }).await.unwrap();
    scene.flush_until(&mut silt, "users", 4).await;
    let kinds: Vec<_> = scene
        .archived("users")
        .iter()
        .map(|change| change["operationType"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, ["insert", "drop", "invalidate", "insert"]);
    verify_all(&[&orders], &scene, silt).await;
}

#[tokio::test]
async fn single_streams_go_on_in_the_folders_that_they_had_before() {
    let mut scene = Scene::new()
        .await
        .with("MONGODB_COLLECTIONS", "users,orders");
    let one = scene.database.name().to_owned();
    let two = format!("{one},{one}-other");
    let deep = format!("{one}/users");
    let users = scene.users();
    let orders: Collection<Document> = scene.database.collection("orders");
    for (number, (databases, folder)) in [(&one, "users"), (&two, &*deep)]
        .iter()
        .cycle()
        .take(4)
        .enumerate()
    {
        scene.set("MONGODB_DATABASE", databases);
        let mut silt = Silt::start(&scene.settings);
        for _ in 0..if *databases == &one { 2 } else { 4 } {
            silt.wait_for("watching");
        }
        let id = i32::try_from(number).unwrap();
        if *folder == "users" {
            // In between nothing happens to it.
            orders.insert_one(doc! { "_id": id }).await.unwrap();
            scene.flush_until(&mut silt, "orders", number / 2 + 1).await;
        }
        users.insert_one(doc! { "_id": id }).await.unwrap();
        scene.flush_until(&mut silt, folder, number / 2 + 1).await;
        silt.drain();
    }
    for (folder, expected) in [("users", [0, 2]), ("orders", [0, 2]), (&*deep, [1, 3])] {
        let archived = scene.archived(folder);
        let ids: Vec<_> = archived
            .iter()
            .map(|it| &it["documentKey"]["_id"])
            .collect();
        assert_eq!(ids, expected, "{folder}");
    }
}

#[tokio::test]
async fn a_shared_stream_that_comes_back_goes_on_where_the_single_ones_stood() {
    let mut scene = Scene::new()
        .await
        .with("MONGODB_COLLECTIONS", "users,orders");
    let mut users = Ledger::of(&scene, "users").await;
    let mut orders = Ledger::of(&scene, "orders").await;
    scene.set("STREAMS", "shared");
    Silt::watching(&scene.settings, &["users,orders"]).drain();
    scene.set("STREAMS", "per-collection");
    let mut silt = Silt::watching(&scene.settings, &["users", "orders"]);
    users.insert(&scene, 5).await;
    scene.flush_until(&mut silt, "users", 5).await;
    silt.drain();
    orders.insert(&scene, 2).await;
    scene.set("STREAMS", "shared");
    let mut silt = Silt::start(&scene.settings);
    let taken = silt.wait_for(
        "another stream carried its collections: continuing from that time and skipping what the lake holds",
    );
    let orders_stood = format!("{}.orders", scene.database.name());
    assert_eq!(taken["from"], orders_stood, "the earliest of both");
    silt.wait_for("watching");
    verify_all(&[&users, &orders], &scene, silt).await;
}

/// What a damaged file held is archived again from the oplog, whoever wrote it.
#[tokio::test]
async fn a_file_that_is_moved_out_is_written_again_by_the_collections_own_stream() {
    let mut scene = Scene::new().await.with("MONGODB_COLLECTIONS", "*");
    let folder = tempfile::tempdir().unwrap();
    let apart = with_section(&scene, &folder, "BATCH_SIZE = 500");
    let mut users = Ledger::of(&scene, "users").await;
    for (format, more, count) in [("json", 3, 3), ("ndjson", 2, 5)] {
        scene.set("OUTPUT_FORMAT", format);
        let mut silt = Silt::watching(&scene.settings, &["*"]);
        users.insert(&scene, more).await;
        scene.flush_until(&mut silt, "users", count).await;
        silt.drain();
    }
    std::fs::remove_file(scene.files("users").last().unwrap()).unwrap();
    // It isn't done when it is killed.
    Silt::watching(&apart, &["*", "users"]).kill();
    let silt = Silt::watching(&apart, &["*", "users"]);
    verify_all(&[&users], &scene, silt).await;
}

/// What single streams know to be in the lake must be there when a shared one takes over.
#[tokio::test]
async fn a_file_that_is_missing_is_not_passed_over_by_a_shared_stream() {
    let mut scene = Scene::new()
        .await
        .with("MONGODB_COLLECTIONS", "users,orders");
    let users = scene.users();
    for (format, id) in [("json", 1), ("ndjson", 2)] {
        scene.set("OUTPUT_FORMAT", format);
        let mut silt = Silt::watching(&scene.settings, &["users", "orders"]);
        users.insert_one(doc! { "_id": id }).await.unwrap();
        scene
            .flush_until(&mut silt, "users", usize::try_from(id).unwrap())
            .await;
        silt.drain();
    }
    std::fs::remove_file(scene.files("users").last().unwrap()).unwrap();
    scene.set("STREAMS", "shared");
    let mut silt = Silt::watching(&scene.settings, &["users,orders"]);
    users.insert_one(doc! { "_id": 3 }).await.unwrap();
    let halt = silt.wait_for(HALTED);
    let error = halt["error"].as_str().unwrap();
    assert!(
        error.contains("the lake is older than its checkpoint"),
        "{error}"
    );
    silt.kill();
}
