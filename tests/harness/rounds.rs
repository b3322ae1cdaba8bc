//! How often a fault is tried, and the seed of each time.
//!
//! `make test` tries each a few times. `make chaos` (`SILT_CHAOS_MINUTES`) tries each many times more, for as
//! long as it may take. A round that fails prints its seed; `SILT_TEST_SEED` tries just that one again.

use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// One time.
#[derive(Debug)]
pub struct Round {
    fault: &'static str,
    /// From 1. A replayed round has the number that it had.
    pub number: u32,
    pub seed: u64,
}

/// Of a failure, in the summary of all.
const REASON_LINES_MAX: usize = 12;

/// The last digits of a seed are the round's number: kinds that alternate by it are replayed too.
const NUMBERS: u64 = 10_000;

impl Round {
    pub fn random(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed)
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self {
                fault,
                number,
                seed,
            } = self;
            eprintln!("{fault}, round {number}: replay it with SILT_TEST_SEED={seed}");
        }
    }
}

/// The rounds of a fault: so many in `make test`, so many in `make chaos` if the time allows.
pub fn rounds(fault: &'static str, in_test: u32, in_chaos: u32) -> impl Iterator<Item = Round> {
    let replayed = std::env::var("SILT_TEST_SEED").ok();
    let replayed: Option<u64> =
        replayed.map(|seed| seed.parse().expect("SILT_TEST_SEED is a number"));
    let count = match (replayed, chaos_ends_at()) {
        (Some(_), _) => 1,
        (None, Some(_)) => in_chaos,
        (None, None) => in_test,
    };
    let mut number = 0;
    std::iter::from_fn(move || {
        let is_late = chaos_ends_at().is_some_and(|end| Instant::now() >= end);
        if number == count || (is_late && number >= in_test) {
            if chaos_ends_at().is_some() {
                eprintln!("{fault}: {number} rounds");
            }
            return None;
        }
        number += 1;
        let seed = replayed.unwrap_or_else(|| {
            let random = fastrand::u64(..u64::MAX / NUMBERS);
            random * NUMBERS + u64::from(number)
        });
        Some(Round {
            fault,
            number: (seed % NUMBERS) as u32,
            seed,
        })
    })
}

/// Tries rounds or cases, so many at once, each in a thread and a runtime of its own: what waits for
/// silt blocks its thread.
pub fn at_once<T, F: Future<Output = ()>>(
    all: impl Iterator<Item = T> + Send,
    width: usize,
    attempt: impl Fn(T) -> F + Sync,
) {
    let all = Mutex::new(all.fuse());
    let work = || {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
        loop {
            let next = all.lock().unwrap().next();
            let Some(next) = next else { return };
            runtime.block_on(attempt(next));
        }
    };
    let failures: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..width).map(|_| scope.spawn(work)).collect();
        let ended = threads.into_iter().map(|thread| thread.join());
        ended.filter_map(Result::err).map(reason).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// How a thread's panic ended. What it holds of silt's log is long, and the newest lines stand last.
fn reason(panic: Box<dyn std::any::Any + Send>) -> String {
    let text = match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast::<&str>().map_or_else(
            |_| "a panic without a word".to_owned(),
            |text| (*text).to_owned(),
        ),
    };
    let mut lines: Vec<&str> = text.lines().collect();
    if lines.len() > REASON_LINES_MAX {
        lines.drain(1..=lines.len() - REASON_LINES_MAX);
    }
    lines.join("\n")
}

/// When a run of `make chaos` is over. Every fault is tried as often as in `make test` all the same.
fn chaos_ends_at() -> Option<Instant> {
    static END: OnceLock<Option<Instant>> = OnceLock::new();
    *END.get_or_init(|| {
        let minutes = std::env::var("SILT_CHAOS_MINUTES").ok()?;
        let minutes: u64 = minutes.parse().expect("SILT_CHAOS_MINUTES is a number");
        Some(Instant::now() + Duration::from_secs(60 * minutes))
    })
}
