//! The fields of an event that a pipeline must not change.

use bson::{Bson, Document};

use crate::settings::problems::{Fault, shown};
use silt_core::snapshot::key::RAW as RAW_EVENT;

/// The fields that silt needs: identity, kind, time and namespace.
const NEEDED: [&str; 4] = ["_id", "operationType", "clusterTime", "ns"];

/// The server's mark of a fragment of a large event. No stage may write it.
const SPLIT: &str = "splitEvent";

/// What a `$project` keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::settings) enum Kept {
    /// What it names.
    Named,
    /// What it doesn't name.
    Others,
}

/// One field of a `$project`.
enum Leaf {
    Kept,
    Removed,
    Computed,
}

/// The names that `$unset` has.
pub(in crate::settings) fn unset_names(spec: &Bson) -> Result<Vec<&str>, Fault> {
    let names = match spec {
        Bson::String(name) => Some(vec![name.as_str()]),
        Bson::Array(names) => names.iter().map(Bson::as_str).collect(),
        _ => None,
    };
    names.ok_or_else(|| {
        let fix = "write {\"$unset\": \"fullDocument.password\"} or {\"$unset\": [\"…\", \"…\"]}";
        Fault::with_fix("it takes a field's name, or an array of names", fix)
    })
}

pub(in crate::settings) fn check_unset(names: &[&str]) -> Result<(), Fault> {
    names.iter().try_for_each(|name| refuse_removed(name))
}

pub(in crate::settings) fn check_added(added: &Document) -> Result<(), Fault> {
    added.keys().try_for_each(|name| refuse_computed(name))
}

/// Checks a `$project`, and says what it keeps.
pub(in crate::settings) fn check_projection(projection: &Document) -> Result<Kept, Fault> {
    let mut leaves = Vec::new();
    collect("", projection, &mut leaves);
    let kept = kept(&leaves)?;
    for (path, leaf) in &leaves {
        match leaf {
            Leaf::Removed => refuse_removed(path)?,
            Leaf::Computed => refuse_computed(path)?,
            Leaf::Kept => refuse_partial(path)?,
        }
    }
    if kept == Kept::Named {
        refuse_missing(&leaves)?;
    }
    Ok(kept)
}

/// What a `$project` of these fields keeps. `_id` goes by rules of its own.
fn kept(leaves: &[(String, Leaf)]) -> Result<Kept, Fault> {
    let is_removed = |leaf: &Leaf| matches!(leaf, Leaf::Removed);
    let (removed, named): (Vec<_>, Vec<_>) = leaves
        .iter()
        .filter(|(path, _)| root(path) != "_id")
        .partition(|(_, leaf)| is_removed(leaf));
    match (removed.first(), named.first()) {
        (Some((path, _)), Some(_)) => {
            let path = shown(path);
            let what =
                format!("it keeps some fields and removes `{path}`, which the server refuses");
            Err(Fault::with_fix(
                what,
                "remove fields with a $unset of their own",
            ))
        }
        (Some(_), None) => Ok(Kept::Others),
        (None, Some(_)) => Ok(Kept::Named),
        (None, None) => match leaves.first() {
            Some((_, leaf)) if is_removed(leaf) => Ok(Kept::Others),
            Some(_) => Ok(Kept::Named),
            None => Err(Fault::with_fix("it has no fields", "remove the stage")),
        },
    }
}

/// All fields of a `$project` by their whole paths.
fn collect(above: &str, projection: &Document, leaves: &mut Vec<(String, Leaf)>) {
    for (name, value) in projection {
        let path = below(above, name);
        match value {
            Bson::Document(fields) if is_fields(fields) => collect(&path, fields, leaves),
            value => leaves.push((path, leaf(value))),
        }
    }
}

fn leaf(value: &Bson) -> Leaf {
    match value {
        Bson::Boolean(is_kept) => of_truth(*is_kept),
        Bson::Int32(number) => of_truth(*number != 0),
        Bson::Int64(number) => of_truth(*number != 0),
        Bson::Double(number) => of_truth(*number != 0.0),
        _ => Leaf::Computed,
    }
}

fn of_truth(is_kept: bool) -> Leaf {
    if is_kept { Leaf::Kept } else { Leaf::Removed }
}

/// Whether a document stands for the fields of a field, and not for an expression.
pub(in crate::settings) fn is_fields(document: &Document) -> bool {
    !document.is_empty() && document.keys().all(|name| !name.starts_with('$'))
}

/// The path of a field within another.
pub(in crate::settings) fn below(above: &str, name: &str) -> String {
    if above.is_empty() {
        name.to_owned()
    } else {
        format!("{above}.{name}")
    }
}

fn root(path: &str) -> &str {
    path.split('.').next().unwrap_or(path)
}

fn is_needed(path: &str) -> bool {
    NEEDED.contains(&root(path))
}

fn refuse_removed(path: &str) -> Result<(), Fault> {
    if !is_needed(path) {
        return Ok(());
    }
    let path = shown(path);
    let why = match root(&path) {
        "_id" => "by which a stream is resumed",
        _ => "which silt needs",
    };
    Err(Fault::with_fix(
        format!("it removes `{path}`, {why}"),
        format!("keep `{path}`"),
    ))
}

fn refuse_computed(path: &str) -> Result<(), Fault> {
    if !is_needed(path) && ![SPLIT, RAW_EVENT].contains(&root(path)) {
        return Ok(());
    }
    let path = shown(path);
    let why = match root(&path) {
        "_id" => "by which a stream is resumed",
        SPLIT => "by which silt reassembles large events",
        RAW_EVENT => "which silt writes itself, for events that Extended JSON can't keep",
        _ => "which silt needs unchanged",
    };
    let fix = "use another field name";
    Err(Fault::with_fix(format!("it writes `{path}`, {why}"), fix))
}

fn refuse_partial(path: &str) -> Result<(), Fault> {
    let root = root(path);
    if !is_needed(path) || root == path {
        return Ok(());
    }
    let path = shown(path);
    let what = format!("it keeps only `{path}` of `{root}`, and silt needs all of it");
    Err(Fault::with_fix(what, format!("write \"{root}\": 1")))
}

/// Refuses a `$project` that keeps what it names, and doesn't name all that silt needs.
fn refuse_missing(leaves: &[(String, Leaf)]) -> Result<(), Fault> {
    let is_named = |name: &&&str| leaves.iter().any(|(path, _)| path == **name);
    // The server keeps `_id` by itself.
    let missing = NEEDED[1..].iter().filter(|name| !is_named(name));
    let missing: Vec<&str> = missing.copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let what = format!(
        "it keeps only the fields it names, and silt also needs {}",
        missing.join(", ")
    );
    let fields = missing.iter().map(|name| format!("\"{name}\": 1"));
    let fix = format!("add {}", fields.collect::<Vec<_>>().join(", "));
    Err(Fault::with_fix(what, fix))
}
