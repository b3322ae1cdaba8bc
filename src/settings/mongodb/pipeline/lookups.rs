//! What may differ when a change is read again.
//!
//! silt reads again everything after its last checkpoint, and drops changes up to the last one that the
//! lake contains. If a filter passes that one the first time and not the second, silt would wait for it
//! forever. So no `$match` may depend on what the server looks up or generates when it sends a change.

use bson::{Bson, Document};

use super::fields::{Kept, below, is_fields};
use crate::settings::problems::{Fault, shown};

/// Why a value may differ next time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// It comes from `fullDocument`, which is looked up.
    LookedUp,
    /// It is generated.
    Generated,
    /// JavaScript, which silt can't analyze.
    Program,
}

/// A part of a query or expression that may differ.
struct Found {
    /// Its name in messages.
    what: String,
    reason: Reason,
}

/// The fields of an event that may differ when it is read again.
#[derive(Clone, Debug)]
pub(in crate::settings) struct Tainted {
    paths: Vec<(String, Reason)>,
}

impl Tainted {
    /// Those of an event as the server sends it.
    pub(in crate::settings) fn of_event(looks_up: bool) -> Self {
        let looked_up = looks_up.then(|| ("fullDocument".to_owned(), Reason::LookedUp));
        Self {
            paths: looked_up.into_iter().collect(),
        }
    }

    /// Refuses a `$match` that depends on one of them.
    pub(in crate::settings) fn check_query(&self, query: &Document) -> Result<(), Fault> {
        let Some(Found { what, reason }) = self.in_query(query) else {
            return Ok(());
        };
        Err(match reason {
            Reason::LookedUp => Fault::with_fix(
                format!(
                    "it depends on {what}, which FULL_DOCUMENT=updateLookup looks up again when the stream \
                     resumes, so that a change may match the first time and not the second"
                ),
                "match on documentKey, updateDescription or fullDocumentBeforeChange, or set FULL_DOCUMENT to \
                 whenAvailable, required or default",
            ),
            Reason::Generated => Fault::with_fix(
                format!("it depends on {what}, which can change on resume"),
                "match on fields of the change itself",
            ),
            Reason::Program => Fault::with_fix(
                format!("silt can't analyze what {what} depends on"),
                "use the server's operators",
            ),
        })
    }

    /// Takes in what `$addFields` does.
    pub(in crate::settings) fn add(&mut self, added: &Document) {
        let before = self.clone();
        self.add_below("", added, &before);
    }

    /// Takes in what `$project` does.
    pub(in crate::settings) fn project(&mut self, projection: &Document, kept: Kept) {
        let before = self.clone();
        if kept == Kept::Named {
            self.paths.clear();
        }
        self.project_below("", projection, kept, &before);
    }

    /// Takes in that a field is removed.
    pub(in crate::settings) fn remove(&mut self, path: &str) {
        self.paths.retain(|(own, _)| !is_within(own, path));
    }

    fn add_below(&mut self, above: &str, added: &Document, before: &Self) {
        for (name, value) in added {
            let path = below(above, name);
            match value {
                Bson::Document(fields) if is_fields(fields) => {
                    self.add_below(&path, fields, before);
                }
                value => self.write(path, value, before),
            }
        }
    }

    fn project_below(&mut self, above: &str, projection: &Document, kept: Kept, before: &Self) {
        for (name, value) in projection {
            let path = below(above, name);
            match value {
                Bson::Document(fields) if is_fields(fields) => {
                    self.project_below(&path, fields, kept, before);
                }
                Bson::Boolean(_) | Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_) => {
                    match kept {
                        Kept::Named => self.keep(&path, before),
                        Kept::Others => self.remove(&path),
                    }
                }
                value => self.write(path, value, before),
            }
        }
    }

    /// A field gets the value of an expression over what was there before.
    fn write(&mut self, path: String, value: &Bson, before: &Self) {
        self.remove(&path);
        if let Some(found) = before.in_expression(value) {
            self.paths.push((path, found.reason));
        }
    }

    /// A field stays as it was before.
    fn keep(&mut self, path: &str, before: &Self) {
        for (own, reason) in &before.paths {
            if is_within(own, path) {
                self.paths.push((own.clone(), *reason));
            } else if is_within(path, own) {
                self.paths.push((path.to_owned(), *reason));
            }
        }
    }

    /// What of this field may differ: it, what is within it, or what it is within.
    fn in_path(&self, path: &str) -> Option<Found> {
        let touches = |(own, _): &&(String, Reason)| is_within(own, path) || is_within(path, own);
        let (_, reason) = self.paths.iter().find(touches)?;
        Some(Found::new(path, *reason))
    }

    /// What of the whole event may differ.
    fn in_event(&self, what: &str) -> Option<Found> {
        let (path, reason) = self.paths.first()?;
        Some(Found {
            what: format!("`{what}` with its `{}`", shown(path)),
            reason: *reason,
        })
    }

    fn in_query(&self, query: &Document) -> Option<Found> {
        query
            .iter()
            .find_map(|(name, value)| match (name.as_str(), value) {
                ("$and" | "$or" | "$nor", Bson::Array(queries)) => {
                    let queries = queries.iter().filter_map(Bson::as_document);
                    queries.into_iter().find_map(|query| self.in_query(query))
                }
                ("$expr", expression) => self.in_expression(expression),
                ("$jsonSchema", schema) => self.in_schema(schema),
                ("$sampleRate", _) => Some(Found::new(name, Reason::Generated)),
                ("$where", _) => Some(Found::new(name, Reason::Program)),
                (name, _) if name.starts_with('$') => None,
                (path, _) => self.in_path(path),
            })
    }

    fn in_expression(&self, expression: &Bson) -> Option<Found> {
        match expression {
            Bson::String(text) => self.in_text(text),
            Bson::Array(parts) => parts.iter().find_map(|part| self.in_expression(part)),
            Bson::Document(parts) => parts.iter().find_map(|(name, part)| match name.as_str() {
                "$literal" => None,
                "$rand" => Some(Found::new(name, Reason::Generated)),
                "$function" | "$accumulator" => Some(Found::new(name, Reason::Program)),
                "$getField" => self.in_get_field(part),
                _ => self.in_expression(part),
            }),
            _ => None,
        }
    }

    /// `$getField` names a field without a `$`: alone, or beside what it is a field of.
    fn in_get_field(&self, spec: &Bson) -> Option<Found> {
        let (field, input) = match spec {
            Bson::Document(spec) if spec.contains_key("field") => {
                (spec.get("field"), spec.get("input"))
            }
            field => (Some(field), None),
        };
        let of_event = match (field, input) {
            (Some(Bson::String(name)), None) if !name.starts_with('$') => self.in_path(name),
            (Some(Bson::Document(name)), None) if name.get_str("$literal").is_ok() => {
                self.in_path(name.get_str("$literal").unwrap_or_default())
            }
            (_, None) => self.in_event("$getField"),
            _ => None,
        };
        of_event.or_else(|| self.in_expression(spec))
    }

    /// `$field.path`, `$$VARIABLE.path`, or mere text.
    fn in_text(&self, text: &str) -> Option<Found> {
        let path = text.strip_prefix('$')?;
        let Some(variable) = path.strip_prefix('$') else {
            return self.in_path(path);
        };
        let (name, path) = variable.split_once('.').unwrap_or((variable, ""));
        match name {
            "ROOT" | "CURRENT" if path.is_empty() => self.in_event(text),
            "ROOT" | "CURRENT" => self.in_path(path),
            "NOW" | "CLUSTER_TIME" => Some(Found::new(text, Reason::Generated)),
            // The expression itself defines its variables.
            _ => None,
        }
    }

    /// A schema names fields at many places; it is enough to find one.
    fn in_schema(&self, schema: &Bson) -> Option<Found> {
        match schema {
            Bson::String(name) => self.in_path(name),
            Bson::Array(parts) => parts.iter().find_map(|part| self.in_schema(part)),
            Bson::Document(parts) => {
                let mut parts = parts.iter();
                parts.find_map(|(name, part)| self.in_path(name).or_else(|| self.in_schema(part)))
            }
            _ => None,
        }
    }
}

/// Whether a field is another one or within it.
fn is_within(path: &str, other: &str) -> bool {
    let rest = path.strip_prefix(other);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl Found {
    fn new(what: &str, reason: Reason) -> Self {
        let what = format!("`{}`", shown(what));
        Self { what, reason }
    }
}
