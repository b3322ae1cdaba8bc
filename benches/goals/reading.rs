//! How fast an archive is read back, on one core of a local lake.

use std::io::BufReader;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use silt::lake::local::LocalLake;
use silt::lake::{self, Base, Lake, Version};
use silt::reading::Reader;
use silt_core::batch::{Batch, Changes};
use silt_core::extjson::{self, Mode};
use silt_core::file::commit;
use silt_core::file::gzip::GzipLevel;
use silt_core::file::hour_file::{HourFile, HourFileName};
use silt_core::namespace::Namespace;
use silt_core::position::ClusterTime;
use silt_core::reading::Change;

use crate::documents;
use crate::process;
use crate::table::{Row, median};

const FLAG: &str = "--read-archive";
const COMMITS: u32 = 50;
const CHANGES_PER_COMMIT: u32 = 10_000;
const ROUNDS: usize = 5;
const MEGA: f64 = 1e6;

/// An archive that this process was started to read.
pub struct Order {
    root: String,
    parses: bool,
}

/// How it was read.
#[derive(Serialize, Deserialize)]
struct Pace {
    changes: u64,
    /// Bytes of the lines.
    bytes: u64,
    seconds: f64,
    cpu_seconds: f64,
    peak_mib: f64,
}

impl Order {
    /// The one that this process was started with, if it was.
    pub fn given() -> Option<Self> {
        let mut words = std::env::args().skip_while(|word| word != FLAG).skip(1);
        Some(Self {
            root: words.next()?,
            parses: words.next()? == "parsed",
        })
    }
}

fn namespace() -> Namespace {
    Namespace::new("shop", "orders")
}

/// Reads all, and prints how that went.
pub async fn run(order: Order) {
    let lake = LocalLake::new(order.root.into());
    let (begun, cpu_begun) = (Instant::now(), process::cpu_seconds("self"));
    let reader = Reader::of_changes(&lake, namespace(), ..);
    let mut reader = reader.await.unwrap();
    let (mut changes, mut bytes) = (0, 0);
    while let Some(piece) = reader.next().await.unwrap() {
        for line in piece.block.lines() {
            changes += 1;
            bytes += line.bytes.len() as u64 + 1;
            if order.parses {
                let change = Change::parse(line.bytes).unwrap();
                assert_eq!(change.operation.as_deref(), Some("insert"));
            }
        }
    }
    let pace = Pace {
        changes,
        bytes,
        seconds: begun.elapsed().as_secs_f64(),
        cpu_seconds: process::cpu_seconds("self") - cpu_begun,
        peak_mib: process::peak_mib("self"),
    };
    println!("{}", serde_json::to_string(&pace).unwrap());
}

pub async fn measure() -> Vec<Row> {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = Vec::new();
    let mut peak_mib = 0.0_f64;
    for (extension, goal) in [("ndjson", 1000.0), ("ndjson.gz", 400.0), ("json.gz", 400.0)] {
        let root = folder.path().join(extension);
        write(&root, extension).await;
        for mode in ["raw", "parsed"] {
            let paces: Vec<Pace> = (0..ROUNDS).map(|_| read(&root, mode)).collect();
            for pace in &paces {
                assert_eq!(pace.changes, u64::from(COMMITS * CHANGES_PER_COMMIT));
                peak_mib = peak_mib.max(pace.peak_mib);
            }
            let rate = |seconds: fn(&Pace) -> f64| {
                let rates = paces.iter().map(|pace| pace.bytes as f64 / seconds(pace));
                median(rates) / MEGA
            };
            let per_core = rate(|pace| pace.cpu_seconds);
            let detail = format!(" MB/s ({:.0} by the clock)", rate(|pace| pace.seconds));
            let figure = format!("lines of {extension} read back, {mode}, per core");
            rows.push(if mode == "raw" {
                Row::at_least(&figure, goal, per_core, &detail)
            } else {
                Row::report(&figure, format!("{per_core:.0}{detail}"))
            });
        }
    }
    let figure = "peak resident memory of a process that reads an archive back";
    rows.push(Row::at_most(figure, 64.0, " MiB", peak_mib, ""));
    rows
}

/// Reads the archive in a process of its own.
fn read(root: &Path, mode: &str) -> Pace {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([FLAG, root.to_str().unwrap(), mode])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pace = serde_json::from_reader(BufReader::new(child.stdout.take().unwrap()));
    assert!(child.wait().unwrap().success());
    pace.unwrap()
}

/// Writes an hour file of about 480 MB of lines.
async fn write(root: &Path, extension: &str) {
    let lake = LocalLake::new(root.to_owned());
    lake.prepare().await.unwrap();
    let name: HourFileName = format!("2024-01-15-14.{extension}").parse().unwrap();
    let path = lake::tail::path(&namespace(), name);
    let mut state: Option<(HourFile, Version)> = None;
    for number in 0..COMMITS {
        let first = number * CHANGES_PER_COMMIT;
        let batch = batch(first..first + CHANGES_PER_COMMIT, name).into();
        let known = state.as_ref().map(|(file, _)| file);
        let level = GzipLevel::default();
        let commit = commit::commit(&namespace(), known, name, &batch, level, 0).unwrap();
        let base = state.as_ref().map(|(file, version)| Base {
            version,
            head_len_bytes: file.head_len_bytes,
            foot_len_bytes: file.foot_len_bytes,
        });
        let version = lake.append(&path, base, &commit.addition).await.unwrap();
        state = Some((commit.file, version));
    }
}

fn batch(numbers: std::ops::Range<u32>, name: HourFileName) -> Batch {
    let separator = name.format.separator();
    let mut changes = Changes::default();
    for number in numbers {
        let event = documents::event(number);
        let write = |lines: &mut Vec<u8>, tokens: &mut String| {
            lines.extend_from_slice(separator.before);
            lines.extend_from_slice(b"{\"timestamp\":\"2024-01-15T14:00:00.000Z\",\"change\":");
            extjson::write_document(event.as_bytes(), Mode::Relaxed, lines).unwrap();
            lines.push(b'}');
            lines.extend_from_slice(separator.after);
            tokens.push_str("{}");
            Ok::<_, ()>(ClusterTime {
                seconds: 1_705_327_200 + number / 1000,
                increment: number % 1000 + 1,
            })
        };
        changes.push(write).unwrap();
    }
    let mut all = changes.iter();
    let mut batch = Batch::begin(&all.next().unwrap(), 0);
    all.for_each(|change| batch.add(&change));
    batch
}
