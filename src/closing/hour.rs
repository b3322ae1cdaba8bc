//! Closes one hour: reads its files back, checks them, and writes the record.

use super::survey::Surveyed;
use super::{Shared, Target, gaps};
use crate::lake::closing_records::{self, Recorded};
use crate::lake::{LakeError, LakePath};
use crate::reading;
use silt_core::closing::plan::{Neighbour, Step};
use silt_core::closing::tokens::TokenCheck;
use silt_core::closing::{Completeness, Context, Linked, Record};
use silt_core::failure::{Disposition, Failure};
use silt_core::file::damage::Damage;
use silt_core::file::hour_file::{Hour, HourFileName};
use silt_core::position::ClusterTime;
use silt_core::reading::{Change, Line, Summary};

/// Memory of reading a file back: the ranges ahead, and a line with its block.
const READ_BYTES: u64 = 8 * 1024 * 1024;
/// Of a small budget, no more than this part is taken: the feeds go first.
const BUDGET_SHARE: u64 = 4;

/// Closes the hour of a step, or finds out that another instance has.
pub(super) async fn close(
    shared: &Shared,
    target: &Target,
    surveyed: &Surveyed,
    step: Step,
    known_from: Option<ClusterTime>,
) -> Result<Recorded, Failure> {
    let lake = shared.lake.as_ref();
    let failed = |error: LakeError| Failure::from(&error);
    let neighbour = match step.neighbour {
        Neighbour::None => None,
        Neighbour::Previous(hour) | Neighbour::Next(hour) => {
            Some(neighbour(shared, target, hour).await.map_err(failed)?)
        }
    };
    let files = surveyed.files(&target.origin, step.hour).map_err(failed)?;
    let summaries = check(shared, target, &files).await.map_err(failed)?;
    let first = summaries.first().map(|file| file.first.cluster_time);
    let has_older = surveyed.survey.has_files_before(step.hour);
    let completeness = completeness(step, neighbour.as_ref(), first, has_older, known_from);
    let gaps = gaps::within(lake, target, completeness).await;
    let context = Context {
        gaps: gaps.map_err(failed)?,
        completeness,
        linked: match (step.neighbour, neighbour) {
            (Neighbour::Previous(_), Some(previous)) => Linked::ToPrevious(previous.link),
            (Neighbour::Next(_), Some(next)) => Linked::ToNext(next.link),
            _ => Linked::Not,
        },
        settings: target.settings.clone(),
    };
    let now_unix_ms = shared.clock.now().unix_ms;
    let record = Record::new(&target.origin, step.hour, &summaries, context, now_unix_ms);
    let bytes = record.write().map_err(|error| Failure {
        disposition: Disposition::Halt,
        cause: "silt_encoding",
        message: format!("a closing record can't be encoded: {error}"),
    })?;
    let recorded = closing_records::write(lake, &target.origin, step.hour, bytes).await;
    recorded.map_err(failed)
}

async fn neighbour(shared: &Shared, target: &Target, hour: Hour) -> Result<Recorded, LakeError> {
    let record = closing_records::read(shared.lake.as_ref(), &target.origin, hour).await?;
    record.ok_or_else(|| LakeError::Stale {
        path: closing_records::folder(&target.origin),
    })
}

/// The time that a record answers for: up to its neighbour, so that the hours without changes between two records
/// are answered for, too.
fn completeness(
    step: Step,
    neighbour: Option<&Recorded>,
    first_change: Option<ClusterTime>,
    has_older_files: bool,
    known_from: Option<ClusterTime>,
) -> Completeness {
    let hour = Completeness {
        from: step.hour.first_cluster_time(),
        until: step.hour.end_cluster_time(),
    };
    // What came before the first change that is in the lake isn't known, unless silt was there.
    let begin = if has_older_files {
        hour.from
    } else {
        let first = first_change.unwrap_or(hour.from);
        known_from.map_or(first, |known| known.min(first))
    };
    match (step.neighbour, neighbour.map(|it| it.record.completeness())) {
        (Neighbour::Previous(_), Some(previous)) => Completeness {
            from: previous.until,
            ..hour
        },
        (Neighbour::Next(_), Some(next)) => Completeness {
            from: begin,
            until: next.from.max(hour.until),
        },
        _ => Completeness {
            from: begin,
            ..hour
        },
    }
}

/// Reads the files of an hour and checks that they are what silt writes, and that no change is in them twice.
async fn check(
    shared: &Shared,
    target: &Target,
    files: &[(LakePath, HourFileName)],
) -> Result<Vec<Summary>, LakeError> {
    let share = shared.budget.limit_bytes() / BUDGET_SHARE;
    let _memory = shared.budget.spare(READ_BYTES.min(share)).await;
    let lake = shared.lake.as_ref();
    let mut tokens = TokenCheck::default();
    let mut summaries = Vec::new();
    for (path, name) in files {
        let state = lake.open(path).await?;
        let state = state.ok_or_else(|| LakeError::Stale {
            path: path.to_string(),
        })?;
        let each = |change: &Change<'_>, line: &Line<'_>| -> Result<(), Damage> {
            let token = change.token.unwrap_or_default();
            let seen = tokens.see(token, change.cluster_time);
            seen.map_err(|what| line.place.damage(&what))
        };
        let file = (path, *name);
        let summary =
            reading::inspect(lake, file, &state, &target.origin, &shared.pace, each).await?;
        summaries.push(summary);
    }
    Ok(summaries)
}
