//! A commit whose outcome nobody told: it is looked up while Azure fails on, or lands late. And a start
//! while Azure fails.

use crate::harness::http::{Answer, Kind};
use crate::harness::http_proxy::{Fault, HttpProxy, Moment, Which};
use crate::harness::ledger::compare;
use crate::harness::rounds::{at_once, rounds};
use crate::harness::scene::{Scene, insert, token};
use crate::harness::silt::{Signal, Silt};
use crate::harness::variable;

/// The requests of a lookup.
const LOOKUP: [Kind; 3] = [Kind::List, Kind::OpenFile, Kind::ReadFile];

fn failures() -> [Fault; 5] {
    let answer = |status, code| Fault::Answer(Answer::new(status, code));
    [
        Fault::Reset,
        Fault::Stall,
        answer(500, "InternalError"),
        answer(503, "ServerBusy"),
        answer(403, "AuthorizationFailure"),
    ]
}

#[test]
fn a_lookup_that_fails_is_made_again() {
    at_once(rounds("lookups fail", 15, 150), 6, async |round| {
        let number = round.number as usize;
        let fault = failures()[number % 5].clone();
        let place = LOOKUP[number % 3];
        eprintln!("{fault:?} at {place:?}");
        let (scene, proxy) = scene_behind_proxy().await;
        let mut witness = scene.witness("users").await;
        let mut silt = Silt::watching(&scene.settings, &["users"]);
        insert(&scene.users(), 0..5).await;
        scene.flush_until(&mut silt, "users", 5).await;
        proxy.fail(Which::every(place), fault);
        proxy.fail(Which::next(Kind::Commit), Fault::LoseReply);
        insert(&scene.users(), 5..10).await;
        // The lost reply, then the lookup.
        proxy.wait_for_hits(2);
        proxy.mend();
        insert(&scene.users(), 10..15).await;
        scene.flush_until(&mut silt, "users", 15).await;
        let silt = silt.drain();
        assert_eq!(
            silt.count("a flush that failed turned out to be committed"),
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
#[test]
fn a_request_that_lands_late_doubles_nothing() {
    at_once(rounds("requests land late", 4, 100), 4, async |round| {
        let kind = [Kind::Commit, Kind::SaveCheckpoint][round.number as usize % 2];
        let in_order = round.number / 2 % 2 == 0;
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
        let archived = scene.archived_on_azurite("users").await;
        compare(&witness.tokens(10).await, &archived);
        let last = archived.last().map(token);
        assert_eq!(scene.checkpointed_on_azurite().await, last);
    });
}

/// What a start asks for, and what it meets.
fn at_the_start() -> [(Kind, Fault); 8] {
    let answer = |status, code| Fault::Answer(Answer::new(status, code));
    [
        (Kind::List, answer(503, "ServerBusy")),
        (Kind::List, Fault::Stall),
        (Kind::CreateRoot, answer(409, "ContainerBeingDeleted")),
        (
            Kind::CreateRoot,
            Fault::Misreport(Answer::new(500, "InternalError")),
        ),
        (Kind::CreateRoot, Fault::LoseReply),
        (Kind::ReadCheckpoint, answer(403, "AuthorizationFailure")),
        (Kind::SaveCheckpoint, answer(500, "OperationTimedOut")),
        (Kind::SaveCheckpoint, Fault::StallReply),
    ]
}

#[test]
fn a_start_waits_for_azure() {
    let all = rounds("Azure fails at the start", 8, 80);
    at_once(all, 4, async |round| {
        let (kind, fault) = at_the_start()[round.number as usize % 8].clone();
        eprintln!("{fault:?} at {kind:?}");
        let (scene, proxy) = scene_behind_proxy().await;
        proxy.fail(Which::every(kind), fault);
        let mut silt = Silt::start(&scene.settings);
        match kind {
            // Refused by 403, which a person mends.
            Kind::ReadCheckpoint => drop(silt.wait_where("halted", |line| {
                line["message"].as_str().unwrap().starts_with("halted")
            })),
            _ => proxy.wait_for_hits(1),
        }
        proxy.mend();
        silt.signal(Signal::USR1);
        silt.wait_for("watching");
        let mut witness = scene.witness("users").await;
        insert(&scene.users(), 0..5).await;
        scene.flush_until(&mut silt, "users", 5).await;
        silt.drain();
        let archived = scene.archived_on_azurite("users").await;
        compare(&witness.tokens(5).await, &archived);
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
