//! SIGTERM, SIGINT and SIGHUP, whatever silt is doing: the exit status is true, it comes in time, and the next
//! start completes what was left.

use std::time::{Duration, Instant};

use crate::harness::http::{Answer, Kind};
use crate::harness::http_proxy::{Fault, Held, HttpProxy, Moment, Which};
use crate::harness::ledger::Load;
use crate::harness::rounds::{at_once, rounds};
use crate::harness::scene::{Scene, insert, token};
use crate::harness::silt::{Signal, Silt};
use crate::harness::variable;

/// Rounds at once.
const WIDTH: usize = 4;
/// On top of `SHUTDOWN_TIMEOUT_SECONDS`, for a slow machine.
const GRACE: Duration = Duration::from_secs(15);

/// What silt does when the signal comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Reading,
    Uploading,
    BackingOff,
    Checkpointing,
    Starting,
    Anchoring,
}

const STATES: [State; 7] = [
    State::Idle,
    State::Reading,
    State::Uploading,
    State::BackingOff,
    State::Checkpointing,
    State::Starting,
    State::Anchoring,
];
/// Those in which a drain can be kept from its end.
const BUSY: [State; 3] = [State::Uploading, State::BackingOff, State::Checkpointing];
const SIGNALS: [Signal; 3] = [Signal::TERM, Signal::INT, Signal::HUP];

/// A silt in a state.
struct Subject {
    scene: Scene,
    proxy: HttpProxy,
    silt: Silt,
    /// None before the feed has a start: what happens then is not silt's.
    load: Option<Load>,
    /// The request that keeps it in its state.
    held: Option<Held>,
}

impl Subject {
    async fn in_state(state: State, timeout_seconds: u64, random: &mut fastrand::Rng) -> Self {
        let proxy = HttpProxy::new(&variable("SILT_TEST_AZURITE"));
        let batch_size = if state == State::Reading {
            "100000"
        } else {
            "5"
        };
        let scene = Scene::new()
            .await
            .on_azurite()
            .behind(&proxy)
            .with("CHECKPOINT_STORE", "lake")
            .with("LOG_LEVEL", "debug")
            .with("BATCH_SIZE", batch_size)
            .with("SHUTDOWN_TIMEOUT_SECONDS", &timeout_seconds.to_string());
        let first = match state {
            State::Starting => Some(proxy.hold(Which::next(Kind::List), Moment::Before)),
            State::Anchoring => Some(proxy.hold(Which::next(Kind::SaveCheckpoint), moment(random))),
            _ => None,
        };
        let mut silt = Silt::start(&scene.settings);
        let held = first.map(|point| point.reached());
        if held.is_none() {
            silt.wait_for("watching");
        }
        let mut subject = Self {
            load: None,
            scene,
            proxy,
            silt,
            held,
        };
        if state != State::Starting {
            subject.is_loaded().await;
            subject.gets_into(state, random).await;
        }
        subject
    }

    async fn is_loaded(&mut self) {
        self.load = Some(Load::begin(&self.scene, Duration::from_millis(2)).await);
    }

    async fn gets_into(&mut self, state: State, random: &mut fastrand::Rng) {
        let Self {
            scene,
            proxy,
            silt,
            load,
            held,
        } = self;
        match state {
            State::Idle => {
                load.as_ref()
                    .unwrap()
                    .wait_until_followed(scene, silt)
                    .await
            }
            State::Reading => (0..random.u32(1..30)).for_each(|_| drop(silt.wait_for("read"))),
            State::Uploading => {
                let kind = [Kind::Block(1), Kind::Block(2), Kind::Commit][random.usize(..3)];
                let which = Which::nth(kind, random.u32(1..5));
                *held = Some(proxy.hold(which, moment(random)).reached());
            }
            State::BackingOff => {
                let busy = Answer::new(503, "ServerBusy").retry_after(60);
                proxy.fail(Which::every(Kind::Commit), Fault::Answer(busy));
                silt.wait_for("failed, retrying");
            }
            State::Checkpointing => {
                let which = Which::nth(Kind::SaveCheckpoint, random.u32(1..5));
                *held = Some(proxy.hold(which, moment(random)).reached());
            }
            State::Starting | State::Anchoring => {}
        }
    }

    /// The checkpoint is never ahead of the lake.
    async fn tells_the_truth(&self) {
        let archived = self.scene.archived_on_azurite("users").await;
        if let Some(saved) = self.scene.checkpointed_on_azurite().await {
            assert!(archived.iter().map(token).any(|token| token == saved));
        }
    }

    /// Starts silt anew, which completes what was left.
    async fn completes(mut self) {
        self.scene.set("BATCH_SIZE", "5");
        self.scene.set("SHUTDOWN_TIMEOUT_SECONDS", "25");
        self.silt = Silt::watching(&self.scene.settings, &["users"]);
        if self.load.is_none() {
            self.is_loaded().await;
        }
        let load = self.load.unwrap();
        load.wait_until_followed(&self.scene, &mut self.silt).await;
        load.end().await.verify(&self.scene, self.silt).await;
    }
}

fn moment(random: &mut fastrand::Rng) -> Moment {
    [Moment::Before, Moment::After][random.usize(..2)]
}

#[test]
fn a_drain_ends_well_from_every_state() {
    at_once(rounds("SIGTERM", 35, 350), WIDTH, async |round| {
        let mut random = round.random();
        let state = STATES[round.number as usize % STATES.len()];
        let mut subject = Subject::in_state(state, 30, &mut random).await;
        let begun = Instant::now();
        if state == State::BackingOff {
            // Azure is well again, but silt was told to wait for a minute.
            subject.proxy.mend();
        }
        subject.silt.signal(SIGNALS[random.usize(..SIGNALS.len())]);
        if state != State::Starting {
            subject.silt.wait_for("draining");
            if let Some(held) = subject.held.take() {
                held.release();
            }
        }
        let (code, silt) = subject.silt.wait();
        assert_eq!(code, 0, "{state:?}: {}", silt.text());
        assert!(begun.elapsed() < Duration::from_secs(30) + GRACE);
        subject.silt = silt;
        if state != State::Starting {
            let archived = subject.scene.archived_on_azurite("users").await;
            let saved = subject.scene.checkpointed_on_azurite().await;
            assert_eq!(saved, archived.last().map(token), "{state:?}: all is saved");
        }
        subject.completes().await;
    });
}

#[test]
fn a_drain_that_is_kept_from_its_end_says_so_in_time() {
    at_once(rounds("SIGTERM, no end", 12, 120), WIDTH, async |round| {
        let mut random = round.random();
        let state = BUSY[round.number as usize % BUSY.len()];
        let mut subject = Subject::in_state(state, 1, &mut random).await;
        let begun = Instant::now();
        subject.silt.signal(SIGNALS[random.usize(..SIGNALS.len())]);
        let (code, silt) = subject.silt.wait();
        assert_eq!(code, 3, "{state:?}: {}", silt.text());
        assert!(begun.elapsed() < Duration::from_secs(1) + GRACE);
        assert!(silt.text().contains("SHUTDOWN_TIMEOUT_SECONDS"));
        subject.silt = silt;
        ends(subject, random.bool()).await;
    });
}

#[test]
fn a_second_signal_ends_it_at_once() {
    at_once(rounds("a second signal", 6, 60), WIDTH, async |round| {
        let mut random = round.random();
        let state = BUSY[round.number as usize % BUSY.len()];
        // No end of time, so it is the signal that ends it.
        let mut subject = Subject::in_state(state, 600, &mut random).await;
        subject.silt.signal(SIGNALS[random.usize(..SIGNALS.len())]);
        subject.silt.wait_for("draining");
        subject.silt.signal(SIGNALS[random.usize(..SIGNALS.len())]);
        let (code, silt) = subject.silt.wait();
        assert_eq!(code, 3, "{state:?}: {}", silt.text());
        assert!(silt.text().contains("a second signal"), "{}", silt.text());
        subject.silt = silt;
        ends(subject, random.bool()).await;
    });
}

/// What becomes of the request that was held makes no difference.
async fn ends(mut subject: Subject, lands: bool) {
    subject.tells_the_truth().await;
    subject.proxy.mend();
    if let Some(held) = subject.held.take().filter(|_| lands) {
        held.release();
    }
    subject.tells_the_truth().await;
    subject.completes().await;
}

#[tokio::test]
async fn changes_that_wait_for_a_damaged_file_are_not_called_drained() {
    let scene = Scene::new()
        .await
        .with("MONGODB_COLLECTIONS", "users,orders")
        .with("STREAMS", "shared")
        .with("SHUTDOWN_TIMEOUT_SECONDS", "2");
    let mut silt = Silt::watching(&scene.settings, &["users,orders"]);
    insert(&scene.users(), 0..1).await;
    scene.flush_until(&mut silt, "users", 1).await;
    silt.drain();
    let damaged = scene.files("users").pop().unwrap();
    std::fs::write(&damaged, "damaged").unwrap();
    let mut silt = Silt::watching(&scene.settings, &["users,orders"]);
    insert(&scene.users(), 1..2).await;
    insert(&scene.database.collection("orders"), 0..1).await;
    silt.wait_where("a halt", |line| {
        let message = line["message"].as_str().unwrap_or_default();
        message.starts_with("halted:")
    });
    silt.signal(Signal::TERM);
    let (status, silt) = silt.wait();
    assert_eq!(status, 3, "{}", silt.text());
    assert_eq!(silt.count("drained: all that was read is in the lake"), 0);
}

#[tokio::test]
async fn each_signal_drains_and_is_named() {
    for (signal, name) in SIGNALS.into_iter().zip(["SIGTERM", "SIGINT", "SIGHUP"]) {
        let scene = Scene::new().await;
        let mut silt = Silt::watching(&scene.settings, &["users"]);
        insert(&scene.users(), 0..1).await;
        // SIGUSR1 comes through the same stream, and flushes until it has met the change.
        scene.flush_until(&mut silt, "users", 1).await;
        silt.signal(signal);
        let (status, silt) = silt.wait();
        assert_eq!(status, 0, "{name}: {}", silt.text());
        let draining = silt.log.iter().find(|line| line["message"] == "draining");
        assert_eq!(draining.unwrap()["signal"], name);
    }
}

#[tokio::test]
async fn under_nohup_a_hangup_is_ignored() {
    let scene = Scene::new().await;
    let mut silt = Silt::under_nohup(&scene.settings).once_watching(&["users"]);
    silt.signal(Signal::HUP);
    insert(&scene.users(), 0..1).await;
    scene.flush_until(&mut silt, "users", 1).await;
    assert_eq!(silt.count("draining"), 0, "{}", silt.text());
    silt.drain();
}
