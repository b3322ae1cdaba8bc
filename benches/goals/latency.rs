//! From a change to its durable commit, one change a second.

use std::time::{Duration, Instant};

use bson::doc;
use mongodb::options::{CollectionOptions, WriteConcern};

use crate::documents::order;
use crate::harness::scene::{Scene, hour_files};
use crate::harness::silt::Silt;
use crate::table::{Row, median};

const CHANGES: u32 = 40;
const PAUSE: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_micros(100);

pub async fn measure() -> Vec<Row> {
    let scene = Scene::new().await.with("BATCH_SIZE", "1");
    let options = CollectionOptions::builder()
        .write_concern(WriteConcern::majority())
        .build();
    let users = scene
        .database
        .collection_with_options::<bson::Document>("users", options);
    let silt = Silt::watching(&scene.settings, &["users"]);
    let folder = scene.lake().join("users");
    // The first makes the folder and the file.
    users.insert_one(doc! { "first": true }).await.unwrap();
    let mut len_bytes = 0;
    wait_for_growth(&folder, &mut len_bytes);
    let mut latencies_ms = Vec::new();
    for number in 0..CHANGES {
        tokio::time::sleep(PAUSE).await;
        let begun = Instant::now();
        users.insert_one(order(number)).await.unwrap();
        wait_for_growth(&folder, &mut len_bytes);
        latencies_ms.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    silt.drain();
    let worst = latencies_ms.iter().copied().fold(0.0, f64::max);
    let median = median(latencies_ms);
    let detail = format!(" (worst of {CHANGES}: {worst:.0} ms)");
    vec![Row::at_most(
        "from a change to its durable commit, 1 change/s, median",
        20.0,
        " ms",
        median,
        &detail,
    )]
}

/// Waits until the lake shows more than it did. A commit is shown when it is durable, not before.
fn wait_for_growth(folder: &std::path::Path, len_bytes: &mut u64) {
    loop {
        let lens = hour_files(folder)
            .into_iter()
            .map(|path| path.metadata().map_or(0, |it| it.len()));
        let now = lens.sum();
        if now > *len_bytes {
            *len_bytes = now;
            return;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}
