//! A hundred collections in which nothing happens.

use std::time::{Duration, Instant};

use crate::harness::silt::Silt;
use crate::load::Load;
use crate::process;
use crate::table::Row;

const COLLECTIONS: u32 = 100;
/// What the start left behind is over by then.
const SETTLED: Duration = Duration::from_secs(10);
/// As long as an idle position's save, so that it has its share.
const WATCHED: Duration = Duration::from_secs(60);

pub async fn measure() -> Vec<Row> {
    let load = Load::write(COLLECTIONS, 0).await;
    let scene = load.scene().await;
    let mut settings = scene.settings.clone();
    settings.remove("START_AT");
    let names: Vec<&str> = load.collections.iter().map(String::as_str).collect();
    let silt = Silt::watching(&settings, &names);
    let pid = silt.pid().as_raw_nonzero().to_string();
    std::thread::sleep(SETTLED);
    let (begun, cpu_begun) = (Instant::now(), process::cpu_seconds(&pid));
    std::thread::sleep(WATCHED);
    let cpu = process::cpu_seconds(&pid) - cpu_begun;
    let percent = 100.0 * cpu / begun.elapsed().as_secs_f64();
    let resident = process::resident_mib(&pid);
    silt.drain();
    vec![
        Row::at_most("100 idle collections, of a core", 1.0, " %", percent, ""),
        Row::at_most(
            "100 idle collections, resident memory",
            40.0,
            " MiB",
            resident,
            "",
        ),
    ]
}
