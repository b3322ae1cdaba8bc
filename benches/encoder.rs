//! The encoder beside `serde_json` on the same raw documents: `cargo bench --bench encoder`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a benchmark's own documents are valid"
)]

#[path = "goals/documents.rs"]
mod documents;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use silt_core::extjson::{Mode, write_document};

fn encoder(criterion: &mut Criterion) {
    let events = documents::events(1000);
    let len_bytes: u64 = events
        .iter()
        .map(|event| event.as_bytes().len() as u64)
        .sum();
    let mut out = Vec::with_capacity(4 * usize::try_from(len_bytes).unwrap());
    let mut group = criterion.benchmark_group("1000 change events");
    group.throughput(Throughput::Bytes(len_bytes));
    for (name, mode) in [("relaxed", Mode::Relaxed), ("canonical", Mode::Canonical)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                for event in &events {
                    write_document(black_box(event.as_bytes()), mode, &mut out).unwrap();
                }
                black_box(&out);
            });
        });
    }
    group.bench_function("serde_json::to_writer", |bencher| {
        bencher.iter(|| {
            out.clear();
            for event in &events {
                serde_json::to_writer(&mut out, black_box(event)).unwrap();
            }
            black_box(&out);
        });
    });
    group.finish();
}

criterion_group!(benches, encoder);
criterion_main!(benches);
