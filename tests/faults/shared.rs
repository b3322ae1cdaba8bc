//! One stream over many collections loses nothing and doubles nothing, in none of them: killed at any moment,
//! with other collections, other filters, and in the place of streams of their own.

use std::time::Duration;

use bson::doc;
use serde_json::Value;

use crate::harness::ledger::{Ledger, Load, verify_all};
use crate::harness::rounds::{Round, at_once, rounds};
use crate::harness::scene::Scene;
use crate::harness::silt::Silt;

/// Collections with much and with little to do.
const PACES_MS: [(&str, u64); 5] = [
    ("users", 0),
    ("orders", 2),
    ("orders.eu", 10),
    ("events", 40),
    ("größe", 80),
];
const KILLS: u32 = 8;

#[test]
fn kills_of_a_shared_stream_lose_nothing_and_double_nothing() {
    at_once(rounds("SIGKILL, shared", 2, 30), 2, async |round| {
        let scene = Scene::new().await;
        survives_kills(&round, scene.with("CHECKPOINT_STORE", "mongodb")).await;
    });
}

#[test]
fn kills_of_a_shared_stream_lose_nothing_in_azurite_either() {
    at_once(
        rounds("SIGKILL, shared, Azurite", 1, 20),
        1,
        async |round| {
            let scene = Scene::new().await.on_azurite();
            survives_kills(&round, scene.with("CHECKPOINT_STORE", "lake")).await;
        },
    );
}

async fn survives_kills(round: &Round, scene: Scene) {
    let mut random = round.random();
    let scene = scene
        .with("MONGODB_COLLECTIONS", "*")
        .with("BATCH_SIZE", "3");
    let mut silt = Silt::watching(&scene.settings, &["*"]);
    let mut loads = Vec::new();
    for (collection, pause_ms) in PACES_MS {
        let pause = Duration::from_millis(pause_ms);
        loads.push(Load::of(&scene, collection, 100, pause).await);
    }
    for _ in 0..KILLS {
        for _ in 0..random.u32(1..30) {
            silt.wait_for("flushed");
        }
        // The moment is what is random here.
        std::thread::sleep(Duration::from_micros(random.u64(..20_000)));
        silt.kill();
        for (collection, _) in PACES_MS {
            scene.archived_anywhere(collection).await;
        }
        silt = Silt::watching(&scene.settings, &["*"]);
    }
    let mut ledgers = Vec::new();
    for load in loads {
        ledgers.push(load.end().await);
    }
    let ledgers: Vec<&Ledger> = ledgers.iter().collect();
    verify_all(&ledgers, &scene, silt).await;
}

#[tokio::test]
async fn a_collection_that_appears_later_is_archived_from_its_first_change() {
    let scene = Scene::new()
        .await
        .with("MONGODB_COLLECTIONS", "orders_*,/v[0-9]+/,!*_tmp");
    let silt = Silt::watching(&scene.settings, &["orders_*,/v[0-9]+/,!*_tmp"]);
    let mut ledgers = Vec::new();
    for collection in ["orders_1", "v12", "orders_tmp", "v1x"] {
        let mut ledger = Ledger::of(&scene, collection).await;
        ledger.insert(&scene, 20).await;
        ledgers.push(ledger);
    }
    verify_all(&[&ledgers[0], &ledgers[1]], &scene, silt).await;
    for other in ["orders_tmp", "v1x"] {
        assert!(!scene.lake().join(other).exists(), "{other} isn't meant");
    }
}

#[tokio::test]
async fn a_shared_stream_takes_the_place_of_single_ones_and_gives_it_back() {
    let scene = Scene::new()
        .await
        .with("MONGODB_COLLECTIONS", "users,orders")
        .with("BATCH_SIZE", "7");
    let mut users = Ledger::of(&scene, "users").await;
    let mut orders = Ledger::of(&scene, "orders").await;
    let single = scene.settings.clone();
    let shared = scene.with("STREAMS", "shared");
    for kind in [&single, &shared.settings, &single, &shared.settings] {
        let name: &[&str] = match kind.get("STREAMS") {
            Some(_) => &["users,orders"],
            None => &["users", "orders"],
        };
        let mut silt = Silt::watching(kind, name);
        users.insert(&shared, 20).await;
        silt.wait_for("flushed");
        silt.kill();
        // While none is there.
        orders.insert(&shared, 9).await;
        users.insert(&shared, 4).await;
    }
    let silt = Silt::watching(&single, &["users", "orders"]);
    verify_all(&[&users, &orders], &shared, silt).await;
}

#[tokio::test]
async fn another_filter_loses_and_doubles_nothing_of_what_it_lets_through() {
    for collections in ["users", "*"] {
        let scene = Scene::new()
            .await
            .with("MONGODB_COLLECTIONS", collections)
            .with("BATCH_SIZE", "2");
        let mut narrow = scene.settings.clone();
        narrow.insert("OPERATION_TYPES".to_owned(), "insert".to_owned());
        for (round, kind) in [&scene.settings, &narrow, &scene.settings, &narrow]
            .into_iter()
            .enumerate()
        {
            let mut silt = Silt::watching(kind, &[collections]);
            let numbers = (0..5).map(|number| (round * 5 + number) as i32);
            for number in numbers {
                let users = scene.users();
                users.insert_one(doc! { "_id": number }).await.unwrap();
                let update = doc! { "$set": { "seen": true } };
                users
                    .update_one(doc! { "_id": number }, update)
                    .await
                    .unwrap();
            }
            silt.wait_for("flushed");
            // In the middle of what it saves.
            silt.kill();
        }
        let mut silt = Silt::watching(&scene.settings, &[collections]);
        let has_all = |changes: &[Value]| {
            let is_last = |change: &Value| {
                change["operationType"] == "insert" && change["documentKey"]["_id"] == 19
            };
            changes.iter().any(is_last)
        };
        scene.flush_until_it(&mut silt, "users", has_all).await;
        silt.drain();
        let changes = scene.archived("users");
        let of = |kind: &str| {
            let is_it = |change: &&Value| change["operationType"] == kind;
            let ids = changes.iter().filter(is_it);
            ids.map(|change| change["documentKey"]["_id"].as_i64().unwrap())
                .collect::<Vec<_>>()
        };
        let all: Vec<i64> = (0..20).collect();
        assert_eq!(of("insert"), all, "every filter lets them through");
        let mut updates = of("update");
        updates.dedup();
        assert_eq!(of("update"), updates, "none twice");
        assert!(
            updates.contains(&0),
            "the first filter lets updates through"
        );
    }
}

#[tokio::test]
async fn several_databases_have_folders_of_their_own() {
    let scene = Scene::new().await;
    let other = format!("{}-other", scene.database.name());
    let databases = format!("{},{other}", scene.database.name());
    let scene = scene
        .with("MONGODB_DATABASE", &databases)
        .with("MONGODB_COLLECTIONS", "us*");
    let mut silt = Silt::watching(&scene.settings, &[&format!("{databases}.us*")]);
    for database in [scene.database.name(), &other] {
        let users = scene.client.database(database).collection("users");
        for number in 0..3 {
            users.insert_one(doc! { "_id": number }).await.unwrap();
        }
    }
    for database in [scene.database.name(), &other] {
        let folder = format!("{database}/users");
        scene.flush_until(&mut silt, &folder, 3).await;
        let archived = scene.archived(&folder);
        let is_own = |change: &Value| change["ns"]["db"] == *database;
        assert!(archived.len() == 3 && archived.iter().all(is_own));
    }
    silt.drain();
    scene.client.database(&other).drop().await.unwrap();
}

#[tokio::test]
async fn the_drop_of_a_database_is_archived_and_gone_on_behind() {
    let scene = Scene::new().await.with("MONGODB_COLLECTIONS", "*");
    let mut silt = Silt::watching(&scene.settings, &["*"]);
    scene.users().insert_one(doc! { "_id": 1 }).await.unwrap();
    scene.database.drop().await.unwrap();
    scene.users().insert_one(doc! { "_id": 2 }).await.unwrap();
    scene.flush_until(&mut silt, "users", 3).await;
    scene.flush_until(&mut silt, "_database", 2).await;
    let kinds = |folder: &str| {
        let archived = scene.archived(folder);
        let kinds = archived
            .iter()
            .map(|change| change["operationType"].clone());
        kinds.collect::<Vec<_>>()
    };
    assert_eq!(kinds("users"), ["insert", "drop", "insert"]);
    assert_eq!(kinds("_database"), ["dropDatabase", "invalidate"]);
    silt.drain();
}
