//! What MongoDB accepts as the name of a database or a collection.
//!
//! <https://www.mongodb.com/docs/manual/reference/limits/#naming-restrictions>, as servers on Unix
//! apply them. The further restrictions of Windows are left to the server.

use crate::settings::problems::Fault;
use crate::settings::watched::patterns::{self, Rules};
use silt_core::namespace::selection::{self, NameSet};

/// Longest name of a database.
const DATABASE_MAX_BYTES: usize = 63;

/// Longest name of a collection together with its database and the dot between them.
const NAMESPACE_MAX_BYTES: usize = 255;

/// Reads a list of databases.
///
/// # Errors
///
/// All faults in all entries.
pub(in crate::settings) fn parse_databases(list: &str) -> Result<NameSet, Vec<Fault>> {
    let rules = Rules {
        fault: fault_of_database_letters,
        fault_of_whole: fault_of_database_length,
        fault_of_own: fault_of_own_database,
    };
    patterns::parse(list, &rules)
}

/// Reads a list of collections.
///
/// # Errors
///
/// All faults in all entries.
pub(in crate::settings) fn parse_collections(list: &str) -> Result<NameSet, Vec<Fault>> {
    let rules = Rules {
        fault: fault_of_collection_letters,
        fault_of_whole: fault_of_collection_length,
        fault_of_own: fault_of_own_collection,
    };
    patterns::parse(list, &rules)
}

/// Reads the name of a database for user data, not one of the server's own.
pub(in crate::settings) fn parse_database(name: &str) -> Result<String, Fault> {
    let fault = fault_of_database_letters(name)
        .or_else(|| fault_of_database_length(name))
        .or_else(|| fault_of_own_database(name));
    fault.map_or_else(|| Ok(name.to_owned()), |what| Err(Fault::new(what)))
}

/// Reads the name of one collection.
pub(in crate::settings) fn parse_collection(name: &str) -> Result<String, Fault> {
    let fault = fault_of_collection_letters(name)
        .or_else(|| fault_of_own_collection(name))
        .or_else(|| fault_of_collection_length(name));
    fault.map_or_else(|| Ok(name.to_owned()), |what| Err(Fault::new(what)))
}

/// Refuses a database and a collection that are too long together.
pub(in crate::settings) fn check_namespace(database: &str, collection: &str) -> Result<(), Fault> {
    if database.len() + 1 + collection.len() > NAMESPACE_MAX_BYTES {
        let what = format!("longer than {NAMESPACE_MAX_BYTES} bytes together with its database");
        return Err(Fault::new(what));
    }
    Ok(())
}

fn fault_of_database_letters(name: &str) -> Option<String> {
    let is_bad = |c: &char| matches!(c, '/' | '\\' | '.' | ' ' | '"' | '$' | '\0');
    let bad = name.chars().find(is_bad)?;
    Some(format!("a database's name can't hold {bad:?}"))
}

fn fault_of_database_length(name: &str) -> Option<String> {
    let most = DATABASE_MAX_BYTES;
    (name.len() > most).then(|| format!("longer than the {most} bytes of a database's name"))
}

fn fault_of_own_database(name: &str) -> Option<String> {
    selection::is_servers_database(name)
        .then(|| format!("{name} is the server's own database and can't be watched or written"))
}

fn fault_of_collection_letters(name: &str) -> Option<String> {
    if name.contains('\0') {
        Some("a collection's name can't hold a NUL".to_owned())
    } else if name.contains('$') {
        Some("a collection's name can't hold a `$`".to_owned())
    } else if name.starts_with('.') {
        Some("a collection's name can't begin with a dot".to_owned())
    } else {
        None
    }
}

fn fault_of_own_collection(name: &str) -> Option<String> {
    selection::is_servers_collection(name)
        .then(|| "the server's own collections can't be watched or written".to_owned())
}

fn fault_of_collection_length(name: &str) -> Option<String> {
    let most = NAMESPACE_MAX_BYTES;
    (name.len() > most).then(|| format!("longer than the {most} bytes of a collection's name"))
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
        let set = parse_collections(" users ,orders,a/b,größe,end.,a b,_silt,%,systemx").unwrap();
        assert_eq!(
            set.names().unwrap(),
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
    fn lists_of_databases() {
        let set = parse_databases("shop, crm_*,!*_test,!admin").unwrap();
        assert!(set.matches("shop") && set.matches("crm_eu") && !set.matches("crm_test"));
        for (list, what) in [
            ("a,a.b", "`a.b`: a database's name can't hold '.'"),
            ("crm.*", "`crm.*`: a database's name can't hold '.'"),
            (
                "a,local",
                "`local`: local is the server's own database and can't be watched or written",
            ),
        ] {
            assert_eq!(parse_databases(list).unwrap_err()[0].what, what);
        }
        let long = "x".repeat(64);
        assert!(parse_databases(&long).is_err());
        assert!(parse_databases(&format!("{long}*")).is_ok());
    }

    #[test]
    fn patterns_of_collections() {
        for list in ["*", "orders_*,!*_tmp", "!system.*", r"/a\.b/", "users,o*"] {
            assert!(parse_collections(list).is_ok(), "{list}");
        }
        for list in ["a$*", ".*", "system.*", "a\0*"] {
            assert_eq!(parse_collections(list).unwrap_err().len(), 1, "{list}");
        }
    }

    #[test]
    fn long_names() {
        assert!(parse_collection(&"x".repeat(255)).is_ok());
        assert!(parse_collection(&"x".repeat(256)).is_err());
        // Its folder has a shortened name.
        assert!(parse_collection(&"/".repeat(255)).is_ok());
        assert!(check_namespace("db", &"x".repeat(252)).is_ok());
        assert!(check_namespace("db", &"x".repeat(253)).is_err());
    }
}
