//! The places that values come from: command line, environment, `.env` file, settings file.

pub(in crate::settings) mod env_file;
mod secret_file;
mod settings_file;
mod unknown_names;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;

use crate::settings::command_line::Arguments;
use crate::settings::problems::{Fault, Problem, shown};
use crate::settings::surroundings::Surroundings;
use crate::settings::table;
use crate::settings::values::{Given, NotText, Origin, Values};
use env_file::Entry;

/// The places that values come from.
struct Places<'a> {
    flags: HashMap<&'static str, OsString>,
    replacements: HashMap<&'static str, (OsString, &'static str)>,
    surroundings: &'a Surroundings<'a>,
    file: String,
    of_file: HashMap<String, Entry>,
    of_settings_file: HashMap<&'static str, (Given, Origin)>,
}

impl Places<'_> {
    /// The value of a variable from the first place that has one.
    fn take(&mut self, name: &'static str) -> Option<(Given, Origin)> {
        if let Some((value, argument)) = self.replacements.remove(name) {
            return Some((given(value), Origin::Argument(argument)));
        }
        if let Some(value) = self.flags.remove(name) {
            return Some((given(value), Origin::Flag));
        }
        if let Some(value) = (self.surroundings.environment)(name) {
            return Some((given(value), Origin::Environment));
        }
        if let Some(entry) = self.of_file.remove(name) {
            return Some(given_in(&self.file, entry));
        }
        self.of_settings_file.remove(name)
    }
}

/// Takes each setting's value from the place with the highest precedence. Returns the sections of the settings file.
pub(in crate::settings) fn take_all(
    values: &mut Values,
    arguments: &mut Arguments,
    surroundings: &Surroundings<'_>,
) -> Vec<Section> {
    let (file, entries) = read_env_file(arguments, surroundings, values);
    let mut places = Places {
        flags: std::mem::take(&mut arguments.flags),
        replacements: std::mem::take(&mut arguments.replacements),
        surroundings,
        of_file: once_each(entries, &file, values),
        file,
        of_settings_file: HashMap::new(),
    };
    // First, because it names one of the places.
    let config = &table::SILT_CONFIG;
    values.take(config, places.take(config.name));
    let (of_settings_file, sections) = read_settings_file(values);
    places.of_settings_file = of_settings_file;
    for setting in table::ALL {
        if setting.name == config.name {
            continue;
        }
        let given = places.take(setting.name);
        if setting.may_be_in_file() {
            secret_file::take(values, setting, given, places.take(setting.file_name));
        } else {
            values.take(setting, given);
        }
    }
    for (name, why) in unknown_names::RETIRED {
        if (surroundings.environment)(name).is_some() {
            values.warn(format!("{name} {why}"));
        }
    }
    sections
}

/// The entries of the `.env` file by name. The last one applies.
fn once_each(entries: Vec<Entry>, file: &str, values: &mut Values) -> HashMap<String, Entry> {
    let mut of_file: HashMap<String, Entry> = HashMap::new();
    for entry in entries {
        let line = entry.line;
        if let Some(earlier) = of_file.insert(entry.key.clone(), entry) {
            refuse_repeated(values, file, &earlier, line);
        }
    }
    of_file
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
            let fix = "name a file that can be read, with --env-file";
            values.refuse_other(file_problem(
                &file,
                None,
                &format!("it can't be read: {error}"),
                fix,
            ));
            Vec::new()
        }
    };
    let (entries, bad_lines) = env_file::parse(&bytes);
    for bad in bad_lines {
        let fix = "write NAME=VALUE";
        values.refuse_other(file_problem(&file, Some(bad.line), bad.what, fix));
    }
    for warning in unknown_names::warnings(&file, &entries) {
        values.warn(warning);
    }
    (file, entries)
}

fn file_problem(file: &str, line: Option<usize>, what: &str, fix: &str) -> Problem {
    Problem {
        setting: match line {
            Some(line) => format!("{file}, line {line}"),
            None => file.to_owned(),
        },
        value: None,
        origin: None,
        what: what.to_owned(),
        fix: fix.to_owned(),
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
    values.refuse(setting, Fault::with_fix(what, "remove one of the lines"));
}

fn given(value: OsString) -> Given {
    value.into_string().map_err(|_| NotText)
}

fn given_in(file: &str, entry: Entry) -> (Given, Origin) {
    let (file, line) = (file.to_owned(), entry.line);
    let value = String::from_utf8(entry.value).map_err(|_| NotText);
    (value, Origin::EnvFile { file, line })
}

/// A section of the settings file.
#[derive(Clone, Debug)]
pub(in crate::settings) struct Section {
    /// Its place in messages: the file, the line, the heading.
    pub(in crate::settings) place: String,
    /// The collection that it is for, as it is written.
    pub(in crate::settings) key: String,
    /// Its number among the values.
    pub(in crate::settings) number: usize,
    /// Whether it is empty.
    pub(in crate::settings) is_empty: bool,
}

/// Reads the settings file, if there is one: its top level, and its sections.
fn read_settings_file(
    values: &mut Values,
) -> (HashMap<&'static str, (Given, Origin)>, Vec<Section>) {
    let Some(path) = values.text(&table::SILT_CONFIG) else {
        return (HashMap::new(), Vec::new());
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            let what = format!("it can't be read: {error}");
            let fault = Fault::with_fix(what, "name a file that silt can read");
            values.refuse(&table::SILT_CONFIG, fault);
            return (HashMap::new(), Vec::new());
        }
    };
    let file = shown(&path);
    // Windows editors write a byte order mark in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let settings = settings_file::parse(text);
    for bad in settings.bad {
        values.refuse_other(bad.problem(&file));
    }
    let given = |entry: settings_file::Entry, section: Option<&str>| {
        let origin = Origin::SettingsFile {
            file: file.clone(),
            line: entry.line,
            section: section.map(str::to_owned),
        };
        (Ok(entry.text), origin)
    };
    let mut sections = Vec::new();
    for section in settings.sections {
        let heading = section.heading();
        let number = values.add_section(heading.clone());
        sections.push(Section {
            place: format!("{file}, line {}, {heading}", section.line),
            key: section.key,
            number,
            is_empty: section.entries.is_empty(),
        });
        values.within(number, |values| {
            for entry in section.entries {
                values.take(entry.setting, Some(given(entry, Some(&heading))));
            }
        });
    }
    let entries = settings.entries.into_iter();
    let for_all = entries.map(|entry| (entry.name, given(entry, None)));
    (for_all.collect(), sections)
}
