//! All feeds together: start, triggers, drain.

mod closings;
mod misspelled;
mod snapshots;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tracing::{debug, error, info, warn};

use crate::budget::Budget;
use crate::checkpoint::Checkpoints;
use crate::clock::Clock;
use crate::edges;
use crate::http::{self, About, Board, FeedView};
use crate::lake::{Lake, Prepared};
use crate::processors::Processors;
use crate::settings::{FeedSettings, Schedule, Settings, next_flush};
use crate::signals::{Request, Signals};
use crate::source::{Deployment, Facts};
use crate::worker::{Command, Edges, End, Handle, Worker};
use closings::Closings;
use silt_core::backoff::Backoff;
use silt_core::batch::FlushReason;
use silt_core::failure::{Disposition, Failure};
use silt_core::limits::Limits;
use snapshots::Snapshots;

/// How often the oplog window is looked up; it moves slowly.
const OPLOG_LOOK_EVERY: Duration = Duration::from_mins(1);

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Drained: all that was read is in the lake.
    Drained,
    /// silt can't continue; the log says why.
    Failed,
    /// Stopped with changes that aren't in the lake; the next start reads them again.
    Undrained,
}

/// Why a start ends.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An error that a retry doesn't fix.
    #[error("{0}")]
    Permanent(String),
    /// A signal asked to stop first.
    #[error("stopped before the start was done")]
    Stopped,
}

/// Runs until a signal or a permanent error.
///
/// # Errors
///
/// Signal handlers can't be installed.
pub async fn run(settings: &Settings) -> std::io::Result<Outcome> {
    let mut signals = Signals::listen()?;
    let clock = Clock::start();
    let board = Board::new(about(settings), clock);
    if let Err(error) = listen(settings, &board).await {
        error!(%error, "can't start");
        return Ok(Outcome::Failed);
    }
    let started = start(&board, settings, clock, &mut signals).await;
    let (shared, facts) = match started {
        Ok(started) => started,
        Err(StartError::Stopped) => {
            info!("stopped before anything was read");
            return Ok(Outcome::Drained);
        }
        Err(StartError::Permanent(message)) => {
            error!(error = message, "can't start");
            return Ok(Outcome::Failed);
        }
    };
    let (exit_sender, mut exits) = mpsc::channel(1);
    let feeds = settings.feeds.iter().map(|feed| {
        let edges = shared.edges(feed);
        let limits = limits(shared.lake.as_ref(), feed);
        let config = edges::feed_config(feed, limits);
        Worker::spawn(config, edges, exit_sender.clone())
    });
    let feeds: Vec<Handle> = feeds.collect();
    let views = feeds.iter().zip(&settings.feeds);
    let views = views.map(|(handle, feed)| FeedView::of(handle, &feed.files.limits));
    let views = views.collect();
    let snapshots = Snapshots::start(settings, &shared, &feeds, exit_sender.clone());
    let progress = snapshots
        .as_ref()
        .map(|snapshots| snapshots.statuses.clone());
    let closings = Closings::start(settings, &shared, &feeds, exit_sender.clone());
    let closing = closings.as_ref().map(|closings| closings.statuses.clone());
    board.show(facts, shared.budget.clone(), views, progress, closing);
    let oplog = tokio::spawn(watch_oplog(shared.deployment.clone(), board));
    let names = tokio::spawn(misspelled::warn_of_names(
        settings.source.databases.clone(),
        settings.source.collections.clone(),
        shared.deployment.clone(),
    ));
    let triggers = Triggers {
        signals: &mut signals,
        exits: &mut exits,
    };
    let failed = serve(settings, &shared.budget, &feeds, triggers).await;
    // One exit is enough.
    drop(exits);
    oplog.abort();
    names.abort();
    // The next start continues them.
    drop(snapshots);
    drop(closings);
    let drained = drain(feeds, settings.shutdown_timeout, &mut signals).await;
    Ok(match drained {
        Drained::Broken => Outcome::Failed,
        _ if failed => Outcome::Failed,
        Drained::All => Outcome::Drained,
        Drained::Cut => Outcome::Undrained,
    })
}

/// What all feeds share.
struct Shared {
    deployment: Deployment,
    lake: Arc<dyn Lake>,
    checkpoints: Arc<dyn Checkpoints>,
    budget: Budget,
    feed_limit_bytes: u64,
    uploads: Arc<Semaphore>,
    processors: Processors,
    clock: Clock,
}

impl Shared {
    /// The edges of one feed.
    fn edges(&self, feed: &FeedSettings) -> Edges {
        Edges {
            deployment: self.deployment.clone(),
            lake: Arc::clone(&self.lake),
            checkpoints: Arc::clone(&self.checkpoints),
            stream_options: edges::stream_options(feed),
            budget: self.budget.clone(),
            feed_limit_bytes: self.feed_limit_bytes,
            uploads: Arc::clone(&self.uploads),
            processors: self.processors.clone(),
            gzip_level: feed.files.gzip_level,
            clock: self.clock,
        }
    }
}

fn about(settings: &Settings) -> About {
    let feeds = settings.feeds.iter();
    let feeds = feeds.map(|feed| (feed.watched.namespace(), feed.files.limits.clone()));
    About {
        feeds: feeds.collect(),
        mongodb: settings.source.uri_for_people.clone(),
        lake: settings.lake.url_for_people.clone(),
        schedule: settings.schedule.clone(),
        buffer_limit_bytes: settings.buffer_limit_bytes,
        token: settings.http.token.clone(),
    }
}

/// Shows the oplog window and keeps it current. While the server is unavailable, the last one stays.
async fn watch_oplog(deployment: Deployment, board: Board) {
    loop {
        if let Some(window) = deployment.oplog_window().await {
            board.show_oplog(window);
        } else {
            debug!("the oplog can't be read, so the runway is unknown");
        }
        tokio::time::sleep(OPLOG_LOOK_EVERY).await;
    }
}

/// Starts to answer HTTP requests, unless they are off.
async fn listen(settings: &Settings, board: &Board) -> Result<(), StartError> {
    let Some(address) = settings.http.address else {
        return Ok(());
    };
    let bound = http::serve(address, board.clone()).await.map_err(|error| {
        StartError::Permanent(format!(
            "can't listen on HTTP_ADDR={address}: {error}; choose another port, or off"
        ))
    })?;
    info!(address = %bound, "answers over HTTP: /, /status, /metrics, /livez, /readyz");
    Ok(())
}

/// The limits of a feed in this lake.
fn limits(lake: &dyn Lake, feed: &FeedSettings) -> Limits {
    let mut limits = feed.files.limits.clone();
    limits.file_limit_commits = match lake.limits().commits_per_file {
        Some(most) => limits.file_limit_commits.min(most),
        None => u32::MAX,
    };
    limits
}

/// Connects to MongoDB and the lake. Transient errors are retried until a signal asks to stop.
async fn start(
    board: &Board,
    settings: &Settings,
    clock: Clock,
    signals: &mut Signals,
) -> Result<(Shared, Facts), StartError> {
    let lake = edges::open_lake(&settings.lake)
        .map_err(|error| StartError::Permanent(error.to_string()))?;
    let prepared = retried(board, settings, signals, || async {
        lake.prepare().await.map_err(|error| Failure::from(&error))
    })
    .await?;
    if prepared == Prepared::Created {
        info!(lake = settings.lake.url_for_people, "created the lake");
    }
    let deployment = retried(board, settings, signals, || async {
        edges::connect(settings)
            .await
            .map_err(|error| Failure::from(&error))
    })
    .await?;
    let facts = retried(board, settings, signals, || async {
        deployment
            .facts()
            .await
            .map_err(|error| Failure::from(&error))
    })
    .await?;
    info!(
        mongodb = facts.version,
        replica_set = facts.replica_set.as_deref().unwrap_or("(sharded)"),
        lake = settings.lake.url_for_people,
        "connected"
    );
    let checkpoints = edges::checkpoints(settings, &deployment, &lake);
    let streams = settings.feeds.len().max(1) as u64;
    let shared = Shared {
        deployment,
        lake,
        checkpoints,
        budget: Budget::new(settings.buffer_limit_bytes),
        feed_limit_bytes: settings.buffer_limit_bytes / (2 * streams),
        uploads: Arc::new(Semaphore::new(settings.lake.concurrency)),
        processors: Processors::all(),
        clock,
    };
    Ok((shared, facts))
}

/// Retries an operation of the start until it succeeds, fails permanently, or a signal asks to stop. Here a halt is
/// permanent too: an operator is watching, and nothing else runs yet.
async fn retried<T, F: Future<Output = Result<T, Failure>>>(
    board: &Board,
    settings: &Settings,
    signals: &mut Signals,
    operation: impl Fn() -> F,
) -> Result<T, StartError> {
    let mut backoff = Backoff::new(settings.files.limits.retry_delay_ms, fastrand::u64(..));
    loop {
        let failure = tokio::select! {
            result = operation() => match result {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            },
            _ = signals.stop() => return Err(StartError::Stopped),
        };
        let delay_ms = match failure.disposition {
            Disposition::Halt | Disposition::HistoryLost { .. } | Disposition::Exit => {
                return Err(StartError::Permanent(failure.message));
            }
            Disposition::Retry { .. } | Disposition::Reload => backoff.failed(failure.disposition),
        };
        warn!(
            error = failure.message,
            delay_ms, "can't start yet, retrying"
        );
        board.show_failure(&failure, backoff.failures());
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(delay_ms)) => {}
            _ = signals.stop() => return Err(StartError::Stopped),
        }
    }
}

/// What can happen to the service while the feeds run.
struct Triggers<'a> {
    signals: &'a mut Signals,
    exits: &'a mut mpsc::Receiver<String>,
}

/// Passes on triggers until it is time to stop. Returns whether the reason is a failure.
async fn serve(
    settings: &Settings,
    budget: &Budget,
    feeds: &[Handle],
    triggers: Triggers<'_>,
) -> bool {
    let Triggers { signals, exits } = triggers;
    loop {
        let reason = tokio::select! {
            request = signals.next() => match request {
                Request::Stop(name) => {
                    info!(signal = name, "draining");
                    return false;
                }
                Request::Flush => FlushReason::Signal,
            },
            Some(message) = exits.recv() => {
                error!(error = message, "can't continue, draining");
                return true;
            }
            () = budget.pressed() => FlushReason::Pressure,
            () = next_cron(&settings.schedule) => FlushReason::Cron,
        };
        if reason == FlushReason::Signal {
            info!("flushing all collections on SIGUSR1");
        }
        for feed in feeds {
            // If the queue is full, a flush is in it already.
            let _ = feed.commands.try_send(Command::Flush(reason));
        }
    }
}

/// Waits for the schedule. Long waits are split, so that a change of the wall clock is noticed.
async fn next_cron(schedule: &Schedule) {
    const LOOK_MS: i64 = 30_000;
    let Some(at_unix_ms) = next_flush(schedule, chrono::Utc::now().timestamp_millis()) else {
        return std::future::pending().await;
    };
    loop {
        let left_ms = at_unix_ms - chrono::Utc::now().timestamp_millis();
        match u64::try_from(left_ms.min(LOOK_MS)) {
            Ok(wait_ms @ 1..) => tokio::time::sleep(Duration::from_millis(wait_ms)).await,
            _ => return,
        }
    }
}

/// How a drain ended; the worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Drained {
    /// Every feed finished.
    All,
    /// The time ran out, a second signal came, or changes were given up.
    Cut,
    /// A feed panicked.
    Broken,
}

/// Lets every feed flush and save.
async fn drain(mut feeds: Vec<Handle>, limit: Duration, signals: &mut Signals) -> Drained {
    let all = async {
        for feed in &feeds {
            // A feed that has ended doesn't listen.
            let _ = feed.commands.send(Command::Drain).await;
        }
        let mut drained = Drained::All;
        for feed in &mut feeds {
            let end = match (&mut feed.task).await.unwrap_or(End::Broke) {
                End::Drained => Drained::All,
                End::GaveUp => Drained::Cut,
                End::Broke => Drained::Broken,
            };
            drained = drained.max(end);
        }
        drained
    };
    let why = {
        let mut all = pin!(all);
        tokio::select! {
            drained = &mut all => {
                if drained == Drained::All {
                    info!("drained: all that was read is in the lake");
                }
                return drained;
            }
            name = signals.stop() => format!("a second signal ({name})"),
            () = tokio::time::sleep(limit) => {
                format!("SHUTDOWN_TIMEOUT_SECONDS ({} s)", limit.as_secs())
            }
        }
    };
    for feed in feeds.iter().filter(|feed| !feed.task.is_finished()) {
        let (collection, status) = (feed.namespace.to_string(), feed.status.borrow());
        let (changes, trouble) = (status.buffered_changes, status.trouble.as_ref());
        let error = trouble.map(|trouble| trouble.message.as_str());
        if changes == 0 {
            warn!(
                collection,
                error, "its position is not saved; the next start skips what the lake holds"
            );
        } else {
            warn!(
                collection,
                changes,
                error,
                "not drained: these changes are not in the lake; the next start reads them again"
            );
        }
    }
    error!("stopped by {why} before all was drained; nothing is lost");
    Drained::Cut
}
