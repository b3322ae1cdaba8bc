//! Draining one busy collection: raw, and by silt into its lakes, in turns.

use std::time::{Duration, Instant};

use crate::harness::scene::Scene;
use crate::harness::silt::Silt;
use crate::load::{Archived, Load};
use crate::table::{Row, median};
use crate::{process, raw_drain};

const CHANGES: u32 = 300_000;
const ROUNDS: usize = 7;
const AZURITE_ROUNDS: usize = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// How fast a drain was, and at what price.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub changes_per_second: f64,
    pub cpu_us_per_change: f64,
    pub peak_mib: f64,
}

pub async fn measure() -> Vec<Row> {
    let load = Load::write(1, CHANGES).await;
    let (_, event_len_bytes) = raw_drain::measure(&load);
    eprintln!("{CHANGES} events of {event_len_bytes:.0} bytes");
    let (mut raw, mut plain, mut gzip, mut azurite) = (vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        raw.push(raw_drain::measure(&load).0);
        plain.push(drain(&load, load.scene().await));
        gzip.push(drain(&load, load.scene().await.with("COMPRESSION", "gzip")));
        if round < AZURITE_ROUNDS {
            let scene = load.scene().await.on_azurite();
            azurite.push(drain(&load, scene.with("COMPRESSION", "gzip")));
        }
        for (name, paces) in [
            ("raw", &raw),
            ("none", &plain),
            ("gzip", &gzip),
            ("azurite", &azurite),
        ] {
            eprintln!("  {name:8} {:?}", paces.last().unwrap());
        }
    }
    rows(&raw, &plain, &gzip, &azurite)
}

fn rows(raw: &[Pace], plain: &[Pace], gzip: &[Pace], azurite: &[Pace]) -> Vec<Row> {
    let pace = |all: &[Pace]| median(all.iter().map(|pace| pace.changes_per_second));
    let cpu = |all: &[Pace]| median(all.iter().map(|pace| pace.cpu_us_per_change));
    // Of two that stood side by side: what slows the machine for a while slows both.
    let ratio = |all: &[Pace], figure: fn(&Pace) -> f64| {
        median(
            all.iter()
                .zip(raw)
                .map(|(it, raw)| figure(it) / figure(raw)),
        )
    };
    let speed = |all: &[Pace]| ratio(all, |pace| pace.changes_per_second);
    let price = |all: &[Pace]| ratio(all, |pace| pace.cpu_us_per_change);
    let per_second = |all: &[Pace]| format!(" ({:.0} changes/s)", pace(all));
    let us = |all: &[Pace]| format!(" ({:.1} µs)", cpu(all));
    let most = |all: &[Pace]| all.iter().map(|pace| pace.peak_mib).fold(0.0, f64::max);
    let peaks = format!(
        " (gzip {:.0} MiB, through Azurite {:.0} MiB)",
        most(gzip),
        most(azurite)
    );
    vec![
        Row::report(
            "raw drain",
            format!(
                "{:.0} changes/s, {:.1} µs of CPU a change",
                pace(raw),
                cpu(raw)
            ),
        ),
        Row::at_least(
            "local lake, json relaxed, none ÷ raw drain",
            0.95,
            speed(plain),
            &per_second(plain),
        ),
        Row::at_least("the same with gzip", 0.90, speed(gzip), &per_second(gzip)),
        Row::at_least(
            "the same through Azurite, gzip ÷ local gzip",
            0.5,
            pace(azurite) / pace(gzip),
            &per_second(azurite),
        ),
        Row::at_most(
            "CPU a change ÷ raw drain's, none",
            3.0,
            "",
            price(plain),
            &us(plain),
        ),
        Row::at_most(
            "CPU a change ÷ raw drain's, gzip",
            8.0,
            "",
            price(gzip),
            &us(gzip),
        ),
        Row::at_most(
            "peak resident memory, one busy collection",
            40.0,
            " MiB",
            most(plain).max(most(gzip)),
            &peaks,
        ),
    ]
}

/// Lets silt archive the load's first collection.
fn drain(load: &Load, scene: Scene) -> Pace {
    let mut silt = Silt::watching(&scene.settings, &["orders0"]);
    let pid = silt.pid().as_raw_nonzero().to_string();
    let (begun, cpu_begun) = (Instant::now(), process::cpu_seconds(&pid));
    let mut archived = Archived::default();
    while !archived.is_all(&mut silt, load) {
        std::thread::sleep(LOOK_AGAIN);
    }
    let changes = f64::from(load.changes);
    let pace = Pace {
        changes_per_second: changes / begun.elapsed().as_secs_f64(),
        cpu_us_per_change: (process::cpu_seconds(&pid) - cpu_begun) * 1e6 / changes,
        peak_mib: process::peak_mib(&pid),
    };
    silt.drain();
    pace
}
