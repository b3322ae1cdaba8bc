//! The same for a feed that carries many collections: in each the lake must be a gapless part of the
//! stream, and the one position must lie behind nothing that is missing.

mod checkpoint_size;
mod drains;
mod handovers;
mod master;
mod rules;
mod run;
mod world;

use super::plan::Plan;
use super::try_plans;
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
    try_plans(|plan| Run::new(plan).go(), story);
}
