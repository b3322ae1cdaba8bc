//! A row of the table of settings, and the texts that follow from it.

/// A setting: one row of the table.
#[derive(Clone, Copy, Debug)]
pub(in crate::settings) struct Setting {
    /// The environment variable.
    pub(in crate::settings) name: &'static str,
    /// The long flag without its dashes, derived from the name.
    pub(in crate::settings) flag: &'static str,
    /// The variable that names a file with the value; secrets only.
    pub(in crate::settings) file_name: &'static str,
    /// The flag that names a file with the value.
    pub(in crate::settings) file_flag: &'static str,
    /// Where `--help` lists it.
    pub(in crate::settings) heading: Heading,
    /// What values it takes.
    pub(in crate::settings) kind: Kind,
    /// The placeholder for the value in `--help`.
    pub(in crate::settings) value_name: &'static str,
    /// What applies when it isn't set.
    pub(in crate::settings) fallback: Fallback,
    /// Whether its value may be shown.
    pub(in crate::settings) secrecy: Secrecy,
    /// What an empty value means, unless the setting is a secret.
    pub(in crate::settings) empty: Empty,
    /// Whether a section of the settings file may set it for one collection.
    pub(in crate::settings) is_per_collection: bool,
    /// What it is for, in a few sentences of plain text.
    pub(in crate::settings) help: &'static str,
    /// Where docs/settings.md points to, in Markdown; empty for nowhere.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the test that generates the document reads it")
    )]
    pub(in crate::settings) see: &'static str,
}

/// Groups of settings in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::settings) enum Heading {
    Source,
    Lake,
    Files,
    Checkpoints,
    Snapshots,
    Failures,
    Status,
    Logs,
    Config,
}

impl Heading {
    /// All of them, in the order of `--help`.
    #[cfg(test)]
    pub(in crate::settings) const ALL: [Self; 9] = [
        Self::Source,
        Self::Lake,
        Self::Files,
        Self::Checkpoints,
        Self::Snapshots,
        Self::Failures,
        Self::Status,
        Self::Logs,
        Self::Config,
    ];

    pub(in crate::settings) fn as_str(self) -> &'static str {
        match self {
            Self::Source => "Source",
            Self::Lake => "Lake",
            Self::Files => "Files and flushing",
            Self::Checkpoints => "Checkpoints",
            Self::Snapshots => "Snapshots",
            Self::Failures => "Failures and shutdown",
            Self::Status => "Status",
            Self::Logs => "Logs",
            Self::Config => "Settings file",
        }
    }
}

/// The values that a setting takes.
#[derive(Clone, Copy, Debug)]
pub(in crate::settings) enum Kind {
    /// Text with its own parser; `needs` completes "set it to".
    Text { needs: &'static str },
    /// The same, a list separated by commas. The settings file also takes an array.
    List { needs: &'static str },
    /// The same, as JSON. The settings file also takes an array.
    Json { needs: &'static str },
    /// A whole number; bounds are inclusive.
    Whole {
        least: u64,
        most: u64,
        unit: &'static str,
    },
    /// A number of bytes; bounds are inclusive.
    Size { least: u64, most: u64 },
    /// One of these words.
    Choice(fn() -> Vec<&'static str>),
}

impl Kind {
    /// Completes "set it to".
    pub(in crate::settings) fn needs(self) -> String {
        match self {
            Self::Text { needs } | Self::List { needs } | Self::Json { needs } => needs.to_owned(),
            Self::Whole { least, most, unit } => format!("{least} to {most} {unit}"),
            Self::Size { least, most } => format!(
                "{} to {}, in bytes or with KiB, MiB or GiB",
                size_text(least),
                size_text(most)
            ),
            Self::Choice(words) => {
                let words = words();
                match words.split_last() {
                    Some((last, others)) if !others.is_empty() => {
                        format!("{} or {last}", others.join(", "))
                    }
                    _ => words.concat(),
                }
            }
        }
    }
}

/// What applies when a setting isn't set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::settings) enum Fallback {
    /// It must be set.
    Required,
    /// No value; the text says what happens then.
    Unset(&'static str),
    /// This value.
    Value(&'static str),
}

/// Whether a setting's value may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::settings) enum Secrecy {
    /// It may be shown.
    Public,
    /// It must not be shown. It has no flag, because every process can see a command line.
    Secret,
    /// It must not be shown, but has a flag for values without a password.
    SecretWithFlag,
}

/// What an empty value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::settings) enum Empty {
    /// A mistake.
    Refused,
    /// The same as no value: env files often contain `KEY=`.
    Unsets,
}

impl Setting {
    /// The fields that most rows don't set.
    pub(in crate::settings) const BASE: Self = Self {
        name: "",
        flag: "",
        file_name: "",
        file_flag: "",
        heading: Heading::Source,
        kind: Kind::Text { needs: "" },
        value_name: "",
        fallback: Fallback::Required,
        secrecy: Secrecy::Public,
        empty: Empty::Refused,
        is_per_collection: false,
        help: "",
        see: "",
    };

    /// Whether this is its variable, or the one that names a file with the value.
    pub(in crate::settings) fn is_named(&self, name: &str) -> bool {
        self.name == name || self.may_be_in_file() && self.file_name == name
    }

    /// Whether the value may come from a file that [`Setting::file_name`] names. Secrets may: Docker
    /// and Kubernetes mount them as files.
    pub(in crate::settings) fn may_be_in_file(&self) -> bool {
        self.secrecy != Secrecy::Public
    }

    /// Whether an empty value means the same as none. For secrets it does.
    pub(in crate::settings) fn may_be_empty(&self) -> bool {
        self.empty == Empty::Unsets || self.secrecy != Secrecy::Public
    }

    /// The default's text, if the setting has one.
    pub(in crate::settings) fn default_text(&self) -> Option<&'static str> {
        match self.fallback {
            Fallback::Value(text) => Some(text),
            Fallback::Required | Fallback::Unset(_) => None,
        }
    }

    /// What to set it to, for the end of a message.
    pub(in crate::settings) fn fix(&self) -> String {
        let needs = self.kind.needs();
        match self.default_text() {
            Some(default) => format!("set it to {needs} (default {default})"),
            None => format!("set it to {needs}"),
        }
    }
}

/// A number of bytes, in the largest unit that divides it.
pub(in crate::settings) fn size_text(bytes: u64) -> String {
    for (unit, factor) in SIZE_UNITS.iter().rev() {
        if bytes >= *factor && bytes.is_multiple_of(*factor) {
            return format!("{} {unit}", bytes / factor);
        }
    }
    format!("{bytes} bytes")
}

/// Units of sizes, smallest first.
pub(in crate::settings) const SIZE_UNITS: [(&str, u64); 3] =
    [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// The flag for a variable: `BATCH_SIZE` becomes `batch-size`.
pub(in crate::settings) const fn flag_bytes<const LEN: usize>(name: &str) -> [u8; LEN] {
    let name = name.as_bytes();
    let mut flag = [0; LEN];
    let mut at = 0;
    while at < LEN {
        flag[at] = match name[at] {
            b'_' => b'-',
            letter => letter.to_ascii_lowercase(),
        };
        at += 1;
    }
    flag
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::table::choices::{FullDocument, JsonMode, words};

    #[test]
    fn kinds_say_what_they_need() {
        let whole = Kind::Whole {
            least: 1,
            most: 100,
            unit: "tries",
        };
        assert_eq!(whole.needs(), "1 to 100 tries");
        let size = Kind::Size {
            least: 1,
            most: 256 << 20,
        };
        assert_eq!(
            size.needs(),
            "1 bytes to 256 MiB, in bytes or with KiB, MiB or GiB"
        );
        assert_eq!(
            Kind::Choice(words::<JsonMode>).needs(),
            "relaxed or canonical"
        );
        assert_eq!(
            Kind::Choice(words::<FullDocument>).needs(),
            "updateLookup, default, whenAvailable or required"
        );
    }

    #[test]
    fn sizes_are_exact() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (1536 << 10, "1536 KiB"),
            (8 << 20, "8 MiB"),
            (1 << 40, "1024 GiB"),
        ] {
            assert_eq!(size_text(bytes), text);
        }
    }
}
