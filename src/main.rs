//! Arguments to settings to the service to an exit status.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "nothing else of silt prints"
)]

use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::Context as _;
use silt::commands::{Report, flush, healthcheck};
use silt::logging;
use silt::service::{self, Outcome};
use silt::settings::{self, Command};

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
    logging::start(loaded.log, is_terminal);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    perform(&loaded.command).unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        ExitCode::from(FAILED)
    })
}

fn perform(command: &Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the system gives no threads")?;
    let exit = match command {
        Command::Run(settings) => match runtime.block_on(service::run(settings)) {
            Ok(Outcome::Drained) => ExitCode::SUCCESS,
            Ok(Outcome::Failed) => ExitCode::from(FAILED),
            Ok(Outcome::Undrained) => ExitCode::from(UNDRAINED),
            Err(error) => return Err(error).context("the system gives no signal handlers"),
        },
        Command::Flush {
            instance,
            collections,
        } => tell(&runtime.block_on(flush::run(instance, collections))),
        Command::Healthcheck {
            instance,
            live_only,
        } => tell(&runtime.block_on(healthcheck::run(instance, *live_only))),
        Command::Check(_) | Command::List { .. } => anyhow::bail!("this build has no such command"),
    };
    // What still hangs at a server must not hold the exit up.
    runtime.shutdown_background();
    Ok(exit)
}

/// Prints what a command has to say.
fn tell(report: &Report) -> ExitCode {
    if report.is_good {
        println!("{}", report.text);
        ExitCode::SUCCESS
    } else {
        eprintln!("{}", report.text);
        ExitCode::from(FAILED)
    }
}
