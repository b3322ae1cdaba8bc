//! What there is to see of a running silt, as far as the start has come.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::{Semaphore, mpsc, watch};

use crate::budget::Budget;
use crate::clock::Clock;
use crate::closing;
use crate::settings::{Schedule, Secret};
use crate::snapshot::Statuses;
use crate::source::{Facts, OplogWindow};
use crate::worker::{Command, Durations, Handle, Ping, Status};
use silt_core::failure::Failure;
use silt_core::limits::Limits;
use silt_core::namespace::Namespace;
use silt_core::namespace::selection::Watched;

/// Requests that may wait for a flush at once.
const FLUSHES_MAX: usize = 4;

/// What is known before anything is reached.
#[derive(Debug)]
pub struct About {
    /// The collections that are to be watched, and the limits of their feeds.
    pub feeds: Vec<(Namespace, Limits)>,
    /// Scheme and hosts of the deployment; no secret is in it.
    pub mongodb: String,
    /// The lake's address; no secret is in it.
    pub lake: String,
    /// When all that waits is flushed.
    pub schedule: Schedule,
    /// Memory for changes.
    pub buffer_limit_bytes: u64,
    /// Who has it may flush.
    pub token: Option<Secret>,
}

/// A feed as it is seen from outside.
#[derive(Clone, Debug)]
pub struct FeedView {
    /// Its collection.
    pub(super) origin: Namespace,
    /// What it watches; nothing before it is at work.
    pub(super) watched: Option<Watched>,
    /// Its limits.
    pub(super) limits: Limits,
    /// What it says of itself.
    pub(super) status: watch::Receiver<Status>,
    /// How long its commits take.
    pub(super) durations: Durations,
    /// Tells it what to do.
    pub(super) commands: mpsc::Sender<Command>,
    /// Asks it for a sign of life.
    pub(super) pings: mpsc::Sender<Ping>,
}

impl FeedView {
    /// Whether this is the name of a collection that it carries.
    pub(super) fn carries(&self, collection: &str) -> bool {
        let watched = self.watched.as_ref();
        watched.is_some_and(|watched| watched.carries(collection))
    }

    /// What is seen of a running feed with these limits.
    #[must_use]
    pub fn of(feed: &Handle, limits: &Limits) -> Self {
        Self {
            origin: feed.namespace.clone(),
            watched: Some(feed.watched.clone()),
            limits: limits.clone(),
            status: feed.status.clone(),
            durations: feed.durations.clone(),
            commands: feed.commands.clone(),
            pings: feed.pings.clone(),
        }
    }
}

/// What was reached at the start.
#[derive(Debug)]
struct Running {
    facts: Facts,
    budget: Budget,
    feeds: Vec<FeedView>,
    snapshots: Option<watch::Receiver<Statuses>>,
    closing: Option<watch::Receiver<closing::Statuses>>,
}

/// The feeds while their servers are being reached: there is a status of each, and nobody at work.
#[derive(Debug)]
struct Awaited {
    statuses: Vec<watch::Sender<Status>>,
    feeds: Vec<FeedView>,
}

impl Awaited {
    fn new(feeds: &[(Namespace, Limits)]) -> Self {
        let (statuses, receivers): (Vec<_>, Vec<_>) = feeds
            .iter()
            .map(|_| watch::channel(Status::default()))
            .unzip();
        let feeds = feeds.iter().zip(receivers);
        let view = |((origin, limits), status): (&(Namespace, Limits), watch::Receiver<Status>)| {
            FeedView {
                origin: origin.clone(),
                watched: None,
                limits: limits.clone(),
                status,
                durations: Durations::default(),
                // Nobody listens, as if they had ended.
                commands: mpsc::channel(1).0,
                pings: mpsc::channel(1).0,
            }
        };
        Self {
            feeds: feeds.map(view).collect(),
            statuses,
        }
    }
}

/// The oplog as it was seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    window: OplogWindow,
    at_unix_ms: i64,
}

/// What there is to see. Clones show the same.
#[derive(Clone, Debug)]
pub struct Board(Arc<Shown>);

#[derive(Debug)]
struct Shown {
    about: About,
    clock: Clock,
    started_unix_ms: i64,
    awaited: Awaited,
    running: OnceLock<Running>,
    oplog: Mutex<Option<Seen>>,
    flush_turns: Semaphore,
}

impl Board {
    /// Nothing runs yet.
    #[must_use]
    pub fn new(about: About, clock: Clock) -> Self {
        Self(Arc::new(Shown {
            awaited: Awaited::new(&about.feeds),
            about,
            clock,
            started_unix_ms: clock.now().unix_ms,
            running: OnceLock::new(),
            oplog: Mutex::new(None),
            flush_turns: Semaphore::new(FLUSHES_MAX),
        }))
    }

    /// Shows what keeps the feeds from being started, and how often in a row it did.
    pub fn show_failure(&self, failure: &Failure, failures: u32) {
        let now = self.0.clock.now();
        for status in &self.0.awaited.statuses {
            status.send_modify(|status| status.note_start_failure(failure, failures, now));
        }
    }

    /// Shows the feeds, once they run.
    pub fn show(
        &self,
        facts: Facts,
        budget: Budget,
        feeds: Vec<FeedView>,
        snapshots: Option<watch::Receiver<Statuses>>,
        closing: Option<watch::Receiver<closing::Statuses>>,
    ) {
        // The feeds of a process are started once.
        let _ = self.0.running.set(Running {
            facts,
            budget,
            feeds,
            snapshots,
            closing,
        });
    }

    /// Shows what the oplog holds now.
    pub fn show_oplog(&self, window: OplogWindow) {
        let seen = Seen {
            window,
            at_unix_ms: self.now_unix_ms(),
        };
        *self.0.oplog.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }

    pub(super) fn about(&self) -> &About {
        &self.0.about
    }

    pub(super) fn now_unix_ms(&self) -> i64 {
        self.0.clock.now().unix_ms
    }

    pub(super) fn started_unix_ms(&self) -> i64 {
        self.0.started_unix_ms
    }

    /// The feeds, at work or awaited.
    pub(super) fn feeds(&self) -> &[FeedView] {
        let running = self.0.running.get().map(|running| &running.feeds);
        running.unwrap_or(&self.0.awaited.feeds)
    }

    /// Whether the feeds are at work; else silt is still reaching its servers.
    pub(super) fn is_running(&self) -> bool {
        self.0.running.get().is_some()
    }

    pub(super) fn facts(&self) -> Option<&Facts> {
        self.0.running.get().map(|running| &running.facts)
    }

    /// How far the collections are complete, if hours are closed.
    pub(super) fn closing(&self) -> closing::Statuses {
        let running = self.0.running.get();
        let closing = running.and_then(|running| running.closing.as_ref());
        closing.map_or_else(closing::Statuses::new, |closing| closing.borrow().clone())
    }

    /// How far the snapshots are, if any are wanted.
    pub(super) fn snapshots(&self) -> Statuses {
        let running = self.0.running.get();
        let snapshots = running.and_then(|running| running.snapshots.as_ref());
        snapshots.map_or_else(Statuses::new, |snapshots| snapshots.borrow().clone())
    }

    /// Bounds the requests that wait for a flush.
    pub(super) fn flush_turns(&self) -> &Semaphore {
        &self.0.flush_turns
    }

    pub(super) fn buffer_used_bytes(&self) -> u64 {
        let running = self.0.running.get();
        running.map_or(0, |running| running.budget.used_bytes())
    }

    /// What the oplog holds. It is asked for now and then, and goes as far as a position that was saved since.
    pub(super) fn oplog(&self) -> Option<OplogWindow> {
        let window = self.seen()?.window;
        let feeds = self.feeds().iter();
        let saved = feeds
            .filter_map(|feed| feed.status.borrow().saved_until)
            .max();
        Some(OplogWindow {
            newest: saved.map_or(window.newest, |saved| saved.max(window.newest)),
            ..window
        })
    }

    fn seen(&self) -> Option<Seen> {
        *self.0.oplog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long until the oldest entry of the oplog passes the feed's saved position, at the pace at
    /// which the oplog was filled: its distance from that entry, in seconds. The oplog is taken to have moved
    /// on since it was seen, as it does while silt can't see it.
    pub(super) fn oplog_runway_seconds(&self, status: &Status) -> Option<u32> {
        let (seen, saved) = (self.seen()?, status.saved_until?);
        let since_ms = self.now_unix_ms().saturating_sub(seen.at_unix_ms);
        let since_seconds = u32::try_from(since_ms / 1000).unwrap_or(0);
        let distance = saved.seconds.saturating_sub(seen.window.oldest.seconds);
        Some(distance.saturating_sub(since_seconds))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use silt_core::position::ClusterTime;

    /// A board that shows these feeds, all of the database `mydb`.
    pub(in crate::http) fn board(feeds: Vec<(&str, Status)>, token: Option<&str>) -> Board {
        shown(Board::new(about(token), Clock::start()), feeds)
    }

    fn about(token: Option<&str>) -> About {
        About {
            feeds: Vec::new(),
            mongodb: "mongodb://h1,h2".to_owned(),
            lake: "file:///lake".to_owned(),
            schedule: Schedule::hourly(),
            buffer_limit_bytes: 128 << 20,
            token: token.map(Secret::new),
        }
    }

    fn shown(board: Board, feeds: Vec<(&str, Status)>) -> Board {
        let facts = Facts {
            version: "6.0.5".to_owned(),
            replica_set: Some("rs0".to_owned()),
        };
        let view = |(collection, status): (&str, Status)| FeedView {
            origin: Namespace::new("mydb", collection),
            watched: Some(Watched::Collection(Namespace::new("mydb", collection))),
            limits: Limits::default(),
            // What was sent last stays to be seen.
            status: watch::channel(status).1,
            durations: Durations::default(),
            commands: mpsc::channel(1).0,
            pings: mpsc::channel(1).0,
        };
        let feeds = feeds.into_iter().map(view).collect();
        board.show(facts, Budget::new(128 << 20), feeds, None, None);
        board
    }

    #[test]
    fn the_runway_is_the_saved_positions_distance_from_the_oldest_entry() {
        let time = |seconds| ClusterTime {
            seconds,
            increment: 1,
        };
        let mut status = Status {
            saved_until: Some(time(5000)),
            ..Status::default()
        };
        let board = board(Vec::new(), None);
        assert_eq!(
            board.oplog_runway_seconds(&status),
            None,
            "nothing is known"
        );
        board.show_oplog(OplogWindow {
            oldest: time(4000),
            newest: time(6000),
        });
        assert_eq!(board.oplog_runway_seconds(&status), Some(1000));
        status.saved_until = Some(time(3000));
        assert_eq!(board.oplog_runway_seconds(&status), Some(0), "it is lost");
        status.saved_until = None;
        assert_eq!(board.oplog_runway_seconds(&status), None);
    }

    #[test]
    fn the_runway_shrinks_while_the_oplog_cannot_be_seen() {
        let time = |seconds| ClusterTime {
            seconds,
            increment: 1,
        };
        let status = Status {
            saved_until: Some(time(5000)),
            ..Status::default()
        };
        let board = board(Vec::new(), None);
        let window = OplogWindow {
            oldest: time(4000),
            newest: time(5000),
        };
        let at_unix_ms = board.now_unix_ms() - 700_000;
        *board.0.oplog.lock().unwrap() = Some(Seen { window, at_unix_ms });
        let runway = board.oplog_runway_seconds(&status).unwrap();
        assert!((299..=300).contains(&runway), "{runway}");
    }

    #[test]
    fn what_keeps_the_feeds_from_being_started_is_shown_of_each() {
        let origin = Namespace::new("mydb", "users");
        let mut about = about(None);
        about.feeds.push((origin, Limits::default()));
        let board = Board::new(about, Clock::start());
        let failure = Failure {
            disposition: silt_core::failure::Disposition::RETRY,
            cause: "mongodb_passing",
            message: "nobody is there".to_owned(),
        };
        board.show_failure(&failure, 2);
        let [feed] = board.feeds() else {
            panic!("one collection")
        };
        let status = feed.status.borrow();
        assert_eq!(status.trouble.as_ref().unwrap().failures, 2);
        assert_eq!(
            status.last_error.as_ref().unwrap().message,
            "nobody is there"
        );
        assert_eq!(status.tally.retries["mongodb_passing"], 1);
        assert!(!board.is_running());
    }

    #[test]
    fn the_window_is_no_shorter_than_a_runway() {
        let time = |seconds| ClusterTime {
            seconds,
            increment: 1,
        };
        let status = Status {
            saved_until: Some(time(7000)),
            ..Status::default()
        };
        let board = board(vec![("users", status)], None);
        board.show_oplog(OplogWindow {
            oldest: time(4000),
            newest: time(6000),
        });
        assert_eq!(board.oplog().map(OplogWindow::seconds), Some(3000));
    }
}
