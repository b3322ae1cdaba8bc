//! Problems with the settings, each with how to fix it.

use std::fmt;

use crate::settings::secret::looks_secret;

/// Longest value that a message shows, in characters.
const SHOWN_MAX_CHARS: usize = 80;

/// One setting that can't be used as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting's environment variable, or the file or flag that is wrong.
    pub setting: String,
    /// The value, escaped and shortened for display. Never a secret.
    pub value: Option<String>,
    /// Where the value came from, unless it was the environment.
    pub origin: Option<String>,
    /// What is wrong.
    pub what: String,
    /// How to fix it.
    pub fix: String,
}

impl fmt::Display for Problem {
    /// `BATCH_SIZE=abc: not a whole number; set it to 1 to 1000000 changes (default 1000)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.setting)?;
        if let Some(value) = &self.value {
            write!(f, "={value}")?;
        }
        if let Some(origin) = &self.origin {
            write!(f, " ({origin})")?;
        }
        write!(f, ": {}; {}", self.what, self.fix)
    }
}

/// All problems with the settings, in the order of `--help`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Drops the problems of settings that the command doesn't need.
    pub(super) fn keep_only(&mut self, matters: impl Fn(&str) -> bool) {
        self.0.retain(|problem| matters(&problem.setting));
    }
}

impl fmt::Display for Problems {
    /// A line with their number, then one line for each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut settings: Vec<&str> = self.0.iter().map(|one| one.setting.as_str()).collect();
        settings.sort_unstable();
        settings.dedup();
        match settings.len() {
            1 => write!(f, "silt: 1 setting is wrong")?,
            count => write!(f, "silt: {count} settings are wrong")?,
        }
        self.0
            .iter()
            .try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// What is wrong with a value. Its texts quote no more of the value than [`quoted`] does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) what: String,
    /// `None` for what the setting's row in the table says.
    pub(super) fix: Option<String>,
}

impl Fault {
    pub(super) fn new(what: impl Into<String>) -> Self {
        let what = what.into();
        Self { what, fix: None }
    }

    pub(super) fn with_fix(what: impl Into<String>, fix: impl Into<String>) -> Self {
        let (what, fix) = (what.into(), Some(fix.into()));
        Self { what, fix }
    }
}

/// A value as messages show it: on one line, shortened, and hidden if it looks like a secret.
pub(super) fn shown(value: &str) -> String {
    if looks_secret(value) {
        return "***".to_owned();
    }
    let mut out = String::new();
    for (at, character) in value.chars().enumerate() {
        if at == SHOWN_MAX_CHARS {
            out.push('…');
            break;
        }
        if is_printable(character) {
            out.push(character);
        } else {
            out.extend(character.escape_default());
        }
    }
    out
}

/// A part of a value in a message; hidden if the whole value looks like a secret.
pub(super) fn quoted(part: &str, whole: &str) -> String {
    if looks_secret(whole) {
        "`***`".to_owned()
    } else {
        format!("`{}`", shown(part))
    }
}

/// Control characters and those that change the text direction can garble a terminal.
fn is_printable(character: char) -> bool {
    let changes_direction = matches!(
        character,
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    !character.is_control() && !changes_direction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_print_one_a_line() {
        let one = Problem {
            setting: "BATCH_SIZE".into(),
            value: Some("abc".into()),
            origin: None,
            what: "not a whole number".into(),
            fix: "set it to 1".into(),
        };
        let two = Problem {
            setting: "LAKE_URL".into(),
            value: None,
            origin: Some(".env, line 3".into()),
            ..one.clone()
        };
        assert_eq!(
            Problems(vec![one.clone()]).to_string(),
            "silt: 1 setting is wrong\n  BATCH_SIZE=abc: not a whole number; set it to 1"
        );
        assert_eq!(
            Problems(vec![one.clone(), two]).to_string(),
            "silt: 2 settings are wrong\n  BATCH_SIZE=abc: not a whole number; set it to 1\
             \n  LAKE_URL (.env, line 3): not a whole number; set it to 1"
        );
    }

    #[test]
    fn a_setting_with_two_problems_counts_once() {
        let problem = |what: &str| Problem {
            setting: "MONGODB_COLLECTIONS".into(),
            value: None,
            origin: None,
            what: what.into(),
            fix: "remove it".into(),
        };
        let text = Problems(vec![problem("one"), problem("two")]).to_string();
        assert!(text.starts_with("silt: 1 setting is wrong\n"));
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn values_are_cut_escaped_and_hidden() {
        assert_eq!(shown("größe 1"), "größe 1");
        assert_eq!(
            shown("a\nb\u{1b}[31m\0\u{202e}"),
            "a\\nb\\u{1b}[31m\\u{0}\\u{202e}"
        );
        assert_eq!(shown(&"x".repeat(80)), "x".repeat(80));
        assert_eq!(shown(&"x".repeat(81)), "x".repeat(80) + "…");
        assert_eq!(shown("mongodb://u:p@h"), "***");
        assert_eq!(quoted("u", "mongodb://u:p@h"), "`***`");
    }
}
