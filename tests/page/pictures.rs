//! The pictures of the README: a real silt under a real load, one of its collections halted.
//!
//! `make pictures` takes them after some minutes, when the charts are full; the tests take them too, early,
//! and throw them away.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bson::{Document, doc};
use mongodb::Database;
use silt::lake::{Lake as _, LakePath};

use crate::harness::browser::{DESKTOP, PHONE};
use crate::harness::silt::WAIT_LIMIT;

use super::{Visit, scene};

const TOKEN: &str = "token-of-the-tests-own";
/// No picture is larger.
const LEN_MAX_BYTES: u64 = 200_000;
/// Points of the chart that are enough to see that pictures are taken.
const POINTS: usize = 5;
/// A wave of the load.
const WAVE_SECONDS: f64 = 70.0;

#[tokio::test(flavor = "multi_thread")]
async fn pictures_of_a_load_and_a_halted_collection_are_taken() {
    let (folder, points) = match std::env::var("SILT_PICTURES") {
        Ok(folder) => (PathBuf::from(folder), 280),
        Err(_) => (PathBuf::from(env!("CARGO_TARGET_TMPDIR")), POINTS),
    };
    let scene = scene("users,orders,payments,invoices")
        .await
        .on_azurite()
        .with("AZURE_ADLS_FILESYSTEM", "changestreams")
        .with("MONGODB_DATABASE", "shop")
        .with("HTTP_TOKEN", TOKEN)
        .with("BATCH_SIZE", "1500")
        .with("DUMP_SCHEDULE", "0 * * * *");
    let shop = scene.client.database("shop");
    let lake = scene.azurite();
    lake.prepare().await.unwrap();
    let foreign = LakePath {
        folder: "invoices".to_owned(),
        name: format!("{}.json", chrono::Utc::now().format("%Y-%m-%d-%H")),
    };
    // Of a former run, in the same Azurite.
    if lake.open(&foreign).await.unwrap().is_none() {
        lake.put(&foreign, None, b"{\"changes\":[]}".to_vec())
            .await
            .unwrap();
    }

    let mut visit = Visit::to(&scene.settings);
    visit.wait_for_headline("1 of 4 collections is halted");
    let load = [
        ("users", 160.0, 0.0),
        ("orders", 60.0, 2.0),
        ("payments", 24.0, 4.0),
    ]
    .map(|(name, rate, phase)| tokio::spawn(write(shop.clone(), name, rate, phase)));
    let begun = std::time::Instant::now();
    while visit.browser.value("whole.points.length").as_u64().unwrap() < points as u64 {
        assert!(begun.elapsed() < WAIT_LIMIT * 5, "the chart doesn't grow");
        visit.browser.value(
            "new Promise(done => { const before = whole.points.length; (function look() {
            whole.points.length > before ? done() : requestAnimationFrame(look); })(); })",
        );
    }
    take(&mut visit, DESKTOP, "light", &folder.join("page-light.png"));
    take(
        &mut visit,
        PHONE,
        "dark",
        &folder.join("page-dark-phone.png"),
    );
    for task in load {
        task.abort();
    }
    visit.assert_is_clean(&[]);
    shop.drop().await.unwrap();
}

/// Writes at about so many changes a second, in waves, for ever.
async fn write(database: Database, collection: &'static str, rate: f64, phase: f64) {
    const PAUSE: Duration = Duration::from_millis(100);
    let begun = std::time::Instant::now();
    let text = "a value of some length, as documents have them, ".repeat(6);
    loop {
        let wave =
            (begun.elapsed().as_secs_f64() / WAVE_SECONDS * std::f64::consts::TAU + phase).sin();
        let most = rate * (1.0 + 0.5 * wave) * (0.6 + 0.8 * fastrand::f64());
        let count = (most * PAUSE.as_secs_f64()).round() as usize;
        if count > 0 {
            let documents =
                (0..count).map(|number| doc! { "number": number as i64, "text": &text });
            let collection = database.collection::<Document>(collection);
            collection.insert_many(documents).await.unwrap();
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn take(visit: &mut Visit, size: (u32, u32), scheme: &str, path: &Path) {
    visit.browser.show_as(size, scheme);
    visit.browser.photograph(path);
    let len_bytes = path.metadata().unwrap().len();
    assert!(
        (5000..LEN_MAX_BYTES).contains(&len_bytes),
        "{path:?} has {len_bytes} bytes"
    );
}
