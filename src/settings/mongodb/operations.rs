//! `OPERATION_TYPES`: which kinds of changes are archived.

use std::collections::HashSet;

use crate::settings::problems::{Fault, quoted};
use crate::settings::suggest::closest;

/// What a change stream tells of anyway.
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

/// What it tells of with `SHOW_EXPANDED_EVENTS`.
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
/// All faults of all its words.
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
                faults.push(Fault::mended_by(what, "name each once"));
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
        let what = format!("{} is no operation", quoted(word, list));
        let fault = match closest(word, all()) {
            Some(meant) => Fault::mended_by(what, format!("is {meant} meant?")),
            None => Fault::new(what),
        };
        return Err(fault);
    };
    if EXPANDED.contains(&operation) && !shows_expanded {
        let what = format!("the server tells of `{operation}` only if it is asked to");
        let mend = "set SHOW_EXPANDED_EVENTS=true, or leave it out";
        return Err(Fault::mended_by(what, mend));
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
        for (list, what, mend) in [
            (
                "insert,deletes",
                "`deletes` is no operation",
                Some("is delete meant?"),
            ),
            ("truncate", "`truncate` is no operation", None),
            ("", "`` is no operation", None),
            ("insert,", "`` is no operation", None),
            (
                "insert,insert",
                "it names `insert` twice",
                Some("name each once"),
            ),
            (
                "create",
                "the server tells of `create` only if it is asked to",
                Some("set SHOW_EXPANDED_EVENTS=true, or leave it out"),
            ),
        ] {
            let faults = parse(list, false).unwrap_err();
            assert_eq!(faults.len(), 1, "{list}");
            assert_eq!(
                (faults[0].what.as_str(), faults[0].mend.as_deref()),
                (what, mend)
            );
        }
        assert_eq!(parse("x,create,all", false).unwrap_err().len(), 3);
    }
}
