//! Combines command line, environment, `.env` file and settings file into a command with its settings.

use std::ffi::OsString;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::command::Command;
use super::exit::Exit;
use super::problems::Fault;
use super::surroundings::Surroundings;
use super::values::Values;
use super::{LogSettings, assemble, command_line, places};

/// Read from the working directory unless `--env-file` names another file.
const DEFAULT_ENV_FILE: &str = ".env";

/// The loaded command and settings.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The command.
    pub command: Command,
    /// Level and format of the log.
    pub log: LogSettings,
    /// Warnings for the log, without secrets.
    pub warnings: Vec<String>,
    /// The settings that don't have their default value, as `NAME=value`. Secrets are shown as `***`.
    pub explicit_settings: Vec<String>,
}

/// Loads the settings of this process: its arguments, its environment and the `.env` file of its
/// working directory. `is_terminal`: whether the log goes to a terminal.
///
/// # Errors
///
/// Help was requested, or the command line or settings are wrong.
pub fn load_from_process(is_terminal: bool) -> Result<Loaded, Exit> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_unix_ms = now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
    let surroundings = Surroundings {
        environment: &|name| std::env::var_os(name),
        default_env_file: Some(Path::new(DEFAULT_ENV_FILE)),
        is_terminal,
        now_unix_ms,
    };
    load(std::env::args_os(), &surroundings)
}

/// Loads settings from arguments, the program's name first, and surroundings. A flag takes precedence over the
/// environment, the environment over the `.env` file, that over the settings file, and a section of the
/// settings file over all of them.
///
/// # Errors
///
/// Help was requested, or the command line or settings are wrong.
pub fn load(
    args: impl IntoIterator<Item = OsString>,
    surroundings: &Surroundings<'_>,
) -> Result<Loaded, Exit> {
    let mut arguments = command_line::parse(args)?;
    let mut values = Values::default();
    let sections = places::take_all(&mut values, &mut arguments, surroundings);
    for setting in &arguments.secrets {
        let what = "it has no flag, because every process can see a command line";
        let fix = "set it in the environment or the .env file";
        values.refuse(setting, Fault::with_fix(what, fix));
    }
    let (command, log) = assemble::command(&mut values, &arguments.verb, &sections, surroundings);
    let explicit_settings = values.explicit_settings();
    let (mut problems, warnings) = values.into_findings();
    problems.keep_only(|setting| arguments.verb.needs(setting));
    match (command, log) {
        (Some(command), Some(log)) if problems.0.is_empty() => Ok(Loaded {
            command,
            log,
            warnings,
            explicit_settings,
        }),
        _ if arguments.verb.answers_by_status() => Err(Exit::Unfit(problems)),
        _ => Err(Exit::Problems(problems)),
    }
}
