//! SIGKILL at random moments loses nothing and doubles nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bson::{Document, doc};
use mongodb::Collection;
use tokio::task::JoinHandle;

use crate::harness::scene::{Scene, tokens};
use crate::harness::seed;
use crate::harness::silt::Silt;

/// Kills in one run.
const KILLS: u32 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn kills_under_load_lose_nothing_and_double_nothing() {
    for (format, compression, store) in [
        ("json", "none", "mongodb"),
        ("ndjson", "gzip", "lake"),
        ("json", "gzip", "mongodb"),
    ] {
        let scene = Scene::new()
            .await
            .with("OUTPUT_FORMAT", format)
            .with("COMPRESSION", compression)
            .with("CHECKPOINT_STORE", store);
        survives_kills(scene).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_under_load_lose_nothing_in_azurite_either() {
    survives_kills(Scene::new().await.on_azurite()).await;
    let lake = Scene::new()
        .await
        .on_azurite()
        .with("CHECKPOINT_STORE", "lake");
    survives_kills(
        lake.with("OUTPUT_FORMAT", "ndjson")
            .with("COMPRESSION", "gzip"),
    )
    .await;
}

/// Kills silt again and again while documents are inserted, then compares the lake with the stream.
async fn survives_kills(scene: Scene) {
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let scene = scene.with("BATCH_SIZE", "3");
    let mut witness = scene.witness("users").await;
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let load = Load::begin(scene.users());
    for _ in 0..KILLS {
        // Behind a random one of the next flushes. What is under way then is a matter of chance.
        for _ in 0..random.u32(1..12) {
            silt.wait_for("flushed");
        }
        silt.kill();
        silt = Silt::watching(&scene.settings, &["users"]);
    }
    let written = load.end().await;
    let expected = witness.tokens(written).await;
    scene.flush_until(&mut silt, "users", written).await;
    silt.drain();
    let archived = tokens(&scene.archived_anywhere("users").await);
    assert_eq!(archived, expected, "seed {seed}");
}

/// Inserts, one after another, until it is ended.
struct Load {
    stop: Arc<AtomicBool>,
    task: JoinHandle<usize>,
}

impl Load {
    fn begin(collection: Collection<Document>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn({
            let stop = Arc::clone(&stop);
            async move {
                let mut written = 0;
                while !stop.load(Ordering::Relaxed) {
                    collection
                        .insert_one(doc! { "number": written as i64 })
                        .await
                        .unwrap();
                    written += 1;
                }
                written
            }
        });
        Self { stop, task }
    }

    /// Ends it and returns how many documents it inserted.
    async fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}
