//! The database: a stream of changes, with transactions, hours and invalidates.

use super::super::batch::Changes;
use super::super::position::{ClusterTime, LastChange, Position, ResumeToken};

/// The cluster time of the beginning: 2024-01-15T13:56:40Z.
pub(super) const BEGIN: ClusterTime = ClusterTime {
    seconds: 1_705_327_000,
    increment: 0,
};
/// A place in the stream: behind so many changes, then behind so many idle tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub changes: usize,
    pub idle: usize,
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
    pub idle_tokens: usize,
}

impl Source {
    pub fn new() -> Self {
        Self {
            events: Vec::new(),
            clock: BEGIN,
            idle_tokens: 0,
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

    fn token(index: usize) -> String {
        format!(r#"{{"_data":"82{index:08}"}}"#)
    }

    pub fn last_change(&self, index: usize) -> LastChange {
        LastChange {
            token: ResumeToken::from_canonical(&Self::token(index)),
            cluster_time: self.time(index),
        }
    }

    /// A post-batch token behind so many changes.
    pub fn idle_token(&mut self, changes: usize) -> ResumeToken {
        self.idle_tokens += 1;
        let text = format!(r#"{{"_data":"83{changes:08}{:08}"}}"#, self.idle_tokens);
        ResumeToken::from_canonical(&text)
    }

    pub fn place(&self, position: &Position) -> Place {
        match position {
            Position::At(time) => Place {
                changes: self.events.partition_point(|event| event.time < *time),
                idle: 0,
            },
            Position::After(token) => {
                let digits = &token.as_extended_json()[10..];
                let number = |from: usize| digits[from..from + 8].parse::<usize>().unwrap();
                match &digits[..2] {
                    "82" => Place {
                        changes: number(2) + 1,
                        idle: 0,
                    },
                    _ => Place {
                        changes: number(2),
                        idle: number(10),
                    },
                }
            }
        }
    }

    pub fn read(&self, range: std::ops::Range<usize>) -> Changes {
        let mut changes = Changes::default();
        for index in range {
            let event = &self.events[index];
            let write = |lines: &mut Vec<u8>, tokens: &mut String| {
                lines.extend_from_slice(&event.line);
                tokens.push_str(&Self::token(index));
                Ok::<_, ()>(event.time)
            };
            changes.push(write).unwrap();
        }
        changes
    }
}
