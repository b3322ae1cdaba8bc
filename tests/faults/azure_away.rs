//! Azure is away for two minutes under load: silt holds what fits its budget, stops reading, and catches
//! up by itself.

use std::time::{Duration, Instant};

use bson::{Document, doc};
use futures::TryStreamExt as _;

use crate::harness::http::Answer;
use crate::harness::http_proxy::{Fault, HttpProxy, Which};
use crate::harness::ledger::Load;
use crate::harness::rounds::{Round, at_once, rounds};
use crate::harness::scene::Scene;
use crate::harness::silt::{Silt, WAIT_LIMIT};
use crate::harness::variable;

const AWAY: Duration = Duration::from_secs(120);
const BUFFER_LIMIT_BYTES: u64 = 4 << 20;
/// Text of a document.
const DOCUMENT_LEN_BYTES: usize = 4000;
const PAUSE: Duration = Duration::from_millis(15);
/// Documents that don't fit the budget several times over.
const ENOUGH: i64 = 4 * (BUFFER_LIMIT_BYTES as i64) / (DOCUMENT_LEN_BYTES as i64);
/// docs/capacity.md: half the budget again, and 20 MiB.
const MEMORY_LIMIT_BYTES: u64 = BUFFER_LIMIT_BYTES * 3 / 2 + (20 << 20);
/// docs/capacity.md: what a feed takes that catches up.
const CATCHING_UP_BYTES: u64 = 64 << 20;
const LOOK_AGAIN: Duration = Duration::from_millis(250);

#[test]
fn azure_away_for_two_minutes_is_waited_for_within_the_budget() {
    at_once(rounds("Azure away", 1, 10), 5, survives);
}

async fn survives(round: Round) {
    let proxy = HttpProxy::new(&variable("SILT_TEST_AZURITE"));
    let scene = Scene::new()
        .await
        .on_azurite()
        .behind(&proxy)
        .with("BUFFER_LIMIT_BYTES", &BUFFER_LIMIT_BYTES.to_string())
        .with("BATCH_BYTES", "256KiB")
        .with("DUMP_SCHEDULE", "* * * * * *")
        .with("LAKE_TIMEOUT_SECONDS", "5");
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let load = Load::of(&scene, "users", DOCUMENT_LEN_BYTES, PAUSE).await;
    load.wait_until_followed(&scene, &mut silt).await;

    let busy = Answer::new(503, "ServerBusy");
    let faults = [Fault::Stall, Fault::Reset, Fault::Answer(busy)];
    proxy.fail(Which::all(), faults[round.number as usize % 3].clone());
    let begun = Instant::now();
    let paused_at = wait_until_paused(&scene, &load).await;
    while begun.elapsed() < AWAY || load.wait_for_more(1).await < ENOUGH {
        assert_memory(&silt, MEMORY_LIMIT_BYTES);
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    assert_eq!(
        changes_read(&scene).await,
        paused_at,
        "it reads on without memory"
    );
    proxy.mend();
    let ledger = load.end().await;
    let least = ledger.acknowledged.len() as u64 * DOCUMENT_LEN_BYTES as u64;
    let begun = Instant::now();
    while scene.len_on_azurite("users").await < least {
        assert!(begun.elapsed() < WAIT_LIMIT, "{}", silt.text());
        assert_memory(&silt, MEMORY_LIMIT_BYTES + CATCHING_UP_BYTES);
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    ledger.verify(&scene, silt).await;
}

fn assert_memory(silt: &Silt, limit_bytes: u64) {
    let bytes = silt.memory_bytes();
    assert!(bytes <= limit_bytes, "{bytes} bytes of memory");
}

/// Waits until the server sees that silt asks for nothing more while the load goes on. Returns how many
/// changes it has read till then.
async fn wait_until_paused(scene: &Scene, load: &Load) -> i64 {
    let begun = Instant::now();
    let mut last = changes_read(scene).await;
    loop {
        load.wait_for_more(200).await;
        let now = changes_read(scene).await;
        if now == last {
            return now;
        }
        last = now;
        assert!(begun.elapsed() < AWAY, "it never stops reading");
    }
}

/// The changes that the server has given to silt's cursor.
async fn changes_read(scene: &Scene) -> i64 {
    let stages = [
        doc! { "$currentOp": { "idleCursors": true } },
        doc! { "$match": { "ns": format!("{}.users", scene.database.name()), "appName": "silt" } },
    ];
    let admin = scene.client.database("admin");
    let operations: Vec<Document> = admin
        .aggregate(stages)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let read = |operation: &Document| {
        let cursor = operation.get_document("cursor").ok()?;
        cursor.get_i64("nDocsReturned").ok()
    };
    operations.iter().filter_map(read).max().unwrap_or(-1)
}
