//! A thousand flushes in an hour, by schedule, size and signal at once, are one file with every change once.
//!
//! What the file says of itself tells how many flushes made it; silt's own log doesn't count here.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::harness::at_once;
use crate::harness::ledger::Load;
use crate::harness::scene::Scene;
use crate::harness::silt::{Signal, Silt};

const FLUSHES: u64 = 1000;

#[test]
fn a_thousand_flushes_of_an_hour_are_one_file() {
    at_once([false, true], async |is_azurite| {
        let scene = Scene::new().await;
        let scene = if is_azurite {
            scene.on_azurite()
        } else {
            scene
        };
        flush_often(scene).await;
    });
}

/// Flushes until the hour's files tell of enough flushes, by each of the three kinds.
async fn flush_often(scene: Scene) {
    let scene = scene
        .with("DUMP_SCHEDULE", "* * * * * *")
        .with("BATCH_SIZE", "2");
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let load = Load::of(&scene, "users", 10, Duration::ZERO).await;
    let mut flushed: BTreeMap<String, u64> = BTreeMap::new();
    while !is_enough(&scene, &flushed).await {
        for _ in 0..20 {
            let line = silt.wait_for("flushed");
            let reason = line["reason"].as_str().unwrap();
            *flushed.entry(reason.to_owned()).or_default() += 1;
            silt.signal(Signal::USR1);
        }
        assert!(flushed.values().sum::<u64>() < 10 * FLUSHES, "{flushed:?}");
    }
    let load = load.end().await;
    load.verify(&scene, silt).await;
    let commits: u64 = files(&scene).await.values().sum();
    assert!(commits >= FLUSHES, "{commits}");
    assert_one_file_an_hour(&scene).await;
}

/// Whether there were enough flushes, and some of each kind among them.
async fn is_enough(scene: &Scene, flushed: &BTreeMap<String, u64>) -> bool {
    let all: u64 = flushed.values().sum();
    let each_kind = ["cron", "count", "signal"].map(|reason| flushed.contains_key(reason));
    // The files are read only when it is worth it.
    each_kind == [true; 3] && all >= FLUSHES && files(scene).await.values().sum::<u64>() >= FLUSHES
}

/// The files, and how many commits each tells of.
async fn files(scene: &Scene) -> BTreeMap<String, u64> {
    let files = scene.contents("users").await;
    let commits = |bytes: &[u8]| {
        let document: Value = serde_json::from_slice(bytes).unwrap();
        document["metadata"]["commits"].as_u64().unwrap()
    };
    files
        .iter()
        .map(|(name, bytes)| (name.clone(), commits(bytes)))
        .collect()
}

/// The hour may turn while the test runs.
async fn assert_one_file_an_hour(scene: &Scene) {
    let hour = |change: &Value| {
        let seconds = change["clusterTime"]["$timestamp"]["t"].as_i64().unwrap();
        let time = chrono::DateTime::from_timestamp(seconds, 0).unwrap();
        time.format("%Y-%m-%d-%H.json").to_string()
    };
    let archived = scene.archived_anywhere("users").await;
    let mut hours: Vec<String> = archived.iter().map(hour).collect();
    hours.dedup();
    let files: Vec<String> = files(scene).await.into_keys().collect();
    assert_eq!(files, hours);
}
