//! Warnings about names that aren't settings, but were meant to be or used to be.

use super::env_file::Entry;
use super::table;

/// Settings of the program that silt replaces, and why silt has none such.
pub(super) const RETIRED: [(&str, &str); 1] = [(
    "TEMP_DIR",
    "isn't needed any more: silt keeps nothing on this machine's disk",
)];

/// What the Azure SDK reads itself, and only from the process's environment.
const OF_THE_AZURE_SDK: [&str; 1] = ["AZURE_AUTHORITY_HOST"];

/// What is odd about the names of an `.env` file. No value is shown.
pub(super) fn warnings(file: &str, entries: &[Entry]) -> Vec<String> {
    let hint = |entry: &Entry| {
        let (key, line) = (&entry.key, entry.line);
        let hint = hint(key)?;
        Some(format!("{file}, line {line}: {key} {hint}"))
    };
    entries.iter().filter_map(hint).collect()
}

fn hint(key: &str) -> Option<String> {
    if table::ALL.iter().any(|setting| setting.is_named(key)) {
        return None;
    }
    if let Some((_, why)) = RETIRED.iter().find(|(name, _)| *name == key) {
        return Some((*why).to_owned());
    }
    if OF_THE_AZURE_SDK.contains(&key) {
        let hint = "has no effect here: the login reads it from the environment only";
        return Some(hint.to_owned());
    }
    let meant = nearest(key, table::ALL.iter().map(|setting| setting.name))?;
    Some(format!("is no setting; is {meant} meant?"))
}

/// The name that a word was meant to be.
pub(super) fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = plain(word);
    let meant = names
        .map(|name| (distance(&word, &plain(name)), name))
        .filter(|(distance, name)| *distance <= allowed(name))
        .min()?;
    Some(meant.1)
}

/// A name without what is easily mistaken.
fn plain(name: &str) -> Vec<u8> {
    let bytes = name.bytes().filter(u8::is_ascii_alphanumeric);
    bytes.map(|byte| byte.to_ascii_uppercase()).collect()
}

/// Mistakes that leave a name recognisable. Short names are near to too many others.
fn allowed(name: &str) -> usize {
    match name.len() {
        0..=4 => 0,
        5..=10 => 1,
        _ => 2,
    }
}

/// Levenshtein's distance.
fn distance(left: &[u8], right: &[u8]) -> usize {
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, left_byte) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, right_byte) in right.iter().enumerate() {
            let replaced = above[column] + usize::from(left_byte != right_byte);
            let shortest = replaced.min(above[column + 1] + 1).min(current[column] + 1);
            current.push(shortest);
        }
        above = current;
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_names_are_recognised() {
        for (key, name) in [
            ("BATCHSIZE", "BATCH_SIZE"),
            ("batch_size", "BATCH_SIZE"),
            ("BATCH-SIZE", "BATCH_SIZE"),
            ("BATCH_SIZES", "BATCH_SIZE"),
            ("MONGODB_URL", "MONGODB_URI"),
            ("MONGO_DB_URI", "MONGODB_URI"),
            ("MONGODB_COLECTIONS", "MONGODB_COLLECTIONS"),
            ("AZURE_STORAGE_ACOUNT_KEY", "AZURE_STORAGE_ACCOUNT_KEY"),
            ("tz", "TZ"),
        ] {
            assert_eq!(hint(key), Some(format!("is no setting; is {name} meant?")));
        }
    }

    #[test]
    fn other_names_are_left_alone() {
        for key in [
            "BATCH_SIZE",
            "PATH",
            "HOME",
            "NODE_ENV",
            "T",
            "XZ",
            "PORT",
            "DATABASE_URL",
            "",
        ] {
            assert_eq!(hint(key), None, "{key}");
        }
        for setting in table::ALL {
            assert_eq!(hint(setting.name), None);
            if setting.may_be_in_file() {
                assert_eq!(hint(setting.file_name), None);
            }
        }
    }

    #[test]
    fn retired_names_and_the_sdks_are_explained() {
        assert!(hint("TEMP_DIR").unwrap().contains("isn't needed any more"));
        assert!(
            hint("AZURE_AUTHORITY_HOST")
                .unwrap()
                .contains("environment only")
        );
    }

    #[test]
    fn distances() {
        for (left, right, expected) in [
            ("", "", 0),
            ("abc", "", 3),
            ("abc", "axc", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(left.as_bytes(), right.as_bytes()), expected);
        }
    }
}
