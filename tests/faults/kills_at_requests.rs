//! SIGKILL at named points: before and after each block, each commit and each save, and in the first
//! second of a new feed. A request that was under way may be lost, or land after the death of who sent it.

use std::time::Duration;

use crate::harness::http::Kind;
use crate::harness::http_proxy::{Held, HttpProxy, Moment, Which};
use crate::harness::ledger::Load;
use crate::harness::rounds::{at_once, rounds};
use crate::harness::scene::Scene;
use crate::harness::silt::Silt;
use crate::harness::variable;

/// What becomes of a request whose sender was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It was on its way and is lost.
    Lost,
    /// It was on its way and lands before the next start.
    Lands,
    /// It was on its way and lands while the next one is at work.
    LandsLate,
    /// The server had acted, and nobody heard of it.
    Done,
}

const FATES: [Fate; 4] = [Fate::Lost, Fate::Lands, Fate::LandsLate, Fate::Done];

impl Fate {
    fn moment(self) -> Moment {
        match self {
            Self::Done => Moment::After,
            Self::Lost | Self::Lands | Self::LandsLate => Moment::Before,
        }
    }

    /// Starts the next one.
    fn befalls(self, held: Held, start: impl FnOnce() -> Silt) -> Silt {
        match self {
            Self::Lost | Self::Done => {
                drop(held);
                start()
            }
            Self::Lands => {
                held.release();
                start()
            }
            Self::LandsLate => {
                let silt = start();
                held.release();
                silt
            }
        }
    }
}

fn scene_behind(scene: Scene, proxy: &HttpProxy) -> Scene {
    scene
        .on_azurite()
        .behind(proxy)
        .with("CHECKPOINT_STORE", "lake")
        .with("BATCH_SIZE", "3")
}

/// Each round kills at every request of a flush and a save, with one fate.
#[test]
fn kills_at_every_request_of_a_flush_lose_nothing() {
    at_once(rounds("SIGKILL at requests", 4, 40), 2, async |round| {
        let mut random = round.random();
        let fate = FATES[round.number as usize % FATES.len()];
        let proxy = HttpProxy::new(&variable("SILT_TEST_AZURITE"));
        let format = ["json", "ndjson"][random.usize(..2)];
        let scene = scene_behind(Scene::new().await, &proxy).with("OUTPUT_FORMAT", format);
        let mut points = vec![
            Kind::Block(1),
            Kind::Commit,
            Kind::ReadCheckpoint,
            Kind::SaveCheckpoint,
        ];
        // ndjson has neither head nor foot, so a flush is one block.
        points.extend((format == "json").then_some(Kind::Block(2)));
        random.shuffle(&mut points);
        let mut silt = Silt::watching(&scene.settings, &["users"]);
        let load = Load::begin(&scene, Duration::ZERO).await;
        for kind in points {
            let point = proxy.hold(Which::nth(kind, random.u32(1..5)), fate.moment());
            let held = point.reached();
            silt.kill();
            scene.archived_anywhere("users").await;
            silt = fate.befalls(held, || Silt::watching(&scene.settings, &["users"]));
        }
        load.end().await.verify(&scene, silt).await;
    });
}

/// What a new feed asks before it watches: the root, the checkpoint, the files, and the save that
/// anchors its start.
const FIRST_REQUESTS: [(Kind, u32, Fate); 8] = [
    (Kind::CreateRoot, 1, Fate::Lost),
    (Kind::CreateRoot, 1, Fate::Done),
    (Kind::ReadCheckpoint, 1, Fate::Done),
    (Kind::List, 2, Fate::Done),
    (Kind::ReadCheckpoint, 2, Fate::Done),
    (Kind::SaveCheckpoint, 1, Fate::Lost),
    (Kind::SaveCheckpoint, 1, Fate::Lands),
    (Kind::SaveCheckpoint, 1, Fate::Done),
];

/// From the save that anchors it on, a feed's start stands, though it never said that it watches.
#[test]
fn kills_in_the_first_second_of_a_feed_do_not_move_its_start() {
    at_once(rounds("SIGKILL, new feeds", 8, 80), 4, async |round| {
        let (kind, nth, fate) = FIRST_REQUESTS[round.number as usize % FIRST_REQUESTS.len()];
        let proxy = HttpProxy::new(&variable("SILT_TEST_AZURITE"));
        let scene = scene_behind(Scene::new().await, &proxy);
        let point = proxy.hold(Which::nth(kind, nth), fate.moment());
        let mut silt = Silt::start(&scene.settings);
        let held = point.reached();
        silt.hear();
        assert_eq!(silt.count("watching"), 0, "the start is saved first");
        silt.kill();
        match fate {
            Fate::Lands => held.release(),
            _ => drop(held),
        }
        let start = || Silt::watching(&scene.settings, &["users"]);
        // From that save on, what happens is behind the start, though nobody watches.
        let is_anchored = kind == Kind::SaveCheckpoint && fate != Fate::Lost;
        let early = (!is_anchored).then(start);
        let load = Load::begin(&scene, Duration::ZERO).await;
        load.wait_for_more(10).await;
        let mut silt = early.unwrap_or_else(start);
        load.wait_until_followed(&scene, &mut silt).await;
        load.end().await.verify(&scene, silt).await;
    });
}
