//! The text of every setting, from whichever place, and its parsing as numbers, sizes and words.

use std::collections::HashMap;

use crate::settings::problems::{Fault, Problem, Problems, shown};
use crate::settings::table;
use crate::settings::table::choices::Words;
use crate::settings::table::setting::{Fallback, Kind, SIZE_UNITS, Secrecy, Setting, size_text};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The command line.
    Flag,
    /// An argument of a command that takes the place of a setting, as its help calls it.
    Argument(&'static str),
    /// The process's environment.
    Environment,
    /// An `.env` file.
    EnvFile { file: String, line: usize },
    /// The TOML file, and the heading of the section within it.
    SettingsFile {
        file: String,
        line: usize,
        section: Option<String>,
    },
    /// A file that holds nothing else.
    SecretFile { path: String },
    /// The table.
    Default,
}

impl Origin {
    /// What a message adds: nothing for the environment, the usual place.
    pub(super) fn note_for(&self, flag: &str) -> Option<String> {
        match self {
            Self::Flag => Some(format!("given as --{flag}")),
            Self::Argument(name) => Some(format!("given as {name}")),
            Self::Environment => None,
            Self::EnvFile { file, line }
            | Self::SettingsFile {
                file,
                line,
                section: None,
            } => Some(format!("in {file}, line {line}")),
            Self::SettingsFile {
                file,
                line,
                section: Some(section),
            } => Some(format!("in {file}, line {line}, {section}")),
            Self::SecretFile { path } => Some(format!("from {path}")),
            Self::Default => Some("the default".to_owned()),
        }
    }
}

/// A value as it was given, if it is text.
pub(super) type Given = Result<String, NotText>;

/// A value that is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotText;

#[derive(Debug)]
struct Value {
    text: String,
    origin: Origin,
}

/// What is set for one collection alone.
#[derive(Debug)]
struct Section {
    heading: String,
    usable: HashMap<&'static str, Value>,
}

/// The values of all settings, and the problems that were found with them.
#[derive(Debug, Default)]
pub(super) struct Values {
    usable: HashMap<&'static str, Value>,
    sections: Vec<Section>,
    /// The section that is read now, if it is one.
    scope: Option<usize>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl Values {
    /// Takes the value of a setting from the place with the highest precedence, or its
    /// default. An empty value hides those of other places, too.
    pub(super) fn take(&mut self, setting: &'static Setting, given: Option<(Given, Origin)>) {
        match given {
            None => self.take_default(setting),
            Some((Err(NotText), origin)) => {
                let fault = Fault::new("its value is not UTF-8 text");
                self.add_problem(setting, None, &origin, fault);
            }
            Some((Ok(text), origin)) => match text.trim() {
                "" if setting.may_be_empty() => self.take_default(setting),
                "" => {
                    let fault = Fault::with_fix("its value is empty", fix_of_empty(setting));
                    self.add_problem(setting, None, &origin, fault);
                }
                text if origin == Origin::Environment && is_quoted(text) => {
                    let what = "its value is in quotes, which are part of it here: \
                                docker run --env-file doesn't remove them";
                    let fault = Fault::with_fix(what, "remove the quotes");
                    self.add_problem(setting, None, &origin, fault);
                }
                text => {
                    let text = text.to_owned();
                    let usable = match self.scope {
                        Some(section) => &mut self.sections[section].usable,
                        None => &mut self.usable,
                    };
                    usable.insert(setting.name, Value { text, origin });
                }
            },
        }
    }

    /// Adds a section, which [`Values::within`] knows by the number that it gets.
    pub(super) fn add_section(&mut self, heading: String) -> usize {
        let usable = HashMap::new();
        self.sections.push(Section { heading, usable });
        self.sections.len() - 1
    }

    /// Takes and reads values of a section, and what it doesn't set from those for all.
    pub(super) fn within<T>(&mut self, section: usize, work: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.scope.replace(section);
        let result = work(self);
        self.scope = outer;
        result
    }

    /// The value that applies now, and whether it is the section's own.
    fn find(&self, setting: &Setting) -> Option<(&Value, bool)> {
        let section = self.scope.map(|section| &self.sections[section]);
        let own = section.and_then(|section| section.usable.get(setting.name));
        let own = own.map(|value| (value, true));
        own.or_else(|| Some((self.usable.get(setting.name)?, false)))
    }

    fn take_default(&mut self, setting: &'static Setting) {
        match setting.fallback {
            Fallback::Value(text) => {
                let (text, origin) = (text.to_owned(), Origin::Default);
                self.usable.insert(setting.name, Value { text, origin });
            }
            Fallback::Unset(_) => {}
            Fallback::Required => self.refuse_missing(setting),
        }
    }

    /// The text of a setting, unless it isn't set or was no text.
    pub(super) fn text(&self, setting: &Setting) -> Option<String> {
        Some(self.find(setting)?.0.text.clone())
    }

    /// The text of a setting if it isn't the default.
    pub(super) fn explicit(&self, setting: &Setting) -> Option<String> {
        let value = self.usable.get(setting.name)?;
        (value.origin != Origin::Default).then(|| value.text.clone())
    }

    /// Whether a setting is set on the command line.
    pub(super) fn is_on_command_line(&self, setting: &Setting) -> bool {
        let value = self.usable.get(setting.name);
        value.is_some_and(|value| matches!(value.origin, Origin::Flag | Origin::Argument(_)))
    }

    /// Whether there is a problem with this setting.
    pub(super) fn is_refused(&self, setting: &Setting) -> bool {
        let mut problems = self.problems.iter();
        problems.any(|problem| problem.setting == setting.name)
    }

    /// Notes what is wrong with a setting's value. An inherited value is reported only once.
    pub(super) fn refuse(&mut self, setting: &Setting, fault: Fault) {
        let Some((value, is_own)) = self.find(setting) else {
            return self.add_problem(setting, None, &Origin::Environment, fault);
        };
        let is_public = setting.secrecy == Secrecy::Public;
        let text = is_public.then(|| shown(&value.text));
        let origin = value.origin.clone();
        let inherited = self.scope.filter(|_| !is_own);
        if let Some(section) = inherited {
            if !self.is_refused(setting) {
                let heading = &self.sections[section].heading;
                let note = match origin.note_for(setting.flag) {
                    Some(note) => format!("{note}, for {heading}"),
                    None => format!("for {heading}"),
                };
                self.push_problem(setting, text, Some(note), fault);
            }
            return;
        }
        self.add_problem(setting, text, &origin, fault);
    }

    /// Notes that a setting must be set.
    pub(super) fn refuse_missing(&mut self, setting: &Setting) {
        let fault = Fault::new("it is required");
        self.add_problem(setting, None, &Origin::Environment, fault);
    }

    /// Notes a problem with something other than a setting's value.
    pub(super) fn refuse_other(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Notes a warning.
    pub(super) fn warn(&mut self, warning: String) {
        // Sections may share the same warning.
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Reads a setting by a parser, noting what is wrong.
    pub(super) fn parse<T>(
        &mut self,
        setting: &Setting,
        parser: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        let text = self.text(setting)?;
        match parser(&text) {
            Ok(value) => Some(value),
            Err(fault) => {
                self.refuse(setting, fault);
                None
            }
        }
    }

    /// The same for a parser that may find several faults.
    pub(super) fn parse_list<T>(
        &mut self,
        setting: &Setting,
        parser: impl FnOnce(&str) -> Result<T, Vec<Fault>>,
    ) -> Option<T> {
        let text = self.text(setting)?;
        match parser(&text) {
            Ok(value) => Some(value),
            Err(faults) => {
                for fault in faults {
                    self.refuse(setting, fault);
                }
                None
            }
        }
    }

    /// Reads a whole number or a size, within the bounds of its row.
    pub(super) fn number(&mut self, setting: &Setting) -> Option<u64> {
        self.parse(setting, |text| match setting.kind {
            Kind::Whole { least, most, .. } => {
                within(parse_whole(text)?, least, most, |number| number.to_string())
            }
            Kind::Size { least, most } => within(parse_size(text)?, least, most, size_text),
            _ => Err(Fault::new("not a number")),
        })
    }

    /// Reads a whole number that fits into 32 bits within the bounds of its row.
    pub(super) fn number_u32(&mut self, setting: &Setting) -> Option<u32> {
        let number = self.number(setting)?;
        let small = u32::try_from(number).ok();
        if small.is_none() {
            self.refuse(setting, Fault::new("too large"));
        }
        small
    }

    /// Reads one of a few words.
    pub(super) fn choice<T: Words>(&mut self, setting: &Setting) -> Option<T> {
        self.parse(setting, |text| {
            T::of_word(text).ok_or_else(|| Fault::new("not one of its words"))
        })
    }

    /// The settings that are set anywhere, as `NAME=value` in the order of `--help`: first those for all
    /// collections, then those of sections. Secrets are shown as `***`.
    pub(super) fn explicit_settings(&self) -> Vec<String> {
        let of = |usable: &HashMap<&'static str, Value>, heading: &str| -> Vec<String> {
            let set = table::ALL.iter().filter_map(|setting| {
                let value = usable.get(setting.name)?;
                let text = match setting.secrecy {
                    Secrecy::Public => shown(&value.text),
                    Secrecy::Secret | Secrecy::SecretWithFlag => "***".to_owned(),
                };
                let is_set = value.origin != Origin::Default;
                is_set.then(|| format!("{heading}{}={text}", setting.name))
            });
            set.collect()
        };
        let sections = self.sections.iter();
        let of_sections =
            sections.flat_map(|section| of(&section.usable, &format!("{} ", section.heading)));
        of(&self.usable, "")
            .into_iter()
            .chain(of_sections)
            .collect()
    }

    /// All problems, in the order of `--help`, those of files first; and all warnings.
    pub(super) fn into_findings(self) -> (Problems, Vec<String>) {
        let mut problems = self.problems;
        problems.sort_by_key(|problem| {
            let mut all = table::ALL.iter();
            all.position(|setting| setting.is_named(&problem.setting))
        });
        (Problems(problems), self.warnings)
    }

    fn add_problem(
        &mut self,
        setting: &Setting,
        value: Option<String>,
        origin: &Origin,
        fault: Fault,
    ) {
        self.push_problem(setting, value, origin.note_for(setting.flag), fault);
    }

    fn push_problem(
        &mut self,
        setting: &Setting,
        value: Option<String>,
        origin: Option<String>,
        fault: Fault,
    ) {
        self.problems.push(Problem {
            setting: setting.name.to_owned(),
            value,
            origin,
            what: fault.what,
            fix: fault.fix.unwrap_or_else(|| setting.fix()),
        });
    }
}

fn is_quoted(text: &str) -> bool {
    let is_within = |quote| text.len() > 1 && text.starts_with(quote) && text.ends_with(quote);
    is_within('"') || is_within('\'')
}

fn fix_of_empty(setting: &Setting) -> String {
    match setting.default_text() {
        Some(default) => format!("remove the line to take the default {default}"),
        None => format!("remove the line, or {}", setting.fix()),
    }
}

fn within(number: u64, least: u64, most: u64, show: fn(u64) -> String) -> Result<u64, Fault> {
    if number < least {
        Err(Fault::new(format!("less than {}", show(least))))
    } else if number > most {
        Err(Fault::new(format!("more than {}", show(most))))
    } else {
        Ok(number)
    }
}

fn parse_whole(text: &str) -> Result<u64, Fault> {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if is_digits(text) {
        text.parse().map_err(|_| Fault::new("far too large"))
    } else if text.strip_prefix('-').is_some_and(is_digits) {
        Err(Fault::new("negative"))
    } else {
        Err(Fault::new("not a whole number"))
    }
}

pub(super) fn parse_size(text: &str) -> Result<u64, Fault> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic());
    let (number, unit) = text.split_at(unit_at.unwrap_or(text.len()));
    let factor = if unit.is_empty() {
        1
    } else {
        let mut units = SIZE_UNITS.iter();
        match units.find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
            Some((_, factor)) => *factor,
            None => return Err(Fault::new("not a size")),
        }
    };
    let number = parse_whole(number.trim_end())?;
    number
        .checked_mul(factor)
        .ok_or_else(|| Fault::new("far too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(setting: &'static Setting, text: &str) -> Values {
        let mut values = Values::default();
        values.take(setting, Some((Ok(text.to_owned()), Origin::Environment)));
        values
    }

    fn problem(values: Values) -> String {
        let (problems, _) = values.into_findings();
        assert_eq!(problems.0.len(), 1);
        problems.0[0].to_string()
    }

    #[test]
    fn whole_numbers_are_bounded() {
        for (text, number) in [("1", 1), (" 1000000 ", 1_000_000), ("007", 7)] {
            let mut values = with(&table::BATCH_SIZE, text);
            assert_eq!(values.number(&table::BATCH_SIZE), Some(number));
        }
        let fix = "set it to 1 to 1000000 changes (default 1000)";
        for (text, what) in [
            ("abc", "not a whole number"),
            ("1.5", "not a whole number"),
            ("1e3", "not a whole number"),
            ("+1", "not a whole number"),
            ("0x10", "not a whole number"),
            ("١", "not a whole number"),
            ("-", "not a whole number"),
            ("-5", "negative"),
            ("0", "less than 1"),
            ("1000001", "more than 1000000"),
            ("18446744073709551616", "far too large"),
        ] {
            let mut values = with(&table::BATCH_SIZE, text);
            assert_eq!(values.number(&table::BATCH_SIZE), None);
            assert_eq!(problem(values), format!("BATCH_SIZE={text}: {what}; {fix}"));
        }
    }

    #[test]
    fn sizes_take_bytes_and_binary_units() {
        for (text, bytes) in [
            ("8388608", 8 << 20),
            ("8MiB", 8 << 20),
            ("8 mib", 8 << 20),
            ("16KIB", 16 << 10),
        ] {
            let mut values = with(&table::BATCH_BYTES, text);
            assert_eq!(values.number(&table::BATCH_BYTES), Some(bytes), "{text}");
        }
        for (text, what) in [
            ("8MB", "not a size"),
            ("8M", "not a size"),
            ("MiB", "not a whole number"),
            ("1.5MiB", "not a whole number"),
            ("-1MiB", "negative"),
            ("1023", "less than 1 KiB"),
            ("1GiB", "more than 256 MiB"),
            ("99999999999999GiB", "far too large"),
        ] {
            let mut values = with(&table::BATCH_BYTES, text);
            assert_eq!(values.number(&table::BATCH_BYTES), None);
            assert!(problem(values).contains(what), "{text}");
        }
    }

    #[test]
    fn empty_means_what_the_row_says() {
        let values = with(&table::AZURE_STORAGE_ACCOUNT_KEY, " \n");
        assert_eq!(values.text(&table::AZURE_STORAGE_ACCOUNT_KEY), None);
        assert!(values.into_findings().0.0.is_empty());

        let values = with(&table::AZURE_ADLS_FILESYSTEM, "");
        assert_eq!(values.explicit(&table::AZURE_ADLS_FILESYSTEM), None);
        assert_eq!(
            values.text(&table::AZURE_ADLS_FILESYSTEM).as_deref(),
            Some("changestreams")
        );

        assert_eq!(
            problem(with(&table::TZ, "")),
            "TZ: its value is empty; remove the line to take the default UTC"
        );
        assert!(
            problem(with(&table::LAKE_URL, "")).contains("remove the line, or set it to abfss")
        );
    }

    #[test]
    fn quotes_of_an_env_file_are_not_part_of_a_value() {
        for text in ["\"users,orders\"", "'users'", "\"\""] {
            let problem = problem(with(&table::MONGODB_COLLECTIONS, text));
            assert!(problem.starts_with("MONGODB_COLLECTIONS: its value is in quotes"));
        }
        let values = with(&table::MONGODB_COLLECTIONS, "a\"b");
        assert!(values.text(&table::MONGODB_COLLECTIONS).is_some());
        let mut values = Values::default();
        let quoted = (Ok("'users'".to_owned()), Origin::Flag);
        values.take(&table::MONGODB_COLLECTIONS, Some(quoted));
        assert!(values.text(&table::MONGODB_COLLECTIONS).is_some());
    }

    #[test]
    fn a_problem_names_the_place_and_hides_secrets() {
        let file = Origin::EnvFile {
            file: ".env".into(),
            line: 3,
        };
        for (origin, start) in [
            (Origin::Flag, "TZ=x (given as --tz): bad"),
            (Origin::Environment, "TZ=x: bad"),
            (file, "TZ=x (in .env, line 3): bad"),
        ] {
            let mut values = Values::default();
            values.take(&table::TZ, Some((Ok("x".into()), origin)));
            values.refuse(&table::TZ, Fault::new("bad"));
            assert!(problem(values).starts_with(start));
        }
        let mut values = with(&table::AZURE_STORAGE_ACCOUNT_KEY, "canary");
        values.refuse(&table::AZURE_STORAGE_ACCOUNT_KEY, Fault::new("bad"));
        assert!(!problem(values).contains("canary"));
    }
}
