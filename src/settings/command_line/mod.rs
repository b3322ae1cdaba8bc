//! The command line: a flag for each setting that isn't secret, from the table.
//!
//! `program` describes it to clap, and `pages` makes completions and manual pages of that.

mod pages;
mod program;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::ArgMatches;
use clap::error::ErrorKind;

use crate::settings::table;
use crate::settings::table::setting::{Heading, Secrecy, Setting};
use crate::settings::{Exit, ListDetail, ListSettings};
use program::{
    AS_JSON, CHECK, COLLECTIONS, COMPLETIONS, COUNT, ENV_FILE, FILES, FLUSH, FROM, HEALTHCHECK,
    HOURS, LIMIT, LIST, LIVE, MAN, PAGE, PRETTY, SHELL, WATCH,
};

/// What `watch` reads besides the settings of the source.
const WATCH_NEEDS: [&Setting; 7] = [
    &table::CHECKPOINT_STORE,
    &table::CHECKPOINT_DATABASE,
    &table::CHECKPOINT_COLLECTION,
    &table::START_AT,
    &table::JSON_MODE,
    &table::MONGODB_TIMEOUT_SECONDS,
    &table::RETRY_DELAY_MS,
];

/// The command on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Run,
    Check,
    Flush { collections: Vec<String> },
    Healthcheck { live_only: bool },
    List(ListSettings),
    Watch(WatchOptions),
}

/// How `watch` shows changes. Its collections and its start take the places of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WatchOptions {
    /// Whether it was given collections.
    pub(super) has_collections: bool,
    /// Changes to show.
    pub(super) limit: Option<u64>,
    /// Whether to indent them.
    pub(super) is_pretty: bool,
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
            (Self::Watch(_), heading) => {
                let is_needed = |needed: &&Setting| needed.name == setting.name;
                heading == Heading::Source || WATCH_NEEDS.iter().any(is_needed)
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
    /// What the command was given in place of settings, by the settings' names, and what its help calls it.
    pub(super) replacements: HashMap<&'static str, (OsString, &'static str)>,
    /// Secrets that were given as flags; their values are dropped.
    pub(super) secrets: Vec<&'static Setting>,
}

/// Reads the command line, the program's name first.
pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Arguments, Exit> {
    let args: Vec<OsString> = args.into_iter().collect();
    match program::program().try_get_matches_from(&args) {
        Ok(mut matches) => match page(&matches) {
            Some(page) => Err(page),
            None => Ok(arguments(&mut matches)),
        },
        Err(error) => Err(exit(&error, &args)),
    }
}

/// The completions or the manual page that were asked for, which need no settings.
fn page(matches: &ArgMatches) -> Option<Exit> {
    let (command, matches) = matches.subcommand()?;
    let word = |name| matches.get_one::<String>(name).map(String::as_str);
    let page = match command {
        COMPLETIONS => pages::completions(word(SHELL).unwrap_or_default()),
        MAN => pages::manual(word(PAGE)),
        _ => return None,
    };
    let none = || Exit::Usage("there is no such page".to_owned());
    Some(page.map_or_else(none, Exit::Answer))
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
        replacements: replacements(matches),
        secrets,
    }
}

fn replacements(matches: &ArgMatches) -> HashMap<&'static str, (OsString, &'static str)> {
    let Some((WATCH, of_watch)) = matches.subcommand() else {
        return HashMap::new();
    };
    let names = collections(of_watch);
    let names = (!names.is_empty()).then(|| (names.join(",").into(), "COLLECTION"));
    let from = of_watch.get_one::<OsString>(FROM);
    let from = from.map(|from| (from.clone(), "--from"));
    let names = names.map(|names| (table::MONGODB_COLLECTIONS.name, names));
    let from = from.map(|from| (table::START_AT.name, from));
    names.into_iter().chain(from).collect()
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
            detail: match (of_list.get_flag(FILES), of_list.get_flag(HOURS)) {
                (true, _) => ListDetail::Files,
                (_, true) => ListDetail::Hours,
                _ => ListDetail::OfNamed,
            },
            counts_lines: of_list.get_flag(COUNT),
            collections: collections(of_list),
        }),
        Some((WATCH, of_watch)) => Verb::Watch(WatchOptions {
            has_collections: !collections(of_watch).is_empty(),
            limit: of_watch.get_one(LIMIT).copied(),
            is_pretty: of_watch.get_flag(PRETTY),
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
