//! The encoder beside `serde_json`, in turns. `cargo bench --bench encoder` has more of it.

use std::hint::black_box;
use std::time::Instant;

use bson::RawDocumentBuf;
use silt_core::extjson::{Mode, write_document};

use crate::documents;
use crate::table::{Row, median};

const EVENTS: u32 = 1000;
const ROUNDS: usize = 51;

pub fn measure() -> Vec<Row> {
    let events = documents::events(EVENTS);
    let mut out = Vec::new();
    let mut ours = |event: &RawDocumentBuf, out: &mut Vec<u8>| {
        write_document(event.as_bytes(), Mode::Relaxed, out).unwrap();
    };
    let mut theirs = |event: &RawDocumentBuf, out: &mut Vec<u8>| {
        serde_json::to_writer(out, event).unwrap();
    };
    let ratios = (0..ROUNDS).map(|_| {
        let theirs = seconds(&events, &mut out, &mut theirs);
        theirs / seconds(&events, &mut out, &mut ours)
    });
    let ratio = median(ratios);
    let ours = seconds(&events, &mut out, &mut ours);
    let bytes: usize = events.iter().map(|event| event.as_bytes().len()).sum();
    let detail = format!(" ({:.0} MB/s of BSON)", bytes as f64 / ours / 1e6);
    vec![Row::at_least(
        "encoder ÷ serde_json::to_writer",
        3.0,
        ratio,
        &detail,
    )]
}

fn seconds(
    events: &[RawDocumentBuf],
    out: &mut Vec<u8>,
    write: &mut impl FnMut(&RawDocumentBuf, &mut Vec<u8>),
) -> f64 {
    let begun = Instant::now();
    out.clear();
    for event in events {
        write(black_box(event), out);
    }
    black_box(&out);
    begun.elapsed().as_secs_f64()
}
