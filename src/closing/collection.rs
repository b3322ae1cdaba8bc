//! Closes what is due of one collection.

use tracing::{debug, info};

use super::survey::Surveyed;
use super::{Shared, Target, hour};
use crate::lake::{LakeError, SmallFile, closing_records};
use silt_core::closing::{Completeness, Latest, record_name};
use silt_core::failure::{Disposition, Failure};
use silt_core::file::hour_file::Hour;

/// How far a pass came.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// Hours that it closed.
    pub closed: u64,
    /// Between which cluster times the collection is complete.
    pub completeness: Option<Completeness>,
    /// Whether hours of the backlog are left.
    pub has_backlog: bool,
    /// Why it ended early.
    pub failure: Option<Failure>,
}

/// Closes every due hour since the newest closed one and one hour of the backlog, and writes how far the collection
/// is complete.
pub(super) async fn pass(shared: &Shared, target: &Target) -> Pass {
    let mut pass = Pass::default();
    if let Err(failure) = run(shared, target, &mut pass).await {
        pass.failure = Some(failure);
    }
    pass
}

async fn run(shared: &Shared, target: &Target, pass: &mut Pass) -> Result<(), Failure> {
    let lake = shared.lake.as_ref();
    let failed = |error: LakeError| Failure::from(&error);
    let surveyed = Surveyed::of(lake, &target.origin).await;
    let mut surveyed = surveyed.map_err(failed)?;
    let latest = closing_records::latest(lake, &target.origin).await;
    let latest = latest.map_err(failed)?;
    let known = latest.as_ref().map(|(latest, _)| latest.completeness());
    let known_from = known.map_or(target.observed_from, |known| known.from);
    let mut outcome = Ok(());
    let mut stopped_at = None;
    while let Some(step) = surveyed.survey.next(target.durable_until) {
        let is_backlog = step.is_backlog();
        if is_backlog && pass.closed > 0 {
            pass.has_backlog = true;
            break;
        }
        match hour::close(shared, target, &surveyed, step, Some(known_from)).await {
            Ok(recorded) => {
                surveyed.survey.close(step.hour);
                pass.closed += 1;
                let (hour, changes) = (step.hour.to_string(), recorded.record.changes());
                info!(collection = %target.origin, hour, changes, "closed an hour");
            }
            Err(failure) => {
                // The backlog doesn't say how far the collection is complete.
                stopped_at = (!is_backlog).then_some(step.hour);
                outcome = Err(failure);
                break;
            }
        }
    }
    let until = stopped_at.unwrap_or_else(|| Hour::of(target.durable_until));
    let from = match surveyed.survey.oldest_closed() {
        // latest.json may be older than the record: silt was killed between the two.
        Some(oldest) => {
            let oldest = closing_records::read(lake, &target.origin, oldest).await;
            let oldest = oldest.map_err(failed)?;
            oldest.map_or(known_from, |oldest| oldest.record.completeness().from)
        }
        None => known_from,
    };
    let reached = Completeness {
        from,
        until: until.first_cluster_time(),
    };
    let newest = surveyed.survey.newest_closed();
    match move_on(shared, target, latest.as_ref(), newest, reached).await {
        Ok(written) => pass.completeness = written.or(known),
        // What is wrong with an hour matters more.
        Err(failure) => outcome = outcome.and(Err(failure)),
    }
    outcome
}

/// Writes how far the collection is complete, unless that is known. Returns it if it says anything.
async fn move_on(
    shared: &Shared,
    target: &Target,
    latest: Option<&(Latest, SmallFile)>,
    newest: Option<Hour>,
    reached: Completeness,
) -> Result<Option<Completeness>, Failure> {
    let known = latest.map(|(latest, _)| latest.completeness());
    let until = known.map_or(reached.until, |known| known.until.max(reached.until));
    let completeness = Completeness { until, ..reached };
    if completeness.until <= completeness.from {
        // silt began to watch within the hour.
        return Ok(None);
    }
    let now_unix_ms = shared.clock.now().unix_ms;
    let new = Latest::new(&target.origin, newest, completeness, now_unix_ms);
    if latest.is_some_and(|(latest, _)| latest.says_the_same_as(&new)) {
        return Ok(Some(completeness));
    }
    let bytes = new.write().map_err(|error| Failure {
        disposition: Disposition::Halt,
        cause: "silt_encoding",
        message: format!("latest.json can't be encoded: {error}"),
    })?;
    let file = latest.map(|(_, file)| file);
    let lake = shared.lake.as_ref();
    let written = closing_records::write_latest(lake, &target.origin, file, bytes).await;
    written.map_err(|error| Failure::from(&error))?;
    let record = newest.map(record_name);
    debug!(collection = %target.origin, record, until = %completeness.until, "moved latest.json on");
    Ok(Some(completeness))
}
