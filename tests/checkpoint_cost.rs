//! What a save of a shared stream's checkpoint costs: by what changed since the last save, not by how many collections
//! there are.

use bson::{Bson, Document, Timestamp, doc};
use futures::TryStreamExt as _;

use crate::harness::ledger::operation_time;
use crate::harness::scene::Scene;
use crate::harness::silt::{Signal, Silt};

/// Collections of a stream whose checkpoint has marks of all, and of one whose checkpoint has not.
const COLLECTIONS: [usize; 2] = [60, 300];
/// How many of them change.
const CHANGING: usize = 3;
/// What a save may cost, and what each collection that has changed may add.
const SAVE_BYTES: i32 = 1024;
const COLLECTION_BYTES: i32 = 300;

fn name(number: usize) -> String {
    format!("collection_{number:03}")
}

async fn change(scene: &Scene, collections: usize) {
    for number in 0..collections {
        let collection = scene.database.collection(&name(number));
        collection.insert_one(doc! {}).await.unwrap();
    }
}

/// Archives a change of each of the first collections, with a flush of its own for the position and one at the drain.
async fn archive(scene: &Scene, collections: usize) {
    let mut silt = Silt::watching(&scene.settings, &["*"]);
    change(scene, collections).await;
    let mut read = 0;
    while read < collections as u64 {
        read += silt.wait_for("read")["changes"].as_u64().unwrap();
    }
    silt.signal(Signal::USR1);
    silt.wait_for_flushed(&name(0), 1);
    silt.drain();
}

/// The oplog's entries for the checkpoints since a time.
async fn saves(scene: &Scene, since: Timestamp) -> Vec<Document> {
    let namespace = scene.checkpoints().namespace().to_string();
    let oplog = scene
        .client
        .database("local")
        .collection::<Document>("oplog.rs");
    let stages = [
        doc! { "$match": { "ts": { "$gt": since }, "ns": namespace } },
        doc! { "$project": { "o": 1, "size": { "$bsonSize": "$$ROOT" } } },
    ];
    let found = oplog.aggregate(stages).await.unwrap();
    found.try_collect().await.unwrap()
}

#[tokio::test]
async fn a_save_costs_what_changed_since_the_last() {
    for collections in COLLECTIONS {
        let scene = Scene::new()
            .await
            .with("MONGODB_COLLECTIONS", "*")
            .with("STREAMS", "shared")
            .with("LOG_LEVEL", "debug");
        archive(&scene, collections).await;
        let since = operation_time(&scene.client).await;
        archive(&scene, CHANGING).await;
        let saves = saves(&scene, since).await;
        assert!(!saves.is_empty());
        for save in &saves {
            let size = save.get_i32("size").unwrap();
            let limit = SAVE_BYTES + CHANGING as i32 * COLLECTION_BYTES;
            assert!(
                size <= limit,
                "{collections} collections: {size} bytes: {save}"
            );
        }
    }
}

#[tokio::test]
async fn a_checkpoint_of_many_collections_omits_those_that_its_position_has_passed() {
    for store in ["mongodb", "lake"] {
        for collections in COLLECTIONS {
            let scene = Scene::new()
                .await
                .with("MONGODB_COLLECTIONS", "*")
                .with("STREAMS", "shared")
                .with("LOG_LEVEL", "debug")
                .with("CHECKPOINT_STORE", store);
            archive(&scene, collections).await;
            let watermarks = stored_watermarks(&scene, store).await;
            // The newest change stays, for the record of a gap.
            let expected = if collections > 100 { 1 } else { collections };
            assert_eq!(watermarks, expected, "{store}");
            // What it omits it doesn't need: nothing is archived twice.
            archive(&scene, CHANGING).await;
            for number in 0..collections {
                let changes = scene.archived(&name(number)).len();
                assert_eq!(changes, if number < CHANGING { 2 } else { 1 });
            }
        }
    }
}

async fn stored_watermarks(scene: &Scene, store: &str) -> usize {
    if store == "mongodb" {
        let stored = scene
            .checkpoints()
            .find_one(doc! {})
            .await
            .unwrap()
            .unwrap();
        return match stored.get("collections") {
            Some(Bson::Document(watermarks)) => watermarks.len(),
            other => panic!("{other:?}"),
        };
    }
    let folder = scene.lake().join("_silt/checkpoints");
    let mut files = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let file = files.find(|path| path.extension().is_some_and(|it| it == "json"));
    let stored = std::fs::read(file.unwrap()).unwrap();
    let stored: serde_json::Value = serde_json::from_slice(&stored).unwrap();
    stored["collections"].as_object().unwrap().len()
}
