//! SIGKILL at random moments, and at the steps of a local commit, loses nothing and doubles nothing.
//! After each kill, before anything is started again, every file is whole.

use std::time::Duration;

use crate::harness::folder::{FolderWatch, Step};
use crate::harness::ledger::Load;
use crate::harness::rounds::{Round, at_once, rounds};
use crate::harness::scene::Scene;
use crate::harness::silt::Silt;

/// Kills in one round.
const KILLS: u32 = 12;
/// Formats, compressions and stores of the checkpoint.
const KINDS: [(&str, &str, &str); 4] = [
    ("json", "none", "mongodb"),
    ("ndjson", "gzip", "lake"),
    ("json", "gzip", "mongodb"),
    ("ndjson", "none", "lake"),
];

#[test]
fn kills_under_load_lose_nothing_and_double_nothing() {
    at_once(rounds("SIGKILL, local lake", 3, 30), 2, async |round| {
        let scene = of_a_kind(Scene::new().await, &round);
        survives_kills(&round, scene).await;
    });
}

#[test]
fn kills_under_load_lose_nothing_in_azurite_either() {
    at_once(rounds("SIGKILL, Azurite", 2, 20), 2, async |round| {
        let scene = of_a_kind(Scene::new().await.on_azurite(), &round);
        survives_kills(&round, scene).await;
    });
}

fn of_a_kind(scene: Scene, round: &Round) -> Scene {
    let (format, compression, store) = KINDS[round.number as usize % KINDS.len()];
    scene
        .with("OUTPUT_FORMAT", format)
        .with("COMPRESSION", compression)
        .with("CHECKPOINT_STORE", store)
}

/// Kills silt again and again under load, then compares the lake with the stream.
async fn survives_kills(round: &Round, scene: Scene) {
    let mut random = round.random();
    let scene = scene.with("BATCH_SIZE", "3");
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let load = Load::begin(&scene, Duration::ZERO).await;
    for _ in 0..KILLS {
        // Behind a random one of the next flushes, and a bit: the moment is what is random here.
        for _ in 0..random.u32(1..12) {
            silt.wait_for("flushed");
        }
        std::thread::sleep(Duration::from_micros(random.u64(..20_000)));
        silt.kill();
        scene.archived_anywhere("users").await;
        silt = Silt::watching(&scene.settings, &["users"]);
    }
    load.end().await.verify(&scene, silt).await;
}

/// A hidden file is created, written, and takes its name: a commit's, and a checkpoint's.
#[test]
fn kills_at_the_steps_of_a_local_commit_lose_nothing() {
    at_once(rounds("SIGKILL, local steps", 2, 20), 2, async |round| {
        let mut random = round.random();
        let scene = of_a_kind(Scene::new().await, &round)
            .with("CHECKPOINT_STORE", "lake")
            .with("BATCH_SIZE", "3");
        let mut silt = Silt::watching(&scene.settings, &["users"]);
        let load = Load::begin(&scene, Duration::ZERO).await;
        silt.wait_for("flushed");
        for folder in ["users", "_silt/checkpoints"] {
            let mut steps = [Step::Created, Step::Written, Step::Published].repeat(2);
            random.shuffle(&mut steps);
            for step in steps {
                let mut watch = FolderWatch::new(&scene.lake(), folder);
                for _ in 0..random.u32(1..5) {
                    watch.wait_for(step);
                }
                silt.kill();
                scene.archived_anywhere("users").await;
                silt = Silt::watching(&scene.settings, &["users"]);
            }
        }
        load.end().await.verify(&scene, silt).await;
        // Each start has swept what the killed one left.
        for (folder, expected) in [("users", 0), ("_silt/.hidden/users", 1)] {
            let names = std::fs::read_dir(scene.lake().join(folder)).unwrap();
            let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let hidden: Vec<_> = names.filter(|name| name.starts_with('.')).collect();
            assert_eq!(hidden.len(), expected, "{folder}: {hidden:?}");
            assert!(hidden.iter().all(|name| name == ".silt.lock"), "{hidden:?}");
        }
    });
}
