//! What MongoDB takes as the name of a database or a collection.
//!
//! <https://www.mongodb.com/docs/manual/reference/limits/#naming-restrictions>, as servers on Unix
//! apply it; what only a server on Windows refuses, it says itself.

use std::collections::HashSet;

use super::problems::{Fault, quoted};
use crate::archive::names::{self, COMPONENT_MAX_BYTES};

/// Longest name of a database.
const DATABASE_MAX_BYTES: usize = 63;

/// Longest name of a collection together with its database and the dot between them.
const NAMESPACE_MAX_BYTES: usize = 255;

/// Reads the name of a database that can hold user data: none of the server's own.
pub(super) fn parse_database(name: &str) -> Result<String, Fault> {
    if let Some(bad) = name
        .chars()
        .find(|c| matches!(c, '/' | '\\' | '.' | ' ' | '"' | '$' | '\0'))
    {
        let what = format!("a database's name can't hold {bad:?}");
        return Err(Fault::new(what));
    }
    if name.len() > DATABASE_MAX_BYTES {
        let what = format!("longer than the {DATABASE_MAX_BYTES} bytes of a database's name");
        return Err(Fault::new(what));
    }
    if matches!(name, "admin" | "config" | "local") {
        let what = format!("{name} is the server's own database and can't be watched or written");
        return Err(Fault::new(what));
    }
    Ok(name.to_owned())
}

/// Reads a list of collections.
///
/// # Errors
///
/// All faults of all names.
pub(super) fn parse_collections(list: &str) -> Result<Vec<String>, Vec<Fault>> {
    let names: Vec<&str> = list.split(',').map(str::trim).collect();
    let mut faults = Vec::new();
    let mut seen = HashSet::new();
    for (at, name) in names.iter().enumerate() {
        if name.is_empty() {
            let what = format!("name {} of the list is empty", at + 1);
            faults.push(Fault::mended_by(what, "remove the comma too many"));
        } else if !seen.insert(name) {
            let what = format!("it names {} twice", quoted(name, list));
            faults.push(Fault::mended_by(what, "name each collection once"));
        } else if let Some(what) = fault_of_collection(name) {
            let what = format!("{}: {what}", quoted(name, list));
            faults.push(Fault::mended_by(what, "leave it out"));
        }
    }
    if faults.is_empty() {
        Ok(names.into_iter().map(str::to_owned).collect())
    } else {
        Err(faults)
    }
}

/// Reads the name of one collection.
pub(super) fn parse_collection(name: &str) -> Result<String, Fault> {
    match fault_of_collection(name) {
        Some(what) => Err(Fault::new(what)),
        None => Ok(name.to_owned()),
    }
}

/// Says whether database and collection are too long together.
pub(super) fn check_namespace(database: &str, collection: &str) -> Result<(), Fault> {
    if database.len() + 1 + collection.len() > NAMESPACE_MAX_BYTES {
        let what = format!("longer than {NAMESPACE_MAX_BYTES} bytes together with its database");
        return Err(Fault::new(what));
    }
    Ok(())
}

fn fault_of_collection(name: &str) -> Option<String> {
    if name.contains('\0') {
        Some("a collection's name can't hold a NUL".to_owned())
    } else if name.contains('$') {
        Some("a collection's name can't hold a `$`".to_owned())
    } else if name.starts_with('.') {
        Some("a collection's name can't begin with a dot".to_owned())
    } else if name.starts_with("system.") {
        Some("the server's own collections can't be watched or written".to_owned())
    } else if names::encode(name).len() > COMPONENT_MAX_BYTES {
        let most = COMPONENT_MAX_BYTES;
        Some(format!(
            "its folder's name would be longer than {most} bytes"
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases() {
        for name in ["mydb", "MyDB", "a-b_c", "größe", "a:b", &"x".repeat(63)] {
            assert_eq!(parse_database(name).as_deref(), Ok(name));
        }
        for name in [
            "a.b", "a b", "a/b", "a\\b", "a\"b", "a$b", "a\0b", "admin", "local", "config",
        ] {
            assert!(parse_database(name).is_err(), "{name}");
        }
        assert!(parse_database(&"x".repeat(64)).is_err());
        assert!(parse_database(&"é".repeat(32)).is_err());
    }

    #[test]
    fn lists_of_collections() {
        let names = parse_collections(" users ,orders,a/b,größe,end.,a b,_silt,%,systemx").unwrap();
        assert_eq!(
            names,
            [
                "users", "orders", "a/b", "größe", "end.", "a b", "_silt", "%", "systemx"
            ]
        );
        for (list, what) in [
            ("", "name 1 of the list is empty"),
            ("a,", "name 2 of the list is empty"),
            ("a,,b", "name 2 of the list is empty"),
            ("a,b, a", "it names `a` twice"),
            ("a$b", "`a$b`: a collection's name can't hold a `$`"),
            ("a\0b", "`a\\u{0}b`: a collection's name can't hold a NUL"),
            (".a", "`.a`: a collection's name can't begin with a dot"),
            (
                "system.profile",
                "`system.profile`: the server's own collections can't be watched or written",
            ),
        ] {
            let faults = parse_collections(list).unwrap_err();
            assert_eq!(faults[0].what, what);
            assert_eq!(faults.len(), 1);
        }
        assert_eq!(parse_collections("$,.,,ok").unwrap_err().len(), 3);
    }

    #[test]
    fn long_names() {
        assert!(parse_collection(&"x".repeat(255)).is_ok());
        assert!(parse_collection(&"x".repeat(256)).is_err());
        // Each slash takes three bytes of the folder's name.
        assert!(parse_collection(&"/".repeat(85)).is_ok());
        assert!(parse_collection(&"/".repeat(86)).is_err());
        assert!(check_namespace("db", &"x".repeat(252)).is_ok());
        assert!(check_namespace("db", &"x".repeat(253)).is_err());
    }
}
