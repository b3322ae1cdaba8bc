//! Arguments to settings to the service to an exit status.
use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use silt::commands::screen::{self, Screen};
use silt::commands::{Report, check, flush, healthcheck, ls, watch};
use silt::logging;
use silt::service::{self, Outcome};
use silt::settings::{self, Command};
use tokio::runtime::Runtime;

const GOOD: u8 = 0;
const FAILED: u8 = 1;
const UNDRAINED: u8 = 3;

fn main() -> ExitCode {
    let output = Output::default();
    let status = run(&output);
    ExitCode::from(output.status(status))
}

fn run(output: &Output) -> u8 {
    let is_terminal = io::stderr().is_terminal();
    let loaded = match settings::load_from_process(is_terminal) {
        Ok(loaded) => loaded,
        Err(exit) => {
            match exit.code() {
                GOOD => output.line(&exit.to_string()),
                _ => error_line(&exit.to_string()),
            }
            return exit.code();
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
    perform(&loaded.command, &loaded.warnings, output).unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        FAILED
    })
}

fn perform(command: &Command, warnings: &[String], output: &Output) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the system gives no threads")?;
    let status = perform_on(&runtime, command, warnings, output);
    // What still hangs at a server, or waits for a reader's end, must not hold the exit up.
    runtime.shutdown_background();
    status
}

fn perform_on(
    runtime: &Runtime,
    command: &Command,
    warnings: &[String],
    output: &Output,
) -> anyhow::Result<u8> {
    Ok(match command {
        Command::Run(settings) => match runtime.block_on(service::run(settings)) {
            Ok(Outcome::Drained) => GOOD,
            Ok(Outcome::Failed) => FAILED,
            Ok(Outcome::Undrained) => UNDRAINED,
            Err(error) => return Err(error).context("the system gives no signal handlers"),
        },
        Command::Flush {
            instance,
            collections,
        } => output.tell(&runtime.block_on(flush::run(instance, collections))),
        Command::Healthcheck { address, live_only } => {
            output.tell(&runtime.block_on(healthcheck::run(*address, *live_only)))
        }
        Command::Check(settings) => output.answer(&on_screen(output, |screen| {
            runtime.block_on(check::run(settings, warnings, screen))
        })),
        Command::List { lake, list } => {
            match on_screen(output, |screen| {
                runtime.block_on(ls::run(lake, list, screen))
            }) {
                Ok(report) => output.answer(&report),
                Err(error) => output.tell(&Report {
                    text: format!("lake: {error}"),
                    is_good: false,
                }),
            }
        }
        Command::Watch(settings) => {
            let stdout = stdout().context("can't use the standard output")?;
            let has_colour = stdout.is_terminal() && screen::is_colourful(variable);
            runtime.block_on(watch::run(settings, stdout, has_colour))?;
            GOOD
        }
    })
}

/// The standard output, and what kept a line from being written to it.
#[derive(Default)]
struct Output {
    error: Mutex<Option<io::Error>>,
}

impl Output {
    /// Prints a line. If nobody reads the pipe any more, as with `| head`, that is no error.
    fn line(&self, text: &str) {
        match write_line(text) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error),
        }
    }

    /// Prints what a command has to say.
    fn tell(&self, report: &Report) -> u8 {
        if report.is_good {
            return self.answer(report);
        }
        error_line(&report.text);
        FAILED
    }

    /// Prints an answer, which is the same kind of text whether all is well or not.
    fn answer(&self, report: &Report) -> u8 {
        self.line(&report.text);
        if report.is_good { GOOD } else { FAILED }
    }

    /// The exit status of a command that would end with this one: it fails if its output is lost.
    fn status(self, status: u8) -> u8 {
        let error = self.error.into_inner();
        let Some(error) = error.unwrap_or_else(PoisonError::into_inner) else {
            return status;
        };
        error_line(&format!("can't write to the standard output: {error}"));
        if status == GOOD { FAILED } else { status }
    }
}

/// The standard output, without `Stdout`, which takes a descriptor that isn't open for writing for success.
fn stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Writes a line to the standard output.
fn write_line(text: &str) -> io::Result<()> {
    let mut stdout = stdout()?;
    stdout.write_all(format!("{text}\n").as_bytes())
}

/// Prints a line on the standard error. Where it can't be written, nothing can say so.
fn error_line(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A variable of the environment that isn't empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Lets a command show what it does: lines on the standard output, progress on the terminal, if there is
/// one.
fn on_screen<T>(output: &Output, command: impl FnOnce(Screen<'_>) -> T) -> T {
    const WIDTH: usize = 78;
    let watched = io::stderr().is_terminal();
    let progress = |text: &str| {
        if watched {
            let short: String = text.chars().take(WIDTH).collect();
            let _ = write!(io::stderr(), "\r\x1b[K{short}");
        }
    };
    let line = |text: &str| {
        progress("");
        output.line(text);
    };
    let is_terminal = io::stdout().is_terminal();
    command(Screen {
        has_signs: is_terminal && screen::is_unicode(variable),
        has_colour: is_terminal && screen::is_colourful(variable),
        line: &line,
        progress: &progress,
    })
}
