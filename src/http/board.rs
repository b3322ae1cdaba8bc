//! What there is to see of a running silt, as far as the start has come.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::{mpsc, watch};

use crate::archive::frame::Origin;
use crate::budget::Budget;
use crate::clock::Clock;
use crate::settings::{Schedule, Secret};
use crate::source::{Facts, OplogWindow};
use crate::worker::{Command, Durations, Handle, Status};

/// What is known before anything is reached.
#[derive(Debug)]
pub struct About {
    /// Scheme and hosts of the deployment; no secret is in it.
    pub mongodb: String,
    /// The lake's address; no secret is in it.
    pub lake: String,
    /// When all that waits is flushed.
    pub schedule: Schedule,
    /// Failures in a row that make a feed not ready.
    pub retry_attempts: u32,
    /// Changes that make a flush.
    pub batch_size_changes: u32,
    /// Bytes that make a flush.
    pub batch_limit_bytes: u64,
    /// Memory for changes.
    pub buffer_limit_bytes: u64,
    /// Who has it may flush.
    pub token: Option<Secret>,
}

/// A feed as it is seen from outside.
#[derive(Clone, Debug)]
pub struct FeedView {
    /// Its collection.
    pub(super) origin: Origin,
    /// What it says of itself.
    pub(super) status: watch::Receiver<Status>,
    /// How long its commits take.
    pub(super) durations: Durations,
    /// Tells it what to do.
    pub(super) commands: mpsc::Sender<Command>,
}

impl From<&Handle> for FeedView {
    fn from(feed: &Handle) -> Self {
        Self {
            origin: feed.origin.clone(),
            status: feed.status.clone(),
            durations: feed.durations.clone(),
            commands: feed.commands.clone(),
        }
    }
}

/// What was reached at the start.
#[derive(Debug)]
struct Running {
    facts: Facts,
    budget: Budget,
    feeds: Vec<FeedView>,
}

/// What there is to see. Clones show the same.
#[derive(Clone, Debug)]
pub struct Board(Arc<Shown>);

#[derive(Debug)]
struct Shown {
    about: About,
    clock: Clock,
    started_unix_ms: i64,
    running: OnceLock<Running>,
    oplog: Mutex<Option<OplogWindow>>,
}

impl Board {
    /// Nothing runs yet.
    #[must_use]
    pub fn new(about: About, clock: Clock) -> Self {
        Self(Arc::new(Shown {
            about,
            clock,
            started_unix_ms: clock.now().unix_ms,
            running: OnceLock::new(),
            oplog: Mutex::new(None),
        }))
    }

    /// Shows the feeds, once they run.
    pub fn show(&self, facts: Facts, budget: Budget, feeds: Vec<FeedView>) {
        // The feeds of a process are started once.
        let _ = self.0.running.set(Running {
            facts,
            budget,
            feeds,
        });
    }

    /// Shows what the oplog holds now.
    pub fn show_oplog(&self, window: OplogWindow) {
        *self.0.oplog.lock().unwrap_or_else(PoisonError::into_inner) = Some(window);
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

    /// The feeds; `None` while silt is still reaching its servers.
    pub(super) fn feeds(&self) -> Option<&[FeedView]> {
        self.0.running.get().map(|running| running.feeds.as_slice())
    }

    pub(super) fn facts(&self) -> Option<&Facts> {
        self.0.running.get().map(|running| &running.facts)
    }

    pub(super) fn buffer_used_bytes(&self) -> u64 {
        let running = self.0.running.get();
        running.map_or(0, |running| running.budget.used_bytes())
    }

    /// What the oplog holds. It is asked for now and then, and goes as far as a position that was saved since.
    pub(super) fn oplog(&self) -> Option<OplogWindow> {
        let seen = *self.0.oplog.lock().unwrap_or_else(PoisonError::into_inner);
        let feeds = self.feeds().unwrap_or_default().iter();
        let saved = feeds
            .filter_map(|feed| feed.status.borrow().saved_until)
            .max();
        seen.map(|window| OplogWindow {
            newest: saved.map_or(window.newest, |saved| saved.max(window.newest)),
            ..window
        })
    }

    /// How long until the oldest entry of the oplog passes the feed's saved position, at the pace at
    /// which the oplog was filled: its distance from that entry, in seconds.
    pub(super) fn oplog_runway_seconds(&self, status: &Status) -> Option<u32> {
        let (oplog, saved) = (self.oplog()?, status.saved_until?);
        Some(saved.seconds.saturating_sub(oplog.oldest.seconds))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::archive::position::ClusterTime;

    /// A board that shows these feeds, all of the database `mydb`.
    pub(in crate::http) fn board(feeds: Vec<(&str, Status)>, token: Option<&str>) -> Board {
        let about = About {
            mongodb: "mongodb://h1,h2".to_owned(),
            lake: "file:///lake".to_owned(),
            schedule: Schedule::hourly(),
            retry_attempts: 3,
            batch_size_changes: 1000,
            batch_limit_bytes: 8 << 20,
            buffer_limit_bytes: 128 << 20,
            token: token.map(Secret::new),
        };
        let board = Board::new(about, Clock::start());
        let facts = Facts {
            version: "6.0.5".to_owned(),
            replica_set: Some("rs0".to_owned()),
        };
        let view = |(collection, status): (&str, Status)| FeedView {
            origin: Origin {
                database: "mydb".to_owned(),
                collection: collection.to_owned(),
            },
            // What was sent last stays to be seen.
            status: watch::channel(status).1,
            durations: Durations::default(),
            commands: mpsc::channel(1).0,
        };
        let feeds = feeds.into_iter().map(view).collect();
        board.show(facts, Budget::new(128 << 20), feeds);
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
