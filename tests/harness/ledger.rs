//! The oracle: what a writer knows that it wrote, and what a second change stream shows.
//!
//! A load writes while faults happen and notes which writes were acknowledged. In the end a fresh client
//! reads the collection's stream from before the load. Every acknowledged write must be in it, and the
//! lake must hold its changes, token by token. silt's own counters say nothing here.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bson::{Document, RawDocumentBuf, Timestamp, doc};
use mongodb::options::{CollectionOptions, FullDocumentType, WriteConcern};
use mongodb::{Client, Collection};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::scene::{Scene, token};
use super::silt::{Signal, Silt, WAIT_LIMIT};

/// Inserts, updates and deletes, one after another, until it is ended. A write that fails is noted as
/// unknown, and the load goes on.
pub struct Load {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Ledger>,
}

/// What a load knows of its writes.
pub struct Ledger {
    collection: String,
    /// Before the first write.
    begun_at: Timestamp,
    /// Numbers of the acknowledged inserts.
    pub acknowledged: Vec<i64>,
    /// Writes whose outcome is unknown.
    pub unknown: u32,
}

/// A number that marks the end of a load.
const END: i64 = -1;

impl Load {
    /// A load of `users` through a client of its own. `pause` stands between two writes.
    pub async fn begin(scene: &Scene, pause: Duration) -> Self {
        Self::of(scene, "users", 100, pause).await
    }

    /// A load of any collection, with so many bytes of text in each document.
    pub async fn of(scene: &Scene, collection: &str, len_bytes: usize, pause: Duration) -> Self {
        let begun_at = operation_time(&scene.client).await;
        let options = CollectionOptions::builder()
            .write_concern(WriteConcern::majority())
            .build();
        let target: Collection<Document> =
            scene.database.collection_with_options(collection, options);
        let stop = Arc::new(AtomicBool::new(false));
        let ledger = Ledger {
            collection: collection.to_owned(),
            begun_at,
            acknowledged: Vec::new(),
            unknown: 0,
        };
        let task = tokio::spawn(write(target, len_bytes, pause, Arc::clone(&stop), ledger));
        Self { stop, task }
    }

    /// Ends it.
    pub async fn end(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

async fn write(
    target: Collection<Document>,
    len_bytes: usize,
    pause: Duration,
    stop: Arc<AtomicBool>,
    mut ledger: Ledger,
) -> Ledger {
    let text = "x".repeat(len_bytes);
    for number in 0_i64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let inserted = target.insert_one(doc! { "_id": number, "number": number, "text": &text });
        match inserted.await {
            Ok(_) => ledger.acknowledged.push(number),
            Err(_) => ledger.unknown += 1,
        }
        let other = if number % 4 == 1 {
            let update = doc! { "$set": { "seen": number } };
            target
                .update_one(doc! { "_id": number - 1 }, update)
                .await
                .err()
        } else if number % 8 == 2 {
            target.delete_one(doc! { "_id": number - 2 }).await.err()
        } else {
            None
        };
        ledger.unknown += u32::from(other.is_some());
        tokio::time::sleep(pause).await;
    }
    ledger
}

/// The time of the last operation that the deployment knows of.
pub async fn operation_time(client: &Client) -> Timestamp {
    let admin = client.database("admin");
    let reply = admin.run_command(doc! { "ping": 1 }).await.unwrap();
    reply.get_timestamp("operationTime").unwrap()
}

impl Ledger {
    /// Everything that happened to the collection, as a fresh client sees it. Writes the mark that ends it.
    ///
    /// The servers must be well again.
    pub async fn changes(&self, uri: &str, database: &str) -> Vec<RawDocumentBuf> {
        let client = Client::with_uri_str(uri).await.unwrap();
        let options = CollectionOptions::builder()
            .write_concern(WriteConcern::majority())
            .build();
        let collection: Collection<Document> = client
            .database(database)
            .collection_with_options(&self.collection, options);
        collection.insert_one(doc! { "number": END }).await.unwrap();
        let mut stream = collection
            .watch()
            .full_document(FullDocumentType::UpdateLookup)
            .start_at_operation_time(Timestamp {
                time: self.begun_at.time,
                increment: self.begun_at.increment + 1,
            })
            .await
            .unwrap()
            .with_type::<RawDocumentBuf>();
        let mut changes = Vec::new();
        let mut inserted = HashSet::new();
        loop {
            let Some(change) = stream.next_if_any().await.unwrap() else {
                assert!(stream.is_alive(), "the oracle's stream ended");
                continue;
            };
            let document = change.get_document("fullDocument").ok();
            let number = document.and_then(|document| document.get_i64("number").ok());
            if matches!(change.get_str("operationType"), Ok("insert")) {
                inserted.extend(number);
            }
            changes.push(change);
            if number == Some(END) {
                break;
            }
        }
        for number in &self.acknowledged {
            assert!(
                inserted.contains(number),
                "the stream lacks insert {number}"
            );
        }
        changes
    }

    /// Waits until silt has archived everything, drains it, and compares the lake with the stream.
    pub async fn verify(&self, scene: &Scene, mut silt: Silt) {
        let database = scene.database.name();
        let uri = &scene.direct_uri;
        let expected = tokens_of(&self.changes(uri, database).await);
        let last = expected.last().unwrap();
        let begun = Instant::now();
        loop {
            silt.signal(Signal::USR1);
            silt.wait_for("flushing all collections on SIGUSR1");
            let archived = scene.archived_anywhere(&self.collection).await;
            if archived.last().map(token).as_ref() == Some(last) {
                break;
            }
            let (has, wants) = (archived.len(), expected.len());
            assert!(
                begun.elapsed() < WAIT_LIMIT,
                "{has} of {wants} archived, and it doesn't go on; the log:\n{}",
                silt.text()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        silt.drain();
        compare(&expected, &scene.archived_anywhere(&self.collection).await);
    }
}

pub fn tokens_of(changes: &[RawDocumentBuf]) -> Vec<String> {
    let token = |change: &RawDocumentBuf| {
        let id = change.get_document("_id").unwrap();
        id.get_str("_data").unwrap().to_owned()
    };
    changes.iter().map(token).collect()
}

/// Lost 0, twice 0, in order.
pub fn compare(expected: &[String], archived: &[Value]) {
    let archived: Vec<String> = archived.iter().map(token).collect();
    let distinct: HashSet<&String> = archived.iter().collect();
    let twice = archived.len() - distinct.len();
    let lost = expected
        .iter()
        .filter(|token| !distinct.contains(token))
        .count();
    let made = expected.len();
    assert!(
        lost == 0 && twice == 0,
        "made {made}, lost {lost}, twice {twice}"
    );
    assert!(
        archived == expected,
        "all there, but in another order, or more than that"
    );
}
