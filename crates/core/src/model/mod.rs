//! A model test of the state machine: feeds in a simulated world where everything goes wrong, in
//! an order drawn at random, and after every step the lake must be a gapless part of the stream.
//!
//! `SILT_MODEL_CASES=100000 cargo test --lib model` runs longer; `SILT_MODEL_SEED`, which a failure
//! prints, repeats a run.

mod edges;
mod faults;
mod gaps;
mod history;
mod lake;
mod many;
mod master;
mod plan;
mod rules;
mod run;
mod source;
mod store;
mod world;

use std::env;

use anyhow::Result;
use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestCaseError, TestError, TestRunner};

use plan::Plan;
use run::Run;

const CASES: u32 = 2500;

fn number_from_env(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Runs a plan once more, for the record.
fn story(plan: &Plan) -> String {
    let mut run = match Run::new(plan) {
        Ok(run) => run,
        Err(error) => return format!("{error:#}"),
    };
    run.log = Some(String::new());
    let outcome = run.go();
    format!("{plan:?}\n{}\n{outcome:#?}", run.log.unwrap_or_default())
}

/// Runs plans that are drawn at random.
fn try_plans(go: impl Fn(&Plan) -> Result<()>, story: impl Fn(&Plan) -> String) {
    let cases = number_from_env("SILT_MODEL_CASES").unwrap_or(u64::from(CASES));
    let seed = number_from_env("SILT_MODEL_SEED").unwrap_or_else(|| fastrand::u64(..));
    let defaults = Config::default();
    let config = Config {
        cases: u32::try_from(cases).unwrap(),
        rng_algorithm: RngAlgorithm::XorShift, // much the faster one in debug builds
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: defaults.max_shrink_iters.min(20_000),
        ..defaults
    };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&plan::plan(), |plan| {
        go(&plan).map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, plan)) => {
            panic!("SILT_MODEL_SEED={seed}: {reason}\n{}", story(&plan))
        }
        Err(error) => panic!("SILT_MODEL_SEED={seed}: {error}"),
    }
}

#[test]
fn every_change_is_archived_once_whatever_happens() {
    try_plans(|plan| Run::new(plan).and_then(|mut run| run.go()), story);
}
