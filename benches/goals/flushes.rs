//! What a flush costs: time as the file grows, bytes, and requests at Azure.

use std::sync::Arc;
use std::time::Instant;

use silt::lake::{Base, Lake, LakePath, Version};
use silt_core::file::commit::Commit;
use silt_core::file::hour_file::{HourFile, HourFileName};

use crate::documents::order;
use crate::harness::changes::{self, origin};
use crate::harness::http::Kind;
use crate::harness::http_proxy::HttpProxy;
use crate::harness::scene::Scene;
use crate::harness::servers::Place;
use crate::harness::silt::Silt;
use crate::harness::variable;
use crate::table::{Row, median};

const FEW: u32 = 10;
const MANY: u32 = 5000;
const ROUNDS: u32 = 101;
const FLUSHES: u32 = 1000;
const CHANGES_PER_FLUSH: u32 = 100;

pub async fn measure() -> Vec<Row> {
    let mut rows = Vec::new();
    for (place, name) in Place::all().iter().zip(["local lake", "Azurite"]) {
        let lake = place.prepared().await;
        let figure = format!("flush into a file of {MANY} commits ÷ of {FEW}, {name}");
        let (ratio, detail) = growth(&lake).await;
        rows.push(match place {
            Place::Local(_) => Row::at_most(&figure, 2.0, "", ratio, &detail),
            // Of which silt's part is to name every block: Azurite takes its time to read that.
            Place::Azurite { .. } => Row::report(&figure, format!("{ratio:.2}{detail}")),
        });
    }
    rows.extend(price().await);
    rows
}

/// An hour file that grows by commits of one change.
struct Growing {
    path: LakePath,
    name: HourFileName,
    file: Option<(HourFile, Version)>,
    changes: u32,
}

impl Growing {
    fn new(folder: String) -> Self {
        let name = changes::name("json");
        let path = LakePath {
            folder,
            name: name.to_string(),
        };
        Self {
            path,
            name,
            file: None,
            changes: 0,
        }
    }

    /// Makes one commit: how long the lake took, in milliseconds.
    async fn grow(&mut self, lake: &Arc<dyn Lake>) -> f64 {
        let number = self.changes + 1;
        let base = self.file.as_ref().map(|(file, _)| file);
        let commit: Commit =
            changes::commit(&origin("orders"), base, self.name, number..number + 1);
        let base = self.file.as_ref().map(|(file, version)| Base {
            version,
            head_len_bytes: file.head_len_bytes,
            foot_len_bytes: file.foot_len_bytes,
        });
        let begun = Instant::now();
        let version = lake
            .append(&self.path, base, &commit.addition)
            .await
            .unwrap();
        let taken_ms = begun.elapsed().as_secs_f64() * 1000.0;
        self.changes = number;
        self.file = Some((commit.file, version));
        taken_ms
    }
}

async fn growth(lake: &Arc<dyn Lake>) -> (f64, String) {
    let mut large = Growing::new("large".to_owned());
    while large.changes < MANY {
        large.grow(lake).await;
    }
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let mut small = Growing::new(format!("small{round}"));
        while small.changes < FEW {
            small.grow(lake).await;
        }
        few.push(small.grow(lake).await);
        many.push(large.grow(lake).await);
    }
    let (few, many) = (median(few), median(many));
    (many / few, format!(" ({many:.1} and {few:.1} ms)"))
}

/// Bytes and requests of a silt, as a proxy in front of Azurite counts them.
async fn price() -> Vec<Row> {
    let proxy = HttpProxy::new(&variable("SILT_TEST_AZURITE"));
    let scene = Scene::new()
        .await
        .on_azurite()
        .behind(&proxy)
        .with("BATCH_SIZE", &CHANGES_PER_FLUSH.to_string());
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    proxy.forget();
    for flush in 0..FLUSHES {
        let first = flush * CHANGES_PER_FLUSH;
        let orders = (first..first + CHANGES_PER_FLUSH).map(order);
        scene.users().insert_many(orders).await.unwrap();
        silt.wait_for("flushed");
    }
    silt.drain();
    let seen = proxy.seen();
    let blocks: Vec<_> = seen
        .iter()
        .filter(|it| matches!(it.kind, Kind::Block(_)))
        .collect();
    let commits = seen.iter().filter(|it| it.kind == Kind::Commit).count();
    let sent: usize = blocks.iter().map(|block| block.body_len_bytes).sum();
    let len_bytes = scene.len_on_azurite("users").await;
    let sent_ratio = sent as f64 / len_bytes as f64;
    let all = (blocks.len() + commits) as f64 / commits as f64;
    let mut blocks_of_flush = 0.0;
    let operations = median(seen.iter().filter_map(|it| match it.kind {
        Kind::Block(_) => {
            blocks_of_flush += 1.0;
            None
        }
        Kind::Commit => Some(std::mem::take(&mut blocks_of_flush) + 1.0),
        _ => None,
    }));
    let detail = format!(
        " (flushes of {CHANGES_PER_FLUSH} changes; {commits} flushes, file of {len_bytes} bytes)"
    );
    vec![
        Row::at_most(
            "bytes sent over 1,000 flushes ÷ bytes of the finished file",
            1.05,
            "",
            sent_ratio,
            &detail,
        ),
        Row::at_most(
            "write operations at Azure per flush",
            3.0,
            "",
            operations,
            &format!(" (a new file's first flush one more: {all:.3} on average)"),
        ),
    ]
}
