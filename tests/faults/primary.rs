//! The primary steps down, dies or freezes under load: silt resumes by itself, with nothing lost and
//! nothing doubled.

use std::time::Duration;

use crate::harness::ledger::Load;
use crate::harness::replica_set::ReplicaSet;
use crate::harness::rounds::{Round, rounds};
use crate::harness::scene::Scene;
use crate::harness::silt::Silt;

/// What happens to the primary.
#[derive(Clone, Copy, Debug)]
enum Kind {
    StepsDown,
    Dies,
    /// Too short for an election.
    Stumbles,
    /// Until the others have elected another.
    Freezes,
}

const KINDS: [Kind; 4] = [Kind::StepsDown, Kind::Dies, Kind::Stumbles, Kind::Freezes];

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_primary_loses_nothing_and_doubles_nothing() {
    let mut servers = ReplicaSet::start().await;
    for round in rounds("loss of the primary", 10, 100) {
        survives(&round, &mut servers).await;
    }
}

async fn survives(round: &Round, servers: &mut ReplicaSet) {
    let kind = KINDS[round.number as usize % KINDS.len()];
    let mut random = round.random();
    servers.all_well().await;
    let scene = Scene::on(servers.uri())
        .await
        .with("BATCH_SIZE", &random.u32(1..10).to_string())
        .with("CHECKPOINT_STORE", ["mongodb", "lake"][random.usize(..2)]);
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let load = Load::begin(&scene, Duration::ZERO).await;
    for _ in 0..random.u32(1..20) {
        silt.wait_for("flushed");
    }
    let primary = servers.primary().await;
    match kind {
        Kind::StepsDown => {
            servers.step_down().await;
            servers.next_primary(primary).await;
        }
        Kind::Dies => {
            servers.kill(primary);
            servers.next_primary(primary).await;
            servers.restart(primary);
        }
        Kind::Stumbles => {
            servers.freeze(primary);
            tokio::time::sleep(Duration::from_millis(random.u64(200..2500))).await;
            servers.thaw(primary);
        }
        Kind::Freezes => {
            servers.freeze(primary);
            servers.next_primary(primary).await;
            servers.thaw(primary);
        }
    }
    load.wait_until_followed(&scene, &mut silt).await;
    let ledger = load.end().await;
    servers.all_well().await;
    ledger.verify(&scene, silt).await;
}
