//! SIGKILL at random moments loses nothing and doubles nothing.

use std::time::Duration;

use crate::harness::ledger::Load;
use crate::harness::rounds::{Round, rounds};
use crate::harness::scene::Scene;
use crate::harness::silt::Silt;

/// Kills in one round.
const KILLS: u32 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn kills_under_load_lose_nothing_and_double_nothing() {
    for round in rounds("SIGKILL, local lake", 3, 30) {
        let (format, compression, store) = [
            ("json", "none", "mongodb"),
            ("ndjson", "gzip", "lake"),
            ("json", "gzip", "mongodb"),
        ][round.number as usize % 3];
        let scene = Scene::new()
            .await
            .with("OUTPUT_FORMAT", format)
            .with("COMPRESSION", compression)
            .with("CHECKPOINT_STORE", store);
        survives_kills(&round, scene).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_under_load_lose_nothing_in_azurite_either() {
    for round in rounds("SIGKILL, Azurite", 2, 20) {
        let (format, compression, store) =
            [("json", "none", "mongodb"), ("ndjson", "gzip", "lake")][round.number as usize % 2];
        let scene = Scene::new()
            .await
            .on_azurite()
            .with("OUTPUT_FORMAT", format)
            .with("COMPRESSION", compression)
            .with("CHECKPOINT_STORE", store);
        survives_kills(&round, scene).await;
    }
}

/// Kills silt again and again under load, then compares the lake with the stream.
async fn survives_kills(round: &Round, scene: Scene) {
    let mut random = round.random();
    let scene = scene.with("BATCH_SIZE", "3");
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let load = Load::begin(&scene, Duration::ZERO).await;
    for _ in 0..KILLS {
        // Behind a random one of the next flushes. What is under way then is a matter of chance.
        for _ in 0..random.u32(1..12) {
            silt.wait_for("flushed");
        }
        silt.kill();
        silt = Silt::watching(&scene.settings, &["users"]);
    }
    load.end().await.verify(&scene, silt).await;
}
