//! Five hundred collections: on one shared stream, and on five hundred single ones.

use std::time::{Duration, Instant};

use bson::{Document, doc};

use crate::documents::order;
use crate::harness::scene::Scene;
use crate::harness::silt::Silt;
use crate::process;
use crate::table::Row;

const COLLECTIONS: u32 = 500;
/// What the start left behind is over by then.
const SETTLED: Duration = Duration::from_secs(10);
const WATCHED: Duration = Duration::from_secs(30);
/// Changes of each collection, which make one flush.
const CHANGES: u32 = 40;

struct Figures {
    silt_percent: f64,
    mongod_percent: f64,
    resident_mib: f64,
    peak_mib: f64,
    busy_cpu_seconds: f64,
    lag_seconds: f64,
}

pub async fn measure() -> Vec<Row> {
    let names: Vec<String> = (0..COLLECTIONS)
        .map(|number| format!("c{number}"))
        .collect();
    let list = names.join(",");
    let mut all = Vec::new();
    for streams in ["shared", "per-collection"] {
        let scene = Scene::new()
            .await
            .with("MONGODB_COLLECTIONS", &list)
            .with("STREAMS", streams)
            .with("BATCH_SIZE", &CHANGES.to_string());
        let watched: Vec<&str> = match streams {
            "shared" => vec![&list],
            _ => names.iter().map(String::as_str).collect(),
        };
        all.push(of(&scene, &names, &watched).await);
        scene.database.drop().await.unwrap();
    }
    let row = |figure: &str, unit: &str, of: fn(&Figures) -> f64| {
        let measured = format!("{:.1}{unit} and {:.1}{unit}", of(&all[0]), of(&all[1]));
        Row::report(
            &format!("500 collections on one stream and on 500: {figure}"),
            measured,
        )
    };
    vec![
        row("silt, idle, of a core", " %", |it| it.silt_percent),
        row("mongod, idle, of a core", " %", |it| it.mongod_percent),
        row("silt's resident memory, idle", " MiB", |it| it.resident_mib),
        row("silt's peak memory, 20,000 changes", " MiB", |it| {
            it.peak_mib
        }),
        row("silt's CPU for 20,000 changes", " s", |it| {
            it.busy_cpu_seconds
        }),
        row("from the last write to the last commit", " s", |it| {
            it.lag_seconds
        }),
    ]
}

async fn of(scene: &Scene, names: &[String], watched: &[&str]) -> Figures {
    for name in names {
        scene.database.create_collection(name).await.unwrap();
    }
    let admin = scene.client.database("admin");
    let status = admin.run_command(doc! { "serverStatus": 1 }).await.unwrap();
    let mongod = status.get_i64("pid").unwrap().to_string();
    let mut silt = Silt::watching(&scene.settings, watched);
    let pid = silt.pid().as_raw_nonzero().to_string();
    std::thread::sleep(SETTLED);
    let cpu = || (process::cpu_seconds(&pid), process::cpu_seconds(&mongod));
    let (begun, before) = (Instant::now(), cpu());
    std::thread::sleep(WATCHED);
    let (seconds, after) = (begun.elapsed().as_secs_f64(), cpu());
    let resident_mib = process::resident_mib(&pid);
    for name in names {
        let documents = (0..CHANGES).map(order);
        let collection = scene.database.collection::<Document>(name);
        collection.insert_many(documents).await.unwrap();
    }
    let written = Instant::now();
    for _ in names {
        silt.wait_for("flushed");
    }
    let figures = Figures {
        silt_percent: 100.0 * (after.0 - before.0) / seconds,
        mongod_percent: 100.0 * (after.1 - before.1) / seconds,
        resident_mib,
        peak_mib: process::peak_mib(&pid),
        busy_cpu_seconds: process::cpu_seconds(&pid) - after.0,
        lag_seconds: written.elapsed().as_secs_f64(),
    };
    silt.drain();
    figures
}
