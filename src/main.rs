//! Arguments to settings to the service to an exit status.
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use silt::commands::screen::{self, Screen};
use silt::commands::{Report, check, flush, healthcheck, ls};
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
                0 => line(&exit.to_string()),
                _ => error_line(&exit.to_string()),
            }
            return ExitCode::from(exit.code());
        }
    };
    logging::start(loaded.log, is_terminal);
    if matches!(loaded.command, Command::Run(_)) {
        let settings = loaded.explicit_settings.join(" ");
        tracing::info!(settings, "settings loaded; all others have their defaults");
    }
    // `check` shows warnings in its table.
    if !matches!(loaded.command, Command::Check(_)) {
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
    }
    perform(&loaded.command, &loaded.warnings).unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        ExitCode::from(FAILED)
    })
}

fn perform(command: &Command, warnings: &[String]) -> anyhow::Result<ExitCode> {
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
        Command::Healthcheck { address, live_only } => {
            tell(&runtime.block_on(healthcheck::run(*address, *live_only)))
        }
        Command::Check(settings) => answer(&on_screen(|screen| {
            runtime.block_on(check::run(settings, warnings, screen))
        })),
        Command::List { lake, list } => {
            match on_screen(|screen| runtime.block_on(ls::run(lake, list, screen))) {
                Ok(report) => answer(&report),
                Err(error) => tell(&Report {
                    text: format!("lake: {error}"),
                    is_good: false,
                }),
            }
        }
    };
    // What still hangs at a server must not hold the exit up.
    runtime.shutdown_background();
    Ok(exit)
}

/// Prints what a command has to say.
fn tell(report: &Report) -> ExitCode {
    if report.is_good {
        line(&report.text);
        ExitCode::SUCCESS
    } else {
        error_line(&report.text);
        ExitCode::from(FAILED)
    }
}

/// Prints an answer, which is the same kind of text whether all is well or not.
fn answer(report: &Report) -> ExitCode {
    line(&report.text);
    if report.is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    }
}

/// Prints a line. Nobody may listen any more, as behind `| head`.
fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints a line on the standard error, likewise.
fn error_line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Lets a command show what it does: lines on the standard output, progress on the terminal, if there is
/// one.
fn on_screen<T>(command: impl FnOnce(Screen<'_>) -> T) -> T {
    const WIDTH: usize = 78;
    let watched = std::io::stderr().is_terminal();
    let progress = |text: &str| {
        if watched {
            let short: String = text.chars().take(WIDTH).collect();
            let _ = write!(std::io::stderr(), "\r\x1b[K{short}");
        }
    };
    let line = |text: &str| {
        progress("");
        line(text);
    };
    let is_terminal = std::io::stdout().is_terminal();
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    command(Screen {
        has_signs: is_terminal && screen::is_unicode(variable),
        has_colour: is_terminal && screen::is_colourful(variable),
        line: &line,
        progress: &progress,
    })
}
