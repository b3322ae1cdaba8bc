//! The hour of a change is that of its cluster time, wherever in a batch the hour turns.
//!
//! A server takes any cluster time of the next year from a client who says that he has seen it, as drivers
//! tell each other's servers. So a test turns the hour when it likes, on a server of its own. silt's wall
//! clock stays behind then, which must make no difference.

use std::collections::BTreeSet;

use crate::harness::at_once;
use crate::harness::hours::turn_hour;
use crate::harness::ledger::{compare, tokens_of};
use crate::harness::rounds::rounds;
use crate::harness::scene::{Scene, insert};
use crate::harness::servers::Server;
use crate::harness::silt::{Signal, Silt};

/// Hours that turn in one scene.
const TURNS: i32 = 5;

#[test]
fn changes_land_in_their_hour_wherever_it_turns() {
    let mongod = Server::mongod();
    for round in rounds("hours that turn", 1, 20) {
        let cases = [
            ("json", "none", "local"),
            ("json", "gzip", "local"),
            ("ndjson", "none", "local"),
            ("ndjson", "gzip", "local"),
            ("json", "none", "azurite"),
        ];
        at_once(cases, async |(format, compression, lake)| {
            let scene = Scene::on(&mongod.uri())
                .await
                .with("OUTPUT_FORMAT", format)
                .with("COMPRESSION", compression)
                .with("LOG_LEVEL", "debug");
            let scene = match lake {
                "local" => scene,
                _ => scene.on_azurite(),
            };
            hours_turn(scene, round.random()).await;
        });
    }
}

async fn hours_turn(scene: Scene, mut random: fastrand::Rng) {
    let mut witness = scene.witness("users").await;
    let mut silt = Some(Silt::watching(&scene.settings, &["users"]));
    let mut made = 0;
    for turn in 0..TURNS {
        // Before and behind the turn, and right at it.
        let before = random.i32(0..4);
        insert(&scene.users(), made..made + before).await;
        turn_hour(&scene.client, random.u32(0..8)).await;
        let at_it = random.i32(4..12);
        insert(&scene.users(), made + before..made + before + at_it).await;
        made += before + at_it;
        // Read at once, or together with what comes later, or again.
        silt = match (silt, random.u8(0..6)) {
            (Some(running), 0) => {
                running.kill();
                None
            }
            (Some(running), 1) => {
                running.drain();
                None
            }
            (Some(running), 2) => {
                running.signal(Signal::USR1);
                Some(running)
            }
            (Some(running), _) => Some(running),
            (None, _) if turn + 1 < TURNS && random.bool() => None,
            (None, _) => Some(Silt::watching(&scene.settings, &["users"])),
        };
    }
    let mut silt = silt.unwrap_or_else(|| Silt::watching(&scene.settings, &["users"]));
    let made = usize::try_from(made).unwrap();
    scene.flush_until(&mut silt, "users", made).await;
    silt.drain();

    let seen = witness.see(made).await;
    let hours: BTreeSet<String> = seen
        .iter()
        .map(|change| change.get_timestamp("clusterTime").unwrap().time)
        .map(|seconds| chrono::DateTime::from_timestamp(i64::from(seconds), 0).unwrap())
        .map(|time| time.format("%Y-%m-%d-%H").to_string())
        .collect();
    assert!(hours.len() > 3, "{hours:?}");
    // Reading them checks that each change is in the file of its hour.
    compare(&tokens_of(seen), &scene.archived_anywhere("users").await);
    let files = scene.contents("users").await;
    let files = files
        .iter()
        .map(|(name, _)| name.split('.').next().unwrap());
    assert!(files.eq(hours.iter()), "one file an hour");
}
