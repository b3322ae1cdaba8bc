//! An hour file that is full goes on in its next part: nothing is lost at the roll, no part is skipped, none
//! passes its limit. So it is when silt is killed or restarted there.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::harness::at_once;
use crate::harness::ledger::Load;
use crate::harness::rounds::rounds;
use crate::harness::scene::{Scene, age};
use crate::harness::silt::Silt;

const MAX_FILE_SIZE_BYTES: usize = 65_536;
const BATCH_BYTES: usize = 20_000;
const MAX_FILE_COMMITS: usize = 4;
/// Bytes of text in each document.
const TEXT_LEN_BYTES: usize = 3000;
/// New parts in one scene.
const ROLLS: usize = 8;

/// What fills a file.
#[derive(Clone, Copy, Debug)]
enum Limit {
    Size,
    Commits,
}

#[test]
fn full_files_go_on_in_the_next_part() {
    let cases = [
        (Limit::Size, "json", "none", "local"),
        (Limit::Size, "json", "gzip", "local"),
        (Limit::Size, "ndjson", "none", "local"),
        (Limit::Size, "ndjson", "gzip", "local"),
        (Limit::Size, "ndjson", "none", "azurite"),
        (Limit::Commits, "json", "none", "azurite"),
        (Limit::Commits, "json", "gzip", "azurite"),
    ];
    for round in rounds("parts", 1, 20) {
        at_once(cases, async |(limit, format, compression, lake)| {
            let scene = Scene::new()
                .await
                .with("OUTPUT_FORMAT", format)
                .with("COMPRESSION", compression)
                .with("BATCH_BYTES", &BATCH_BYTES.to_string());
            let scene = match limit {
                Limit::Size => scene.with("MAX_FILE_SIZE", &MAX_FILE_SIZE_BYTES.to_string()),
                Limit::Commits => scene.with("MAX_FILE_COMMITS", &MAX_FILE_COMMITS.to_string()),
            };
            let scene = match lake {
                "local" => scene,
                _ => scene.on_azurite(),
            };
            roll(&scene, round.random()).await;
            let files = scene.contents("users").await;
            assert_no_part_is_skipped(&files);
            match limit {
                Limit::Size => assert_sizes(&files),
                Limit::Commits => assert_commits(&files),
            }
        });
    }
}

/// Archives a load until there were enough new parts, stopping silt at some of them.
async fn roll(scene: &Scene, mut random: fastrand::Rng) {
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let load = Load::of(scene, "users", TEXT_LEN_BYTES, Duration::from_millis(3)).await;
    for _ in 0..ROLLS {
        let mut flushed = silt.wait_for("flushed");
        let file = flushed["file"].clone();
        while flushed["file"] == file {
            flushed = silt.wait_for("flushed");
        }
        silt = match random.u8(0..4) {
            // Right behind the roll, and at the next one.
            0 => {
                silt.kill();
                Silt::watching(&scene.settings, &["users"])
            }
            1 => {
                for _ in 0..random.u32(2..5) {
                    silt.wait_for("flushed");
                }
                silt.kill();
                Silt::watching(&scene.settings, &["users"])
            }
            2 => {
                silt.drain();
                Silt::watching(&scene.settings, &["users"])
            }
            _ => silt,
        };
    }
    load.end().await.verify(scene, silt).await;
}

/// Parts of each hour are counted from one, and there were some.
fn assert_no_part_is_skipped(files: &[(String, Vec<u8>)]) {
    let mut hours: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (name, _) in files {
        let (hour, part) = age(name);
        hours.entry(hour).or_default().push(part);
    }
    for parts in hours.values() {
        assert!(
            parts.iter().copied().eq(1..=parts.len() as u32),
            "{hours:?}"
        );
    }
    assert!(files.len() > ROLLS, "{hours:?}");
}

/// None is larger than the limit, and each but an hour's last had no room for another batch.
fn assert_sizes(files: &[(String, Vec<u8>)]) {
    for (name, bytes) in files {
        assert!(
            bytes.len() <= MAX_FILE_SIZE_BYTES,
            "{name}: {}",
            bytes.len()
        );
    }
    for (name, bytes) in all_but_the_last(files) {
        let room = MAX_FILE_SIZE_BYTES - bytes.len();
        // gzip may make a batch longer by an eighth.
        let is_gzip = name.ends_with(".gz");
        let batch = BATCH_BYTES + if is_gzip { BATCH_BYTES / 8 } else { 0 };
        assert!(room <= batch + 1000, "{name} had {room} bytes of room");
    }
}

/// None has more commits than the limit, and each but an hour's last has as many.
fn assert_commits(files: &[(String, Vec<u8>)]) {
    let commits = |name: &str, bytes: &[u8]| {
        let mut text = bytes.to_vec();
        if name.ends_with(".gz") {
            text.clear();
            let mut decoder = flate2::read::MultiGzDecoder::new(bytes);
            std::io::Read::read_to_end(&mut decoder, &mut text).unwrap();
        }
        let document: Value = serde_json::from_slice(&text).unwrap();
        document["metadata"]["commits"].as_u64().unwrap() as usize
    };
    for (name, bytes) in files {
        assert!(commits(name, bytes) <= MAX_FILE_COMMITS, "{name}");
    }
    for (name, bytes) in all_but_the_last(files) {
        assert_eq!(commits(name, bytes), MAX_FILE_COMMITS, "{name}");
    }
}

/// Without the last part of each hour, which may hold less: the hour may turn while a test runs.
fn all_but_the_last(files: &[(String, Vec<u8>)]) -> impl Iterator<Item = &(String, Vec<u8>)> {
    let pairs = files.windows(2);
    pairs
        .filter(|pair| age(&pair[0].0).0 == age(&pair[1].0).0)
        .map(|pair| &pair[0])
}
