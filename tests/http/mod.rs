//! What silt says of itself over HTTP, and the commands that ask it.

mod flush;
mod health;
mod limits;
mod metrics;
mod status;

use crate::harness::asks::address;
use crate::harness::scene::Scene;
use crate::harness::silt::{Silt, run};

/// Runs a command that asks this silt. Returns its exit status and what it printed.
fn ask_running(silt: &mut Silt, scene: &Scene, arguments: &[&str]) -> (i32, String) {
    let mut settings = scene.settings.clone();
    settings.insert("HTTP_ADDR".to_owned(), address(silt));
    run(&settings, arguments)
}
