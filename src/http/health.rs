//! Readiness: every feed watches, and its last flush did not fail.

use hyper::StatusCode;
use serde::Serialize;
use tokio::sync::watch;

use crate::archive::frame::Origin;
use crate::worker::{Handle, Status};

/// A feed as it is seen from outside.
#[derive(Clone, Debug)]
pub struct FeedView {
    origin: Origin,
    status: watch::Receiver<Status>,
}

impl From<&Handle> for FeedView {
    fn from(feed: &Handle) -> Self {
        Self {
            origin: feed.origin.clone(),
            status: feed.status.clone(),
        }
    }
}

/// The body of `/readyz`.
#[derive(Serialize)]
struct Readiness {
    ready: bool,
    /// The feeds that aren't ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_ready: Vec<NotReady>,
}

#[derive(Serialize)]
struct NotReady {
    database: String,
    collection: String,
    why: String,
}

/// Whether all feeds are ready, and which isn't and why. `None`: silt is still reaching its servers.
pub(super) fn readiness(feeds: Option<&[FeedView]>, retry_attempts: u32) -> (StatusCode, String) {
    let not_ready: Vec<NotReady> = feeds
        .unwrap_or_default()
        .iter()
        .filter_map(|feed| {
            let why = obstacle(&feed.status.borrow(), retry_attempts)?;
            let Origin {
                database,
                collection,
            } = feed.origin.clone();
            Some(NotReady {
                database,
                collection,
                why,
            })
        })
        .collect();
    let ready = feeds.is_some() && not_ready.is_empty();
    let body = serde_json::to_string(&Readiness { ready, not_ready });
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    match body {
        Ok(body) => (status, body + "\n"),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// Why a feed isn't ready, if it isn't. Trouble that passes within the usual tries is none.
fn obstacle(status: &Status, retry_attempts: u32) -> Option<String> {
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
    use super::*;
    use crate::archive::machine::Trouble;

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

    fn view(status: Status) -> FeedView {
        FeedView {
            origin: Origin {
                database: "mydb".to_owned(),
                collection: "users".to_owned(),
            },
            // What was sent last stays to be seen.
            status: watch::channel(status).1,
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
        let starting = readiness(None, 3);
        assert_eq!(starting.0, StatusCode::SERVICE_UNAVAILABLE);
        let ready = readiness(Some(&[view(status(true, None))]), 3);
        assert_eq!(ready, (StatusCode::OK, "{\"ready\":true}\n".to_owned()));
        let feeds = [
            view(status(true, None)),
            view(status(true, Some((1, true)))),
        ];
        let (code, body) = readiness(Some(&feeds), 3);
        assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["not_ready"].as_array().unwrap().len(), 1);
        assert_eq!(body["not_ready"][0]["collection"], "users");
        assert_eq!(body["not_ready"][0]["why"], "halted: the lake said no");
    }
}
