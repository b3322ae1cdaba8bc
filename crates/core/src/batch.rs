//! Encoded changes in memory.

use crate::file::hour_file::Hour;
use crate::namespace::Namespace;
use crate::position::{ClusterTime, LastChange, ResumeToken};

/// Why a batch was flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlushReason {
    /// The schedule.
    Cron,
    /// `BATCH_SIZE` changes.
    Count,
    /// `BATCH_BYTES` bytes.
    Bytes,
    /// The hour of the changes is over.
    Hour,
    /// SIGUSR1.
    Signal,
    /// A request over HTTP.
    Http,
    /// The memory for changes is used up.
    Pressure,
    /// It holds back the feed's position, and many changes of other collections have been read since.
    Position,
    /// The stream has halted: no more changes will come for a while.
    Halt,
    /// The feed stops.
    Drain,
}

impl FlushReason {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Cron,
        Self::Count,
        Self::Bytes,
        Self::Hour,
        Self::Signal,
        Self::Http,
        Self::Pressure,
        Self::Position,
        Self::Halt,
        Self::Drain,
    ];

    /// Whether an operator requested it: then operations that wait for their next attempt are retried at once.
    #[must_use]
    pub fn is_manual(self) -> bool {
        matches!(self, Self::Signal | Self::Http)
    }

    /// Its name in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cron => "cron",
            Self::Count => "count",
            Self::Bytes => "bytes",
            Self::Hour => "hour",
            Self::Signal => "signal",
            Self::Http => "http",
            Self::Pressure => "pressure",
            Self::Position => "position",
            Self::Halt => "halt",
            Self::Drain => "drain",
        }
    }
}

/// Approximate length of a line without its event.
const LINE_FRAME_BYTES: usize = 64;
/// The most by which Extended JSON of many small events is longer than BSON.
const LONGER_BYTES_MAX: usize = 128 * 1024;
/// About the length of a token's text.
const TOKEN_LEN_BYTES: usize = 192;

/// One change of [`Changes`]: where its line and its token end.
#[derive(Clone, Copy, Debug)]
struct Entry {
    line_end: usize,
    token_end: usize,
    cluster_time: ClusterTime,
    /// The index of its collection in [`Changes::namespaces`].
    namespace: usize,
}

/// Encoded changes on their way from the stream to a batch.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    lines: Vec<u8>,
    tokens: String,
    entries: Vec<Entry>,
    /// The collections of these changes.
    namespaces: Vec<Namespace>,
}

/// One encoded change.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The line, separator included.
    pub line: &'a [u8],
    /// Compact canonical Extended JSON of its resume token.
    pub token: &'a str,
    /// Its cluster time.
    pub cluster_time: ClusterTime,
    /// The index of its collection in [`Changes::namespaces`].
    pub namespace: usize,
}

impl Changes {
    /// No changes yet, with capacity for this many. Their events have this length in all.
    #[must_use]
    pub fn with_room(changes: usize, events_len_bytes: u64) -> Self {
        let events_len = usize::try_from(events_len_bytes).unwrap_or(0);
        // Extended JSON of small events is longer than BSON by about a quarter, that of large ones hardly.
        let longer = (events_len / 4).min(LONGER_BYTES_MAX).max(events_len / 32);
        Self {
            lines: Vec::with_capacity(events_len + longer + LINE_FRAME_BYTES * (changes + 8)),
            tokens: String::with_capacity(TOKEN_LEN_BYTES * changes),
            entries: Vec::with_capacity(changes),
            namespaces: Vec::new(),
        }
    }

    /// The index of a collection in [`Changes::namespaces`], which is added if it is new.
    pub fn place_of(&mut self, namespace: &Namespace) -> usize {
        // The changes of one collection often come together.
        let known = self.namespaces.iter().rposition(|known| known == namespace);
        known.unwrap_or_else(|| self.add_namespace(namespace.clone()))
    }

    /// Adds a collection that is known to be new to [`Changes::namespaces`]. Returns its index.
    pub fn add_namespace(&mut self, namespace: Namespace) -> usize {
        self.namespaces.push(namespace);
        self.namespaces.len() - 1
    }

    /// Adds a change of the stream's only collection; see [`Changes::push_of`].
    ///
    /// # Errors
    ///
    /// Those of `write`; nothing is added then.
    pub fn push<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>, &mut String) -> Result<ClusterTime, E>,
    ) -> Result<(), E> {
        self.push_of(0, write)
    }

    /// Adds a change of the collection with this index in [`Changes::namespaces`]: `write` appends its line,
    /// separator included, and its token.
    ///
    /// # Errors
    ///
    /// Those of `write`; nothing is added then.
    pub fn push_of<E>(
        &mut self,
        namespace: usize,
        write: impl FnOnce(&mut Vec<u8>, &mut String) -> Result<ClusterTime, E>,
    ) -> Result<(), E> {
        match write(&mut self.lines, &mut self.tokens) {
            Ok(cluster_time) => {
                let entry = Entry {
                    line_end: self.lines.len(),
                    token_end: self.tokens.len(),
                    cluster_time,
                    namespace,
                };
                self.entries.push(entry);
                Ok(())
            }
            Err(error) => {
                let (line_end, token_end) = self
                    .entries
                    .last()
                    .map_or((0, 0), |last| (last.line_end, last.token_end));
                self.lines.truncate(line_end);
                self.tokens.truncate(token_end);
                Err(error)
            }
        }
    }

    /// The collections of these changes.
    #[must_use]
    pub fn namespaces(&self) -> &[Namespace] {
        &self.namespaces
    }

    /// How many changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Length of the lines.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.lines.len() as u64
    }

    /// The changes, in the stream's order.
    pub fn iter(&self) -> impl Iterator<Item = Change<'_>> {
        let starts = std::iter::once((0, 0)).chain(
            self.entries
                .iter()
                .map(|entry| (entry.line_end, entry.token_end)),
        );
        starts
            .zip(&self.entries)
            .map(|((line_start, token_start), entry)| Change {
                line: &self.lines[line_start..entry.line_end],
                token: &self.tokens[token_start..entry.token_end],
                cluster_time: entry.cluster_time,
                namespace: entry.namespace,
            })
    }
}

/// The encoded changes of one collection and one hour that wait for a commit. Never empty.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The hour of every change in it.
    pub hour: Hour,
    /// The lines, each with its separator.
    pub lines: Vec<u8>,
    /// How many changes.
    pub changes: u32,
    /// Cluster time of the first change.
    pub first_cluster_time: ClusterTime,
    /// The last change.
    pub last: LastChange,
    /// The numbers of its first and last change among all that its feed has read; the feed sets them.
    pub numbers: (u64, u64),
    /// When it was begun, in monotonic milliseconds.
    pub begun_at_ms: u64,
    /// Set when the batch is sealed: it takes no more changes and waits for its commit.
    pub sealed: Option<FlushReason>,
}

impl Batch {
    /// A batch that begins with this change, at this monotonic time.
    #[must_use]
    pub fn begin(change: &Change<'_>, now_ms: u64) -> Self {
        let token = ResumeToken::from_canonical(change.token);
        Self {
            hour: Hour::of(change.cluster_time),
            lines: change.line.to_vec(),
            changes: 1,
            first_cluster_time: change.cluster_time,
            last: LastChange {
                token,
                cluster_time: change.cluster_time,
            },
            numbers: (0, 0),
            begun_at_ms: now_ms,
            sealed: None,
        }
    }

    /// Adds a change of the same hour.
    pub fn add(&mut self, change: &Change<'_>) {
        self.lines.extend_from_slice(change.line);
        self.changes += 1;
        self.last.token.replace_canonical(change.token);
        self.last.cluster_time = change.cluster_time;
    }

    /// Length of the lines.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.lines.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: ClusterTime = ClusterTime {
        seconds: 7200,
        increment: 1,
    };

    #[test]
    fn a_failed_write_leaves_no_trace() {
        let mut changes = Changes::default();
        assert!(changes.is_empty());
        let good = |line: &'static str| {
            move |lines: &mut Vec<u8>, tokens: &mut String| {
                lines.extend_from_slice(line.as_bytes());
                tokens.push_str("{}");
                Ok::<_, ()>(TIME)
            }
        };
        changes.push(good("a\n")).unwrap();
        changes
            .push(|lines, tokens| {
                lines.extend_from_slice(b"half");
                tokens.push('x');
                Err(())
            })
            .unwrap_err();
        changes.push(good("bc\n")).unwrap();
        let lines: Vec<_> = changes
            .iter()
            .map(|change| (change.line, change.token))
            .collect();
        assert_eq!(lines, [(&b"a\n"[..], "{}"), (b"bc\n", "{}")]);
        assert_eq!((changes.len(), changes.len_bytes()), (2, 5));
        assert!(!changes.is_empty());
    }

    #[test]
    fn logs_name_every_reason() {
        let words = [
            (FlushReason::Cron, "cron"),
            (FlushReason::Count, "count"),
            (FlushReason::Bytes, "bytes"),
            (FlushReason::Hour, "hour"),
            (FlushReason::Signal, "signal"),
            (FlushReason::Pressure, "pressure"),
            (FlushReason::Position, "position"),
            (FlushReason::Halt, "halt"),
            (FlushReason::Drain, "drain"),
        ];
        for (reason, word) in words {
            assert_eq!(reason.as_str(), word);
        }
    }
}
