//! A snapshot and the changes after its position add up to the collection, whatever is written and interrupted
//! meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bson::oid::ObjectId;
use bson::{Bson, DateTime, Decimal128, Document, RawDocumentBuf, Timestamp, doc};
use mongodb::Collection;
use serde_json::Value;
use silt::snapshot::State;
use tokio::task::JoinHandle;

use super::world::{Snapshot, World, moment, raw, timestamp};
use crate::harness::python;
use crate::harness::rounds::{Round, at_once, rounds};
use crate::harness::scene::{Scene, insert};
use crate::harness::silt::{Signal, Silt, WAIT_LIMIT};

/// Enough for four ranges.
const DOCUMENTS: u32 = 5_000;
/// The writers' numbers reach beyond what is there at first.
const NUMBERS: u32 = 5_500;
const WRITERS: u64 = 3;
const CRASHES: u32 = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// An `_id` of one of ten types.
fn id(number: u32) -> Bson {
    match number % 10 {
        0 => (number as i32).into(),
        1 => i64::from(number).into(),
        2 => (f64::from(number) + 0.5).into(),
        3 => format!("text {number}").into(),
        4 => doc! { "a": number as i32, "b": "x" }.into(),
        5 => DateTime::from_millis(i64::from(number) * 1000).into(),
        6 => Bson::Decimal128(format!("{number}.25").parse::<Decimal128>().unwrap()),
        7 => Bson::Binary(bson::Binary {
            subtype: bson::spec::BinarySubtype::Generic,
            bytes: number.to_be_bytes().to_vec(),
        }),
        8 => Timestamp {
            time: number,
            increment: 1,
        }
        .into(),
        _ => {
            let mut bytes = [0; 12];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            ObjectId::from_bytes(bytes).into()
        }
    }
}

fn document(id: Bson, random: &mut fastrand::Rng) -> Document {
    let len = random.usize(1..200);
    let text: String = std::iter::repeat_with(|| random.alphanumeric())
        .take(len)
        .collect();
    doc! { "_id": id, "n": random.i32(..), "l": random.i64(..), "d": random.f64(), "text": text }
}

async fn preload(users: &Collection<Document>, random: &mut fastrand::Rng) {
    let mut documents: Vec<Document> = (0..DOCUMENTS)
        .map(|number| document(id(number), random))
        .collect();
    documents.push(document(Bson::MinKey, random));
    documents.push(document(Bson::MaxKey, random));
    documents.push(document(Bson::Null, random));
    random.shuffle(&mut documents);
    for some in documents.chunks(2_000) {
        users.insert_many(some).await.unwrap();
    }
}

/// Writes as fast as possible until it is stopped. Returns the number of writes.
async fn write(users: Collection<Document>, seed: u64, stop: Arc<AtomicBool>) -> u32 {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut writes = 0;
    while !stop.load(Ordering::Relaxed) {
        let id = id(random.u32(..NUMBERS));
        let filter = doc! { "_id": id.clone() };
        match random.u8(..4) {
            0 => {
                // It may exist already.
                let _ = users.insert_one(document(id, &mut random)).await;
            }
            1 => {
                let update =
                    doc! { "$set": { "n": random.i32(..), "new": "field" }, "$inc": { "l": 1 } };
                users.update_one(filter, update).await.unwrap();
            }
            2 => {
                let replacement = document(id, &mut random);
                users.replace_one(filter, replacement).await.unwrap();
            }
            _ => {
                users.delete_one(filter).await.unwrap();
            }
        }
        writes += 1;
    }
    writes
}

/// Flushes until a final marker change is archived, and returns all changes.
async fn archived(world: &World, silt: &mut Silt) -> Vec<Value> {
    insert(&world.users(), -1..0).await;
    let begun = Instant::now();
    loop {
        silt.signal(Signal::USR1);
        silt.wait_for("flushing all collections on SIGUSR1");
        let changes = world.scene.archived_anywhere("users").await;
        let last = changes
            .last()
            .map(|change| &change["fullDocument"]["number"]);
        if last.is_some_and(|number| *number == serde_json::json!({ "$numberInt": "-1" })) {
            return changes;
        }
        assert!(begun.elapsed() < WAIT_LIMIT, "{}", silt.text());
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// The procedure of docs/snapshots.md.
async fn rebuild(into: &Collection<Document>, snapshot: &Snapshot, changes: &[Value]) -> usize {
    let as_it_was = into.clone_with_type::<RawDocumentBuf>();
    for some in snapshot.documents.chunks(2_000) {
        as_it_was.insert_many(some).await.unwrap();
    }
    let later = changes
        .iter()
        .filter(|change| timestamp(&change["clusterTime"]) >= snapshot.position);
    let mut applied = 0;
    for change in later {
        let change = Document::try_from(raw(change)).unwrap();
        let key = change.get_document("documentKey").unwrap().clone();
        match change.get_str("operationType").unwrap() {
            "insert" | "replace" | "update" => {
                // It is null if the document was deleted before the server looked it up: the deletion follows.
                if let Ok(document) = change.get_document("fullDocument") {
                    into.replace_one(key, document).upsert(true).await.unwrap();
                }
            }
            "delete" => {
                into.delete_one(key).await.unwrap();
            }
            other => panic!("{other}"),
        }
        applied += 1;
    }
    applied
}

/// The server's own digest of every document of these collections.
async fn digests(scene: &Scene, collections: [&str; 2]) -> [String; 2] {
    let command = doc! { "dbHash": 1, "collections": collections.to_vec() };
    let answer = scene.database.run_command(command).await.unwrap();
    let all = answer.get_document("collections").unwrap();
    collections.map(|name| all.get_str(name).unwrap().to_owned())
}

async fn world(round: &Round) -> World {
    let formats = [
        ("json", "none"),
        ("ndjson", "gzip"),
        ("json", "gzip"),
        ("ndjson", "none"),
    ];
    let (output, compression) = formats[round.number as usize / 2 % 4];
    let scene = Scene::new()
        .await
        .with("JSON_MODE", "canonical")
        .with("OUTPUT_FORMAT", output)
        .with("COMPRESSION", compression);
    let scene = if round.number.is_multiple_of(2) {
        scene.on_azurite()
    } else {
        scene
    };
    let extension = match compression {
        "gzip" => format!("{output}.gz"),
        _ => output.to_owned(),
    };
    let world = World::of(scene).await.with_format(&extension);
    let mut world = world.with_small_parts(20_000, 100_000);
    // Long enough for all crashes.
    world.settings.rate_limit_bytes = Some(300_000);
    world
}

/// Writers that run until they are stopped.
struct Writers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<u32>>,
}

impl Writers {
    fn begin(world: &World, random: &mut fastrand::Rng) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let begin = |_| tokio::spawn(write(world.users(), random.u64(..), Arc::clone(&stop)));
        let tasks = (0..WRITERS).map(begin).collect();
        Self { stop, tasks }
    }

    async fn end(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        let mut writes = 0;
        for task in self.tasks {
            writes += task.await.unwrap();
        }
        writes
    }
}

/// Rebuilds the collection from the lake and compares every document.
async fn compare(world: &World, mut silt: Silt, writes: u32) -> Snapshot {
    let changes = archived(world, &mut silt).await;
    silt.drain();
    let snapshot = world.snapshot().await;
    snapshot.sorted_keys();
    assert!(snapshot.parts.len() > 4, "{}", snapshot.parts.len());
    let rebuilt = world.scene.database.collection("rebuilt");
    let applied = rebuild(&rebuilt, &snapshot, &changes).await;
    assert!(applied > 100, "{applied} changes of {writes} writes");
    let [users, rebuilt] = digests(&world.scene, ["users", "rebuilt"]).await;
    assert_eq!(users, rebuilt, "after {applied} changes of {writes} writes");
    if world.scene.settings.contains_key("LAKE_URL") {
        // The same with docs/rebuild.py.
        let recipe = include_str!("../../docs/rebuild.py");
        let folder = world.scene.lake().join("users");
        let (folder, database) = (folder.to_str().unwrap(), world.scene.database.name());
        python(
            recipe,
            &[folder, &world.scene.direct_uri, database, "by_recipe"],
        );
        let [users, rebuilt] = digests(&world.scene, ["users", "by_recipe"]).await;
        assert_eq!(users, rebuilt, "by docs/rebuild.py");
    }
    snapshot
}

#[test]
fn a_collection_is_rebuilt_after_writes_during_an_interrupted_snapshot() {
    at_once(
        rounds("snapshots are interrupted", 4, 40),
        2,
        async |round| {
            let mut random = round.random();
            let world = world(&round).await;
            preload(&world.users(), &mut random).await;
            let silt = Silt::watching(&world.scene.settings, &["users"]);
            let writers = Writers::begin(&world, &mut random);
            for _ in 0..CRASHES {
                let handle = world.start();
                moment(&mut random, 0..700).await;
                drop(handle);
            }
            let handle = world.start();
            let status = world
                .until(&handle, |status| status.state == State::Done)
                .await;
            drop(handle);
            let writes = writers.end().await;
            let snapshot = compare(&world, silt, writes).await;
            assert_eq!(status.progress.documents, snapshot.documents.len() as u64);
        },
    );
}

#[test]
fn a_collection_is_rebuilt_after_silt_was_killed_during_the_snapshot() {
    at_once(
        rounds("silt is killed during a snapshot", 2, 40),
        2,
        async |round| {
            let mut random = round.random();
            let mut world = world(&round).await;
            for (name, value) in [
                ("SNAPSHOT", "initial"),
                ("SNAPSHOT_RATE_LIMIT", "300KiB"),
                ("BATCH_BYTES", "20KiB"),
                ("MAX_FILE_SIZE", "100KiB"),
            ] {
                world.scene.set(name, value);
            }
            preload(&world.users(), &mut random).await;
            let settings = world.scene.settings.clone();
            let writers = Writers::begin(&world, &mut random);
            let mut silt = Silt::watching(&settings, &["users"]);
            for _ in 0..CRASHES {
                silt.wait_where("a snapshot", |line| says(line, "snapshot "));
                moment(&mut random, 0..700).await;
                silt.restart(&settings);
            }
            silt.wait_where("its end", |line| says(line, "snapshot finished"));
            let writes = writers.end().await;
            compare(&world, silt, writes).await;
        },
    );
}

fn says(line: &Value, beginning: &str) -> bool {
    let message = line["message"].as_str();
    message.is_some_and(|message| message.starts_with(beginning))
}
