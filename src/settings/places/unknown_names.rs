//! Warnings about names that aren't settings, but were meant to be or used to be.

use crate::settings::places::env_file::Entry;
use crate::settings::table;
use crate::suggest::closest;

/// Settings of the program that silt replaces, and why silt doesn't have them.
pub(in crate::settings) const RETIRED: [(&str, &str); 1] = [(
    "TEMP_DIR",
    "is no longer needed: silt keeps nothing on local disk",
)];

/// Variables that the Azure SDK reads itself, from the process environment only.
const OF_THE_AZURE_SDK: [&str; 1] = ["AZURE_AUTHORITY_HOST"];

/// Warnings about unknown names in an `.env` file. They never show a value.
pub(in crate::settings) fn warnings(file: &str, entries: &[Entry]) -> Vec<String> {
    let warning = |entry: &Entry| {
        let (key, line) = (&entry.key, entry.line);
        let hint = hint(key)?;
        Some(format!("{file}, line {line}: {key} {hint}"))
    };
    entries.iter().filter_map(warning).collect()
}

fn hint(key: &str) -> Option<String> {
    if table::ALL.iter().any(|setting| setting.is_named(key)) {
        return None;
    }
    if let Some((_, why)) = RETIRED.iter().find(|(name, _)| *name == key) {
        return Some((*why).to_owned());
    }
    if OF_THE_AZURE_SDK.contains(&key) {
        let hint = "has no effect here: the Azure SDK reads it from the process environment only";
        return Some(hint.to_owned());
    }
    let meant = closest(key, table::ALL.iter().map(|setting| setting.name))?;
    Some(format!("is not a setting; did you mean {meant}?"))
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
            assert_eq!(
                hint(key),
                Some(format!("is not a setting; did you mean {name}?"))
            );
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
        assert!(hint("TEMP_DIR").unwrap().contains("is no longer needed"));
        assert!(
            hint("AZURE_AUTHORITY_HOST")
                .unwrap()
                .contains("environment only")
        );
    }
}
