//! `PIPELINE`: stages that the server applies to each change, as far as a stream can be resumed with them.
//!
//! A stream is read again after a crash, and what was archived already is known by its `_id`. So each change
//! must come again, with what silt needs of it: `fields` sees to the one, `lookups` to the other.

mod fields;
mod lookups;

use bson::{Bson, Document};

use crate::settings::problems::{Fault, shown};
use crate::settings::suggest::closest;
use lookups::Tainted;

/// The stages that leave a change what it is.
const STAGES: [&str; 5] = ["$match", "$project", "$addFields", "$set", "$unset"];

/// Reads a pipeline: an array of stages in relaxed or canonical Extended JSON.
pub(in crate::settings) fn parse(text: &str) -> Result<Vec<Document>, Fault> {
    let json: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let why = error.to_string();
        let why = why.split(" at line ").next().unwrap_or_default().to_owned();
        Fault::new(format!("no JSON: {why}, in line {line}, column {column}"))
    })?;
    let serde_json::Value::Array(stages) = json else {
        return Err(Fault::new("not an array of stages"));
    };
    let stage = |(at, stage): (usize, serde_json::Value)| {
        let fault = |why: &str| Fault::new(format!("stage {}: {why}", at + 1));
        match Bson::try_from(stage) {
            Ok(Bson::Document(stage)) => Ok(stage),
            Ok(_) => Err(fault("it is no object such as {\"$match\": …}")),
            Err(error) => Err(fault(&format!(
                "no Extended JSON: {}",
                shown(&error.to_string())
            ))),
        }
    };
    stages.into_iter().enumerate().map(stage).collect()
}

/// Refuses what would keep a stream from being resumed, or silt from knowing what a change is. `looks_up`
/// says whether `fullDocument` is looked up when a change is read (`FULL_DOCUMENT=updateLookup`).
///
/// # Errors
///
/// All faults of all stages.
pub(in crate::settings) fn check(stages: &[Document], looks_up: bool) -> Result<(), Vec<Fault>> {
    let mut tainted = Tainted::of_event(looks_up);
    let mut faults = Vec::new();
    for (at, stage) in stages.iter().enumerate() {
        let mut all = stage.iter();
        let (Some((name, spec)), None) = (all.next(), all.next()) else {
            let what = format!("stage {}: not one stage in each object", at + 1);
            faults.push(Fault::mended_by(
                what,
                "write [{\"$match\": …}, {\"$unset\": …}]",
            ));
            continue;
        };
        if let Err(fault) = check_stage(name, spec, &mut tainted) {
            let what = format!("stage {}, {}: {}", at + 1, shown(name), fault.what);
            faults.push(Fault { what, ..fault });
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults)
    }
}

fn check_stage(name: &str, spec: &Bson, tainted: &mut Tainted) -> Result<(), Fault> {
    match (name, spec) {
        ("$match", Bson::Document(query)) => tainted.check_query(query),
        ("$addFields" | "$set", Bson::Document(added)) => {
            fields::check_added(added)?;
            tainted.add(added);
            Ok(())
        }
        ("$project", Bson::Document(projection)) => {
            let kept = fields::check_projection(projection)?;
            tainted.project(projection, kept);
            Ok(())
        }
        ("$unset", names) => {
            let names = fields::unset_names(names)?;
            fields::check_unset(&names)?;
            for name in names {
                tainted.remove(name);
            }
            Ok(())
        }
        ("$match" | "$addFields" | "$set" | "$project", _) => Err(Fault::mended_by(
            "it takes an object",
            format!("write {{\"{name}\": {{…}}}}"),
        )),
        _ => Err(refused(name)),
    }
}

/// Why a stage isn't taken.
fn refused(name: &str) -> Fault {
    let (what, mend) = match name {
        "$replaceRoot" | "$replaceWith" => (
            "it makes another document of the event, and silt needs what the event has: its _id, \
             operationType, clusterTime and ns",
            "take single fields away with $unset, and add some with $addFields",
        ),
        "$redact" => (
            "it takes away whatever its condition says, which may be what silt needs: _id, operationType, \
             clusterTime and ns",
            "take single fields away with $unset, and whole changes with $match",
        ),
        "$changeStream" | "$changeStreamSplitLargeEvent" => {
            ("silt adds this stage itself", "leave it out")
        }
        _ => {
            let what = format!("silt takes {} alone", STAGES.join(", "));
            let meant = closest(name, STAGES.into_iter());
            let mend = meant.map_or("leave it out".to_owned(), |meant| {
                format!("is {meant} meant?")
            });
            return Fault::mended_by(what, mend);
        }
    };
    Fault::mended_by(what, mend)
}

#[cfg(test)]
mod tests;
