//! What the checkpoint of one stream over many collections adds to the oplog.

use std::time::Duration;

use bson::{Document, Timestamp, doc};
use futures::TryStreamExt as _;
use mongodb::Database;
use mongodb::options::{CollectionOptions, WriteConcern};
use tokio::time::{Instant, interval, sleep};

use crate::documents::order;
use crate::harness::ledger::operation_time;
use crate::harness::scene::Scene;
use crate::harness::silt::Silt;
use crate::load::as_asked;
use crate::table::Row;

const COLLECTIONS: u32 = 2000;
const DOCUMENT_BYTES: usize = 767;
const WRITERS: u32 = 32;
const PAUSE_OF_A_WRITER: Duration = Duration::from_micros(1_000_000 * WRITERS as u64 / 880);
/// One flush, after which each collection has a file.
const SETTLED: Duration = Duration::from_secs(45);
/// Six flushes.
const WATCHED: Duration = Duration::from_secs(120);

pub async fn measure() -> Vec<Row> {
    let scene = Scene::new()
        .await
        .with("MONGODB_COLLECTIONS", "*")
        .with("STREAMS", "shared")
        .with("DUMP_SCHEDULE", "*/20 * * * * *")
        .with("SHUTDOWN_TIMEOUT_SECONDS", "300");
    let scene = as_asked(scene);
    for number in 0..COLLECTIONS {
        let name = name(number);
        scene.database.create_collection(name).await.unwrap();
    }
    let silt = Silt::watching(&scene.settings, &["*"]);
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| tokio::spawn(write(scene.database.clone(), number)))
        .collect();
    sleep(SETTLED).await;
    let (since, begun) = (operation_time(&scene.client).await, Instant::now());
    sleep(WATCHED).await;
    let (until, seconds) = (
        operation_time(&scene.client).await,
        begun.elapsed().as_secs_f64(),
    );
    for writer in writers {
        writer.abort();
    }
    let [saves, changes] = oplog(&scene, since, until).await;
    silt.drain();
    let percent = 100.0 * saves.bytes / (saves.bytes + changes.bytes);
    let detail = format!(
        " ({:.0} changes/s; {:.1} saves/s of {:.0} bytes each)",
        changes.entries / seconds,
        saves.entries / seconds,
        saves.bytes / saves.entries,
    );
    let figure = format!("saves of the position, of the oplog's bytes, {COLLECTIONS} collections");
    vec![Row::at_most(&figure, 3.0, " %", percent, &detail)]
}

fn name(number: u32) -> String {
    format!("orders_{number:04}")
}

/// Inserts orders into random collections, at an even rate.
async fn write(database: Database, writer: u32) {
    let mut random = fastrand::Rng::with_seed(writer.into());
    let mut pace = interval(PAUSE_OF_A_WRITER);
    // Without a wait for the journal, which would limit the rate.
    let options = CollectionOptions::builder()
        .write_concern(WriteConcern::nodes(1))
        .build();
    for number in (writer..).step_by(WRITERS as usize) {
        pace.tick().await;
        let mut document = order(number);
        document.insert("padding", "");
        let len_bytes = bson::serialize_to_vec(&document).unwrap().len();
        document.insert("padding", "x".repeat(DOCUMENT_BYTES - len_bytes));
        let name = name(random.u32(..COLLECTIONS));
        let target = database.collection_with_options::<Document>(&name, options.clone());
        target.insert_one(document).await.unwrap();
    }
}

struct Part {
    entries: f64,
    bytes: f64,
}

/// The oplog's entries for checkpoints, and all others.
async fn oplog(scene: &Scene, since: Timestamp, until: Timestamp) -> [Part; 2] {
    let namespace = scene.checkpoints().namespace().to_string();
    let local = scene.client.database("local");
    let stages = [
        doc! { "$match": { "ts": { "$gt": since, "$lte": until } } },
        doc! { "$group": {
            "_id": { "$eq": ["$ns", namespace] },
            "entries": { "$sum": 1.0 },
            "bytes": { "$sum": { "$toDouble": { "$bsonSize": "$$ROOT" } } },
        } },
        doc! { "$sort": { "_id": -1 } },
    ];
    let oplog = local.collection::<Document>("oplog.rs");
    let parts: Vec<Document> = oplog
        .aggregate(stages)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let parts: Vec<Part> = parts
        .iter()
        .map(|part| Part {
            entries: part.get_f64("entries").unwrap(),
            bytes: part.get_f64("bytes").unwrap(),
        })
        .collect();
    parts.try_into().ok().expect("saves and changes")
}
