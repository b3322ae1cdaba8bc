//! What `silt check` says of a collection's newest file: what a feed would halt on.

use bson::doc;
use silt::lake::{Lake as _, LakePath};

use super::{checks, expect, row};
use crate::harness::scene::{Scene, insert};
use crate::harness::silt::Silt;

const WHAT: &str = "users newest file";

/// Scenes with three changes in the lake, and a checkpoint that knows of them.
async fn archived() -> [Scene; 2] {
    let scenes = [Scene::new().await, Scene::new().await.on_azurite()];
    for scene in &scenes {
        let mut silt = Silt::watching(&scene.settings, &["users"]);
        insert(&scene.users(), 0..3).await;
        scene.flush_until(&mut silt, "users", 3).await;
        silt.drain();
        expect(&row(&checks(scene, 0, &[]), WHAT), &["ok", ", up to 20"]);
    }
    scenes
}

/// Puts a file beside the collection's.
async fn put(scene: &Scene, name: &str, bytes: &[u8]) {
    if scene.settings.contains_key("LAKE_URL") {
        std::fs::write(scene.lake().join("users").join(name), bytes).unwrap();
        return;
    }
    let (folder, name) = ("users".to_owned(), name.to_owned());
    let path = LakePath { folder, name };
    scene
        .azurite()
        .put(&path, None, bytes.to_vec())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_damaged_one_and_one_of_another_database_fail() {
    for scene in archived().await {
        put(&scene, "2099-01-01-00.json", b"{\"half\":").await;
        let output = checks(&scene, 1, &["silt can't run"]);
        expect(&row(&output, WHAT), &["FAIL", "users/2099-01-01-00.json: "]);
    }
    for scene in archived().await {
        let scene = scene.with("MONGODB_DATABASE", "another");
        let output = checks(&scene, 1, &[]);
        expect(&row(&output, WHAT), &["FAIL", scene.database.name()]);
    }
}

#[tokio::test]
async fn one_that_is_older_than_the_checkpoint_fails_and_none_is_fine() {
    for scene in archived().await {
        let mut last_change = scene.last_change().await;
        last_change.insert("token", doc! { "_data": "8299" });
        last_change.insert(
            "cluster_time",
            bson::Timestamp {
                time: 4_000_000_000,
                increment: 1,
            },
        );
        scene
            .checkpoints()
            .update_one(
                doc! {},
                doc! { "$set": { format!("collections.{}.last_change", scene.watermark_name()): last_change } },
            )
            .await
            .unwrap();
        let output = checks(&scene, 1, &[]);
        expect(
            &row(&output, WHAT),
            &["FAIL", "the lake is older than its checkpoint"],
        );

        // Where no checkpoint is, it goes on from the file.
        scene.checkpoints().delete_many(doc! {}).await.unwrap();
        let output = checks(&scene, 0, &[]);
        expect(
            &row(&output, "users checkpoint"),
            &["ok", "none yet: starts after the last change in the lake"],
        );
        let scene = scene.with("MONGODB_COLLECTIONS", "others");
        expect(
            &row(&checks(&scene, 0, &[]), "others newest file"),
            &["ok", "none"],
        );
    }
}
