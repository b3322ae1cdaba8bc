//! A reader of the library's alone, without a feed: what a stream of these options reports.

use bson::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc;

use silt::budget::Budget;
use silt::clock::Clock;
use silt::processors::Processors;
use silt::source::{Deployment, Patience, Reader, Report, StreamOptions};
use silt_core::batch::Changes;
use silt_core::extjson::Mode;
use silt_core::failure::Failure;
use silt_core::file::format::Separator;
use silt_core::large_event::LargeEvent;
use silt_core::machine::OnLargeEvent;
use silt_core::namespace::selection::{Matcher, NameSet, Selection, Watched};
use silt_core::namespace::{Layout, Namespace};
use silt_core::position::{ClusterTime, Position, ResumeToken};

use super::silt::WAIT_LIMIT;

/// Servers with and without `$changeStreamSplitLargeEvent`.
pub const PIECES: &[&str] = &["--version", "6.0.27", "--cache-mb", "1024"];
pub const NO_PIECES: &[&str] = &["--version", "6.0.5", "--cache-mb", "1024"];

/// A stream that asks for nothing special.
pub fn plain(watched: Watched) -> StreamOptions {
    StreamOptions {
        watched,
        full_document: None,
        full_document_before_change: None,
        show_expanded_events: false,
        operation_types: Vec::new(),
        pipeline: Vec::new(),
        on_large_event: OnLargeEvent::Halt,
        cursor_batch_changes: 1000,
        mode: Mode::Relaxed,
        separator: Separator {
            before: b"",
            after: b"\n",
        },
    }
}

pub fn one(database: &str, collection: &str) -> Watched {
    Watched::Collection(Namespace::new(database, collection))
}

pub fn many(databases: NameSet, collections: NameSet) -> Watched {
    Watched::Many {
        selection: Selection {
            databases,
            collections,
            apart: Vec::new(),
        },
        layout: Layout::DatabaseAndCollection,
    }
}

/// Names, `*` for any characters within them, `!` for exceptions.
pub fn names(words: &[&str]) -> NameSet {
    let mut set = NameSet::default();
    for word in words {
        let (list, name) = match word.strip_prefix('!') {
            Some(name) => (&mut set.excludes, name),
            None => (&mut set.includes, *word),
        };
        list.push(if name.contains('*') {
            Matcher::Pattern {
                written: name.to_owned(),
                regex: regex::Regex::new(&format!("^{}$", name.replace('*', ".*"))).unwrap(),
            }
        } else {
            Matcher::Name(name.to_owned())
        });
    }
    set
}

/// The first moment behind this one.
pub fn next(time: Timestamp) -> Timestamp {
    Timestamp {
        increment: time.increment + 1,
        ..time
    }
}

pub fn at(time: Timestamp) -> Position {
    Position::At(ClusterTime {
        seconds: time.time,
        increment: time.increment,
    })
}

/// A stream at work.
pub struct Stream {
    readings: mpsc::Receiver<Report>,
    pub opened: Option<Result<(), Failure>>,
    pub changes: Vec<(Namespace, Value)>,
    /// How many changes there were when this token was told.
    pub idle: Vec<(usize, ResumeToken)>,
    pub end: Option<Option<Failure>>,
    /// The change that the server can't send, which ended it.
    pub lost: Option<LargeEvent>,
    own: Namespace,
}

impl Stream {
    pub async fn open(uri: &str, options: StreamOptions, position: Position) -> Self {
        let deployment = Deployment::connect(uri, 1, WAIT_LIMIT, None).await.unwrap();
        let own = match &options.watched {
            Watched::Collection(origin) => origin.clone(),
            Watched::Many { .. } => Namespace::new("", ""),
        };
        let reader = Reader {
            patience: Patience::new(deployment.request_limit()),
            deployment,
            options,
            budget: Budget::new(1 << 30),
            processors: Processors::all(),
            parcel_limit_bytes: u64::MAX,
            clock: Clock::start(),
        };
        let (sender, readings) = mpsc::channel(1);
        tokio::spawn(reader.run(position, sender));
        Self {
            readings,
            opened: None,
            changes: Vec::new(),
            idle: Vec::new(),
            end: None,
            lost: None,
            own,
        }
    }

    /// Reads on until this is so.
    pub async fn read_until(&mut self, is_done: impl Fn(&Self) -> bool) {
        let limit = tokio::time::Instant::now() + WAIT_LIMIT;
        while !is_done(self) {
            let reading = tokio::time::timeout_at(limit, self.readings.recv()).await;
            let reading = reading.expect("it waited in vain");
            self.note(reading.expect("the reader ended"));
        }
    }

    /// Reads on until there are so many changes.
    pub async fn read(&mut self, count: usize) -> &[(Namespace, Value)] {
        self.read_until(|stream| stream.changes.len() >= count || stream.end.is_some())
            .await;
        assert_eq!(self.changes.len(), count, "{:?}", self.end);
        &self.changes
    }

    /// Reads on to the end of the stream. Returns the failure that it ended by.
    pub async fn read_to_end(&mut self) -> Option<Failure> {
        self.read_until(|stream| stream.end.is_some()).await;
        self.end.clone().unwrap()
    }

    pub fn kinds(&self) -> Vec<&str> {
        let kinds = self.changes.iter();
        kinds
            .map(|(_, change)| change["operationType"].as_str().unwrap())
            .collect()
    }

    fn note(&mut self, reading: Report) {
        match reading {
            Report::Opened(result) => {
                if let Err(failure) = &result {
                    self.end = Some(Some(failure.clone()));
                }
                self.opened = Some(result);
            }
            Report::Changes { changes, .. } => self.note_changes(&changes),
            Report::Idle(token) => self.idle.push((self.changes.len(), token)),
            Report::TooLarge(event) => {
                self.lost = Some(event);
                self.end = Some(None);
            }
            Report::Closed(failure) => self.end = Some(failure),
        }
    }

    fn note_changes(&mut self, changes: &Changes) {
        for change in changes.iter() {
            let line: Value = serde_json::from_slice(change.line).unwrap();
            let origins = changes.namespaces();
            let origin = origins.get(change.namespace).unwrap_or(&self.own).clone();
            self.changes.push((origin, line["change"].clone()));
        }
    }
}
