//! Azure refuses, throttles, stalls, and loses its replies: at the first, a middle and the committing
//! request of a flush, at the save of the checkpoint, and while an unknown outcome is looked up.
//! <https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes>

use std::time::Duration;

use crate::harness::http::{Answer, Kind};
use crate::harness::http_proxy::{Fault, HttpProxy, Seen, Which};
use crate::harness::ledger::compare;
use crate::harness::rounds::{Round, at_once, rounds};
use crate::harness::scene::{Scene, Witness, insert};
use crate::harness::silt::{Signal, Silt};
use crate::harness::variable;

/// `RETRY_DELAY_MS` of a scene.
const FIRST_DELAY_MS: u64 = 50;
/// No try of a flush or of a save takes more requests: it lists, opens, reads, stages and commits.
const REQUESTS_OF_A_TRY: usize = 12;
/// Rounds at once. Most of their time is waiting.
const WIDTH: usize = 6;
/// How long a fault lasts that a person mends: time for many tries.
const HALT_LASTS: Duration = Duration::from_millis(300);
/// Changes of a flush.
const FLUSH: i32 = 5;

const FIRST: Kind = Kind::Block(1);
const MIDDLE: Kind = Kind::Block(2);

/// What silt is to do while a fault lasts.
#[derive(Clone, Copy, Debug)]
enum Duty {
    /// Tries again, with growing delays.
    Retry,
    /// The same, but what looks like another writer is looked at without delay.
    Look,
    /// Asks nothing before this time is over.
    Wait(u64),
    /// Says what mends it, tries once more on SIGUSR1.
    Halt(&'static str),
    /// A committing request is found to have succeeded; any other is tried again.
    Find,
}

fn refusals() -> Vec<(Fault, Duty)> {
    let key = Duty::Halt("check AZURE_STORAGE_ACCOUNT_KEY");
    let grant = Duty::Halt("grant Storage Blob Data Contributor");
    let protected = Duty::Halt("remove the lease, policy, tier or snapshot that protects it");
    let foreign = Duty::Halt("another tool or API wrote it");
    let full = Duty::Halt("lower MAX_FILE_COMMITS");
    let odd = Duty::Halt("look up the code in Azure's documentation");
    let answers = [
        (400, "InvalidHeaderValue", odd),
        (400, "InvalidBlobOrBlock", foreign),
        (400, "InvalidBlockList", Duty::Look),
        (401, "NoAuthenticationInformation", key),
        (403, "AuthenticationFailed", key),
        (403, "AuthorizationFailure", grant),
        (403, "AuthorizationPermissionMismatch", grant),
        (
            403,
            "AccountIsDisabled",
            Duty::Halt("enable the storage account"),
        ),
        (404, "BlobNotFound", Duty::Look),
        (404, "ContainerNotFound", Duty::Halt("create it")),
        (404, "ResourceNotFound", odd),
        (409, "AccountBeingCreated", Duty::Retry),
        (409, "BlobAlreadyExists", Duty::Look),
        (409, "BlobArchived", protected),
        (409, "BlobImmutableDueToPolicy", protected),
        (409, "BlobOperationNotSupported", foreign),
        (409, "BlockCountExceedsLimit", full),
        (409, "ContainerBeingDeleted", Duty::Retry),
        (409, "InvalidAppendOperation", foreign),
        (409, "InvalidBlobType", foreign),
        (412, "ConditionNotMet", Duty::Look),
        (412, "LeaseIdMissing", protected),
        (413, "RequestBodyTooLarge", odd),
        (500, "InternalError", Duty::Retry),
        (500, "OperationTimedOut", Duty::Retry),
        (502, "", Duty::Retry),
        (503, "ServerBusy", Duty::Retry),
    ];
    answers
        .map(|(status, code, duty)| (Fault::Answer(Answer::new(status, code)), duty))
        .into()
}

fn throttles() -> Vec<(Fault, Duty)> {
    let wait = |answer: Answer| (Fault::Answer(answer.retry_after(1)), Duty::Wait(1000));
    vec![
        wait(Answer::new(429, "")),
        wait(Answer::new(429, "TooManyRequests")),
        wait(Answer::new(503, "ServerBusy")),
        wait(Answer::new(500, "OperationTimedOut")),
    ]
}

fn losses() -> Vec<(Fault, Duty)> {
    let misreport = |status, code| (Fault::Misreport(Answer::new(status, code)), Duty::Find);
    vec![
        (Fault::Reset, Duty::Retry),
        (Fault::LoseReply, Duty::Find),
        misreport(500, "InternalError"),
        misreport(503, "ServerBusy"),
        misreport(408, "RequestTimeout"),
        // A balancer tried again by itself and met its own success.
        misreport(412, "ConditionNotMet"),
        misreport(409, "BlobAlreadyExists"),
    ]
}

fn stalls() -> Vec<(Fault, Duty)> {
    vec![(Fault::Stall, Duty::Retry), (Fault::StallReply, Duty::Find)]
}

#[test]
fn every_refusal_is_survived_at_every_request_of_a_flush() {
    each_is_survived("refused by Azure", refusals);
}

#[test]
fn retry_after_is_honoured() {
    each_is_survived("throttled by Azure", throttles);
}

#[test]
fn a_lost_reply_doubles_nothing() {
    each_is_survived("replies of Azure lost", losses);
}

#[test]
fn a_stall_is_given_up_after_the_limit() {
    each_is_survived("stalls of Azure", stalls);
}

fn each_is_survived(name: &'static str, faults: fn() -> Vec<(Fault, Duty)>) {
    let count = u32::try_from(faults().len()).unwrap();
    at_once(rounds(name, count, 20 * count), WIDTH, async |round| {
        let number = round.number as usize;
        let (fault, duty) = faults().swap_remove(number % faults().len());
        survives(&round, &fault, duty).await;
    });
}

async fn survives(round: &Round, fault: &Fault, duty: Duty) {
    // The first is met by a file that isn't there yet.
    let mut places = [FIRST, MIDDLE, Kind::Commit, Kind::SaveCheckpoint];
    round.random().shuffle(&mut places);
    let mut patient = Patient::new().await;
    for place in places {
        patient.meets(fault, place, duty).await;
    }
    patient.leaves().await;
}

/// A silt that meets one fault after another.
struct Patient {
    scene: Scene,
    proxy: HttpProxy,
    silt: Silt,
    witness: Witness,
    made: i32,
}

impl Patient {
    async fn new() -> Self {
        let proxy = HttpProxy::new(&variable("SILT_TEST_AZURITE"));
        let scene = Scene::new()
            .await
            .on_azurite()
            .behind(&proxy)
            .with("CHECKPOINT_STORE", "lake")
            .with("BATCH_SIZE", &FLUSH.to_string())
            .with("LAKE_TIMEOUT_SECONDS", "1");
        let witness = scene.witness("users").await;
        let silt = Silt::watching(&scene.settings, &["users"]);
        Self {
            scene,
            proxy,
            silt,
            witness,
            made: 0,
        }
    }

    /// Makes a flush fall due.
    async fn change(&mut self) {
        insert(&self.scene.users(), self.made..self.made + FLUSH).await;
        self.made += FLUSH;
    }

    /// Meets a fault for some time, then goes on.
    async fn meets(&mut self, fault: &Fault, place: Kind, duty: Duty) {
        eprintln!("{fault:?} at {place:?}: {duty:?}");
        self.proxy.forget();
        self.proxy.fail(Which::every(place), fault.clone());
        self.change().await;
        match (duty, place) {
            (Duty::Halt(remedy), _) => self.halts(remedy),
            (Duty::Wait(least_ms), _) => self.waits(least_ms),
            (Duty::Find, Kind::Commit) => {
                self.silt
                    .wait_for("a flush that failed turned out to be committed");
                self.proxy.wait_for_hits(1);
            }
            // The save that had happened is known by its content.
            (Duty::Find, Kind::SaveCheckpoint) => self.proxy.wait_for_hits(1),
            (Duty::Find | Duty::Retry, _) => self.retries(true),
            (Duty::Look, _) => self.retries(false),
        }
        self.proxy.mend();
        self.settles().await;
    }

    /// Waits until all that was made is in the lake and the checkpoint knows it.
    async fn settles(&mut self) {
        let made = usize::try_from(self.made).unwrap();
        self.scene.flush_until(&mut self.silt, "users", made).await;
        self.scene.save_until_all_is_known(&mut self.silt).await;
    }

    /// Delays grow, and each try has few requests. What the proxy notes may be late by what its threads
    /// are, so all delays are judged together, and not by the last of them.
    fn retries(&self, waits_at_first: bool) {
        let tries = 4;
        self.proxy.wait_for_hits(tries);
        let seen = self.proxy.seen();
        assert!(seen.len() <= tries * REQUESTS_OF_A_TRY, "{seen:?}");
        let hits: Vec<&Seen> = seen.iter().filter(|seen| seen.is_hit).collect();
        let begin = u32::from(!waits_at_first);
        let delays = begin..u32::try_from(tries - 1).unwrap();
        // Up to a quarter less by jitter.
        let least_ms: u64 = delays
            .map(|number| (FIRST_DELAY_MS << number) * 3 / 4)
            .sum();
        let took = hits[tries - 1].at - hits[0].at;
        let without_growth = Duration::from_millis(FIRST_DELAY_MS * 3);
        let least = Duration::from_millis(least_ms * 3 / 4);
        assert!(
            least > without_growth && took >= least,
            "tried so often in {took:?}: {seen:?}"
        );
    }

    /// Asks nothing more about what was refused before the time is over.
    fn waits(&self, least_ms: u64) {
        self.proxy.wait_for_hits(2);
        let seen = self.proxy.seen();
        let first = seen.iter().position(|seen| seen.is_hit).unwrap();
        let later = &seen[first + 1..];
        // Blocks are staged beside each other, so another may be on its way already.
        let next = later
            .iter()
            .find(|seen| !matches!(seen.kind, Kind::Block(2 | 3)))
            .unwrap();
        let gap = next.at - seen[first].at;
        assert!(
            gap >= Duration::from_millis(least_ms),
            "asked {:?} after {gap:?}",
            next.kind
        );
    }

    fn halts(&mut self, remedy: &str) {
        let halted = self.silt.wait_where("halted", |line| {
            line["message"].as_str().unwrap().starts_with("halted")
        });
        let error = halted["error"].as_str().unwrap();
        assert!(error.contains(remedy), "{remedy:?} is not in {error:?}");
        std::thread::sleep(HALT_LASTS);
        assert_eq!(self.hits(), 1, "nothing is tried but on SIGUSR1");
        self.silt.signal(Signal::USR1);
        self.proxy.wait_for_hits(2);
    }

    fn hits(&self) -> usize {
        self.proxy.seen().iter().filter(|seen| seen.is_hit).count()
    }

    /// All that was made is in the lake once.
    async fn leaves(mut self) {
        self.silt.drain();
        let made = usize::try_from(self.made).unwrap();
        let expected = self.witness.tokens(made).await;
        compare(&expected, &self.scene.archived_on_azurite("users").await);
    }
}
