//! Arguments to settings to the service to an exit status.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "nothing else of silt prints"
)]

use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::Context as _;
use silt::logging;
use silt::service::{self, Outcome};
use silt::settings::{self, Command, Loaded};

const FAILED: u8 = 1;
const UNDRAINED: u8 = 3;

fn main() -> ExitCode {
    let is_terminal = std::io::stderr().is_terminal();
    let loaded = match settings::load_from_process(is_terminal) {
        Ok(loaded) => loaded,
        Err(exit) => {
            match exit.code() {
                0 => println!("{exit}"),
                _ => eprintln!("{exit}"),
            }
            return ExitCode::from(exit.code());
        }
    };
    match run(&loaded, is_terminal) {
        Ok(Outcome::Drained) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::from(FAILED),
        Ok(Outcome::Undrained) => ExitCode::from(UNDRAINED),
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn run(loaded: &Loaded, is_terminal: bool) -> anyhow::Result<Outcome> {
    let Loaded {
        settings,
        command,
        warnings,
    } = loaded;
    logging::start(settings.log, is_terminal);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the system gives no threads")?;
    let outcome = match command {
        Command::Run => runtime.block_on(service::run(settings)),
    };
    // What still hangs at a server must not hold the exit up.
    runtime.shutdown_background();
    outcome.context("the system gives no signal handlers")
}
