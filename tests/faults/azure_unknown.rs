//! A commit whose outcome nobody told: it is looked up while Azure fails on, or lands late.

use crate::harness::beside::side_by_side;
use crate::harness::http::{Answer, Kind};
use crate::harness::http_proxy::{Fault, HttpProxy, Moment, Which};
use crate::harness::ledger::compare;
use crate::harness::rounds::rounds;
use crate::harness::scene::{Scene, insert};
use crate::harness::silt::{Signal, Silt};
use crate::harness::variable;

#[tokio::test]
async fn a_lookup_that_fails_is_made_again() {
    let faults = || {
        let answer = |status, code| Fault::Answer(Answer::new(status, code));
        [
            Fault::Reset,
            Fault::Stall,
            answer(500, "InternalError"),
            answer(503, "ServerBusy"),
            answer(403, "AuthorizationFailure"),
        ]
    };
    let jobs = rounds("lookups fail", 1, 20).flat_map(|_| {
        let places = [Kind::List, Kind::OpenFile, Kind::ReadFile];
        places.into_iter().flat_map(move |place| {
            let job = move |fault| (place, fault);
            faults().into_iter().map(job)
        })
    });
    side_by_side(6, jobs.collect::<Vec<_>>(), async |(place, fault)| {
        eprintln!("{fault:?} at {place:?}");
        let (scene, proxy) = scene_behind_proxy().await;
        let mut witness = scene.witness("users").await;
        let mut silt = Silt::watching(&scene.settings, &["users"]);
        insert(&scene.users(), 0..5).await;
        scene.flush_until(&mut silt, "users", 5).await;
        proxy.fail(Which::every(place), fault);
        proxy.fail(Which::next(Kind::Commit), Fault::LoseReply);
        insert(&scene.users(), 5..10).await;
        // The lost reply, and the lookup twice.
        proxy.wait_for_hits(1);
        silt.signal(Signal::USR1);
        proxy.wait_for_hits(2);
        proxy.mend();
        insert(&scene.users(), 10..15).await;
        scene.flush_until(&mut silt, "users", 15).await;
        let silt = silt.drain();
        assert_eq!(
            silt.count("a flush without an answer had been committed"),
            1,
            "{}",
            silt.text()
        );
        compare(
            &witness.tokens(15).await,
            &scene.archived_on_azurite("users").await,
        );
    });
}

/// Whatever silt has given up can still be on its way.
#[tokio::test]
async fn a_request_that_lands_late_doubles_nothing() {
    let jobs = rounds("requests land late", 1, 30).flat_map(|_| {
        [
            (Kind::Commit, true),
            (Kind::Commit, false),
            (Kind::SaveCheckpoint, true),
            (Kind::SaveCheckpoint, false),
        ]
    });
    side_by_side(4, jobs.collect::<Vec<_>>(), async |(kind, in_order)| {
        let (scene, proxy) = scene_behind_proxy().await;
        let mut witness = scene.witness("users").await;
        let mut silt = Silt::watching(&scene.settings, &["users"]);
        // The older fault is hit once the newer has been.
        let [second, first] = [(); 2].map(|()| proxy.hold(Which::next(kind), Moment::Before));
        insert(&scene.users(), 0..5).await;
        // The next try means that silt has given the first up and looked in vain for its effect.
        let (first, second) = (first.reached(), second.reached());
        if in_order {
            first.release();
            second.release();
        } else {
            second.release();
            scene.flush_until(&mut silt, "users", 5).await;
            first.release();
        }
        insert(&scene.users(), 5..10).await;
        scene.flush_until(&mut silt, "users", 10).await;
        silt.drain();
        compare(
            &witness.tokens(10).await,
            &scene.archived_on_azurite("users").await,
        );
    });
}

async fn scene_behind_proxy() -> (Scene, HttpProxy) {
    let proxy = HttpProxy::new(&variable("SILT_TEST_AZURITE"));
    let scene = Scene::new()
        .await
        .on_azurite()
        .behind(&proxy)
        .with("CHECKPOINT_STORE", "lake")
        .with("BATCH_SIZE", "5")
        .with("LAKE_TIMEOUT_SECONDS", "1");
    (scene, proxy)
}
