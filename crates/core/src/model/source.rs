//! The database: a stream of changes, with transactions, hours and invalidates, and an oplog that
//! forgets the oldest.

use super::faults::history_lost;
use crate::batch::Changes;
use crate::failure::Failure;
use crate::file::commit::tests::origin as namespace;
use crate::position::{ClusterTime, LastChange, Position, ResumeToken};

/// The cluster time of the beginning: 2024-01-15T13:56:40Z.
pub(super) const BEGIN: ClusterTime = ClusterTime {
    seconds: 1_705_327_000,
    increment: 0,
};
/// A place in the stream: behind so many changes, with so much time looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub changes: usize,
    pub time: ClusterTime,
}

/// What the stream does next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Happening {
    pub changes: usize,
    pub seconds_later: u32,
    pub is_transaction: bool,
    pub ends_in_invalidate: bool,
    pub line_len_bytes: usize,
}

#[derive(Debug)]
struct Event {
    time: ClusterTime,
    is_invalidate: bool,
    line: Vec<u8>,
}

/// The database's side: all changes, in order.
#[derive(Debug)]
pub(super) struct Source {
    events: Vec<Event>,
    clock: ClusterTime,
    /// Whether tokens look like those that tell their time.
    pub tells_time: bool,
    /// Where the oplog begins.
    oldest: ClusterTime,
    /// Whether the oplog's beginning may be seen.
    is_oldest_known: bool,
}

impl Source {
    pub fn new() -> Self {
        Self {
            events: Vec::new(),
            clock: BEGIN,
            tells_time: true,
            oldest: ClusterTime {
                seconds: 0,
                increment: 0,
            },
            is_oldest_known: true,
        }
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    pub fn clock(&self) -> ClusterTime {
        self.clock
    }

    pub fn time(&self, index: usize) -> ClusterTime {
        self.events[index].time
    }

    pub fn is_invalidate(&self, index: usize) -> bool {
        self.events[index].is_invalidate
    }

    pub fn line_len_bytes(&self, index: usize) -> u64 {
        self.events[index].line.len() as u64
    }

    pub fn happen(&mut self, what: Happening) {
        self.clock.seconds += what.seconds_later;
        self.clock.increment += 1;
        for number in 1..=what.changes {
            if !what.is_transaction {
                self.clock.increment += 1;
            }
            let pad = " ".repeat(what.line_len_bytes);
            let line = format!("{:08}{pad}\n", self.events.len()).into_bytes();
            self.events.push(Event {
                time: self.clock,
                is_invalidate: what.ends_in_invalidate && number == what.changes,
                line,
            });
        }
    }

    /// What no cluster does unless it was restored.
    pub fn run_back(&mut self, seconds: u32) {
        self.clock.seconds -= seconds;
    }

    /// The oplog forgets all but so many of the newest changes.
    pub fn truncate(&mut self, keep: usize, is_known: bool) {
        let kept = self.len().saturating_sub(keep);
        let oldest = self.events.get(kept).map(|event| event.time);
        let oldest = oldest.unwrap_or_else(|| {
            // Somebody else's operation is all that is left.
            self.clock.increment += 1;
            self.clock
        });
        self.oldest = self.oldest.max(oldest);
        self.is_oldest_known = is_known;
    }

    /// Where the oplog begins, as far as a feed is told.
    pub fn known_oldest(&self) -> Option<ClusterTime> {
        self.is_oldest_known.then_some(self.oldest)
    }

    /// The answer to who wants to read from here, if it is no longer in the oplog.
    pub fn refusal(&self, position: &Position) -> Option<Failure> {
        let time = self.place(position).time;
        (time < self.oldest).then(|| history_lost(self.known_oldest()))
    }

    /// The answer to who has an open stream, if its next change is no longer in the oplog.
    pub fn end_of_too_slow(&self, next: usize) -> Option<Failure> {
        let is_gone = |event: &Event| event.time < self.oldest;
        let is_lost = self.events.get(next).is_some_and(is_gone);
        is_lost.then(|| history_lost(self.known_oldest()))
    }

    fn token(&self, place: Place, is_idle: bool) -> String {
        let kind = if self.tells_time { 82 } else { 83 };
        let Place { changes, time } = place;
        let ClusterTime { seconds, increment } = time;
        let idle = u8::from(is_idle);
        format!(r#"{{"_data":"{kind}{seconds:08X}{increment:08X}{changes:08}{idle}"}}"#)
    }

    fn parse(token: &ResumeToken) -> Place {
        let digits = &token.as_extended_json()[12..];
        let time = |from: usize| u32::from_str_radix(&digits[from..from + 8], 16).unwrap();
        Place {
            changes: digits[16..24].parse().unwrap(),
            time: ClusterTime {
                seconds: time(0),
                increment: time(8),
            },
        }
    }

    fn change_token(&self, index: usize) -> String {
        let place = Place {
            changes: index + 1,
            time: self.time(index),
        };
        self.token(place, false)
    }

    pub fn last_change(&self, index: usize) -> LastChange {
        LastChange {
            token: ResumeToken::from_canonical(&self.change_token(index)),
            cluster_time: self.time(index),
        }
    }

    /// A post-batch token of a stream that has looked this far. At the end it has looked beyond
    /// somebody else's operation.
    pub fn idle_token(&mut self, looked: &mut Place) -> ResumeToken {
        if looked.changes == self.len() {
            self.clock.increment += 1;
            looked.time = looked.time.max(self.clock);
        }
        ResumeToken::from_canonical(&self.token(*looked, true))
    }

    pub fn place(&self, position: &Position) -> Place {
        match position {
            Position::At(time) => Place {
                changes: self.events.partition_point(|event| event.time < *time),
                time: *time,
            },
            Position::After(token) => Self::parse(token),
        }
    }

    /// Behind a change.
    pub fn end(change: &LastChange) -> usize {
        Self::parse(&change.token).changes
    }

    pub fn read(&self, range: std::ops::Range<usize>) -> Changes {
        let mut changes = Changes::default();
        let namespace = changes.add_namespace(namespace());
        for index in range {
            self.push(&mut changes, namespace, index);
        }
        changes
    }

    /// Adds a change of the collection that has this place among the changes.
    pub fn push(&self, changes: &mut Changes, namespace: usize, index: usize) {
        let event = &self.events[index];
        let write = |lines: &mut Vec<u8>, tokens: &mut String| {
            lines.extend_from_slice(&event.line);
            tokens.push_str(&self.change_token(index));
            Ok::<_, ()>(event.time)
        };
        changes.push_of(namespace, write).unwrap();
    }
}
