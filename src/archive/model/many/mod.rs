//! The same for a feed that carries many collections: in each the lake must be a gapless part of the
//! stream, and the one position must lie behind nothing that is missing.

mod master;
mod rules;
mod run;
mod world;

use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestError, TestRunner};

use super::plan::{Plan, plan};
use super::{CASES, number_from_env};
use run::Run;

/// Runs a plan once more, for the record.
fn story(plan: &Plan) -> String {
    let mut run = Run::new(plan);
    run.log = Some(String::new());
    let outcome = run.go();
    format!("{plan:?}\n{}\n{outcome:#?}", run.log.unwrap_or_default())
}

#[test]
fn every_change_of_many_collections_is_archived_once_whatever_happens() {
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
    let outcome = runner.run(&plan(), |plan| {
        let run = Run::new(&plan).go();
        run.map_err(|error| proptest::test_runner::TestCaseError::fail(format!("{error:#}")))
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, plan)) => {
            panic!("SILT_MODEL_SEED={seed}: {reason}\n{}", story(&plan))
        }
        Err(error) => panic!("SILT_MODEL_SEED={seed}: {error}"),
    }
}
