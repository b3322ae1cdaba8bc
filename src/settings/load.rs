//! Brings together command line, environment, `.env` file and settings file.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::problems::{Fault, Problems};
use super::values::Values;
use super::{
    InstanceSettings, LakeSettings, ListSettings, LogSettings, Settings, assemble, command_line,
    places,
};

/// Name of the file of settings that is read if it is there.
const DEFAULT_ENV_FILE: &str = ".env";

/// What silt is to do, with the settings for it.
#[derive(Clone, Debug)]
pub enum Command {
    /// Watch and archive.
    Run(Box<Settings>),
    /// Look whether [`Command::Run`] would work.
    Check(Box<Settings>),
    /// Ask the running instance to flush these collections, or all if there is none.
    Flush {
        /// The running instance.
        instance: InstanceSettings,
        /// Names of collections.
        collections: Vec<String>,
    },
    /// Ask the running instance how it is.
    Healthcheck {
        /// Where the running instance answers.
        address: SocketAddr,
        /// Whether it is enough that it lives.
        live_only: bool,
    },
    /// List what the lake holds.
    List {
        /// The lake.
        lake: Box<LakeSettings>,
        /// What is listed.
        list: ListSettings,
    },
}

/// What was loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What to do.
    pub command: Command,
    /// What is logged and how.
    pub log: LogSettings,
    /// What is odd but does no harm: a line each, without secrets, for the log.
    pub warnings: Vec<String>,
}

/// Why there is nothing to run. `Display` gives the text to print.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exit {
    /// Help or the version was asked for: the text is for the standard output.
    Answer(String),
    /// The command line wasn't understood.
    Usage(String),
    /// Settings are wrong.
    Problems(#[from] Problems),
    /// Settings are wrong, where the exit status is the answer: [`Command::Check`], [`Command::Healthcheck`].
    Unfit(Problems),
}

impl Exit {
    /// The process's exit status.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Answer(_) => 0,
            Self::Unfit(_) => 1,
            Self::Usage(_) | Self::Problems(_) => 2,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(text) | Self::Usage(text) => f.write_str(text.trim_end()),
            Self::Problems(problems) | Self::Unfit(problems) => problems.fmt(f),
        }
    }
}

/// All that [`load`] knows of the process besides its arguments.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Looks up an environment variable.
    pub environment: &'a dyn Fn(&str) -> Option<OsString>,
    /// The file of settings that is read, if it is there, when the command line names none.
    pub default_env_file: Option<&'a Path>,
    /// Whether the log goes to a terminal.
    pub is_terminal: bool,
    /// The time, in milliseconds since 1970.
    pub now_unix_ms: i64,
}

/// Loads the settings of this process: its arguments, its environment and the `.env` file of its
/// working directory. `is_terminal` says whether the log goes to a terminal.
///
/// # Errors
///
/// Help was asked for, or the command line or settings are wrong.
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

/// Loads settings from arguments, the program's name first, and surroundings. A flag wins over the
/// environment, the environment over the `.env` file, that over the settings file, and a section of the
/// settings file over all of them.
///
/// # Errors
///
/// Help was asked for, or the command line or settings are wrong.
pub fn load(
    args: impl IntoIterator<Item = OsString>,
    surroundings: &Surroundings<'_>,
) -> Result<Loaded, Exit> {
    let mut arguments = command_line::parse(args)?;
    let mut values = Values::default();
    let sections = places::take_all(&mut values, &mut arguments, surroundings);
    for setting in &arguments.secrets {
        let what = "it has no flag, since a command line is visible to every process";
        let mend = "set it in the environment or the .env file";
        values.refuse(setting, Fault::mended_by(what, mend));
    }
    let (command, log) = assemble::command(&mut values, &arguments.verb, &sections, surroundings);
    let (mut problems, warnings) = values.into_findings();
    problems.keep_only(|setting| arguments.verb.needs(setting));
    match (command, log) {
        (Some(command), Some(log)) if problems.0.is_empty() => Ok(Loaded {
            command,
            log,
            warnings,
        }),
        _ if arguments.verb.answers_by_status() => Err(Exit::Unfit(problems)),
        _ => Err(Exit::Problems(problems)),
    }
}
