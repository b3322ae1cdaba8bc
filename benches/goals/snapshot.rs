//! The memory and the pace of a snapshot, of little and of ten times as much.

use std::time::Instant;

use bson::Document;

use crate::documents::order;
use crate::harness::scene::Scene;
use crate::harness::silt::Silt;
use crate::load::as_asked;
use crate::process;
use crate::table::Row;

/// What an order is filled up to, in bytes of BSON, about.
const DOCUMENT_BYTES: usize = 1000;
const INSERTED_AT_ONCE: u32 = 1000;
/// 100 MB, and ten times as much.
const DOCUMENTS: [u32; 2] = [100_000, 1_000_000];
/// Allocators keep some of what was given back, and how much is chance.
const GOAL: f64 = 1.2;

struct Figures {
    peak_mib: f64,
    documents_per_second: f64,
}

pub async fn measure() -> Vec<Row> {
    let mut all = Vec::new();
    for documents in DOCUMENTS {
        let scene = as_asked(Scene::new().await).with("SNAPSHOT", "initial");
        fill(&scene, documents).await;
        all.push(of(&scene, documents));
        scene.database.drop().await.unwrap();
    }
    let [little, much] = [&all[0], &all[1]];
    vec![
        Row::at_most(
            "peak resident memory, snapshot of 1 GB ÷ of 100 MB",
            GOAL,
            "",
            much.peak_mib / little.peak_mib,
            &format!(" ({:.0} ÷ {:.0} MiB)", much.peak_mib, little.peak_mib),
        ),
        Row::report(
            "documents of 1 KB a second, snapshot of 1 GB",
            format!("{:.0}", much.documents_per_second),
        ),
    ]
}

async fn fill(scene: &Scene, documents: u32) {
    let users = scene.users();
    for first in (0..documents).step_by(INSERTED_AT_ONCE as usize) {
        let numbers = first..documents.min(first + INSERTED_AT_ONCE);
        let filled = numbers.map(filled_up);
        users.insert_many(filled).ordered(false).await.unwrap();
    }
}

fn filled_up(number: u32) -> Document {
    let mut order = order(number);
    let len_bytes = bson::serialize_to_vec(&order).unwrap().len();
    let filling = "silt".repeat(DOCUMENT_BYTES.saturating_sub(len_bytes) / 4);
    order.insert("filling", filling);
    order
}

fn of(scene: &Scene, documents: u32) -> Figures {
    let begun = Instant::now();
    let mut silt = Silt::start(&scene.settings);
    let is_end = |line: &serde_json::Value| {
        let message = line["message"].as_str().unwrap();
        message.starts_with("snapshot finished")
    };
    silt.wait_where("the end of the snapshot", is_end);
    let seconds = begun.elapsed().as_secs_f64();
    let peak_mib = process::peak_mib(&silt.pid().as_raw_nonzero().to_string());
    silt.drain();
    Figures {
        peak_mib,
        documents_per_second: f64::from(documents) / seconds,
    }
}
