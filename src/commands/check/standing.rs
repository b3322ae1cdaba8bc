//! Where a feed stands: its checkpoint, or where it begins without one, against the oplog.

use chrono::Utc;

use super::mongodb::Reached;
use super::row::Row;
use crate::edges;
use crate::settings::FeedSettings;
use crate::source::SourceError;
use silt_core::file::hour_file::HourFile;
use silt_core::handover::Handover;
use silt_core::machine::{OnHistoryLost, StartAt, effective_handover};
use silt_core::position::{ClusterTime, Position, Stored};

/// Where a feed begins to read, as its machine decides it.
pub(super) enum Standing {
    /// At its checkpoint.
    Saved(Stored),
    /// At the time of its checkpoint, whose token is that of a stream with another filter.
    Refiltered(Stored, ClusterTime),
    /// Behind the lake's end.
    Behind(HourFile),
    /// Where another feed stands that carried its collections, or one of them.
    TakenOver(Handover),
    /// At `START_AT`.
    Set(ClusterTime),
    /// With what comes then.
    Now,
}

impl Standing {
    /// Where a feed stands by its checkpoint; without one by the lake's end, by other feeds, or as it is set.
    pub(super) fn of(
        feed: &FeedSettings,
        stored: Option<Stored>,
        tail: Option<HourFile>,
        handover: Option<Handover>,
        oldest: Option<ClusterTime>,
    ) -> Self {
        let handover = handover.and_then(|it| {
            effective_handover(it, &feed.watched, feed.start_at, stored.as_ref(), oldest)
        });
        if let Some(handover) = handover {
            return Self::TakenOver(handover);
        }
        let Some(stored) = stored else {
            return match (tail, feed.start_at) {
                (Some(file), _) => Self::Behind(file),
                (None, StartAt::Time(time)) => Self::Set(time),
                (None, StartAt::Now) => Self::Now,
            };
        };
        let is_same = stored.checkpoint.stream_hash == edges::stream_options(feed).stream_hash();
        match stored.checkpoint.restart_time() {
            Some(time) if !is_same => Self::Refiltered(stored, time),
            _ => Self::Saved(stored),
        }
    }

    /// Where the stream is opened.
    pub(super) async fn position(self, reached: &Reached) -> Result<Position, SourceError> {
        Ok(match self {
            Self::Saved(stored) => stored.checkpoint.position,
            Self::Behind(file) => Position::After(file.last.token),
            Self::TakenOver(Handover { at, .. }) => Position::At(at),
            Self::Refiltered(_, time) | Self::Set(time) => Position::At(time),
            Self::Now => Position::At(reached.deployment.cluster_time().await?),
        })
    }

    /// A row that says where it is, against the oplog.
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

    /// The time, if it is known, and words for it.
    fn found(&self) -> (Option<ClusterTime>, String) {
        match self {
            Self::Saved(stored) => {
                let time = stored.checkpoint.position.cluster_time();
                (time, format!("save {}{}", stored.revision, aged(time)))
            }
            Self::Refiltered(stored, time) => {
                let of = aged(Some(*time));
                let found = format!(
                    "save {}{of}, of a stream with another filter: goes on from that time, and passes over what \
                     the lake holds",
                    stored.revision
                );
                (Some(*time), found)
            }
            Self::Behind(file) => {
                let found = format!("none yet: begins behind the end of {}", file.name);
                (Some(file.last.cluster_time), found)
            }
            Self::TakenOver(Handover { at, from, .. }) => {
                let found = format!(
                    "goes on at {at}, where {from} stands that carried its collections before"
                );
                (Some(*at), found)
            }
            Self::Set(time) => {
                let found = format!("none yet: begins at {time} (START_AT)");
                (Some(*time), found)
            }
            Self::Now => (None, "none yet: begins with what comes then".to_owned()),
        }
    }
}

/// A row for a position that the oplog no longer holds.
pub(super) fn lost(what: &str, found: &str, on_history_lost: OnHistoryLost) -> Row {
    match on_history_lost {
        OnHistoryLost::Restart => Row::warning(
            what,
            format!(
                "{found}; what lies between is lost: silt records the gap and goes on \
                 (ON_HISTORY_LOST=restart)"
            ),
        ),
        OnHistoryLost::Halt => Row::failure(what, found).mended_by(
            "what lies between is lost to change streams; ON_HISTORY_LOST=restart records the gap in the \
             lake and goes on behind it",
        ),
    }
}

/// The time of a position and its age, as a part of a sentence.
fn aged(time: Option<ClusterTime>) -> String {
    time.map_or_else(String::new, |time| {
        format!(", of {time}, {}", age(time, Utc::now().timestamp()))
    })
}

/// How long ago, for people.
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
