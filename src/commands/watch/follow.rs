//! Follows one stream over lost connections.

use tokio::sync::mpsc;
use tracing::warn;

use super::{WatchError, wait_after};
use crate::budget::Taken;
use crate::source::{Reader, Report};
use silt_core::backoff::Backoff;
use silt_core::batch::Changes;
use silt_core::failure::{Disposition, Failure};
use silt_core::position::{Position, ResumeToken};

/// Reports that wait, beside the one that is passed on.
const REPORTS_MAX: usize = 1;

/// What a follower has to say.
#[derive(Debug)]
pub(super) enum News {
    /// Its stream is open for the first time.
    Opened,
    /// Changes, and the memory that they hold.
    Changes {
        /// Their lines.
        changes: Changes,
        /// Returned when it is dropped.
        taken: Taken,
    },
    /// It can't go on.
    Ended(WatchError),
}

/// Follows one stream.
#[derive(Debug)]
pub(super) struct Follower {
    /// What messages call it.
    pub(super) name: String,
    pub(super) reader: Reader,
    /// After everything that was passed on.
    pub(super) position: Position,
    pub(super) backoff: Backoff,
    /// Whether it has ever been open.
    pub(super) is_open: bool,
    pub(super) news: mpsc::Sender<News>,
}

/// How the reading of a stream ended.
enum End {
    /// The next stream begins after a change that ended this one, or that can't be shown.
    Passed,
    Failed(Failure),
    /// Nobody listens any more.
    Unheard,
}

impl Follower {
    /// Passes changes on until nobody listens, or it can't go on.
    pub(super) async fn run(mut self) {
        loop {
            let (sender, reports) = mpsc::channel(REPORTS_MAX);
            let reading = self.reader.clone().run(self.position.clone(), sender);
            let ((), end) = tokio::join!(reading, self.pass_on(reports));
            let failure = match end {
                End::Passed => continue,
                End::Unheard => return,
                End::Failed(failure) => failure,
            };
            let waited = wait_after(failure, &mut self.backoff, Some(&self.name)).await;
            if let Err(error) = waited {
                // If nobody listens, there is nobody to tell.
                let _ = self.news.send(News::Ended(error)).await;
                return;
            }
        }
    }

    async fn pass_on(&mut self, mut reports: mpsc::Receiver<Report>) -> End {
        while let Some(report) = reports.recv().await {
            let news = match report {
                Report::Opened(Ok(())) => {
                    self.backoff.succeeded();
                    if std::mem::replace(&mut self.is_open, true) {
                        continue;
                    }
                    News::Opened
                }
                Report::Changes { changes, taken, .. } => {
                    if let Some(last) = changes.iter().last() {
                        self.position = Position::After(ResumeToken::from_canonical(last.token));
                    }
                    News::Changes { changes, taken }
                }
                Report::Idle(token) => {
                    self.position = Position::After(token);
                    continue;
                }
                Report::TooLarge(event) => {
                    warn!(change = %event, "a change is larger than 16 MB and can't be shown");
                    self.position = Position::After(event.token);
                    return End::Passed;
                }
                Report::Closed(None) => return End::Passed,
                Report::Opened(Err(failure)) | Report::Closed(Some(failure)) => {
                    return End::Failed(failure);
                }
            };
            if self.news.send(news).await.is_err() {
                return End::Unheard;
            }
        }
        // The last report ends the loop, so there was none.
        End::Failed(Failure {
            disposition: Disposition::RETRY,
            cause: "silt_reader",
            message: "the reader stopped without a word".to_owned(),
        })
    }
}
