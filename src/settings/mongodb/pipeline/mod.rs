//! `PIPELINE`: stages that the server applies to each change, provided that the stream can still be resumed.
//!
//! After a crash silt reads changes again and recognizes archived ones by their `_id`. So each change
//! must come again (`lookups` checks that), with the fields that silt needs (`fields`).

mod fields;
mod lookups;

use bson::{Bson, Document};

use crate::settings::problems::{Fault, shown};
use crate::suggest::closest;
use lookups::Tainted;

/// The stages that silt accepts.
const STAGES: [&str; 5] = ["$match", "$project", "$addFields", "$set", "$unset"];

/// Reads a pipeline: an array of stages in relaxed or canonical Extended JSON.
pub(in crate::settings) fn parse(text: &str) -> Result<Vec<Document>, Fault> {
    let json: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let why = error.to_string();
        let why = why.split(" at line ").next().unwrap_or_default().to_owned();
        Fault::new(format!("not JSON:  {why}, in line {line}, column {column}"))
    })?;
    let serde_json::Value::Array(stages) = json else {
        return Err(Fault::new("not an array of stages"));
    };
    let stage = |(at, stage): (usize, serde_json::Value)| {
        let fault = |why: &str| Fault::new(format!("stage {}: {why}", at + 1));
        match Bson::try_from(stage) {
            Ok(Bson::Document(stage)) => Ok(stage),
            Ok(_) => Err(fault("it is not an object such as {\"$match\": …}")),
            Err(error) => Err(fault(&format!(
                "not Extended JSON: {}",
                shown(&error.to_string())
            ))),
        }
    };
    stages.into_iter().enumerate().map(stage).collect()
}

/// Refuses what would keep a stream from resuming, or silt from recognizing a change. `looks_up`
/// is whether `fullDocument` is looked up when a change is read (`FULL_DOCUMENT=updateLookup`).
///
/// # Errors
///
/// All faults in all stages.
pub(in crate::settings) fn check(stages: &[Document], looks_up: bool) -> Result<(), Vec<Fault>> {
    let mut tainted = Tainted::of_event(looks_up);
    let mut faults = Vec::new();
    for (at, stage) in stages.iter().enumerate() {
        let mut all = stage.iter();
        let (Some((name, spec)), None) = (all.next(), all.next()) else {
            let what = format!("stage {}: each object must contain one stage", at + 1);
            faults.push(Fault::with_fix(
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
        ("$match" | "$addFields" | "$set" | "$project", _) => Err(Fault::with_fix(
            "it takes an object",
            format!("write {{\"{name}\": {{…}}}}"),
        )),
        _ => Err(refused(name)),
    }
}

/// Why a stage is refused.
fn refused(name: &str) -> Fault {
    let (what, fix) = match name {
        "$replaceRoot" | "$replaceWith" => (
            "it replaces the event, and silt needs the event's _id, \
             operationType, clusterTime and ns",
            "remove fields with $unset, and add fields with $addFields",
        ),
        "$redact" => (
            "it may remove fields that silt needs: _id, operationType, \
             clusterTime and ns",
            "remove fields with $unset, and whole changes with $match",
        ),
        "$changeStream" | "$changeStreamSplitLargeEvent" => {
            ("silt adds this stage itself", "remove it")
        }
        _ => {
            let what = format!("silt accepts only {}", STAGES.join(", "));
            let meant = closest(name, STAGES.into_iter());
            let fix = meant.map_or("remove it".to_owned(), |meant| {
                format!("did you mean {meant}?")
            });
            return Fault::with_fix(what, fix);
        }
    };
    Fault::with_fix(what, fix)
}

#[cfg(test)]
mod tests;
