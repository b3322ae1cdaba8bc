//! What clap knows of the command line.

use clap::builder::OsStringValueParser;
use clap::{Arg, ArgAction, value_parser};

use crate::settings::table;
use crate::settings::table::setting::{Fallback, Kind, Secrecy, Setting};

pub(super) const ENV_FILE: &str = "env-file";
pub(super) const CHECK: &str = "check";
pub(super) const FLUSH: &str = "flush";
pub(super) const COLLECTIONS: &str = "collections";
pub(super) const HEALTHCHECK: &str = "healthcheck";
pub(super) const LIVE: &str = "live";
pub(super) const LIST: &str = "ls";
pub(super) const AS_JSON: &str = "json";
pub(super) const FILES: &str = "files";
pub(super) const HOURS: &str = "hours";
pub(super) const COUNT: &str = "count";
pub(super) const WATCH: &str = "watch";
pub(super) const FROM: &str = "from";
pub(super) const LIMIT: &str = "limit";
pub(super) const PRETTY: &str = "pretty";
pub(super) const COMPLETIONS: &str = "completions";
pub(super) const SHELL: &str = "shell";
pub(super) const MAN: &str = "man";
pub(super) const PAGE: &str = "page";

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

const WATCH_HELP: &str = "\
One line of Extended JSON for each change, as in the lake's ndjson files. The settings of the source and JSON_MODE \
apply; the lake isn't needed. Nothing is archived or saved. A lost connection is resumed. Ends with 0 at --limit, at \
SIGINT or SIGTERM, and when nobody reads its output any more; with 1 if it can't go on.";

const WATCH_FROM: &str = "\
Where to begin: now, an RFC 3339 time that the oplog still holds, or after a change, by its resume token (the change's \
_id, or the text of its _data) [default: now]";

const COMPLETIONS_HELP: &str = "\
bash: silt completions bash >/etc/bash_completion.d/silt
zsh:  silt completions zsh >/usr/local/share/zsh/site-functions/_silt
fish: silt completions fish >~/.config/fish/completions/silt.fish";

/// What silt takes: all that it shows, and what it only knows in order to refuse it with a reason.
pub(super) fn program() -> clap::Command {
    let secrets = all_secrets().map(|setting| {
        let flag = base_flag(setting, setting.name, setting.flag);
        flag.num_args(0..=1).default_missing_value("").hide(true)
    });
    shown().args(secrets).subcommand(
        subcommand(MAN, "Print a manual page, for packages")
            .hide(true)
            .arg(Arg::new(PAGE).value_name("COMMAND")),
    )
}

/// What silt shows of itself.
pub(super) fn shown() -> clap::Command {
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

fn collections(help: &'static str) -> Arg {
    Arg::new(COLLECTIONS)
        .value_name("COLLECTION")
        .num_args(0..)
        .help(help)
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
}

fn subcommand(name: &'static str, about: &'static str) -> clap::Command {
    clap::Command::new(name).display_name("silt").about(about)
}

fn watch() -> clap::Command {
    let from = Arg::new(FROM)
        .long(FROM)
        .value_name("TIME")
        .value_parser(OsStringValueParser::new())
        .help(WATCH_FROM);
    let limit = Arg::new(LIMIT)
        .long(LIMIT)
        .value_name("N")
        .value_parser(value_parser!(u64).range(1..))
        .help("End after N changes");
    subcommand(WATCH, "Print changes as they come, and archive nothing")
        .after_help(WATCH_HELP)
        .arg(collections(
            "Collections to watch, names or patterns [default: MONGODB_COLLECTIONS]",
        ))
        .args([from, limit])
        .arg(switch(
            PRETTY,
            "Indent each change, and colour it on a terminal",
        ))
}

fn completions() -> clap::Command {
    let shell = Arg::new(SHELL)
        .value_name("SHELL")
        .required(true)
        .value_parser(["bash", "zsh", "fish"])
        .help("Shell that the script is for");
    subcommand(COMPLETIONS, "Print a completion script for a shell")
        .after_help(COMPLETIONS_HELP)
        .arg(shell)
}

fn subcommands() -> [clap::Command; 7] {
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
        .arg(switch(HOURS, "List every hour, and whether it is closed").conflicts_with(FILES))
        .arg(switch(
            COUNT,
            "Count the changes in uncompressed ndjson files, which means reading them whole",
        )),
        watch(),
        completions(),
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

/// The flags of a setting: its own unless it is a secret, and the one that names its file if it may have one.
fn flags(setting: &'static Setting) -> Vec<Arg> {
    let mut flags = Vec::new();
    if setting.secrecy != Secrecy::Secret {
        flags.push(flag(setting));
    }
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
