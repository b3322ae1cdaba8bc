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
use mongodb::{Client, Collection, Database};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::scene::{Scene, token};
use super::silt::{Signal, Silt, WAIT_LIMIT};

/// Inserts, updates and deletes, one after another, until it is ended. A write that fails is noted as
/// unknown, and the load goes on.
pub struct Load {
    stop: Arc<AtomicBool>,
    collection: String,
    acknowledged: watch::Receiver<Acknowledged>,
    task: JoinHandle<Ledger>,
}

/// The acknowledged inserts while the load runs.
#[derive(Clone, Copy, Default)]
struct Acknowledged {
    count: usize,
    last: i64,
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
/// Inserts that are enough for several flushes by count.
const FOLLOWED: usize = 20;
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// After so many inserts a load pauses twice as long as at its beginning, after twice as many three times
/// as long, and so on up to [`PAUSE_MAX`]: silt catches up with it on the slowest machine, however long a
/// fault takes.
const SLOWER_AFTER: u32 = 200;
const PAUSE_MAX: Duration = Duration::from_millis(20);

impl Load {
    /// A load of `users` through a client of its own. `pause` stands between two writes.
    pub async fn begin(scene: &Scene, pause: Duration) -> Self {
        Self::of(scene, "users", 100, pause).await
    }

    /// A load of any collection, with so many bytes of text in each document.
    pub async fn of(scene: &Scene, collection: &str, len_bytes: usize, pause: Duration) -> Self {
        let ledger = Ledger::of(scene, collection).await;
        let stop = Arc::new(AtomicBool::new(false));
        let (count, acknowledged) = watch::channel(Acknowledged::default());
        let writer = Writer {
            target: target(&scene.database, collection),
            len_bytes,
            pause,
            stop: Arc::clone(&stop),
            count,
        };
        Self {
            stop,
            collection: collection.to_owned(),
            acknowledged,
            task: tokio::spawn(writer.run(ledger)),
        }
    }

    /// Waits until so many more inserts were acknowledged: the servers take writes.
    pub async fn wait_for_more(&self, inserts: usize) -> i64 {
        let mut acknowledged = self.acknowledged.clone();
        let wanted = acknowledged.borrow().count + inserts;
        let more = acknowledged.wait_for(|acknowledged| acknowledged.count >= wanted);
        match tokio::time::timeout(WAIT_LIMIT, more).await {
            Ok(Ok(acknowledged)) => acknowledged.last,
            _ => panic!("the load does not go on"),
        }
    }

    /// Waits until silt has archived what is written from now on, by itself: nobody tells it to flush or
    /// to hurry.
    pub async fn wait_until_followed(&self, scene: &Scene, silt: &mut Silt) {
        let number = self.wait_for_more(FOLLOWED).await;
        let (begun, mut flushes) = (Instant::now(), 0);
        loop {
            silt.hear();
            let news = silt.count("flushed") - flushes;
            flushes += news;
            if news > 0 && is_archived(&scene.archived_anywhere(&self.collection).await, number) {
                return;
            }
            assert!(
                begun.elapsed() < WAIT_LIMIT,
                "silt does not go on by itself; the log:\n{}",
                silt.text()
            );
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Ends it.
    pub async fn end(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

struct Writer {
    target: Collection<Document>,
    len_bytes: usize,
    pause: Duration,
    stop: Arc<AtomicBool>,
    count: watch::Sender<Acknowledged>,
}

impl Writer {
    async fn run(self, mut ledger: Ledger) -> Ledger {
        for number in 0_i64.. {
            let slower = 1 + number as u32 / SLOWER_AFTER;
            let pause = (self.pause * slower).min(PAUSE_MAX.max(self.pause));
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let document = doc! { "_id": number, "number": number, "text": noise(self.len_bytes) };
            match self.target.insert_one(document).await {
                Ok(_) => {
                    ledger.acknowledged.push(number);
                    self.count.send_modify(|count| {
                        count.count += 1;
                        count.last = number;
                    });
                }
                Err(_) => ledger.unknown += 1,
            }
            if self.follow_up(number).await.is_err() {
                ledger.unknown += 1;
            }
            tokio::time::sleep(pause).await;
        }
        ledger
    }

    /// Updates and deletes some of what was inserted before.
    async fn follow_up(&self, number: i64) -> mongodb::error::Result<()> {
        let id = |number: i64| doc! { "_id": number };
        if number % 4 == 1 {
            let update = doc! { "$set": { "seen": number } };
            self.target.update_one(id(number - 1), update).await?;
        } else if number % 8 == 2 {
            self.target.delete_one(id(number - 2)).await?;
        }
        Ok(())
    }
}

/// A collection whose acknowledged writes survive an election.
fn target(database: &Database, collection: &str) -> Collection<Document> {
    let options = CollectionOptions::builder()
        .write_concern(WriteConcern::majority())
        .build();
    database.collection_with_options(collection, options)
}

/// Text that gzip can't make much smaller.
fn noise(len_bytes: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric)
        .take(len_bytes)
        .collect()
}

/// The time of the last operation that the deployment knows of.
pub async fn operation_time(client: &Client) -> Timestamp {
    let admin = client.database("admin");
    let reply = admin.run_command(doc! { "ping": 1 }).await.unwrap();
    reply.get_timestamp("operationTime").unwrap()
}

impl Ledger {
    /// Of a collection's changes from now on, for a test that writes them itself.
    pub async fn of(scene: &Scene, collection: &str) -> Self {
        Self {
            collection: collection.to_owned(),
            begun_at: operation_time(&scene.client).await,
            acknowledged: Vec::new(),
            unknown: 0,
        }
    }

    /// Inserts so many documents at once, whose numbers go on where the last ones ended.
    pub async fn insert(&mut self, scene: &Scene, documents: usize) {
        let numbers = self.acknowledged.len()..self.acknowledged.len() + documents;
        let documents = numbers
            .clone()
            .map(|number| doc! { "_id": number as i64, "number": number as i64 });
        let target = target(&scene.database, &self.collection);
        target.insert_many(documents).await.unwrap();
        self.acknowledged
            .extend(numbers.map(|number| number as i64));
    }

    /// Everything that happened to the collection, as a fresh client sees it. Writes the mark that ends it.
    ///
    /// The servers must be well again.
    pub async fn changes(&self, uri: &str, database: &str) -> Vec<RawDocumentBuf> {
        let client = Client::with_uri_str(uri).await.unwrap();
        let collection = target(&client.database(database), &self.collection);
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

    /// Waits until silt has archived everything, drains it, and compares the lake with the stream, whose
    /// changes it returns.
    pub async fn verify(&self, scene: &Scene, silt: Silt) -> Vec<RawDocumentBuf> {
        verify_all(&[self], scene, silt).await.remove(0)
    }
}

/// The same for several collections of one silt.
pub async fn verify_all(
    ledgers: &[&Ledger],
    scene: &Scene,
    mut silt: Silt,
) -> Vec<Vec<RawDocumentBuf>> {
    let (database, uri) = (scene.database.name(), &scene.direct_uri);
    let mut all = Vec::new();
    for ledger in ledgers {
        all.push(ledger.changes(uri, database).await);
    }
    let begun = Instant::now();
    for (ledger, changes) in ledgers.iter().zip(&all) {
        let expected = tokens_of(changes);
        let last = expected.last().unwrap();
        loop {
            silt.signal(Signal::USR1);
            silt.wait_for("flushing all collections on SIGUSR1");
            let archived = scene.archived_anywhere(&ledger.collection).await;
            if archived.last().map(token).as_ref() == Some(last) {
                break;
            }
            let (has, wants) = (archived.len(), expected.len());
            assert!(
                begun.elapsed() < WAIT_LIMIT,
                "{has} of {wants} archived, and it doesn't go on; the log:\n{}",
                silt.text()
            );
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
    silt.drain();
    for (ledger, changes) in ledgers.iter().zip(&all) {
        let archived = scene.archived_anywhere(&ledger.collection).await;
        compare(&tokens_of(changes), &archived);
    }
    all
}

fn is_archived(archived: &[Value], number: i64) -> bool {
    let is_it = |change: &Value| change["fullDocument"]["number"] == number;
    archived.iter().rev().any(is_it)
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
