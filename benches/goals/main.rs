//! silt beside the server's own cursor, in one run and in turns: `make bench`.
//!
//! It prints docs/performance.md's table. A word after `--` measures that part alone, such as
//! `memory`, and `NAME=VALUE` is a setting of the silts that archive a load.
#![allow(
    missing_docs,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark is plain, and prints"
)]
#![allow(
    dead_code,
    unused_imports,
    reason = "the harness is the tests'; not all of it is needed here"
)]

mod documents;
mod encoder;
mod flushes;
mod idle;
mod latency;
mod load;
mod memory;
mod process;
mod raw_drain;
mod reading;
mod saves;
mod shared;
mod snapshot;
mod table;
mod throughput;

#[path = "../../tests/harness/mod.rs"]
mod harness;

use table::Row;

fn main() {
    if let Some(order) = raw_drain::Order::given() {
        return runtime().block_on(raw_drain::run(order));
    }
    if let Some(order) = reading::Order::given() {
        return runtime().block_on(reading::run(order));
    }
    let parts: [(&str, Measure); 10] = [
        ("encoder", encoder::measure),
        ("throughput", || runtime().block_on(throughput::measure())),
        ("memory", || runtime().block_on(memory::measure())),
        ("idle", || runtime().block_on(idle::measure())),
        ("flushes", || runtime().block_on(flushes::measure())),
        ("latency", || runtime().block_on(latency::measure())),
        ("saves", || runtime().block_on(saves::measure())),
        ("shared", || runtime().block_on(shared::measure())),
        ("reading", || runtime().block_on(reading::measure())),
        ("snapshot", || runtime().block_on(snapshot::measure())),
    ];
    let words: Vec<String> = std::env::args().skip(1).collect();
    let wanted: Vec<&String> = words
        .iter()
        .filter(|word| !word.starts_with("--") && !word.contains('='))
        .collect();
    let mut rows = Vec::new();
    for (name, measure) in parts {
        if wanted.is_empty() || wanted.iter().any(|word| *word == name) {
            eprintln!("\n{name}");
            rows.extend(measure());
        }
    }
    table::print(&rows);
}

/// Measures a part of the table.
type Measure = fn() -> Vec<Row>;

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}
