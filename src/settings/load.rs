//! Brings together command line, environment and `.env` file.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::command_line::{self, Arguments};
use super::env_file::{self, Entry};
use super::hints;
use super::problems::{Fault, Problem, Problems, shown};
use super::values::{Given, NotText, Origin, Values};
use super::{
    InstanceSettings, LakeSettings, ListSettings, LogSettings, Settings, assemble, secret_file,
    table,
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
/// environment, the environment over the file, the file over the default.
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
    let (file, entries) = read_env_file(&arguments, surroundings, &mut values);
    take_all(&mut values, &mut arguments, surroundings, &file, entries);
    for setting in &arguments.secrets {
        let what = "it has no flag, since a command line is visible to every process";
        let mend = "set it in the environment or the .env file";
        values.refuse(setting, Fault::mended_by(what, mend));
    }
    let (command, log) = assemble::command(
        &mut values,
        &arguments.verb,
        surroundings.is_terminal,
        surroundings.now_unix_ms,
    );
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

/// Reads the `.env` file: its name for messages, and its entries.
fn read_env_file(
    arguments: &Arguments,
    surroundings: &Surroundings<'_>,
    values: &mut Values,
) -> (String, Vec<Entry>) {
    let named = arguments.env_file.as_deref();
    let Some(path) = named.or(surroundings.default_env_file) else {
        return (String::new(), Vec::new());
    };
    let file = shown(&path.to_string_lossy());
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => Vec::new(),
        Err(error) => {
            let mend = "name a file that can be read, with --env-file";
            values.refuse_other(file_problem(
                &file,
                None,
                &format!("it can't be read: {error}"),
                mend,
            ));
            Vec::new()
        }
    };
    let (entries, bad_lines) = env_file::parse(&bytes);
    for bad in bad_lines {
        let mend = "write NAME=VALUE";
        values.refuse_other(file_problem(&file, Some(bad.line), bad.what, mend));
    }
    for warning in hints::warnings(&file, &entries) {
        values.warn(warning);
    }
    (file, entries)
}

fn file_problem(file: &str, line: Option<usize>, what: &str, mend: &str) -> Problem {
    Problem {
        setting: match line {
            Some(line) => format!("{file}, line {line}"),
            None => file.to_owned(),
        },
        value: None,
        origin: None,
        what: what.to_owned(),
        mend: mend.to_owned(),
    }
}

/// The places that values come from.
struct Places<'a> {
    flags: HashMap<&'static str, OsString>,
    surroundings: &'a Surroundings<'a>,
    file: &'a str,
    of_file: HashMap<String, Entry>,
}

impl Places<'_> {
    /// The value of a variable from the first place that has one.
    fn take(&mut self, name: &'static str) -> Option<(Given, Origin)> {
        if let Some(value) = self.flags.remove(name) {
            return Some((given(value), Origin::Flag));
        }
        if let Some(value) = (self.surroundings.environment)(name) {
            return Some((given(value), Origin::Environment));
        }
        let entry = self.of_file.remove(name)?;
        Some(given_in(self.file, entry))
    }
}

/// Takes each setting's value from the first place that has one.
fn take_all(
    values: &mut Values,
    arguments: &mut Arguments,
    surroundings: &Surroundings<'_>,
    file: &str,
    entries: Vec<Entry>,
) {
    let mut of_file: HashMap<String, Entry> = HashMap::new();
    for entry in entries {
        let line = entry.line;
        if let Some(earlier) = of_file.insert(entry.key.clone(), entry) {
            refuse_repeated(values, file, &earlier, line);
        }
    }
    let mut places = Places {
        flags: std::mem::take(&mut arguments.flags),
        surroundings,
        file,
        of_file,
    };
    for setting in table::ALL {
        let given = places.take(setting.name);
        if setting.may_be_in_file() {
            secret_file::take(values, setting, given, places.take(setting.file_name));
        } else {
            values.take(setting, given);
        }
    }
    for (name, why) in hints::RETIRED {
        if (surroundings.environment)(name).is_some() {
            values.warn(format!("{name} {why}"));
        }
    }
}

fn refuse_repeated(values: &mut Values, file: &str, earlier: &Entry, line: usize) {
    let mut all = table::ALL.iter();
    let Some(setting) = all.find(|setting| setting.is_named(&earlier.key)) else {
        return;
    };
    let what = format!(
        "it is set in {file} twice, in lines {} and {line}",
        earlier.line
    );
    values.refuse(setting, Fault::mended_by(what, "remove one of the lines"));
}

fn given(value: OsString) -> Given {
    value.into_string().map_err(|_| NotText)
}

fn given_in(file: &str, entry: Entry) -> (Given, Origin) {
    let (file, line) = (file.to_owned(), entry.line);
    let value = String::from_utf8(entry.value).map_err(|_| NotText);
    (value, Origin::EnvFile { file, line })
}
