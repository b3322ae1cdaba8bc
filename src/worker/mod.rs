//! Runs one feed: passes events to its state machine and performs the actions that it returns.

mod commit;
mod notices;
mod operations;
mod status;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{debug, trace, warn};

use crate::budget::{Budget, Share};
use crate::checkpoint::Checkpoints;
use crate::clock::Clock;
use crate::lake::Lake;
use crate::processors::Processors;
use crate::source::{Deployment, Patience, Report, StreamOptions};
use silt_core::batch::FlushReason;
use silt_core::failure::{Disposition, Failure};
use silt_core::file::gzip::GzipLevel;
use silt_core::machine::{Config, Feed, Input};
use silt_core::namespace::Namespace;
use silt_core::namespace::selection::Watched;
use silt_core::position::ClusterTime;
pub use status::{
    CurrentFile, Durations, LaneStatus, LastFlush, Outcome, PastError, State, Status, Tally,
    seconds,
};

/// Reports of the reader that wait for the feed, beside the one that it handles.
const REPORTS_MAX: usize = 1;
const COMMANDS_MAX: usize = 8;
const PINGS_MAX: usize = 8;

/// A command to a feed.
#[derive(Debug)]
pub enum Command {
    /// Flush buffered changes.
    Flush(FlushReason),
    /// Stop reading, flush, save, end.
    Drain,
}

/// A request for a sign of life. The answer itself is the sign.
pub type Ping = oneshot::Sender<()>;

/// Everything that a feed needs from outside.
#[derive(Clone, Debug)]
pub struct Edges {
    /// The deployment.
    pub deployment: Deployment,
    /// The lake.
    pub lake: Arc<dyn Lake>,
    /// The checkpoints.
    pub checkpoints: Arc<dyn Checkpoints>,
    /// The options of the stream.
    pub stream_options: StreamOptions,
    /// The memory for the changes of all feeds.
    pub budget: Budget,
    /// A feed with this many encoded bytes stops reading while one of its commits isn't done.
    pub feed_limit_bytes: u64,
    /// The threads that encode and compress.
    pub processors: Processors,
    /// The level of gzip.
    pub gzip_level: GzipLevel,
    /// Limits the concurrent commits of all feeds.
    pub uploads: Arc<Semaphore>,
    /// The time.
    pub clock: Clock,
}

/// A running feed.
#[derive(Debug)]
pub struct Worker {
    feed: Feed,
    watched: Watched,
    /// Its name in logs: `database.collection`, with the selection's lists for a shared stream.
    name: String,
    edges: Edges,
    patience: Patience,
    share: Share,
    reader: Option<RunningReader>,
    commands: mpsc::Receiver<Command>,
    pings: mpsc::Receiver<Ping>,
    operations: JoinSet<Done>,
    status: watch::Sender<Status>,
    durations: Durations,
    exits: mpsc::Sender<String>,
    is_finished: bool,
}

#[derive(Debug)]
struct RunningReader {
    reports: mpsc::Receiver<Report>,
    task: JoinHandle<()>,
}

impl Drop for RunningReader {
    fn drop(&mut self) {
        // The task owns its stream, so this closes the stream.
        self.task.abort();
    }
}

/// The result of an operation at an edge.
#[derive(Debug)]
struct Done {
    input: Input,
    /// What it sent to the lake for a successful commit.
    uploaded_bytes: u64,
    /// Cluster time of the stored position, if it read one.
    stored_until: Option<ClusterTime>,
}

impl Done {
    fn of(input: Input) -> Self {
        Self {
            input,
            uploaded_bytes: 0,
            stored_until: None,
        }
    }
}

/// How a feed ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything that it read is in the lake.
    Drained,
    /// It gave up changes that may not be in the lake; the next start reads them again.
    GaveUp,
    /// A panic.
    Broke,
}

/// A running feed as the service sees it.
#[derive(Debug)]
pub struct Handle {
    /// What it watches.
    pub watched: Watched,
    /// Its collection, or its selection.
    pub namespace: Namespace,
    /// Sends it commands.
    pub commands: mpsc::Sender<Command>,
    /// Asks it for a sign of life.
    pub pings: mpsc::Sender<Ping>,
    /// Its status.
    pub status: watch::Receiver<Status>,
    /// The durations of its commits.
    pub durations: Durations,
    /// Ends when the feed does.
    pub task: JoinHandle<End>,
}

impl Worker {
    /// Starts a feed. A message on `exits` means that the process can't continue.
    #[must_use]
    pub fn spawn(config: Config, edges: Edges, exits: mpsc::Sender<String>) -> Handle {
        let (command_sender, commands) = mpsc::channel(COMMANDS_MAX);
        // Separate from the commands, so that frequent pings can't crowd out a flush.
        let (ping_sender, pings) = mpsc::channel(PINGS_MAX);
        let (status, status_receiver) = watch::channel(Status::default());
        let (watched, durations) = (config.watched.clone(), Durations::default());
        let (namespace, name) = (watched.namespace(), watched.namespace().to_string());
        let bugs = exits.clone();
        let worker = Self {
            feed: Feed::new(config),
            watched: watched.clone(),
            name: name.clone(),
            share: edges.budget.share(),
            patience: Patience::new(edges.deployment.request_limit()),
            edges,
            reader: None,
            commands,
            pings,
            operations: JoinSet::new(),
            status,
            durations: durations.clone(),
            exits,
            is_finished: false,
        };
        let task = tokio::spawn(async move {
            let running = tokio::spawn(worker.run());
            running.await.unwrap_or_else(|bug| {
                // If the channel is full, another exit is in it already.
                let _ = bugs.try_send(format!("the feed of {name} panicked: {bug}"));
                End::Broke
            })
        });
        Handle {
            watched,
            namespace,
            commands: command_sender,
            pings: ping_sender,
            status: status_receiver,
            durations,
            task,
        }
    }

    async fn run(mut self) -> End {
        self.handle(Input::Start);
        while !self.is_finished {
            let input = self.next_input().await;
            self.handle(input);
        }
        let (collection, changes) = (&self.name, self.feed.given_up_changes());
        if changes == 0 {
            return End::Drained;
        }
        warn!(
            collection,
            changes,
            "stopped with changes that aren't known to be in the lake; the next start reads them again"
        );
        End::GaveUp
    }

    /// Waits for the next event. It only waits for channels and the clock.
    async fn next_input(&mut self) -> Input {
        let now = self.edges.clock.now();
        let wake_at = self
            .feed
            .wake_at_ms(now)
            .map(|at_ms| self.edges.clock.instant(at_ms));
        // Changes that wait for a tail come first.
        let is_full = self.is_full() || self.feed.has_waiting_changes();
        let reader = self.reader.as_mut().filter(|_| !is_full);
        let reports = reader.map(|reader| &mut reader.reports);
        tokio::select! {
            Some(command) = self.commands.recv() => match command {
                Command::Flush(reason) => Input::Flush(reason),
                Command::Drain => Input::Drain,
            },
            Some(ping) = self.pings.recv() => {
                // The caller may have given up.
                let _ = ping.send(());
                Input::Tick
            }
            Some(done) = self.operations.join_next() => {
                let done = done.unwrap_or_else(|bug| std::panic::resume_unwind(bug.into_panic()));
                let lane = done.input.lane();
                self.note(|status| {
                    status.note_uploaded(lane, done.uploaded_bytes);
                    status.note_position(done.stored_until);
                });
                done.input
            }
            report = next_report(reports) => self.report(report),
            () = sleep_until(wake_at) => Input::Tick,
        }
    }

    /// Whether the feed has used its share of the memory and is still committing: then it leaves the rest to the other
    /// feeds.
    fn is_full(&self) -> bool {
        self.feed.is_committing() && self.feed.buffered_bytes() >= self.edges.feed_limit_bytes
    }

    fn report(&mut self, report: Option<Report>) -> Input {
        match report {
            Some(Report::Opened(result)) => {
                if result.is_err() {
                    self.reader = None;
                } else {
                    self.note(Status::note_opened);
                }
                Input::Opened(result)
            }
            Some(Report::Idle(token)) => {
                trace!(collection = self.name, "nothing new");
                Input::Idle(token)
            }
            Some(Report::TooLarge(event)) => {
                self.reader = None;
                Input::TooLarge(event)
            }
            Some(Report::Closed(failure)) => {
                self.reader = None;
                Input::Closed(failure)
            }
            Some(Report::Changes {
                changes,
                taken,
                read_bytes,
            }) => {
                self.share.add(taken);
                self.note(|status| status.note_read(&changes, read_bytes));
                let collection = &self.name;
                debug!(collection, changes = changes.len(), "read");
                Input::Changes(changes)
            }
            None => {
                self.reader = None;
                Input::Closed(Some(Failure {
                    disposition: Disposition::RETRY,
                    cause: "silt_reader",
                    message: "the reader stopped unexpectedly".to_owned(),
                }))
            }
        }
    }

    fn handle(&mut self, input: Input) {
        let now = self.edges.clock.now();
        self.note(|status| status.note_input(&input, now));
        let is_idle = matches!(input, Input::Idle(_));
        let (lane, is_of_start) = (input.lane(), input.is_of_start());
        let flushes = self.feed.archived_by(lane).flushes;
        let actions = self.feed.handle(input, now);
        self.share.shrink_to(self.feed.buffered_bytes());
        // Before the actions: one of them may begin the next commit.
        let is_full = self.is_full();
        let (feed, durations) = (&self.feed, &self.durations);
        self.status.send_modify(|status| {
            if is_idle {
                status.note_idle(feed, now);
            }
            let new_lanes = feed.lanes().filter(|_| is_of_start);
            for lane in new_lanes.chain(lane) {
                let has_flushed = feed.archived_by(Some(lane)).flushes > flushes;
                let took_seconds = status.follow_lane(feed, lane, has_flushed, now);
                if let Some(seconds) = took_seconds {
                    durations.commit.observe(seconds);
                }
            }
            status.follow(feed, is_full, now);
        });
        for action in actions {
            self.perform(action);
        }
    }

    fn note(&self, note: impl FnOnce(&mut Status)) {
        self.status.send_modify(note);
    }
}

async fn next_report(reports: Option<&mut mpsc::Receiver<Report>>) -> Option<Report> {
    match reports {
        Some(reports) => reports.recv().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
