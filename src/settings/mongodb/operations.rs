//! `OPERATION_TYPES`: the kinds of changes to archive.

use std::collections::HashSet;

use crate::settings::problems::{Fault, quoted};
use crate::suggest::closest;

/// Events of every change stream.
const ORDINARY: [&str; 8] = [
    "insert",
    "update",
    "replace",
    "delete",
    "drop",
    "rename",
    "dropDatabase",
    "invalidate",
];

/// Events of change streams with `SHOW_EXPANDED_EVENTS`.
const EXPANDED: [&str; 7] = [
    "create",
    "createIndexes",
    "dropIndexes",
    "modify",
    "shardCollection",
    "refineCollectionShardKey",
    "reshardCollection",
];

/// The word for all of them.
const ALL: &str = "all";

/// Reads a list of operations; none stands for all.
///
/// # Errors
///
/// All faults in all entries.
pub(in crate::settings) fn parse(
    list: &str,
    shows_expanded: bool,
) -> Result<Vec<String>, Vec<Fault>> {
    if list.eq_ignore_ascii_case(ALL) {
        return Ok(Vec::new());
    }
    let mut operations = Vec::new();
    let mut faults = Vec::new();
    let mut seen = HashSet::new();
    for word in list.split(',').map(str::trim) {
        match parse_word(word, list, shows_expanded) {
            Ok(operation) if seen.insert(operation) => operations.push(operation.to_owned()),
            Ok(operation) => {
                let what = format!("it names `{operation}` twice");
                faults.push(Fault::with_fix(what, "name each once"));
            }
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() {
        Ok(operations)
    } else {
        Err(faults)
    }
}

fn parse_word(word: &str, list: &str, shows_expanded: bool) -> Result<&'static str, Fault> {
    let all = || ORDINARY.into_iter().chain(EXPANDED);
    let known = |name: &&str| name.eq_ignore_ascii_case(word);
    let Some(operation) = all().find(known) else {
        let what = format!("{} is not an operation", quoted(word, list));
        let fault = match closest(word, all()) {
            Some(meant) => Fault::with_fix(what, format!("did you mean {meant}?")),
            None => Fault::new(what),
        };
        return Err(fault);
    };
    if EXPANDED.contains(&operation) && !shows_expanded {
        let what = format!("the server sends `{operation}` only with SHOW_EXPANDED_EVENTS=true");
        let fix = "set SHOW_EXPANDED_EVENTS=true, or remove it";
        return Err(Fault::with_fix(what, fix));
    }
    Ok(operation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_known_whatever_their_case() {
        let operations = parse("INSERT, dropdatabase", false).unwrap();
        assert_eq!(operations, ["insert", "dropDatabase"]);
        assert_eq!(parse("All", false).unwrap(), [""; 0]);
        assert_eq!(parse("create,insert", true).unwrap(), ["create", "insert"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (list, what, fix) in [
            (
                "insert,deletes",
                "`deletes` is not an operation",
                Some("did you mean delete?"),
            ),
            ("truncate", "`truncate` is not an operation", None),
            ("", "`` is not an operation", None),
            ("insert,", "`` is not an operation", None),
            (
                "insert,insert",
                "it names `insert` twice",
                Some("name each once"),
            ),
            (
                "create",
                "the server sends `create` only with SHOW_EXPANDED_EVENTS=true",
                Some("set SHOW_EXPANDED_EVENTS=true, or remove it"),
            ),
        ] {
            let faults = parse(list, false).unwrap_err();
            assert_eq!(faults.len(), 1, "{list}");
            assert_eq!(
                (faults[0].what.as_str(), faults[0].fix.as_deref()),
                (what, fix)
            );
        }
        assert_eq!(parse("x,create,all", false).unwrap_err().len(), 3);
    }
}
