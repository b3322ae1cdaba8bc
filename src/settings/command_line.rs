//! The command line: a flag for each setting that isn't secret, from the table.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::OsStringValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches};

use crate::settings::table;
use crate::settings::table::setting::{Fallback, Heading, Kind, Secrecy, Setting};
use crate::settings::{Exit, ListSettings};

const ENV_FILE: &str = "env-file";
const CHECK: &str = "check";
const FLUSH: &str = "flush";
const COLLECTIONS: &str = "collections";
const HEALTHCHECK: &str = "healthcheck";
const LIVE: &str = "live";
const LIST: &str = "ls";
const AS_JSON: &str = "json";
const FILES: &str = "files";
const COUNT: &str = "count";

const ABOUT: &str = "Archives MongoDB change streams into Azure Data Lake Storage Gen2 or a local \
                     folder: one valid file per collection and hour, every change exactly once.";

const PLACES: &str = "\
Every setting is also an environment variable and a line of the .env file: --batch-size is BATCH_SIZE. \
A flag takes precedence over the environment, the environment over the .env file, and that over the TOML file that \
--silt-config names.";

const SECRETS: &str = "\
Secrets have no flag, because every process can see a command line. They are \
taken from the environment, the .env file or the settings file, or from a file that NAME_FILE names there:";

const NO_SECRETS: &str = "\
Without key, signature and connection string, silt logs in to Azure by Entra ID: workload identity, \
client secret (with AZURE_TENANT_ID and AZURE_CLIENT_ID), managed identity, or the login of the \
Azure CLI.";

const EXIT_STATUS: &str = "\
Exit status of run: 0 after a clean drain, 1 if silt can't do its job, 2 if the settings are wrong, 3 if \
the drain didn't finish in time (nothing is lost: the next start reads it again).";

const CHECK_ABOUT: &str = "Test everything that `run` needs: MongoDB, privileges, oplog, \
                           checkpoints, lake. Exit status 0 or 1";

const CHECK_HELP: &str = "\
It writes a record {_id: {check: \"silt\"}} to the checkpoint collection and a file to \
_silt/check in the lake, and removes both. It reads no changes, doesn't create the lake, and may run next to a running silt.";

const LIST_HELP: &str = "\
It needs only the settings of the lake, and only reads. Numbers and times come from the files, a \
few kilobytes each. Exit status 1 if a file is damaged, or a named collection doesn't exist.";

/// The command on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Run,
    Check,
    Flush { collections: Vec<String> },
    Healthcheck { live_only: bool },
    List(ListSettings),
}

impl Verb {
    /// Whether the exit status is the answer: 0 or 1.
    pub(super) fn answers_by_status(&self) -> bool {
        matches!(self, Self::Check | Self::Healthcheck { .. })
    }

    /// Whether the command needs a setting, or whatever else a problem is about.
    pub(super) fn needs(&self, name: &str) -> bool {
        let mut all = table::ALL.iter();
        let Some(setting) = all.find(|setting| setting.is_named(name)) else {
            return true;
        };
        match (self, setting.heading) {
            (Self::Run | Self::Check, _) | (_, Heading::Logs | Heading::Config) => true,
            (Self::Flush { .. }, heading) => heading == Heading::Status,
            (Self::Healthcheck { .. }, _) => setting.name == table::HTTP_ADDR.name,
            (Self::List(_), heading) => {
                heading == Heading::Lake || setting.name == table::LAKE_TIMEOUT_SECONDS.name
            }
        }
    }
}

/// What the command line says.
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) verb: Verb,
    /// The file that `--env-file` names.
    pub(super) env_file: Option<PathBuf>,
    /// Values of flags, by the settings' names.
    pub(super) flags: HashMap<&'static str, OsString>,
    /// Secrets that were given as flags; their values are dropped.
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
        if let Some(path) = take(matches, setting.file_name) {
            flags.insert(setting.file_name, path);
        }
        let Some(value) = take(matches, setting.name) else {
            continue;
        };
        if setting.secrecy == Secrecy::Secret {
            secrets.push(*setting);
        } else {
            flags.insert(setting.name, value);
        }
    }
    Arguments {
        verb: verb(matches),
        env_file: take(matches, ENV_FILE).map(PathBuf::from),
        flags,
        secrets,
    }
}

fn take(matches: &mut ArgMatches, id: &str) -> Option<OsString> {
    matches.try_remove_one::<OsString>(id).ok().flatten()
}

fn verb(matches: &ArgMatches) -> Verb {
    match matches.subcommand() {
        Some((CHECK, _)) => Verb::Check,
        Some((FLUSH, of_flush)) => Verb::Flush {
            collections: collections(of_flush),
        },
        Some((HEALTHCHECK, of_healthcheck)) => Verb::Healthcheck {
            live_only: of_healthcheck.get_flag(LIVE),
        },
        Some((LIST, of_list)) => Verb::List(ListSettings {
            as_json: of_list.get_flag(AS_JSON),
            has_files: of_list.get_flag(FILES),
            counts_lines: of_list.get_flag(COUNT),
            collections: collections(of_list),
        }),
        _ => Verb::Run,
    }
}

fn collections(matches: &ArgMatches) -> Vec<String> {
    let names = matches.get_many::<String>(COLLECTIONS);
    names
        .map(|names| names.cloned().collect())
        .unwrap_or_default()
}

/// clap's answer or error.
fn exit(error: &clap::Error, args: &[OsString]) -> Exit {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Answer(text),
        _ => Exit::Usage(without_values(text, args)),
    }
}

/// clap quotes what it doesn't understand, which may be a misplaced connection string.
/// So anything that isn't a plain word is hidden.
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
    let program = clap::Command::new("silt")
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
        .subcommands(subcommands());
    table::ALL
        .iter()
        .fold(program, |program, setting| program.args(flags(setting)))
}

fn subcommands() -> [clap::Command; 5] {
    let collections = |help: &'static str| {
        Arg::new(COLLECTIONS)
            .value_name("COLLECTION")
            .num_args(0..)
            .help(help)
    };
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    let subcommand = |name: &'static str, about: &'static str| {
        clap::Command::new(name).display_name("silt").about(about)
    };
    [
        subcommand("run", "Watch and archive; the same as no command"),
        subcommand(CHECK, CHECK_ABOUT).after_help(CHECK_HELP),
        subcommand(
            FLUSH,
            "Make the running silt at HTTP_ADDR flush now, with HTTP_TOKEN, and wait for it",
        )
        .arg(collections("Collections to flush [default: all]")),
        subcommand(
            HEALTHCHECK,
            "Ask the running silt at HTTP_ADDR whether it is ready. Exit status 0 or 1",
        )
        .arg(switch(
            LIVE,
            "Ask only whether it is alive (/livez), not whether it is ready (/readyz)",
        )),
        subcommand(
            LIST,
            "List what the lake contains: collections, hours, changes, gaps",
        )
        .after_help(LIST_HELP)
        .arg(collections(
            "Collections to list, with their files [default: all]",
        ))
        .arg(switch(
            AS_JSON,
            "Print one JSON document with every file, for machines",
        ))
        .arg(switch(FILES, "List every file"))
        .arg(switch(
            COUNT,
            "Count the changes in uncompressed ndjson files, which means reading them whole",
        )),
    ]
}

fn env_file_flag() -> Arg {
    Arg::new(ENV_FILE)
        .long(ENV_FILE)
        .value_name("PATH")
        .value_parser(OsStringValueParser::new())
        .global(true)
        .help("File of settings, one KEY=VALUE per line [default: .env, if it exists]")
}

/// The flags of a setting: its own, and the one that names its file if it is a secret.
fn flags(setting: &'static Setting) -> Vec<Arg> {
    let mut flags = vec![flag(setting)];
    if setting.may_be_in_file() {
        let name = setting.name;
        let of_file = base_flag(setting, setting.file_name, setting.file_flag)
            .value_name("PATH")
            .help(format!("File that holds {name}"))
            .long_help(format!(
                "File that holds {name}, as Docker and Kubernetes mount secrets.\n\n\
                 [environment: {}]",
                setting.file_name
            ));
        flags.push(of_file);
    }
    flags
}

fn base_flag(setting: &'static Setting, id: &'static str, long: &'static str) -> Arg {
    Arg::new(id)
        .long(long)
        .value_parser(OsStringValueParser::new())
        .action(ArgAction::Set)
        // So that -5 is refused as a value, not as a flag.
        .allow_negative_numbers(true)
        .global(true)
        .help_heading(setting.heading.as_str())
}

fn flag(setting: &'static Setting) -> Arg {
    let flag = base_flag(setting, setting.name, setting.flag).value_name(setting.value_name);
    if setting.secrecy == Secrecy::Secret {
        // Only known in order to be refused with a reason.
        return flag.num_args(0..=1).default_missing_value("").hide(true);
    }
    let default = default_of(setting);
    let Setting {
        name, help, kind, ..
    } = setting;
    let takes = match kind {
        Kind::Text { .. } | Kind::List { .. } | Kind::Json { .. } => String::new(),
        _ => format!("Takes {}.\n", kind.needs()),
    };
    let per_collection = if setting.is_per_collection {
        "A section of the settings file may set it for one collection.\n"
    } else {
        ""
    };
    flag.help(format!("{help} {default}")).long_help(format!(
        "{help}\n\n{takes}{per_collection}[environment: {name}] {default}"
    ))
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
