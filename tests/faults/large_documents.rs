//! Documents as large as MongoDB allows, in ten collections at once, within half a gigabyte of memory.
//!
//! All of it waits in the oplog when silt comes back, and the lake takes nothing for a while: so every
//! feed's stream brings the largest there is, and every feed holds as much as it can. The system gives the
//! process no more than that; a silt that wants more is ended by it.

use std::fs;
use std::time::{Duration, Instant};

use bson::{Document, RawDocumentBuf, doc};
use mongodb::Collection;
use mongodb::options::FullDocumentType;
use rustix::process::{Resource, Rlimit, prlimit};

use crate::harness::ledger::operation_time;
use crate::harness::python;
use crate::harness::scene::Scene;
use crate::harness::servers::Server;
use crate::harness::silt::{Pid, Signal, Silt, WAIT_LIMIT};

const COLLECTIONS: usize = 10;
const MEMORY_LIMIT_BYTES: u64 = 512 * 1024 * 1024;
/// No file of the lake may be larger while it takes nothing. A checkpoint or a lock is smaller.
const FILE_LIMIT_BYTES: u64 = 100_000;
/// An event is no larger than 16 MiB either, and holds more than the document.
const TEXT_LEN_BYTES: usize = 16 * 1024 * 1024 - 16 * 1024;
/// Changes of each collection: two documents, and an update that looks one up.
const CHANGES: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_documents_of_ten_collections_fit_into_half_a_gigabyte() {
    let mongod = Server::mongod_with(&["--oplog-mb", "2048"]);
    let names: Vec<String> = (0..COLLECTIONS)
        .map(|number| format!("large{number}"))
        .collect();
    let collections: Vec<&str> = names.iter().map(String::as_str).collect();
    let scene = Scene::on(&mongod.uri())
        .await
        .with("MONGODB_COLLECTIONS", &names.join(","))
        .with("OUTPUT_FORMAT", "ndjson");
    Silt::watching(&scene.settings, &collections).drain();
    let mut expected = Vec::new();
    for name in &names {
        expected.push(write(&scene, name).await);
    }

    let mut silt = Silt::confined(&confinement(), &scene.settings).once_watching(&collections);
    silt.wait_where("flushes fail", |line| {
        let error = line["error"].as_str().unwrap_or("");
        error.contains("File too large")
    });
    wait_until_nothing_grows(&silt);
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    prlimit(Some(silt.pid()), Resource::Fsize, unlimited).unwrap();
    wait_until_archived(&scene, &collections, &mut silt).await;
    let peak_bytes = peak_bytes(silt.pid());
    silt.drain();
    for (name, expected) in names.iter().zip(&expected) {
        assert_eq!(&archived(&scene, name), expected);
    }
    assert!(peak_bytes < MEMORY_LIMIT_BYTES, "{peak_bytes}");
}

fn confinement() -> Vec<String> {
    let limits = [
        ("--data-bytes", MEMORY_LIMIT_BYTES),
        ("--file-bytes", FILE_LIMIT_BYTES),
    ];
    let words = |(name, bytes): (&str, u64)| [name.to_owned(), bytes.to_string()];
    limits.into_iter().flat_map(words).collect()
}

/// Makes the changes of a collection. Returns what the file is to tell of them.
async fn write(scene: &Scene, name: &str) -> String {
    let collection: Collection<Document> = scene.database.collection(name);
    let since = operation_time(&scene.client).await;
    let text = "x".repeat(TEXT_LEN_BYTES);
    for number in 0..CHANGES as i64 - 1 {
        patiently(async || {
            let set = doc! { "$set": { "text": &text } };
            let written = collection.update_one(doc! { "_id": number }, set);
            written.upsert(true).await
        })
        .await;
    }
    patiently(async || {
        let set = doc! { "$set": { "seen": true } };
        collection.update_one(doc! { "_id": 0_i64 }, set).await
    })
    .await;
    let watch = collection
        .watch()
        .full_document(FullDocumentType::UpdateLookup)
        .start_at_operation_time(since);
    let mut stream = watch.await.unwrap().with_type::<RawDocumentBuf>();
    let mut lines = String::new();
    while lines.lines().count() < CHANGES {
        let Some(change) = stream.next_if_any().await.unwrap() else {
            continue;
        };
        let token = change
            .get_document("_id")
            .unwrap()
            .get_str("_data")
            .unwrap();
        let kind = change.get_str("operationType").unwrap();
        lines += &format!("{token} {kind} {TEXT_LEN_BYTES}\n");
    }
    lines
}

/// Writes, over and over while the server's small cache has no room for it.
async fn patiently<T>(write: impl AsyncFn() -> mongodb::error::Result<T>) {
    loop {
        match write().await {
            Ok(_) => return,
            Err(error) if error.to_string().contains("storage engine cache") => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Waits until every feed holds all that it can.
fn wait_until_nothing_grows(silt: &Silt) {
    let (mut last, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(50));
        let now = peak_bytes(silt.pid());
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
}

async fn wait_until_archived(scene: &Scene, collections: &[&str], silt: &mut Silt) {
    let begun = Instant::now();
    let is_archived = |name: &&str| {
        let files = scene.files(name);
        let lens = files.iter().map(|path| path.metadata().unwrap().len());
        lens.sum::<u64>() > (CHANGES * TEXT_LEN_BYTES) as u64
    };
    while !collections.iter().all(is_archived) {
        assert!(begun.elapsed() < WAIT_LIMIT, "{}", silt.text());
        silt.signal(Signal::USR1);
        silt.wait_for("flushing all collections on SIGUSR1");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What the files tell of the changes. Python is quicker at it than tests that are not optimized.
fn archived(scene: &Scene, name: &str) -> String {
    let files = scene.files(name);
    let files: Vec<&str> = files.iter().map(|path| path.to_str().unwrap()).collect();
    python(include_str!("../readers/large_changes.py"), &files)
}

/// The most memory that a process ever had.
fn peak_bytes(id: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", id.as_raw_nonzero())).unwrap();
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes * 1024
}
