//! The measure of all: a process that reads the stream by the official driver and throws it away.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Instant;

use bson::{Document, RawDocumentBuf, Timestamp};
use mongodb::Client;
use mongodb::options::FullDocumentType;
use serde_json::json;

use crate::load::Load;
use crate::process;
use crate::throughput::Pace;

const FLAG: &str = "--raw-drain";
const BATCH_CHANGES: u32 = 1000;

/// What a raw drain is to read.
pub struct Order {
    uri: String,
    database: String,
    collection: String,
    begun_at: Timestamp,
    changes: u32,
}

impl Order {
    /// The one that this process was started with, if it is a raw drain.
    pub fn given() -> Option<Self> {
        let mut words = std::env::args().skip_while(|word| word != FLAG).skip(1);
        let mut next = || words.next();
        Some(Self {
            uri: next()?,
            database: next()?,
            collection: next()?,
            begun_at: Timestamp {
                time: next()?.parse().unwrap(),
                increment: 0,
            },
            changes: next()?.parse().unwrap(),
        })
    }
}

/// Reads all, says how that went, and stays until it has been looked at.
pub async fn run(order: Order) {
    let client = Client::with_uri_str(&order.uri).await.unwrap();
    let collection = client
        .database(&order.database)
        .collection::<Document>(&order.collection);
    let mut stream = collection
        .watch()
        .full_document(FullDocumentType::UpdateLookup)
        .batch_size(BATCH_CHANGES)
        .start_at_operation_time(order.begun_at)
        .await
        .unwrap()
        .with_type::<RawDocumentBuf>();
    let (begun, cpu_begun) = (Instant::now(), process::cpu_seconds("self"));
    let (mut changes, mut len_bytes) = (0, 0);
    while changes < order.changes {
        if let Some(event) = stream.next_if_any().await.unwrap() {
            changes += 1;
            len_bytes += event.as_bytes().len();
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let cpu_seconds = process::cpu_seconds("self") - cpu_begun;
    println!(
        "{}",
        json!({ "seconds": seconds, "cpu_seconds": cpu_seconds, "bytes": len_bytes })
    );
}

/// Lets a process of its own drain the first collection of a load. Also returns the length of an event.
pub fn measure(load: &Load) -> (Pace, f64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([FLAG, &load.uri, load.database.name(), &load.collections[0]])
        .arg(load.begun_at().time.to_string())
        .arg(load.changes.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(child.wait().unwrap().success());
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    let figure = |name: &str| told[name].as_f64().unwrap();
    let changes = f64::from(load.changes);
    let pace = Pace {
        changes_per_second: changes / figure("seconds"),
        cpu_us_per_change: figure("cpu_seconds") * 1e6 / changes,
        peak_mib: 0.0,
    };
    std::io::stdout().flush().unwrap();
    (pace, figure("bytes") / changes)
}
