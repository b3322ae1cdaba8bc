//! Parses the file that `SILT_CONFIG` names: TOML with the names of the settings, and a section for each
//! collection with settings of its own.
//!
//! Each value becomes the text that its environment variable would have.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::settings::problems::{Fault, Problem, shown};
use crate::settings::table;
use crate::settings::table::setting::{Kind, Setting};
use crate::settings::watched::patterns;
use crate::suggest::closest;

/// The table of sections.
const SECTIONS: &str = "collections";

/// A parsed file.
#[derive(Debug, Default)]
pub(in crate::settings) struct SettingsFile {
    /// Settings for all collections.
    pub(in crate::settings) entries: Vec<Entry>,
    /// Settings for single collections.
    pub(in crate::settings) sections: Vec<Section>,
    /// Errors.
    pub(in crate::settings) bad: Vec<Bad>,
}

/// A setting and its value as text.
#[derive(Debug)]
pub(in crate::settings) struct Entry {
    pub(in crate::settings) setting: &'static Setting,
    /// The key: the setting's variable, or the one that names its file.
    pub(in crate::settings) name: &'static str,
    pub(in crate::settings) text: String,
    pub(in crate::settings) line: usize,
}

/// A section.
#[derive(Debug)]
pub(in crate::settings) struct Section {
    /// The collection, with or without its database.
    pub(in crate::settings) key: String,
    pub(in crate::settings) line: usize,
    pub(in crate::settings) entries: Vec<Entry>,
}

impl Section {
    /// Its heading, for messages.
    pub(in crate::settings) fn heading(&self) -> String {
        heading(&self.key)
    }
}

/// An error. No value is shown: it may be a secret.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::settings) struct Bad {
    pub(in crate::settings) line: usize,
    /// Where in the line, for syntax errors.
    pub(in crate::settings) column: Option<usize>,
    /// The section's heading.
    pub(in crate::settings) section: Option<String>,
    /// The key.
    pub(in crate::settings) key: Option<String>,
    pub(in crate::settings) what: String,
    pub(in crate::settings) fix: String,
}

impl Bad {
    /// As a problem to report.
    pub(in crate::settings) fn problem(self, file: &str) -> Problem {
        let section = self
            .section
            .map_or(String::new(), |section| format!(", {section}"));
        let column = self
            .column
            .map_or(String::new(), |column| format!(", column {column}"));
        let place = format!("{file}, line {}{column}{section}", self.line);
        let (setting, origin) = match self.key {
            Some(key) => (key, Some(format!("in {place}"))),
            None => (place, None),
        };
        Problem {
            setting,
            value: None,
            origin,
            what: self.what,
            fix: self.fix,
        }
    }
}

/// Parses a file.
pub(in crate::settings) fn parse(text: &str) -> SettingsFile {
    let mut file = SettingsFile::default();
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let (line, column) = place(text, error.span().map_or(0, |span| span.start));
        file.bad.push(Bad {
            line,
            column: Some(column),
            section: None,
            key: None,
            what: format!("not TOML:  {}", shown(error.message())),
            fix:  "write NAME = \"value\", NAME = 1, or [collections.NAME] above the settings of a collection"
                .to_owned(),
        });
    }
    if !errors.is_empty() {
        file.bad.sort_by_key(|bad| (bad.line, bad.column));
        return file;
    }
    let mut reader = Reader { text, file };
    for (key, value) in table.get_ref() {
        if let (SECTIONS, DeValue::Table(sections)) = (key.get_ref().as_ref(), value.get_ref()) {
            reader.sections(sections);
        } else {
            let entry = reader.entry(None, key, value);
            reader.file.entries.extend(entry);
        }
    }
    reader.file
}

struct Reader<'a> {
    text: &'a str,
    file: SettingsFile,
}

impl Reader<'_> {
    fn sections(&mut self, sections: &DeTable<'_>) {
        for (key, value) in sections {
            let name = key.get_ref().to_string();
            let DeValue::Table(entries) = value.get_ref() else {
                let what = "it isn't a section";
                let fix = format!("write {} above its settings", heading(&name));
                self.bad(None, key, Fault::with_fix(what, fix));
                continue;
            };
            let mut section = Section {
                line: self.line(key),
                key: name,
                entries: Vec::new(),
            };
            for (key, value) in entries {
                let entry = self.entry(Some(&section.key), key, value);
                section.entries.extend(entry);
            }
            self.file.sections.push(section);
        }
    }

    /// Reads a key and its value, or notes what is wrong.
    fn entry(
        &mut self,
        section: Option<&str>,
        key: &Key<'_>,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<Entry> {
        let name = key.get_ref().as_ref();
        let found = known(name, section, value.get_ref());
        let found = found.and_then(|(setting, name)| {
            let text = text_of(setting, value.get_ref())?;
            Ok((setting, name, text))
        });
        match found {
            Ok((setting, name, text)) => Some(Entry {
                setting,
                name,
                text,
                line: self.line(key),
            }),
            Err(fault) => {
                self.bad(section, key, fault);
                None
            }
        }
    }

    fn bad(&mut self, section: Option<&str>, key: &Key<'_>, fault: Fault) {
        self.file.bad.push(Bad {
            line: self.line(key),
            column: None,
            section: section.map(heading),
            key: Some(shown(key.get_ref())),
            what: fault.what,
            fix: fault.fix.unwrap_or_else(|| "remove it".to_owned()),
        });
    }

    fn line(&self, key: &Key<'_>) -> usize {
        place(self.text, key.span().start).0
    }
}

type Key<'a> = Spanned<std::borrow::Cow<'a, str>>;

/// The setting that a key means, and the key as the table has it.
fn known(
    name: &str,
    section: Option<&str>,
    value: &DeValue<'_>,
) -> Result<(&'static Setting, &'static str), Fault> {
    let mut all = table::ALL.iter();
    let Some(setting) = all.find(|setting| setting.is_named(name)) else {
        return Err(unknown(name, section, value));
    };
    if setting.name == table::SILT_CONFIG.name {
        let what = "a settings file can't name another one";
        return Err(Fault::with_fix(
            what,
            "name it in the environment, or with --silt-config",
        ));
    }
    if section.is_some() && !setting.is_per_collection {
        let what = "it applies to all collections together";
        return Err(Fault::with_fix(
            what,
            "move it to the top of the file, before the sections",
        ));
    }
    let is_own = setting.name == name;
    Ok((
        setting,
        if is_own {
            setting.name
        } else {
            setting.file_name
        },
    ))
}

fn unknown(name: &str, section: Option<&str>, value: &DeValue<'_>) -> Fault {
    let is_table = matches!(value, DeValue::Table(_));
    let all = table::ALL.iter();
    let fitting = all.filter(|setting| section.is_none() || setting.is_per_collection);
    let meant = closest(name, fitting.map(|setting| setting.name));
    let what = "it is not a setting";
    match (meant, section) {
        (Some(meant), _) => Fault::with_fix(what, format!("did you mean {meant}?")),
        (None, Some(above)) if is_table => {
            let whole = heading(&format!("{above}.{name}"));
            Fault::with_fix(what, format!("write a name with a dot in quotes: {whole}"))
        }
        (None, None) if is_table => {
            Fault::with_fix(what, format!("did you mean {}?", heading(name)))
        }
        (None, _) => Fault::with_fix(what, "remove it; silt --help lists all settings"),
    }
}

/// A value as its variable would have it.
fn text_of(setting: &Setting, value: &DeValue<'_>) -> Result<String, Fault> {
    let refused = |what: &str| Err(Fault::with_fix(what, setting.fix()));
    match (setting.kind, value) {
        (Kind::Json { .. }, DeValue::Array(array)) => {
            json_of_array(array).map(|json| json.to_string())
        }
        (Kind::List { .. }, DeValue::Array(array)) => list_of(array),
        (_, DeValue::String(text)) => Ok(text.to_string()),
        (_, DeValue::Integer(number)) => {
            Ok(match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => number.to_string(),
                // The setting's parser reports that it is too large.
                Err(_) => number.as_str().to_owned(),
            })
        }
        (_, DeValue::Float(number)) => Ok(number.as_str().to_owned()),
        (_, DeValue::Boolean(truth)) => Ok(truth.to_string()),
        (_, DeValue::Datetime(time)) => Ok(time.to_string()),
        (_, DeValue::Array(_)) => refused("it doesn't take an array"),
        (_, DeValue::Table(_)) => refused("it doesn't take a table"),
    }
}

/// A list's words with commas between them.
fn list_of(array: &DeArray<'_>) -> Result<String, Fault> {
    let words: Option<Vec<&str>> = array.iter().map(|word| word.get_ref().as_str()).collect();
    let Some(words) = words else {
        let what = "an element of its array isn't a string";
        return Err(Fault::with_fix(what, "write [\"users\", \"orders_*\"]"));
    };
    let text = words.join(",");
    if !words.is_empty() && patterns::split(&text).len() != words.len() {
        let what = "an element of its array contains a comma";
        return Err(Fault::with_fix(what, "make each name a separate element"));
    }
    Ok(text)
}

fn json_of_array(array: &DeArray<'_>) -> Result<serde_json::Value, Fault> {
    array.iter().map(|value| json_of(value.get_ref())).collect()
}

/// A value as Extended JSON.
fn json_of(value: &DeValue<'_>) -> Result<serde_json::Value, Fault> {
    Ok(match value {
        DeValue::String(text) => serde_json::Value::from(text.as_ref()),
        DeValue::Integer(number) => {
            let number = i64::from_str_radix(number.as_str(), number.radix());
            let number =
                number.map_err(|_| Fault::new("it contains an integer of more than 64 bits"))?;
            serde_json::Value::from(number)
        }
        DeValue::Float(number) => {
            let parsed = number.as_str().parse::<f64>().ok();
            let parsed = parsed.and_then(serde_json::Number::from_f64);
            let parsed = parsed
                .ok_or_else(|| Fault::new("it contains a number that JSON can't represent"))?;
            serde_json::Value::Number(parsed)
        }
        DeValue::Boolean(truth) => serde_json::Value::from(*truth),
        DeValue::Datetime(time) => serde_json::json!({ "$date": time.to_string() }),
        DeValue::Array(array) => json_of_array(array)?,
        DeValue::Table(table) => {
            let field = |(key, value): (&Key<'_>, &Spanned<DeValue<'_>>)| {
                Ok((key.get_ref().to_string(), json_of(value.get_ref())?))
            };
            let fields = table.iter().map(field).collect::<Result<_, Fault>>()?;
            serde_json::Value::Object(fields)
        }
    })
}

/// A section's heading as in the file.
fn heading(key: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let shown = shown(key);
    if !key.is_empty() && key.bytes().all(is_bare) {
        format!("[{SECTIONS}.{shown}]")
    } else {
        format!("[{SECTIONS}.\"{shown}\"]")
    }
}

/// Line and column of a byte, from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = 1 + before.matches('\n').count();
    (line, 1 + before[line_start..].chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<(&'static str, String)> {
        let file = parse(text);
        assert_eq!(file.bad, [], "{text}");
        let entries = file.entries.into_iter();
        entries.map(|entry| (entry.name, entry.text)).collect()
    }

    /// Line, key and words of each place that can't be used.
    fn bad(text: &str) -> Vec<(usize, String, String)> {
        let bad = parse(text).bad.into_iter();
        let described = |bad: Bad| {
            let place = [bad.section, bad.key].into_iter().flatten();
            let place = place.collect::<Vec<_>>().join(" ");
            (bad.line, place, format!("{}; {}", bad.what, bad.fix))
        };
        bad.map(described).collect()
    }

    #[test]
    fn values_become_the_text_of_their_variables() {
        for (text, name, value) in [
            ("BATCH_SIZE = 500", "BATCH_SIZE", "500"),
            ("BATCH_SIZE = 1_000", "BATCH_SIZE", "1000"),
            ("BATCH_SIZE = 0x10", "BATCH_SIZE", "16"),
            ("BATCH_SIZE = -5", "BATCH_SIZE", "-5"),
            ("BATCH_SIZE = 1.5", "BATCH_SIZE", "1.5"),
            ("BATCH_BYTES = '8MiB'", "BATCH_BYTES", "8MiB"),
            (
                "SHOW_EXPANDED_EVENTS = true",
                "SHOW_EXPANDED_EVENTS",
                "true",
            ),
            (
                "START_AT = 2024-01-15T14:00:00Z",
                "START_AT",
                "2024-01-15T14:00:00Z",
            ),
            (
                "MONGODB_URI_FILE = \"/run/uri\"",
                "MONGODB_URI_FILE",
                "/run/uri",
            ),
            (
                "OPERATION_TYPES = [\"insert\", \"update\"]",
                "OPERATION_TYPES",
                "insert,update",
            ),
            ("OPERATION_TYPES = []", "OPERATION_TYPES", ""),
            (
                "MONGODB_COLLECTIONS = ['a*', '!/b{1,2}/']",
                "MONGODB_COLLECTIONS",
                "a*,!/b{1,2}/",
            ),
            ("PIPELINE = '[]'", "PIPELINE", "[]"),
            (
                "PIPELINE = [{ '$match' = { a = 1, b = [1.5, true, 'x'], at = 2024-01-15T14:00:00Z } }]",
                "PIPELINE",
                r#"[{"$match":{"a":1,"b":[1.5,true,"x"],"at":{"$date":"2024-01-15T14:00:00Z"}}}]"#,
            ),
            (
                "[[PIPELINE]]\n'$unset' = 'a'",
                "PIPELINE",
                r#"[{"$unset":"a"}]"#,
            ),
        ] {
            assert_eq!(entries(text), [(name, value.to_owned())], "{text}");
        }
    }

    #[test]
    fn sections_are_parsed() {
        let text = "BATCH_SIZE = 1\n[collections.users]\nBATCH_SIZE = 2\n\n[collections.\"shop.a b\"]\n\
                    [[collections.orders.PIPELINE]]\n\"$unset\" = \"a\"\n";
        let file = parse(text);
        assert_eq!(file.bad, []);
        let found: Vec<_> = file
            .sections
            .iter()
            .map(|section| {
                let entries = section.entries.iter();
                let entries: Vec<_> = entries
                    .map(|entry| (entry.name, entry.text.as_str(), entry.line))
                    .collect();
                (section.heading(), section.line, entries)
            })
            .collect();
        assert_eq!(
            found,
            [
                (
                    "[collections.users]".to_owned(),
                    2,
                    vec![("BATCH_SIZE", "2", 3)]
                ),
                ("[collections.\"shop.a b\"]".to_owned(), 5, vec![]),
                (
                    "[collections.orders]".to_owned(),
                    6,
                    vec![("PIPELINE", "[{\"$unset\":\"a\"}]", 6)]
                ),
            ]
        );
    }

    #[test]
    fn syntax_errors_have_line_and_column() {
        let file = parse("BATCH_SIZE = 1\nBATCH_BYTES = \nTZ = \"UTC\nX\n");
        let places: Vec<_> = file.bad.iter().map(|bad| (bad.line, bad.column)).collect();
        assert_eq!(places[0], (2, Some(15)), "{file:?}");
        assert!(places.len() > 1, "{file:?}");
        assert!(file.bad[0].what.starts_with("not TOML:  "), "{file:?}");
        let twice = parse("TZ = 'UTC'\nTZ = 'UTC'");
        assert_eq!(twice.bad[0].line, 2, "{twice:?}");
        let secret = parse("HTTP_TOKEN = canary7f3a");
        assert!(!secret.bad.is_empty());
        assert!(!format!("{secret:?}").contains("canary7f3a"));
    }

    #[test]
    fn errors_name_the_key_and_the_fix() {
        for (text, place, what) in [
            (
                "batch_size = 1",
                "batch_size",
                "it is not a setting; did you mean BATCH_SIZE?",
            ),
            ("X = 1", "X", "it is not a setting; remove it"),
            (
                "SILT_CONFIG = 'x'",
                "SILT_CONFIG",
                "a settings file can't name another one; name it",
            ),
            (
                "[users]\nBATCH_SIZE = 1",
                "users",
                "it is not a setting; did you mean [collections.users]?",
            ),
            ("collections = 1", "collections", "it is not a setting"),
            (
                "[collections]\nusers = 1",
                "users",
                "it isn't a section; write [collections.users]",
            ),
            (
                "[collections.users]\nTZ = 'UTC'",
                "[collections.users] TZ",
                "it applies to all collections together; move it to the top",
            ),
            (
                "[collections.users]\nBATCHSIZE = 1",
                "[collections.users] BATCHSIZE",
                "it is not a setting; did you mean BATCH_SIZE?",
            ),
            (
                "[collections.shop.users]\nBATCH_SIZE = 1",
                "[collections.shop] users",
                "it is not a setting; write a name with a dot in quotes: [collections.\"shop.users\"]",
            ),
            (
                "BATCH_SIZE = [1]",
                "BATCH_SIZE",
                "it doesn't take an array; set it to 1 to 1000000",
            ),
            ("TZ = {}", "TZ", "it doesn't take a table; set it to"),
            (
                "MONGODB_COLLECTIONS = [1]",
                "MONGODB_COLLECTIONS",
                "an element of its array isn't a string",
            ),
            (
                "MONGODB_COLLECTIONS = ['a,b']",
                "MONGODB_COLLECTIONS",
                "an element of its array contains a comma",
            ),
            (
                "PIPELINE = [nan]",
                "PIPELINE",
                "it contains a number that JSON can't represent",
            ),
        ] {
            let bad = bad(text);
            assert_eq!(bad.len(), 1, "{text}: {bad:?}");
            assert_eq!(bad[0].1, place, "{text}");
            assert!(bad[0].2.starts_with(what), "{text}: {bad:?}");
        }
    }
}
