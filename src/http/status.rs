//! `/status`: all there is to see, as JSON. `docs/status.md` documents it.

use serde::Serialize;

use super::answer::{Answer, json};
use super::board::{Board, FeedView};
use super::health;
use crate::closing;
use crate::settings::next_flush;
use crate::snapshot;
use crate::source::OplogWindow;
use crate::worker::{self, Outcome, Status};
use silt_core::namespace::Namespace;
use silt_core::position::ClusterTime;
use silt_core::time::rfc3339;

#[derive(Serialize)]
struct Document<'a> {
    version: &'static str,
    started_at: String,
    now: String,
    ready: bool,
    mongodb: Mongodb<'a>,
    lake: &'a str,
    buffer: Buffer,
    schedule: Schedule<'a>,
    can_flush: bool,
    totals: Totals,
    collections: Vec<Collection>,
    snapshots: Vec<Snapshot>,
    closing: Vec<Closing>,
}

#[derive(Serialize)]
struct Closing {
    database: String,
    collection: String,
    complete_from: Option<String>,
    complete_until: Option<String>,
    closed_hours: u64,
    failures: u64,
    trouble: Option<String>,
}

#[derive(Serialize)]
struct Snapshot {
    database: String,
    collection: String,
    state: &'static str,
    folder: Option<String>,
    position_at: Option<String>,
    documents: u64,
    estimated_documents: u64,
    bytes: u64,
    fraction: f64,
    bytes_per_second: Option<f64>,
    seconds_left: Option<u64>,
    trouble: Option<String>,
}

#[derive(Serialize)]
struct Mongodb<'a> {
    hosts: &'a str,
    version: Option<&'a str>,
    replica_set: Option<&'a str>,
    oplog_window_seconds: Option<u32>,
}

#[derive(Serialize)]
struct Buffer {
    used_bytes: u64,
    limit_bytes: u64,
}

#[derive(Serialize)]
struct Schedule<'a> {
    pattern: &'a str,
    time_zone: &'static str,
    next_at: Option<String>,
}

#[derive(Default, Serialize)]
struct Totals {
    changes_read: u64,
    changes_archived: u64,
    uploaded_bytes: u64,
    buffered_changes: u64,
    /// The worst; nothing if one of them isn't known.
    lag_seconds: Option<f64>,
}

#[derive(Serialize)]
#[allow(clippy::struct_field_names, reason = "the document's own words")]
struct Collection {
    database: String,
    collection: String,
    state: &'static str,
    ready: bool,
    lag_seconds: Option<f64>,
    oplog_runway_seconds: Option<u32>,
    changes_read: u64,
    changes_archived: u64,
    changes_skipped: u64,
    read_bytes: u64,
    encoded_bytes: u64,
    uploaded_bytes: u64,
    buffered: Buffered,
    last_change_at: Option<String>,
    last_flush: Option<LastFlush>,
    current_file: Option<CurrentFile>,
    trouble: Option<Trouble>,
    last_error: Option<PastError>,
    flushes: Flushes,
    retries: u64,
    reconnects: u64,
    reloads: u64,
    gaps: u64,
    large_events: u64,
    /// What a feed of many has seen of each of its collections.
    carries: Option<Vec<Carried>>,
}

#[derive(Serialize)]
#[allow(clippy::struct_field_names, reason = "the document's own words")]
struct Carried {
    database: String,
    collection: String,
    changes_archived: u64,
    flushes: u64,
    last_change_at: Option<String>,
    current_file: Option<CurrentFile>,
}

#[derive(Serialize)]
struct Buffered {
    changes: u64,
    bytes: u64,
    batch_size_changes: u32,
    batch_limit_bytes: u64,
}

#[derive(Serialize)]
struct LastFlush {
    at: String,
    file: String,
    changes: u64,
    bytes: Option<u64>,
    seconds: f64,
    reason: &'static str,
}

#[derive(Serialize)]
struct CurrentFile {
    path: String,
    bytes: u64,
    flushes: u32,
}

#[derive(Serialize)]
struct Trouble {
    message: String,
    failures: u32,
    needs_a_person: bool,
    since: Option<String>,
}

#[derive(Serialize)]
struct PastError {
    message: String,
    at: String,
}

#[derive(Serialize)]
struct Flushes {
    committed: u64,
    failed: u64,
}

/// The document as an answer.
pub(super) fn status(board: &Board) -> Answer {
    json(hyper::StatusCode::OK, &document(board))
}

fn document(board: &Board) -> Document<'_> {
    let (about, now_unix_ms) = (board.about(), board.now_unix_ms());
    let feeds = board.feeds();
    let facts = board.facts();
    let collections: Vec<Collection> = feeds
        .iter()
        .map(|feed| collection(board, feed, now_unix_ms))
        .collect();
    Document {
        version: env!("CARGO_PKG_VERSION"),
        started_at: rfc3339(board.started_unix_ms()),
        now: rfc3339(now_unix_ms),
        // Of the same moment as the collections below: a feed's trouble may change while this is put together.
        ready: board.is_running() && collections.iter().all(|one| one.ready),
        mongodb: Mongodb {
            hosts: &about.mongodb,
            version: facts.map(|facts| facts.version.as_str()),
            replica_set: facts.and_then(|facts| facts.replica_set.as_deref()),
            oplog_window_seconds: board.oplog().map(OplogWindow::seconds),
        },
        lake: &about.lake,
        buffer: Buffer {
            used_bytes: board.buffer_used_bytes(),
            limit_bytes: about.buffer_limit_bytes,
        },
        schedule: Schedule {
            pattern: &about.schedule.text,
            time_zone: about.schedule.timezone.name(),
            next_at: next_flush(&about.schedule, now_unix_ms).map(rfc3339),
        },
        can_flush: about.token.is_some(),
        totals: totals(&collections),
        collections,
        snapshots: board.snapshots().into_iter().map(snapshot).collect(),
        closing: board.closing().into_iter().map(closing).collect(),
    }
}

fn closing((origin, status): (Namespace, closing::Status)) -> Closing {
    Closing {
        database: origin.database,
        collection: origin.collection,
        complete_from: status.completeness.map(|it| rfc3339_of(it.from)),
        complete_until: status.completeness.map(|it| rfc3339_of(it.until)),
        closed_hours: status.closed,
        failures: status.failures,
        trouble: status.trouble,
    }
}

fn snapshot((origin, status): (Namespace, snapshot::Status)) -> Snapshot {
    let progress = &status.progress;
    let is_done = status.state == snapshot::State::Done;
    Snapshot {
        database: origin.database,
        collection: origin.collection,
        state: status.state.as_str(),
        folder: status.folder,
        position_at: status.position.map(rfc3339_of),
        documents: progress.documents,
        estimated_documents: progress.estimated_documents,
        bytes: progress.bytes,
        fraction: if is_done { 1.0 } else { progress.fraction() },
        bytes_per_second: progress.rate().map(|rate| rate.bytes),
        seconds_left: progress.seconds_left().filter(|_| !is_done),
        trouble: status.trouble,
    }
}

fn totals(collections: &[Collection]) -> Totals {
    let mut totals = Totals::default();
    for one in collections {
        totals.changes_read += one.changes_read;
        totals.changes_archived += one.changes_archived;
        totals.uploaded_bytes += one.uploaded_bytes;
        totals.buffered_changes += one.buffered.changes;
    }
    let lags = collections.iter().map(|one| one.lag_seconds);
    // One that isn't known could be the worst.
    totals.lag_seconds = lags.reduce(|worst, lag| Some(worst?.max(lag?))).flatten();
    totals
}

fn collection(board: &Board, feed: &FeedView, now_unix_ms: i64) -> Collection {
    let status = feed.status.borrow().clone();
    let tally = &status.tally;
    Collection {
        database: feed.origin.database.clone(),
        collection: feed.origin.collection.clone(),
        state: status.state.as_str(),
        ready: health::is_feed_ready(feed, &status),
        lag_seconds: status.lag_ms(now_unix_ms).map(worker::seconds),
        oplog_runway_seconds: board.oplog_runway_seconds(&status),
        changes_read: tally.changes_read,
        changes_archived: tally.changes_archived,
        changes_skipped: tally.changes_skipped,
        read_bytes: tally.read_bytes,
        encoded_bytes: tally.encoded_bytes,
        uploaded_bytes: tally.uploaded_bytes,
        buffered: Buffered {
            changes: status.buffered_changes,
            bytes: status.buffered_bytes,
            batch_size_changes: feed.limits.batch_size_changes,
            batch_limit_bytes: feed.limits.batch_limit_bytes,
        },
        last_change_at: status.last_change_time.map(rfc3339_of),
        flushes: Flushes {
            committed: tally.flushes(Outcome::Committed),
            failed: tally.flushes(Outcome::Failed),
        },
        retries: tally.retries.values().sum(),
        reconnects: tally.reconnects,
        reloads: tally.reloads,
        gaps: tally.gaps,
        large_events: tally.large_events,
        carries: status.carries_many.then(|| carried(&status)),
        trouble: trouble(&status),
        last_flush: status.last_flush.map(|flush| LastFlush {
            at: rfc3339(flush.at_unix_ms),
            file: flush.path,
            changes: flush.changes,
            bytes: flush.uploaded_bytes,
            seconds: flush.seconds,
            reason: flush.reason,
        }),
        current_file: status.file.as_ref().map(CurrentFile::of),
        last_error: status.last_error.map(|error| PastError {
            message: error.message,
            at: rfc3339(error.at_unix_ms),
        }),
    }
}

/// The collections of a feed of many, of which something was seen.
fn carried(status: &Status) -> Vec<Carried> {
    let lanes = status.lanes.iter();
    let carried = lanes.map(|(origin, lane)| Carried {
        database: origin.database.clone(),
        collection: origin.collection.clone(),
        changes_archived: lane.changes_archived,
        flushes: lane.flushes,
        last_change_at: lane.last_change_time.map(rfc3339_of),
        current_file: lane.file.as_ref().map(CurrentFile::of),
    });
    carried.collect()
}

impl CurrentFile {
    fn of(file: &worker::CurrentFile) -> Self {
        Self {
            path: file.path.clone(),
            bytes: file.len_bytes,
            flushes: file.commits,
        }
    }
}

fn trouble(status: &Status) -> Option<Trouble> {
    let trouble = status.trouble.as_ref()?;
    Some(Trouble {
        message: trouble.message.clone(),
        failures: trouble.failures,
        needs_a_person: trouble.is_halt,
        since: status.trouble_since_unix_ms.map(rfc3339),
    })
}

fn rfc3339_of(time: ClusterTime) -> String {
    rfc3339(i64::from(time.seconds) * 1000)
}

#[cfg(test)]
mod tests {
    use super::super::board::tests::board;
    use super::*;
    use silt_core::machine;

    #[test]
    fn a_feed_that_has_just_begun_is_full_of_nulls() {
        let text = status(&board(vec![("users", Status::default())], None)).text();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["ready"], false);
        assert_eq!(document["can_flush"], false);
        assert_eq!(document["mongodb"]["version"], "6.0.5");
        let users = &document["collections"][0];
        assert_eq!(users["state"], "starting");
        for unknown in [
            "lag_seconds",
            "oplog_runway_seconds",
            "last_flush",
            "trouble",
        ] {
            assert!(users[unknown].is_null(), "{unknown}");
        }
        assert!(document["totals"]["lag_seconds"].is_null());
    }

    #[test]
    fn counts_are_summed_and_trouble_is_told() {
        let mut busy = Status::default();
        busy.tally.changes_archived = 40;
        busy.tally.flushes.insert(("cron", Outcome::Committed), 2);
        busy.tally.flushes.insert(("http", Outcome::Committed), 1);
        busy.tally.retries.insert("lake_full", 5);
        busy.tally.retries.insert("lake_io", 1);
        let mut halted = busy.clone();
        halted.trouble = Some(machine::Trouble {
            message: "the lake said no".to_owned(),
            failures: 2,
            is_halt: true,
        });
        halted.trouble_since_unix_ms = Some(0);
        let board = board(vec![("a", busy), ("b", halted)], Some("0123456789abcdef"));
        let text = status(&board).text();
        assert!(!text.contains("0123456789abcdef"), "{text}");
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["totals"]["changes_archived"], 80);
        assert_eq!(document["can_flush"], true);
        assert_eq!(document["collections"][0]["flushes"]["committed"], 3);
        assert_eq!(document["collections"][0]["retries"], 6);
        let trouble = &document["collections"][1]["trouble"];
        assert_eq!(trouble["needs_a_person"], true);
        assert_eq!(trouble["since"], "1970-01-01T00:00:00.000Z");
    }
}
