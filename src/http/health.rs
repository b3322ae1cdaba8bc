//! Liveness and readiness.

use std::time::Duration;

use futures::future::join_all;
use hyper::StatusCode;
use serde::Serialize;
use tokio::sync::oneshot;

use super::answer::{Answer, json};
use super::board::{Board, FeedView};
use crate::worker::Status;
use silt_core::namespace::Namespace;

/// A feed that gives no sign of life within this time is stuck. It waits for nothing but channels and
/// the clock.
const SIGN_OF_LIFE_LIMIT: Duration = Duration::from_secs(3);

/// The body of `/readyz`.
#[derive(Serialize)]
struct Readiness {
    ready: bool,
    /// The feeds that aren't ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_ready: Vec<Ailing>,
}

/// The body of `/livez`.
#[derive(Serialize)]
struct Liveness {
    live: bool,
    /// The feeds that make no progress.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stuck: Vec<Ailing>,
}

#[derive(Serialize)]
struct Ailing {
    database: String,
    collection: String,
    why: String,
}

impl Ailing {
    fn new(origin: &Namespace, why: String) -> Self {
        let Namespace {
            database,
            collection,
            ..
        } = origin.clone();
        Self {
            database,
            collection,
            why,
        }
    }
}

/// Whether every feed gives a sign of life.
pub(super) async fn liveness(board: &Board) -> Answer {
    let feeds = board.feeds();
    let stuck: Vec<Ailing> = join_all(
        feeds
            .iter()
            .map(|feed| sign_of_life(feed, SIGN_OF_LIFE_LIMIT)),
    )
    .await
    .into_iter()
    .flatten()
    .collect();
    let live = stuck.is_empty();
    json(status_of(live), &Liveness { live, stuck })
}

async fn sign_of_life(feed: &FeedView, limit: Duration) -> Option<Ailing> {
    let sign = async {
        let (sender, answer) = oneshot::channel();
        // A feed that has ended owes no sign.
        if feed.pings.send(sender).await.is_ok() {
            let _ = answer.await;
        }
    };
    let sign = tokio::time::timeout(limit, sign).await;
    sign.is_err().then(|| {
        let limit_ms = limit.as_millis();
        Ailing::new(
            &feed.origin,
            format!("no sign of life within {limit_ms} ms"),
        )
    })
}

/// Whether all feeds are ready, and which isn't and why.
pub(super) fn readiness(board: &Board) -> Answer {
    let not_ready: Vec<Ailing> = board
        .feeds()
        .iter()
        .filter_map(|feed| {
            let why = obstacle(&feed.status.borrow(), feed.limits.retry_attempts)?;
            Some(Ailing::new(&feed.origin, why))
        })
        .collect();
    let ready = board.is_running() && not_ready.is_empty();
    json(status_of(ready), &Readiness { ready, not_ready })
}

/// Whether a feed is ready.
pub(super) fn is_feed_ready(feed: &FeedView, status: &Status) -> bool {
    obstacle(status, feed.limits.retry_attempts).is_none()
}

fn status_of(is_good: bool) -> StatusCode {
    if is_good {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

/// Why a feed isn't ready, if it isn't. Trouble that passes within the usual tries is none.
pub(super) fn obstacle(status: &Status, retry_attempts: u32) -> Option<String> {
    match &status.trouble {
        Some(trouble) if trouble.is_halt => Some(format!("halted: {}", trouble.message)),
        Some(trouble) if trouble.failures >= retry_attempts || !status.is_watching => {
            Some(trouble.message.clone())
        }
        _ if !status.is_watching => Some("its stream is not open".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::board::tests::board;
    use super::*;
    use silt_core::machine::Trouble;

    fn status(is_watching: bool, trouble: Option<(u32, bool)>) -> Status {
        Status {
            is_watching,
            trouble: trouble.map(|(failures, is_halt)| Trouble {
                message: "the lake said no".to_owned(),
                failures,
                is_halt,
            }),
            ..Status::default()
        }
    }

    #[test]
    fn a_feed_is_ready_if_it_watches_and_no_trouble_lasts() {
        for (status, why) in [
            (status(true, None), None),
            (status(true, Some((2, false))), None),
            (status(true, Some((3, false))), Some("the lake said no")),
            (
                status(true, Some((1, true))),
                Some("halted: the lake said no"),
            ),
            (status(false, Some((1, false))), Some("the lake said no")),
            (status(false, None), Some("its stream is not open")),
        ] {
            assert_eq!(obstacle(&status, 3).as_deref(), why, "{status:?}");
        }
    }

    #[test]
    fn the_body_names_who_is_not_ready() {
        let ready = readiness(&board(vec![("users", status(true, None))], None));
        assert_eq!(ready.status(), StatusCode::OK);
        assert_eq!(ready.text(), "{\"ready\":true}\n");
        let halted = status(true, Some((1, true)));
        let board = board(
            vec![("orders", status(true, None)), ("users", halted)],
            None,
        );
        let answer = readiness(&board);
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            answer.text(),
            "{\"ready\":false,\"not_ready\":[{\"database\":\"mydb\",\"collection\":\"users\",\
             \"why\":\"halted: the lake said no\"}]}\n"
        );
    }

    #[tokio::test]
    async fn a_feed_that_gives_no_sign_is_stuck() {
        let (pings, _held) = tokio::sync::mpsc::channel(1);
        let board = board(vec![("users", status(true, None))], None);
        let mut views = board.feeds().to_vec();
        assert!(
            sign_of_life(&views[0], Duration::ZERO).await.is_none(),
            "it has ended"
        );
        views[0].pings = pings;
        let stuck = sign_of_life(&views[0], Duration::ZERO).await.unwrap();
        assert_eq!(stuck.why, "no sign of life within 0 ms");
    }
}
