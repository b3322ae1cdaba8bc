//! Where a feed would start. Its own state machine decides that from what was found; nothing is saved.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use chrono::Utc;

use super::mongodb::Reached;
use super::row::Row;
use crate::checkpoint::{self, CheckpointError, Checkpoints, FeedId};
use crate::clock::Clock;
use crate::edges;
use crate::settings::FeedSettings;
use crate::source::{Deployment, SourceError};
use silt_core::batch::Changes;
use silt_core::handover::Handover;
use silt_core::machine::{
    Action, Feed, Input, LaneId, Notice, OnHistoryLost, StartAt, StartState, Tail,
};
use silt_core::namespace::Namespace;
use silt_core::namespace::selection::Watched;
use silt_core::position::{ClusterTime, Position, Stored};

/// The checkpoint of a feed, and where it takes over from other feeds. Nothing without a store.
pub(super) async fn load(
    store: Option<&Arc<dyn Checkpoints>>,
    watched: &Watched,
) -> Result<(Option<Stored>, Option<Handover>), CheckpointError> {
    let Some(store) = store else {
        return Ok((None, None));
    };
    let stored = store.load(&FeedId::of(watched)).await?;
    let handover = checkpoint::handover(store.as_ref(), watched, stored.as_ref()).await?;
    Ok((stored, handover))
}

/// A feed that was given what it would find at its start.
pub(super) struct Start {
    feed: Feed,
    clock: Clock,
    stored: Option<Stored>,
    configured: StartAt,
    /// What the feed said before it opened its stream or halted.
    notices: Vec<Notice>,
    /// Where it opens its stream, or why it halts.
    outcome: Result<Position, String>,
}

impl Start {
    /// Runs the feed until it opens its stream or halts. The deployment is asked for its cluster time if
    /// the feed needs that.
    pub(super) async fn of(
        feed: &FeedSettings,
        found: StartState,
        deployment: &Deployment,
    ) -> Result<Self, SourceError> {
        let mut start = Self {
            feed: Feed::new(edges::feed_config(feed, feed.files.limits.clone())),
            clock: Clock::start(),
            stored: found.stored.clone(),
            configured: feed.start_at,
            notices: Vec::new(),
            outcome: Err("the feed opens no stream".to_owned()),
        };
        let mut found = Some(Box::new(found));
        let mut actions = VecDeque::from(start.handle(Input::Start));
        while let Some(action) = actions.pop_front() {
            let input = match action {
                Action::Load => match found.take() {
                    Some(found) => Input::Loaded(Ok(found)),
                    None => continue,
                },
                Action::AskClusterTime => Input::ClusterTime(Ok(deployment.cluster_time().await?)),
                Action::Save { .. } => Input::Saved(Ok(())),
                Action::Open(position) => {
                    start.outcome = Ok(position);
                    break;
                }
                Action::Notify(_, Notice::Halted(message)) => {
                    start.outcome = Err(message);
                    break;
                }
                Action::Notify(_, notice) => {
                    start.notices.push(notice);
                    continue;
                }
                _ => continue,
            };
            actions.extend(start.handle(input));
        }
        Ok(start)
    }

    fn handle(&mut self, input: Input) -> Vec<Action> {
        self.feed.handle(input, self.clock.now())
    }

    /// Why the feed halts before it opens its stream.
    pub(super) fn halt(&self) -> Option<&str> {
        self.outcome.as_ref().err().map(String::as_str)
    }

    /// Where to try the stream. One that wouldn't be opened yet is tried all the same, since that shows
    /// whether privileges are missing.
    pub(super) async fn position(&self, deployment: &Deployment) -> Result<Position, SourceError> {
        match (&self.outcome, &self.stored) {
            (Ok(position), _) => Ok(position.clone()),
            (Err(_), Some(stored)) => Ok(stored.checkpoint.position.clone()),
            (Err(_), None) => Ok(Position::At(deployment.cluster_time().await?)),
        }
    }

    /// Gives the feed a made-up change of each of these collections, and returns the lanes whose newest file
    /// it then wants to see. Only a feed of many collections looks so late, and only one that hasn't halted.
    pub(super) fn looks_of(&mut self, origins: &[Namespace]) -> Vec<(LaneId, Namespace)> {
        let Ok(position) = &self.outcome else {
            return Vec::new();
        };
        let nowhere = ClusterTime {
            seconds: 0,
            increment: 0,
        };
        let time = position.cluster_time().unwrap_or(nowhere);
        let mut changes = Changes::default();
        for origin in origins {
            let place = changes.place_of(origin);
            let Ok(()) = changes.push_of(place, |_, _| Ok::<_, Infallible>(time));
        }
        self.handle(Input::Opened(Ok(())));
        let actions = self.handle(Input::Changes(changes));
        let looks = actions.into_iter().filter_map(|action| match action {
            Action::LoadTail(lane) => Some((lane, self.feed.namespace(lane)?.clone())),
            _ => None,
        });
        looks.collect()
    }

    /// Gives the feed the newest file of a lane. Returns why it halts there.
    pub(super) fn looked(&mut self, lane: LaneId, tail: Option<Tail>) -> Option<String> {
        let actions = self.handle(Input::TailLoaded(lane, Ok(tail)));
        actions.into_iter().find_map(|action| match action {
            Action::Notify(Some(of), Notice::Halted(message)) if of == lane => Some(message),
            _ => None,
        })
    }

    /// A row that says where the feed starts, and whether the oplog still holds that.
    pub(super) fn row(&self, what: &str, feed: &FeedSettings, reached: &Reached) -> Row {
        let (time, found) = self.found();
        let oldest = reached.oplog.map(|window| window.oldest);
        let (Some(time), Some(oldest)) = (time, oldest) else {
            return Row::good(what, found);
        };
        if time >= oldest {
            return Row::good(what, format!("{found}; the oplog holds it"));
        }
        let found = format!("{found}: the oplog begins later, at {oldest}");
        lost(what, &found, feed.on_history_lost)
    }

    /// The time to look for in the oplog, if there is one, and where the feed starts in words.
    fn found(&self) -> (Option<ClusterTime>, String) {
        let position = match &self.outcome {
            Ok(position) => Some(position),
            Err(_) => self.stored.as_ref().map(|it| &it.checkpoint.position),
        };
        let time = position.and_then(Position::cluster_time);
        let saved = |time| {
            let revision = self.stored.as_ref().map_or(0, |stored| stored.revision);
            format!("revision {revision}{}", aged(time))
        };
        for notice in &self.notices {
            return match notice {
                Notice::TakingOver(Handover { at, from, .. }) => (
                    Some(*at),
                    format!(
                        "takes over at {at} from {from}, which carried these collections before"
                    ),
                ),
                Notice::StreamChanged { at: Some(at), .. } => (
                    Some(*at),
                    format!(
                        "{}, of a stream with another filter: resumes from that time and skips what the lake \
                         already holds",
                        saved(Some(*at))
                    ),
                ),
                Notice::StartsAt {
                    from_tail: true, ..
                } => (
                    time,
                    "none yet: starts after the last change in the lake".to_owned(),
                ),
                Notice::StartsAt { .. } => match self.configured {
                    StartAt::Time(at) => (Some(at), format!("none yet: starts at {at} (START_AT)")),
                    StartAt::Now => (None, "none yet: starts with the next change".to_owned()),
                },
                _ => continue,
            };
        }
        (time, saved(time))
    }
}

/// A row for a position that the oplog no longer holds.
pub(super) fn lost(what: &str, found: &str, on_history_lost: OnHistoryLost) -> Row {
    match on_history_lost {
        OnHistoryLost::Restart => Row::warning(
            what,
            format!(
                "{found}; the changes in between are lost: silt records the gap and continues after it \
                 (ON_HISTORY_LOST=restart)"
            ),
        ),
        OnHistoryLost::Halt => Row::failure(what, found).fixed_by(
            "change streams can't get back the changes in between; ON_HISTORY_LOST=restart records the gap in \
             the lake and continues after it",
        ),
    }
}

/// The time of a position and its age, as a part of a sentence.
fn aged(time: Option<ClusterTime>) -> String {
    time.map_or_else(String::new, |time| {
        format!(", of {time}, {}", age(time, Utc::now().timestamp()))
    })
}

/// How long ago, in a unit that fits.
fn age(time: ClusterTime, now_unix_s: i64) -> String {
    let seconds = now_unix_s.saturating_sub(i64::from(time.seconds)).max(0);
    match seconds {
        0..=119 => format!("{seconds} s old"),
        120..=7199 => format!("{} min old", seconds / 60),
        _ => format!("{} h old", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_units_that_fit() {
        let time = ClusterTime {
            seconds: 1_000_000,
            increment: 1,
        };
        for (later, text) in [
            (-5, "0 s old"),
            (119, "119 s old"),
            (120, "2 min old"),
            (7_200, "2 h old"),
        ] {
            assert_eq!(age(time, 1_000_000 + later), text);
        }
    }
}
