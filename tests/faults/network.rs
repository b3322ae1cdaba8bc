//! The network between silt and mongod fails under load: silt resumes by itself, with nothing lost and
//! nothing doubled.

use std::time::Duration;

use crate::harness::ledger::Load;
use crate::harness::replica_set::QUICK;
use crate::harness::rounds::{Round, at_once, rounds};
use crate::harness::scene::Scene;
use crate::harness::servers::mongod_address;
use crate::harness::silt::Silt;
use crate::harness::tcp_proxy::{Fault, TcpProxy, Trigger};
use fastrand::Rng;

/// Rounds at once. Most of their time is waiting.
const WIDTH: usize = 10;
/// What happens in one round, one after another.
const HAPPENINGS: usize = 3;

/// What happens to one connection.
const FAULTS: [Fault; 4] = [Fault::Cut, Fault::Reset, Fault::HalfClose, Fault::BlackHole];

/// What happens to the network.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// One connection, in the middle of a reply.
    One(Fault),
    /// All connections.
    All(Fault),
    /// All connections, and none is taken for a while.
    Refused,
    /// All connections, and none is answered for a while.
    Swallowed,
    /// Every piece of a reply comes late.
    Slow,
}

const KINDS: [Kind; 11] = [
    Kind::One(Fault::Reset),
    Kind::One(Fault::BlackHole),
    Kind::Swallowed,
    Kind::One(Fault::HalfClose),
    Kind::All(Fault::Reset),
    Kind::Refused,
    Kind::One(Fault::Cut),
    Kind::All(Fault::BlackHole),
    Kind::Slow,
    Kind::All(Fault::Cut),
    Kind::All(Fault::HalfClose),
];

#[test]
fn a_broken_network_loses_nothing_and_doubles_nothing() {
    at_once(rounds("network", 50, 500), WIDTH, survives);
}

async fn survives(round: Round) {
    let mut random = round.random();
    let proxy = TcpProxy::before(mongod_address().await).await;
    let uri = format!(
        "mongodb://{}/?directConnection=true&{QUICK}",
        proxy.address()
    );
    let scene = Scene::new()
        .await
        .with("MONGODB_URI", &uri)
        .with("MONGODB_TIMEOUT_SECONDS", "2")
        .with("BATCH_SIZE", &random.u32(1..50).to_string())
        .with("CHECKPOINT_STORE", ["mongodb", "lake"][random.usize(..2)]);
    if random.bool() {
        // In the middle of a handshake, or of another question of the start.
        let fault = FAULTS[random.usize(..FAULTS.len())];
        proxy.arm(Trigger::ReplyBytes(random.u64(1..4000)), fault);
    }
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let len_bytes = [10, 1000, 10_000][random.usize(..3)];
    let load = Load::of(&scene, "users", len_bytes, Duration::from_millis(10)).await;
    for number in 0..HAPPENINGS {
        let kind = KINDS[(round.number as usize * HAPPENINGS + number) % KINDS.len()];
        happens(kind, &proxy, &mut random).await;
        load.wait_until_followed(&scene, &mut silt).await;
    }
    load.end().await.verify(&scene, silt).await;
}

async fn happens(kind: Kind, proxy: &TcpProxy, random: &mut Rng) {
    match kind {
        Kind::One(fault) => {
            let bytes = random.u64(1..50_000);
            let struck = proxy.arm(Trigger::ReplyBytes(bytes), fault);
            struck.wait().await;
        }
        Kind::All(fault) => proxy.strike(fault),
        Kind::Refused => {
            proxy.refuse();
            proxy.strike(Fault::Reset);
            a_while(random).await;
        }
        Kind::Swallowed => {
            proxy.swallow();
            proxy.strike(Fault::BlackHole);
            a_while(random).await;
        }
        Kind::Slow => {
            proxy.delay(Duration::from_millis(random.u64(1..300)));
            a_while(random).await;
        }
    }
    proxy.mend();
}

/// How long a fault lasts, not a wait for anything.
async fn a_while(random: &mut Rng) {
    tokio::time::sleep(Duration::from_millis(random.u64(..2000))).await;
}
