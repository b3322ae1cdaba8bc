//! The status of a feed.

use std::collections::BTreeMap;

use prometheus_client::metrics::histogram::Histogram;

use crate::lake;
use silt_core::batch::Changes;
use silt_core::failure::Failure;
use silt_core::file::hour_file::{HourFile, HourFileName};
use silt_core::machine::{Activity, Feed, Input, LaneId, Notice, Now, Trouble, WriteOrder};
use silt_core::namespace::Namespace;
use silt_core::position::ClusterTime;

/// How long the server's answer that there are no more changes counts as current. It comes every two seconds while a
/// stream is idle.
const CAUGHT_UP_MS: i64 = 10_000;

/// Upper bounds of the histograms' buckets.
const BUCKETS_SECONDS: [f64; 14] = [
    0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// What a feed is doing, for status and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It loads checkpoint and tail, or saves its first position.
    #[default]
    Starting,
    /// It reads its stream.
    Watching,
    /// It has used its share of the memory and continues to read after its flush.
    Paused,
    /// Its stream is closed and will be reopened.
    Reconnecting,
    /// Manual action is required.
    Halted,
    /// It has stopped reading, flushes and saves.
    Draining,
    /// It has ended.
    Stopped,
}

impl State {
    /// All states.
    pub const ALL: [Self; 7] = [
        Self::Starting,
        Self::Watching,
        Self::Paused,
        Self::Reconnecting,
        Self::Halted,
        Self::Draining,
        Self::Stopped,
    ];

    /// Its name in status and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Watching => "watching",
            Self::Paused => "paused",
            Self::Reconnecting => "reconnecting",
            Self::Halted => "halted",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }

    fn of(activity: Activity, is_full: bool) -> Self {
        match activity {
            Activity::Starting => Self::Starting,
            Activity::Watching if is_full => Self::Paused,
            Activity::Watching => Self::Watching,
            Activity::Reconnecting => Self::Reconnecting,
            Activity::Halted => Self::Halted,
            Activity::Draining => Self::Draining,
            Activity::Stopped => Self::Stopped,
        }
    }
}

/// How a flush ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It is in the lake.
    Committed,
    /// It failed and will be retried.
    Failed,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 2] = [Self::Committed, Self::Failed];

    /// Its name in status and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Failed => "failed",
        }
    }
}

/// Counters since the feed was started.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Changes received from the server.
    pub changes_read: u64,
    /// Length of their events as the server sent them (BSON).
    pub read_bytes: u64,
    /// Changes that the feed committed to the lake.
    pub changes_archived: u64,
    /// Length of their lines (Extended JSON).
    pub encoded_bytes: u64,
    /// Bytes sent to the lake for them, with frames and after compression.
    pub uploaded_bytes: u64,
    /// Changes skipped because the lake held them.
    pub changes_skipped: u64,
    /// Flushes by reason and outcome.
    pub flushes: BTreeMap<(&'static str, Outcome), u64>,
    /// Failures by cause. All are retried.
    pub retries: BTreeMap<&'static str, u64>,
    /// How often the stream was reopened.
    pub reconnects: u64,
    /// How often the feed reloaded checkpoint and tail.
    pub reloads: u64,
    /// Recorded gaps.
    pub gaps: u64,
    /// Recorded changes that were too large to send.
    pub large_events: u64,
}

impl Tally {
    /// Flushes with this outcome, for any reason.
    #[must_use]
    pub fn flushes(&self, outcome: Outcome) -> u64 {
        let all = self.flushes.iter();
        all.filter(|((_, one), _)| *one == outcome)
            .map(|(_, count)| count)
            .sum()
    }
}

/// Durations of commits.
#[derive(Clone, Debug)]
pub struct Durations {
    /// From the decision to the durable commit with all retries, in seconds.
    pub commit: Histogram,
    /// One attempt at the lake, failed or not, in seconds.
    pub upload: Histogram,
}

impl Default for Durations {
    fn default() -> Self {
        Self {
            commit: Histogram::new(BUCKETS_SECONDS),
            upload: Histogram::new(BUCKETS_SECONDS),
        }
    }
}

/// The newest hour file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentFile {
    /// Its path in the lake.
    pub path: String,
    /// Its name.
    pub name: HourFileName,
    /// Its length.
    pub len_bytes: u64,
    /// Commits in it.
    pub commits: u32,
}

impl CurrentFile {
    fn of(origin: &Namespace, file: &HourFile) -> Self {
        Self {
            path: lake::tail::path(origin, file.name).to_string(),
            name: file.name,
            len_bytes: file.len_bytes,
            commits: file.commits,
        }
    }
}

/// A successful flush.
#[derive(Clone, Debug, PartialEq)]
pub struct LastFlush {
    /// When it was done, in milliseconds since 1970.
    pub at_unix_ms: i64,
    /// The path of its file.
    pub path: String,
    /// Its changes.
    pub changes: u64,
    /// Bytes sent to the lake. `None` if the answer was lost and the commit was found later.
    pub uploaded_bytes: Option<u64>,
    /// Seconds from the decision to the end, with all retries.
    pub seconds: f64,
    /// Why it was flushed.
    pub reason: &'static str,
}

/// A failure, resolved or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastError {
    /// What happened and how to fix it.
    pub message: String,
    /// When, in milliseconds since 1970.
    pub at_unix_ms: i64,
}

/// A commit in progress, with its retries.
#[derive(Clone, Debug)]
pub(crate) struct Underway {
    path: String,
    changes: u64,
    reason: &'static str,
    begun_ms: u64,
    uploaded_bytes: Option<u64>,
}

/// The status of a feed.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// Whether it reads its stream.
    pub is_watching: bool,
    /// Changes in memory.
    pub buffered_changes: u64,
    /// Length of their lines.
    pub buffered_bytes: u64,
    /// Its counters.
    pub tally: Tally,
    /// The hour file that was written last.
    pub file: Option<CurrentFile>,
    /// Whether it has a shared stream.
    pub carries_many: bool,
    /// On a shared stream: each collection with a change since the start.
    pub lanes: BTreeMap<Namespace, LaneStatus>,
    /// The last flush.
    pub last_flush: Option<LastFlush>,
    /// Cluster time of the last change in the lake.
    pub last_change_time: Option<ClusterTime>,
    /// Cluster time of the saved position.
    pub saved_until: Option<ClusterTime>,
    /// What is wrong now. On a shared stream, the message begins with the collection if it concerns only one.
    pub trouble: Option<Trouble>,
    /// Since when, in milliseconds since 1970.
    pub trouble_since_unix_ms: Option<i64>,
    /// The last failure.
    pub last_error: Option<PastError>,
    /// Cluster time up to which all changes are in the lake.
    pub archived_until: Option<ClusterTime>,
    /// When the server last had no more changes while the lake had all of them.
    pub caught_up_unix_ms: Option<i64>,
    pub(crate) has_opened: bool,
    pub(crate) underway: BTreeMap<LaneId, Underway>,
}

/// One collection of a shared stream.
#[derive(Clone, Debug, Default)]
pub struct LaneStatus {
    /// Changes committed since the start.
    pub changes_archived: u64,
    /// Flushes since the start.
    pub flushes: u64,
    /// Its newest hour file.
    pub file: Option<CurrentFile>,
    /// Cluster time of its last change in the lake.
    pub last_change_time: Option<ClusterTime>,
}

impl Status {
    /// How old the newest state is that the lake holds completely, in milliseconds. Zero for a feed that has caught up;
    /// `None` before its position is known.
    #[must_use]
    pub fn lag_ms(&self, now_unix_ms: i64) -> Option<u64> {
        let waits_for_nothing = self.is_watching && self.buffered_changes == 0;
        let is_fresh = |at: i64| now_unix_ms - at <= CAUGHT_UP_MS;
        if waits_for_nothing && self.caught_up_unix_ms.is_some_and(is_fresh) {
            return Some(0);
        }
        let archived_unix_ms = self
            .archived_until
            .map(|time| i64::from(time.seconds) * 1000);
        let until = archived_unix_ms.max(self.caught_up_unix_ms)?;
        Some(u64::try_from(now_unix_ms - until).unwrap_or(0))
    }

    /// Notes received changes.
    pub(super) fn note_read(&mut self, changes: &Changes, read_bytes: u64) {
        self.tally.changes_read += changes.len() as u64;
        self.tally.read_bytes += read_bytes;
    }

    /// Notes failures in an input.
    pub(super) fn note_input(&mut self, input: &Input, now: Now) {
        if let Some(failure) = input.failure() {
            self.note_failure(failure, now);
        }
        if let Input::Committed(lane, Err(_)) = input {
            self.note_commit_failed(*lane);
        }
    }

    fn note_failure(&mut self, failure: &Failure, now: Now) {
        *self.tally.retries.entry(failure.cause).or_default() += 1;
        self.last_error = Some(PastError {
            message: failure.message.clone(),
            at_unix_ms: now.unix_ms,
        });
    }

    /// Notes a failure before the feeds are started: the deployment or the lake can't be reached.
    pub fn note_start_failure(&mut self, failure: &Failure, failures: u32, now: Now) {
        self.note_failure(failure, now);
        self.trouble_since_unix_ms.get_or_insert(now.unix_ms);
        self.trouble = Some(Trouble {
            message: failure.message.clone(),
            failures,
            is_halt: false,
        });
    }

    /// Notes the cluster time of the stored position, until the feed knows its own.
    pub(super) fn note_position(&mut self, stored_until: Option<ClusterTime>) {
        self.saved_until = self.saved_until.or(stored_until);
        self.archived_until = self.archived_until.or(stored_until);
    }

    /// Notes that the stream is open. Every time after the first counts as a reconnect.
    pub(super) fn note_opened(&mut self) {
        if std::mem::replace(&mut self.has_opened, true) {
            self.tally.reconnects += 1;
        }
    }

    /// Counts a notice of the feed.
    pub(super) fn note(&mut self, notice: &Notice) {
        match notice {
            Notice::Reloading(_) => self.tally.reloads += 1,
            Notice::Restarted(_) => self.tally.gaps += 1,
            Notice::LargeEventRecorded(_) => self.tally.large_events += 1,
            Notice::OverlapPassed { skipped } => self.tally.changes_skipped += skipped,
            _ => {}
        }
    }

    /// Notes that the server has no more changes.
    pub(super) fn note_idle(&mut self, feed: &Feed, now: Now) {
        if feed.is_all_archived() {
            self.caught_up_unix_ms = Some(now.unix_ms);
        }
    }

    /// Notes an attempt of a commit.
    pub(super) fn note_commit_begun(
        &mut self,
        lane: LaneId,
        origin: &Namespace,
        order: &WriteOrder,
        now: Now,
    ) {
        let tried = self.underway.get(&lane);
        let begun_ms = tried.map_or(now.monotonic_ms, |underway| underway.begun_ms);
        let underway = Underway {
            path: lake::tail::path(origin, order.name).to_string(),
            changes: u64::from(order.batch.changes),
            reason: order.reason.as_str(),
            begun_ms,
            uploaded_bytes: None,
        };
        self.underway.insert(lane, underway);
    }

    /// Notes the bytes that a successful commit sent to the lake.
    pub(super) fn note_uploaded(&mut self, lane: Option<LaneId>, bytes: u64) {
        self.tally.uploaded_bytes += bytes;
        let underway = lane.and_then(|lane| self.underway.get_mut(&lane));
        if let Some(underway) = underway.filter(|_| bytes > 0) {
            underway.uploaded_bytes = Some(bytes);
        }
    }

    fn note_commit_failed(&mut self, lane: LaneId) {
        if let Some(underway) = self.underway.get(&lane) {
            let key = (underway.reason, Outcome::Failed);
            *self.tally.flushes.entry(key).or_default() += 1;
        }
    }

    /// Copies the feed's state.
    pub(super) fn follow(&mut self, feed: &Feed, is_full: bool, now: Now) {
        self.state = State::of(feed.activity(), is_full);
        self.is_watching = feed.is_watching();
        self.carries_many = feed.carries_many();
        self.buffered_changes = feed.buffered_changes();
        self.buffered_bytes = feed.buffered_bytes();
        self.last_change_time = feed.last_change_time();
        // While the feed reloads, the last known values stay.
        self.archived_until = feed.archived_until().or(self.archived_until);
        self.saved_until = feed.saved_until().or(self.saved_until);
        let archived = feed.archived();
        self.tally.changes_archived = archived.changes;
        self.tally.encoded_bytes = archived.encoded_bytes;
        if !feed.is_committing() {
            self.underway.clear();
        }
        self.follow_trouble(feed, now);
    }

    /// Copies the state of a lane after an input about it. Returns the seconds that its flush took, if one has just ended.
    pub(super) fn follow_lane(
        &mut self,
        feed: &Feed,
        lane: LaneId,
        has_flushed: bool,
        now: Now,
    ) -> Option<f64> {
        let origin = feed.namespace(lane)?;
        self.file = feed.file(lane).map(|file| CurrentFile::of(origin, file));
        if feed.carries_many() {
            let flushed = self.underway.get(&lane).filter(|_| has_flushed);
            let known = self.lanes.entry(origin.clone()).or_default();
            known.changes_archived += flushed.map_or(0, |underway| underway.changes);
            known.flushes += u64::from(has_flushed);
            known.file.clone_from(&self.file);
            known.last_change_time = feed.last_change_time_of(lane);
        }
        if !has_flushed && feed.is_lane_committing(lane) {
            return None;
        }
        let underway = self.underway.remove(&lane).filter(|_| has_flushed)?;
        let key = (underway.reason, Outcome::Committed);
        *self.tally.flushes.entry(key).or_default() += 1;
        let seconds = seconds(now.monotonic_ms.saturating_sub(underway.begun_ms));
        self.last_flush = Some(LastFlush {
            at_unix_ms: now.unix_ms,
            path: underway.path,
            changes: underway.changes,
            uploaded_bytes: underway.uploaded_bytes,
            seconds,
            reason: underway.reason,
        });
        Some(seconds)
    }

    fn follow_trouble(&mut self, feed: &Feed, now: Now) {
        let trouble = feed.trouble_and_its_collection().map(|(trouble, origin)| {
            let mut trouble = trouble.clone();
            // A feed of one collection shows the name beside the message.
            if let Some(origin) = origin.filter(|_| feed.carries_many()) {
                trouble.message = format!("{origin}: {}", trouble.message);
            }
            trouble
        });
        if trouble.is_none() {
            self.trouble_since_unix_ms = None;
        } else {
            self.trouble_since_unix_ms.get_or_insert(now.unix_ms);
        }
        self.trouble = trouble;
    }
}

/// Milliseconds as seconds, for display and Prometheus.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "exact up to 285,000 years")]
pub fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: u32) -> ClusterTime {
        ClusterTime {
            seconds,
            increment: 1,
        }
    }

    #[test]
    fn an_idle_feed_that_has_caught_up_has_no_lag() {
        let mut status = Status::default();
        assert_eq!(status.lag_ms(1_000_000), None, "nothing is known");
        status.archived_until = Some(time(100));
        assert_eq!(status.lag_ms(130_000), Some(30_000), "it isn't open");
        status.is_watching = true;
        status.caught_up_unix_ms = Some(125_000);
        assert_eq!(status.lag_ms(130_000), Some(0));
        assert_eq!(status.lag_ms(136_000), Some(11_000), "no answer since");
    }

    #[test]
    fn a_feed_that_halts_at_its_start_is_as_old_as_its_stored_position() {
        let mut status = Status::default();
        status.note_position(None);
        assert_eq!(status.lag_ms(130_000), None);
        status.note_position(Some(time(100)));
        assert_eq!(status.lag_ms(130_000), Some(30_000));
        assert_eq!(status.saved_until, Some(time(100)));
        status.note_position(Some(time(50)));
        assert_eq!(status.saved_until, Some(time(100)), "what is known counts");
    }

    #[test]
    fn buffered_changes_are_as_old_as_the_last_moment_that_the_lake_holds() {
        let mut status = Status {
            is_watching: true,
            buffered_changes: 1,
            archived_until: Some(time(100)),
            caught_up_unix_ms: Some(125_000),
            ..Status::default()
        };
        assert_eq!(
            status.lag_ms(130_000),
            Some(5_000),
            "it was idle until then"
        );
        status.archived_until = Some(time(128));
        assert_eq!(status.lag_ms(130_000), Some(2_000));
        assert_eq!(status.lag_ms(127_000), Some(0), "clocks differ");
    }
}
