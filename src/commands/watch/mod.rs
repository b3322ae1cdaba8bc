//! `silt watch`: prints changes as they come, and keeps nothing.
//!
//! It reads the streams that `run` would read, through the same reader and encoder, and goes on after lost
//! connections from the last change that it has.

mod follow;
mod output;
mod pretty;
mod quiet;

use std::fs::File;
use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::budget::Budget;
use crate::clock::Clock;
use crate::edges;
use crate::processors::Processors;
use crate::settings::{WatchFrom, WatchSettings, WatchedStream};
use crate::signals::Signals;
use crate::source::{Deployment, Patience, Reader, SourceError};
use follow::{Follower, News};
use output::Output;
use silt_core::backoff::Backoff;
use silt_core::batch::Changes;
use silt_core::failure::{Disposition, Failure};
use silt_core::position::{ClusterTime, Position};

/// When silence is explained.
const QUIET_LIMIT: Duration = Duration::from_secs(10);
/// Memory for the lines that wait to be written.
const BUFFER_LIMIT_BYTES: u64 = 64 << 20;
/// Pieces of news that wait, beside the one that is shown.
const NEWS_MAX: usize = 1;

/// Why nothing more can be shown.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The system gives no signal handlers.
    #[error("the system gives no signal handlers")]
    Signals(#[source] io::Error),
    /// The standard output takes nothing.
    #[error("can't write to the standard output")]
    Output(#[source] io::Error),
    /// The changes from here on are no longer in the oplog.
    #[error("{message}. {oldest}begin later, with --from, or now, without it")]
    HistoryLost {
        /// What the server said.
        message: String,
        /// A sentence on where the oplog begins, if that is known.
        oldest: String,
    },
    /// The token of `--from` is unknown.
    #[error(
        "the server refuses the resume token of --from: it belongs to another stream or deployment, or isn't whole. \
         Give the _id of a change of this stream, or a time"
    )]
    TokenRefused,
    /// Another attempt would fail, too.
    #[error("{0}")]
    Hopeless(String),
    /// A bug, which the log describes.
    #[error("a stream broke off")]
    Broken,
}

impl From<Failure> for WatchError {
    fn from(failure: Failure) -> Self {
        match failure.disposition {
            Disposition::HistoryLost { oldest } => Self::HistoryLost {
                message: failure.message,
                oldest: oldest.map_or_else(String::new, |time| format!("It begins at {time}: ")),
            },
            _ if failure.cause == TOKEN_REFUSED => {
                debug!(error = failure.message, "refused");
                Self::TokenRefused
            }
            _ => Self::Hopeless(failure.message),
        }
    }
}

/// The cause of [`SourceError::TokenRefused`].
const TOKEN_REFUSED: &str = "mongodb_token_refused";

/// Prints changes until the limit is reached, a signal arrives, or the reader of the output is gone.
///
/// # Errors
///
/// The server refuses a stream for good, or the changes can't be written.
pub async fn run(
    settings: &WatchSettings,
    stdout: File,
    has_colour: bool,
) -> Result<(), WatchError> {
    let mut stop = Signals::listen().map_err(WatchError::Signals)?;
    let mut output = Output::new(stdout);
    let closed = output.closed();
    let end = tokio::select! {
        _ = stop.stop() => Ok(()),
        () = closed => Ok(()),
        end = show(settings, &mut output, has_colour) => end,
    };
    output.finish().await;
    match end {
        Err(WatchError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        end => end,
    }
}

/// Prints changes until the limit.
async fn show(
    settings: &WatchSettings,
    output: &mut Output,
    has_colour: bool,
) -> Result<(), WatchError> {
    let (deployment, from) = reach(settings).await?;
    let mut tasks = JoinSet::new();
    let mut news = follow_all(settings, &deployment, &from, &mut tasks);
    let mut lines = Lines {
        left: settings.limit,
        is_pretty: settings.is_pretty,
        has_colour,
        bytes: Vec::new(),
    };
    let mut unopened = settings.streams.len();
    let mut is_quiet = true;
    let mut explanation = pin!(tokio::time::sleep(QUIET_LIMIT));
    loop {
        tokio::select! {
            Some(next) = news.recv() => match next {
                News::Opened => {
                    unopened -= 1;
                    if unopened == 0 {
                        describe(settings);
                        explanation.as_mut().reset(tokio::time::Instant::now() + QUIET_LIMIT);
                    }
                }
                News::Changes { changes, taken } => {
                    is_quiet = false;
                    lines.add(&changes);
                    output.write(std::mem::take(&mut lines.bytes)).await.map_err(WatchError::Output)?;
                    drop(taken);
                    if lines.left == Some(0) {
                        return Ok(());
                    }
                }
                News::Ended(error) => return Err(error),
            },
            Some(ended) = tasks.join_next() => if ended.is_err() {
                return Err(WatchError::Broken);
            },
            () = &mut explanation, if is_quiet && unopened == 0 => {
                is_quiet = false;
                let seconds = QUIET_LIMIT.as_secs();
                tasks.spawn(quiet::explain(deployment.clone(), settings.clone(), seconds));
            }
        }
    }
}

/// Reaches the deployment. Returns it, and where the streams begin.
async fn reach(settings: &WatchSettings) -> Result<(Deployment, Position), WatchError> {
    let delay_ms = settings.retry_delay_ms;
    let streams = settings.streams.len();
    let connect = || edges::connect_for(&settings.source, streams);
    let deployment = retried(delay_ms, connect).await?;
    let facts = retried(delay_ms, || deployment.facts()).await?;
    debug!(
        mongodb = facts.version,
        server = settings.source.uri_for_people,
        "connected"
    );
    let from = match &settings.from {
        WatchFrom::Position(position) => position.clone(),
        WatchFrom::Now => {
            let now = retried(delay_ms, || deployment.cluster_time()).await?;
            Position::At(ClusterTime {
                increment: now.increment.saturating_add(1),
                ..now
            })
        }
    };
    Ok((deployment, from))
}

/// Starts to follow all streams.
fn follow_all(
    settings: &WatchSettings,
    deployment: &Deployment,
    from: &Position,
    tasks: &mut JoinSet<()>,
) -> mpsc::Receiver<News> {
    let (sender, news) = mpsc::channel(NEWS_MAX);
    let budget = Budget::new(BUFFER_LIMIT_BYTES);
    let (processors, clock) = (Processors::all(), Clock::start());
    for stream in &settings.streams {
        let reader = Reader {
            deployment: deployment.clone(),
            options: edges::line_options(&stream.watched, &stream.stream, stream.json_mode),
            budget: budget.clone(),
            processors: processors.clone(),
            parcel_limit_bytes: u64::MAX,
            patience: Patience::new(deployment.request_limit()),
            clock,
        };
        let follower = Follower {
            name: name_of(stream),
            reader,
            position: from.clone(),
            backoff: Backoff::new(settings.retry_delay_ms, fastrand::u64(..)),
            is_open: false,
            news: sender.clone(),
        };
        tasks.spawn(follower.run());
    }
    news
}

/// What a stream is called in messages.
fn name_of(stream: &WatchedStream) -> String {
    stream.watched.namespace().to_string()
}

/// Says what is watched, once it is.
fn describe(settings: &WatchSettings) {
    let names: Vec<String> = settings.streams.iter().map(name_of).collect();
    let filters = filters(settings);
    let filters = (!filters.is_empty()).then(|| filters.join(" "));
    let from = match &settings.from {
        WatchFrom::Now => "now".to_owned(),
        WatchFrom::Position(Position::At(time)) => time.to_string(),
        WatchFrom::Position(Position::After(_)) => "the change after the resume token".to_owned(),
    };
    info!(collections = names.join(", "), filters, from, "watching");
}

/// The filters of all streams, each once.
fn filters(settings: &WatchSettings) -> Vec<String> {
    let mut filters = Vec::new();
    for stream in &settings.streams {
        for filter in stream.stream.change_filters() {
            if !filters.contains(&filter) {
                filters.push(filter);
            }
        }
    }
    filters
}

/// Lines for the output.
struct Lines {
    /// Changes to show yet; `None` for all.
    left: Option<u64>,
    is_pretty: bool,
    has_colour: bool,
    bytes: Vec<u8>,
}

impl Lines {
    fn add(&mut self, changes: &Changes) {
        let mut last_token = "";
        for change in changes.iter() {
            // A rename between two watched collections comes once for each.
            if change.token == last_token {
                continue;
            }
            last_token = change.token;
            match &mut self.left {
                Some(0) => return,
                Some(left) => *left -= 1,
                None => {}
            }
            if self.is_pretty {
                pretty::write(change.line, self.has_colour, &mut self.bytes);
            } else {
                self.bytes.extend_from_slice(change.line);
            }
        }
    }
}

/// Tries an operation until it succeeds or is hopeless.
async fn retried<T, F>(delay_ms: u64, operation: impl Fn() -> F) -> Result<T, WatchError>
where
    F: Future<Output = Result<T, SourceError>>,
{
    let mut backoff = Backoff::new(delay_ms, fastrand::u64(..));
    loop {
        match operation().await {
            Ok(value) => return Ok(value),
            Err(error) => wait_after(Failure::from(&error), &mut backoff, None).await?,
        }
    }
}

/// Waits before the next attempt, if one may succeed. `collection`: whose stream failed.
async fn wait_after(
    failure: Failure,
    backoff: &mut Backoff,
    collection: Option<&str>,
) -> Result<(), WatchError> {
    match failure.disposition {
        Disposition::Retry { .. } | Disposition::Reload => {
            let delay_ms = backoff.failed(failure.disposition);
            let error = failure.message;
            warn!(collection, error, delay_ms, "can't read now, retrying");
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
            Ok(())
        }
        Disposition::Halt | Disposition::HistoryLost { .. } | Disposition::Exit => {
            Err(failure.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(tokens: &[&str]) -> Changes {
        let mut changes = Changes::default();
        for token in tokens {
            let write = |lines: &mut Vec<u8>, tokens: &mut String| {
                lines.extend_from_slice(format!("{{\"{token}\":1}}\n").as_bytes());
                tokens.push_str(token);
                Ok::<_, ()>(ClusterTime {
                    seconds: 1,
                    increment: 1,
                })
            };
            changes.push(write).unwrap();
        }
        changes
    }

    #[test]
    fn a_change_of_two_collections_is_shown_once_and_the_limit_counts_what_is_shown() {
        let mut lines = Lines {
            left: Some(3),
            is_pretty: false,
            has_colour: false,
            bytes: Vec::new(),
        };
        lines.add(&changes(&["a", "a", "b"]));
        assert_eq!(lines.left, Some(1));
        lines.add(&changes(&["c", "c", "d"]));
        assert_eq!(lines.left, Some(0));
        assert_eq!(lines.bytes, b"{\"a\":1}\n{\"b\":1}\n{\"c\":1}\n");
    }
}
