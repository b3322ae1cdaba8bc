//! Closed hours: each record says what the files say, as a program without silt recomputes it.

use std::path::{Path, PathBuf};

use futures::TryStreamExt as _;
use serde_json::Value;
use silt::lake::{Lake, Walked};

use crate::harness::hours::turn_hour;
use crate::harness::scene::{Scene, insert};
use crate::harness::servers::Server;
use crate::harness::silt::Silt;
use crate::harness::{at_once, python};

const RECOMPUTE: &str = include_str!("recompute.py");

/// Settings with which a position is saved soon.
fn quick(scene: Scene) -> Scene {
    scene
        .with("IDLE_CHECKPOINT_SECONDS", "1")
        .with("RETRY_DELAY_MS", "100")
        .with("LOG_LEVEL", "debug")
}

/// What the records of a collection say, after they were recomputed from the files.
async fn recomputed(scene: &Scene, collection: &str) -> Value {
    let copy = tempfile::tempdir().unwrap();
    let lake = local_copy(scene, copy.path()).await;
    let folder = lake.join(collection);
    serde_json::from_str(&python(RECOMPUTE, &[folder.to_str().unwrap()])).unwrap()
}

/// The lake as a folder.
async fn local_copy(scene: &Scene, copy: &Path) -> PathBuf {
    if scene.settings.contains_key("LAKE_URL") {
        return scene.lake();
    }
    let lake = scene.azurite();
    let mut walked = lake.walk("");
    while let Some(walked) = walked.try_next().await.unwrap() {
        let Walked::File(file) = walked else { continue };
        // Azurite may list what has blocks and was never committed.
        let Some(object) = lake.get(&file.path).await.unwrap() else {
            continue;
        };
        let folder = copy.join(&file.path.folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(&file.path.name), object.bytes).unwrap();
    }
    copy.to_owned()
}

/// Waits until closed hours hold so many changes since the start.
fn wait_for_closed(silt: &mut Silt, changes: u64) {
    silt.searched = 0;
    let mut closed = 0;
    while closed < changes {
        let line = silt.wait_for("closed an hour");
        closed += line["changes"].as_u64().unwrap();
    }
    wait_for_latest(silt);
}

/// Waits until `latest.json` names the record that was written last.
fn wait_for_latest(silt: &mut Silt) {
    let hours = silt
        .log
        .iter()
        .filter(|line| line["message"] == "closed an hour");
    let newest = hours.filter_map(|line| line["hour"].as_str()).max();
    let record = format!("{}.json", newest.unwrap());
    silt.searched = 0;
    silt.wait_where("latest.json", |line| {
        line["message"] == "moved latest.json on" && line["record"].as_str() >= Some(&record)
    });
}

#[test]
fn each_hour_is_closed_once_its_end_has_passed() {
    let mongod = Server::mongod();
    let cases = [
        ("json", "none", "local"),
        ("json", "gzip", "azurite"),
        ("ndjson", "none", "azurite"),
        ("ndjson", "gzip", "local"),
    ];
    at_once(cases, async |(format, compression, lake)| {
        let scene = quick(Scene::on(&mongod.uri()).await)
            .with("OUTPUT_FORMAT", format)
            .with("COMPRESSION", compression)
            .with("BATCH_SIZE", "7")
            .with("MAX_FILE_COMMITS", "2");
        let scene = match lake {
            "local" => scene,
            _ => scene.on_azurite(),
        };
        let mut silt = Silt::watching(&scene.settings, &["users"]);
        for turn in 0..3 {
            insert(&scene.users(), turn * 40..turn * 40 + 40).await;
            turn_hour(&scene.client, 0).await;
        }
        insert(&scene.users(), 120..121).await;
        scene.flush_until(&mut silt, "users", 121).await;
        wait_for_closed(&mut silt, 120);
        silt.drain();
        let found = recomputed(&scene, "users").await;
        // Other scenes turn the same server's hour: that of the last change may be closed as well.
        assert!((120..=121).contains(&found["changes"].as_u64().unwrap()));
        let settings = &found["records"][0]["settings"];
        assert_eq!(settings["full_document"], "updateLookup");
        assert_eq!(settings["filters"], Value::Array(Vec::new()));
    });
}
