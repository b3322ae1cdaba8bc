//! `POST /flush`: flushes now, and answers when the lake has what was read.

use std::time::Duration;

use futures::future::join_all;
use hyper::StatusCode;
use hyper::header::{HeaderValue, WWW_AUTHENTICATE};
use serde::Serialize;
use subtle::ConstantTimeEq as _;
use url::form_urlencoded;

use super::answer::{Answer, json, refusal};
use super::board::{Board, FeedView};
use super::health;
use crate::worker::{Command, Outcome, Status};
use silt_core::batch::FlushReason;

/// Longest wait for a flush that a request asked for.
pub const FLUSH_LIMIT: Duration = Duration::from_secs(30);

/// How long a feed that isn't read gets for the try that a flush makes at once.
const TRY_LIMIT: Duration = Duration::from_secs(3);

/// The body.
#[derive(Serialize)]
struct Flushes {
    flushed: bool,
    collections: Vec<Flush>,
}

#[derive(Serialize)]
struct Flush {
    database: String,
    collection: String,
    /// Changes that waited.
    changes: u64,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// Flushes what `collection=` in the query names, or everything.
pub(super) async fn flush(
    board: &Board,
    authorization: Option<&HeaderValue>,
    query: &str,
) -> Answer {
    if let Some(refusal) = refuse(board, authorization) {
        return refusal;
    }
    let named: Vec<String> = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name == "collection")
        .map(|(_, value)| value.into_owned())
        .collect();
    if !board.is_running() {
        let why = "silt is still starting: nothing is read yet";
        return refusal(StatusCode::SERVICE_UNAVAILABLE, why);
    }
    let feeds = board.feeds();
    let is_watched = |name: &&String| feeds.iter().any(|feed| feed.carries(name));
    if let Some(unknown) = named.iter().find(|name| !is_watched(name)) {
        return refusal(StatusCode::NOT_FOUND, &format!("{unknown} isn't watched"));
    }
    let is_meant =
        |feed: &&FeedView| named.is_empty() || named.iter().any(|name| feed.carries(name));
    let Ok(_turn) = board.flush_turns().try_acquire() else {
        let why = "others flush already: ask again when they are done";
        return refusal(StatusCode::TOO_MANY_REQUESTS, why);
    };
    let meant = feeds.iter().filter(is_meant);
    let collections = join_all(meant.map(flush_one)).await;
    let flushed = collections.iter().all(|one| one.done);
    let status = if flushed {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    json(
        status,
        &Flushes {
            flushed,
            collections,
        },
    )
}

/// Why the request may not flush, if it may not.
fn refuse(board: &Board, authorization: Option<&HeaderValue>) -> Option<Answer> {
    let Some(token) = &board.about().token else {
        let why = "HTTP_TOKEN isn't set, so nobody may flush over HTTP";
        return Some(refusal(StatusCode::FORBIDDEN, why));
    };
    let given = authorization.and_then(|value| bearer(value.as_bytes()));
    // How long it takes must not say how much of it was right.
    let is_right = given.is_some_and(|given| given.ct_eq(token.reveal().as_bytes()).into());
    (!is_right).then(|| {
        let why = "Authorization: Bearer with the value of HTTP_TOKEN is needed";
        refusal(StatusCode::UNAUTHORIZED, why).with(WWW_AUTHENTICATE, "Bearer realm=\"silt\"")
    })
}

/// What stands behind the scheme, whose case doesn't matter (RFC 9110, 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

async fn flush_one(feed: &FeedView) -> Flush {
    let before = feed.status.borrow().clone();
    let waiting = tokio::time::timeout(FLUSH_LIMIT, wait_for(feed, &before));
    let why = waiting.await.unwrap_or_else(|_| {
        let seconds = FLUSH_LIMIT.as_secs();
        Some(format!("not done within {seconds} s; it goes on"))
    });
    let why = match why {
        None => unread(feed, &before).await,
        why => why,
    };
    Flush {
        database: feed.origin.database.clone(),
        collection: feed.origin.collection.clone(),
        changes: before.buffered_changes,
        done: why.is_none(),
        why,
    }
}

/// Flushes and waits until all that waited `before` is in the lake, or why it isn't.
async fn wait_for(feed: &FeedView, before: &Status) -> Option<String> {
    let ended = || Some("it has stopped; the log says why".to_owned());
    // Also with nothing in memory: what waits for its next try is tried at once.
    let command = Command::Flush(FlushReason::Http);
    if feed.commands.send(command).await.is_err() {
        return (before.buffered_changes > 0).then(ended).flatten();
    }
    let mut status = feed.status.clone();
    match status.wait_for(|now| outcome(before, now).is_some()).await {
        Ok(now) => outcome(before, &now)?.err(),
        Err(_) => ended(),
    }
}

/// Why the feed isn't read, if it isn't: then there may be more than what it flushed. What waits for its
/// next try is tried at once on a flush, so it gets a moment.
async fn unread(feed: &FeedView, before: &Status) -> Option<String> {
    let obstacle = |status: &Status| health::obstacle(status, feed.limits.retry_attempts);
    let failures = |status: &Status| status.tally.retries.values().sum::<u64>();
    let mut status = feed.status.clone();
    let is_known = |now: &Status| obstacle(now).is_none() || failures(now) > failures(before);
    let known = tokio::time::timeout(TRY_LIMIT, status.wait_for(is_known)).await;
    drop(known);
    let why = obstacle(&feed.status.borrow())?;
    Some(format!("it isn't read: {why}"))
}

/// How the flush ended, if it has: `Err` says why what waited isn't in the lake yet.
fn outcome(before: &Status, now: &Status) -> Option<Result<(), String>> {
    let failed = |status: &Status| status.tally.flushes(Outcome::Failed);
    let goal = before.tally.changes_archived + before.buffered_changes;
    if now.tally.changes_archived >= goal {
        return Some(Ok(()));
    }
    if now.tally.reloads > before.tally.reloads {
        let why = "it stepped back to the checkpoint and the lake's end; ask again";
        return Some(Err(why.to_owned()));
    }
    let trouble = now
        .trouble
        .as_ref()
        .filter(|_| failed(now) > failed(before));
    trouble.map(|trouble| Err(format!("it fails and is retried: {}", trouble.message)))
}

#[cfg(test)]
mod tests {
    use super::super::board::tests::board;
    use super::*;
    use silt_core::machine::Trouble;

    const TOKEN: &str = "0123456789abcdef";

    fn status(archived: u64, buffered: u64) -> Status {
        let mut status = Status {
            buffered_changes: buffered,
            ..Status::default()
        };
        status.tally.changes_archived = archived;
        status
    }

    #[test]
    fn only_the_token_opens() {
        let board = board(Vec::new(), Some(TOKEN));
        let refused = |value: Option<&str>| {
            let value = value.map(|value| HeaderValue::from_str(value).unwrap());
            refuse(&board, value.as_ref()).map(|answer| answer.status())
        };
        assert_eq!(refused(Some("Bearer 0123456789abcdef")), None);
        assert_eq!(refused(Some("bearer 0123456789abcdef")), None);
        for wrong in [
            None,
            Some("Bearer 0123456789abcdeF"),
            Some("Bearer 0123456789abcde"),
            Some("Bearer 0123456789abcdef0"),
            Some("Bearer "),
            Some("Bear"),
            Some("Basic 0123456789abcdef"),
            Some("0123456789abcdef"),
        ] {
            assert_eq!(refused(wrong), Some(StatusCode::UNAUTHORIZED), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn without_a_token_nobody_may() {
        let right = HeaderValue::from_static("Bearer 0123456789abcdef");
        let answer = flush(&board(Vec::new(), None), Some(&right), "").await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert!(answer.text().contains("HTTP_TOKEN isn't set"));
    }

    #[tokio::test]
    async fn an_unknown_collection_is_refused_before_anything_is_flushed() {
        let board = board(vec![("users", status(0, 0))], Some(TOKEN));
        let right = HeaderValue::from_static("Bearer 0123456789abcdef");
        let answer = flush(&board, Some(&right), "collection=users&collection=b%26c").await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        assert_eq!(answer.text(), "{\"error\":\"b&c isn't watched\"}\n");
    }

    #[test]
    fn it_is_done_when_all_that_waited_is_in_the_lake() {
        let before = status(100, 7);
        assert_eq!(outcome(&before, &status(106, 1)), None);
        assert_eq!(outcome(&before, &status(107, 9)), Some(Ok(())));
        assert_eq!(outcome(&status(5, 0), &status(5, 0)), Some(Ok(())));
        let mut reloaded = status(100, 0);
        reloaded.tally.reloads = 1;
        assert!(outcome(&before, &reloaded).unwrap().is_err());
    }

    #[test]
    fn an_old_failure_counts_only_if_it_is_repeated() {
        let mut before = status(100, 7);
        before.tally.flushes.insert(("cron", Outcome::Failed), 4);
        before.trouble = Some(Trouble {
            message: "the lake said no".to_owned(),
            failures: 4,
            is_halt: false,
        });
        let mut now = before.clone();
        assert_eq!(outcome(&before, &now), None);
        now.tally.flushes.insert(("http", Outcome::Failed), 1);
        let why = outcome(&before, &now).unwrap().unwrap_err();
        assert_eq!(why, "it fails and is retried: the lake said no");
    }
}
