//! The memory of ten collections that are drained at once.

use crate::harness::asks;
use crate::harness::silt::Silt;
use crate::load::{Archived, Load};
use crate::process;
use crate::table::Row;

const COLLECTIONS: u32 = 10;
const CHANGES: u32 = 40_000;
const GOAL_MIB: f64 = 40.0;
const MIB: f64 = (1 << 20) as f64;

pub async fn measure() -> Vec<Row> {
    let load = Load::write(COLLECTIONS, CHANGES).await;
    let scene = load.scene().await.with("HTTP_ADDR", "127.0.0.1:0");
    let mut silt = Silt::start(&scene.settings);
    let address = asks::address(&mut silt);
    let pid = silt.pid().as_raw_nonzero().to_string();
    let mut most_in_use = 0.0_f64;
    let mut archived = Archived::default();
    while !archived.is_all(&mut silt, &load) {
        most_in_use = most_in_use.max(buffered_mib(&address));
    }
    let peak = process::peak_mib(&pid);
    silt.drain();
    vec![Row::at_most(
        "peak resident memory, ten busy collections, less the most that changes had in use",
        GOAL_MIB,
        " MiB",
        peak - most_in_use,
        &format!(" ({peak:.0} MiB in all, {most_in_use:.0} MiB of changes)"),
    )]
}

/// What the metrics say that waits in memory.
fn buffered_mib(address: &str) -> f64 {
    let body = asks::ask(address, "GET", "/metrics", &[]).body;
    let lines = body
        .lines()
        .filter(|line| line.starts_with("silt_buffered_bytes"));
    let bytes: f64 = lines
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    bytes / MIB
}
