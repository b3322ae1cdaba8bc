//! The command line: one flag for each setting that isn't secret, made from the table.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::OsStringValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches};

use super::setting::{Fallback, Kind, Secrecy, Setting};
use super::{Command, Exit, table};

const ENV_FILE: &str = "env-file";

const ABOUT: &str = "Archives MongoDB change streams into Azure Data Lake Storage Gen2 or a local \
                     folder: one valid file per collection and hour, every change exactly once.";

const PLACES: &str = "\
Every setting is an environment variable, and a line of the .env file: --batch-size is BATCH_SIZE. \
A flag wins over the environment, the environment over the .env file.";

const SECRETS: &str = "\
Secrets have no flag, since a command line is visible to every process of the machine. They are \
taken from the environment or the .env file:";

const NO_SECRETS: &str = "\
Without key, signature and connection string, silt logs in to Azure by Entra ID: workload identity, \
client secret (with AZURE_TENANT_ID and AZURE_CLIENT_ID), managed identity, or the login of the \
Azure CLI.";

const EXIT_STATUS: &str = "\
Exit status: 0 after a clean drain, 1 if silt can't do its job, 2 if the settings need mending, 3 if \
a drain could not finish in time (nothing is lost: the next start reads it again).";

/// What the command line says.
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) command: Command,
    /// The file that `--env-file` names.
    pub(super) env_file: Option<PathBuf>,
    /// Values of flags, by the settings' names.
    pub(super) flags: HashMap<&'static str, OsString>,
    /// Secrets that were given as flags all the same; their values are dropped.
    pub(super) secrets: Vec<&'static Setting>,
}

/// Reads the command line, the program's name first.
pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Arguments, Exit> {
    let args: Vec<OsString> = args.into_iter().collect();
    match program().try_get_matches_from(&args) {
        Ok(mut matches) => Ok(arguments(&mut matches)),
        Err(error) => Err(exit(&error, &args)),
    }
}

fn arguments(matches: &mut ArgMatches) -> Arguments {
    let mut flags = HashMap::new();
    let mut secrets = Vec::new();
    for setting in table::ALL {
        let value = matches.try_remove_one::<OsString>(setting.name);
        let Some(value) = value.ok().flatten() else {
            continue;
        };
        if setting.secrecy == Secrecy::Secret {
            secrets.push(*setting);
        } else {
            flags.insert(setting.name, value);
        }
    }
    let env_file = matches.try_remove_one::<OsString>(ENV_FILE);
    Arguments {
        command: Command::Run,
        env_file: env_file.ok().flatten().map(PathBuf::from),
        flags,
        secrets,
    }
}

/// What clap has to say instead of arguments.
fn exit(error: &clap::Error, args: &[OsString]) -> Exit {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Answer(text),
        _ => Exit::Usage(without_values(text, args)),
    }
}

/// clap quotes what it doesn't understand, and that may be a connection string in the wrong place.
/// So nothing is quoted that looks like more than a word.
fn without_values(mut text: String, args: &[OsString]) -> String {
    let is_word = |part: &str| {
        part.len() <= 40
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    for arg in args.iter().skip(1) {
        let arg = arg.to_string_lossy();
        let value = arg.split_once('=').map_or("", |(_, value)| value);
        for part in [arg.as_ref(), value] {
            let is_flag_with_value = part.starts_with("--") && !value.is_empty();
            if !part.is_empty() && !is_flag_with_value && !is_word(part) {
                text = text.replace(part, "***");
            }
        }
    }
    text
}

fn program() -> clap::Command {
    let run = clap::Command::new("run")
        .display_name("silt")
        .about("Watch and archive; the same as no command at all");
    clap::Command::new("silt")
        .bin_name("silt")
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .about(ABOUT)
        .after_help(format!("{PLACES}\n\n{}", secrets_in_short()))
        .after_long_help(format!(
            "{PLACES}\n\n{}\n\n{NO_SECRETS}\n\n{EXIT_STATUS}",
            secrets()
        ))
        .arg(env_file_flag())
        .args(table::ALL.iter().map(|setting| flag(setting)))
        .subcommand(run)
}

fn env_file_flag() -> Arg {
    Arg::new(ENV_FILE)
        .long(ENV_FILE)
        .value_name("PATH")
        .value_parser(OsStringValueParser::new())
        .global(true)
        .help("File of settings, one KEY=VALUE a line [default: .env, if there is one]")
}

fn flag(setting: &'static Setting) -> Arg {
    let flag = Arg::new(setting.name)
        .long(setting.flag)
        .value_name(setting.value_name)
        .value_parser(OsStringValueParser::new())
        .action(ArgAction::Set)
        // So that -5 is refused as a value, and not as a flag.
        .allow_negative_numbers(true)
        .global(true)
        .help_heading(setting.heading.as_str());
    if setting.secrecy == Secrecy::Secret {
        // Known only to be refused with a reason.
        return flag.num_args(0..=1).default_missing_value("").hide(true);
    }
    let default = default_of(setting);
    let Setting {
        name, help, kind, ..
    } = setting;
    let takes = match kind {
        Kind::Text { .. } => String::new(),
        _ => format!("Takes {}.\n", kind.needs()),
    };
    flag.help(format!("{help} {default}"))
        .long_help(format!("{help}\n\n{takes}[environment: {name}] {default}"))
}

fn default_of(setting: &Setting) -> String {
    match setting.fallback {
        Fallback::Required => "[required]".to_owned(),
        Fallback::Unset(otherwise) => format!("[default: {otherwise}]"),
        Fallback::Value(text) => format!("[default: {text}]"),
    }
}

fn all_secrets() -> impl Iterator<Item = &'static &'static Setting> {
    let all = table::ALL.iter();
    all.filter(|setting| setting.secrecy == Secrecy::Secret)
}

fn secrets_in_short() -> String {
    let names: Vec<&str> = all_secrets().map(|setting| setting.name).collect();
    format!("{SECRETS} {}.", names.join(", "))
}

fn secrets() -> String {
    let lines =
        all_secrets().map(|setting| format!("\n  {}\n          {}", setting.name, setting.help));
    format!("{SECRETS}\n{}", lines.collect::<Vec<_>>().join("\n"))
}
