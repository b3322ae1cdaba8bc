//! Settings: from the command line, the environment and a `.env` file to one checked struct.
//!
//! `table` holds every setting once, as data; `assemble` makes the typed [`Settings`] of their
//! values. A new setting is a row in the one and a line in the other. Problems are collected and
//! reported together. Nothing here prints, and only [`load_from_process`] looks at the process.

mod assemble;
mod command;
mod command_line;
mod exit;
mod feeds;
mod lake;
mod load;
mod mongodb;
mod places;
mod problems;
mod schedule;
mod secret;
mod suggest;
mod surroundings;
mod table;
#[cfg(test)]
mod tests;
mod values;
mod watched;

use std::net::SocketAddr;
use std::time::Duration;

use bson::Document;

pub use command::{Command, InstanceSettings, ListSettings};
pub use exit::Exit;
pub use lake::LakeLocation;
pub use lake::azure::{AzureCredential, EntraIdentity};
pub use load::{Loaded, load, load_from_process};
pub use problems::{Problem, Problems};
pub use schedule::{Schedule, next_flush};
pub use secret::Secret;
pub use surroundings::Surroundings;
pub use table::choices::{
    FullDocument, FullDocumentBeforeChange, JsonMode, LogFormat, WireCompression,
};

use silt_core::file::format::FileFormat;
use silt_core::file::gzip::GzipLevel;
use silt_core::limits::Limits;
use silt_core::machine::{OnHistoryLost, OnLargeEvent, StartAt};
use silt_core::namespace::Layout;
use silt_core::namespace::selection::{NameSet, Watched};
use silt_core::snapshot::SnapshotMode;

/// All settings, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where changes come from.
    pub source: SourceSettings,
    /// The feeds: at least one.
    pub feeds: Vec<FeedSettings>,
    /// Where changes go.
    pub lake: LakeSettings,
    /// What files are like where no section says otherwise of a collection.
    pub files: FileSettings,
    /// Memory for the changes of all feeds together.
    pub buffer_limit_bytes: u64,
    /// When all that waits is flushed.
    pub schedule: Schedule,
    /// Where resume tokens are kept.
    pub checkpoints: CheckpointSettings,
    /// How snapshots are read.
    pub snapshot: SnapshotSettings,
    /// How long a drain may take.
    pub shutdown_timeout: Duration,
    /// What silt says of itself over HTTP.
    pub http: HttpSettings,
}

/// Where changes go.
#[derive(Clone, Debug)]
pub struct LakeSettings {
    /// Where the lake is and how to log in.
    pub location: LakeLocation,
    /// The same for logs and messages; no secret is in it.
    pub url_for_people: String,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Flushes that are on their way at the same time.
    pub concurrency: usize,
}

/// What silt says of itself over HTTP.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Where, if anywhere.
    pub address: Option<SocketAddr>,
    /// Who has it may flush. Without one nobody may.
    pub token: Option<Secret>,
}

/// Where changes come from.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// Connection string.
    pub uri: Secret,
    /// Its scheme and hosts, for logs and messages; no secret is in it.
    pub uri_for_people: String,
    /// How replies are compressed.
    pub wire_compression: WireCompression,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// The databases that are watched.
    pub databases: NameSet,
    /// The collections that are watched in each of them.
    pub collections: NameSet,
    /// How their folders are laid out.
    pub layout: Layout,
}

/// A feed: one change stream, and what becomes of it.
#[derive(Clone, Debug)]
pub struct FeedSettings {
    /// What it watches.
    pub watched: Watched,
    /// What it asks of the server.
    pub stream: StreamSettings,
    /// What its files are like.
    pub files: FileSettings,
    /// Where it starts without a checkpoint.
    pub start_at: StartAt,
    /// What it does if its position is no longer in the oplog.
    pub on_history_lost: OnHistoryLost,
    /// What it does about a change that the server can't send.
    pub on_large_event: OnLargeEvent,
    /// When snapshots are taken of what it watches.
    pub snapshot: SnapshotMode,
}

/// What a stream asks of the server.
#[derive(Clone, Debug)]
pub struct StreamSettings {
    /// What updates carry.
    pub full_document: FullDocument,
    /// What changes carry of the document before them.
    pub full_document_before_change: FullDocumentBeforeChange,
    /// Whether it has the events that the server shows only if asked.
    pub show_expanded_events: bool,
    /// The operations that are archived; all if there is none.
    pub operation_types: Vec<String>,
    /// What else the server does to each change before it sends it.
    pub pipeline: Vec<Document>,
    /// Changes in one reply of the server.
    pub cursor_batch_changes: u32,
}

/// What files are like, and how much goes into them.
#[derive(Clone, Debug)]
pub struct FileSettings {
    /// Frame and compression.
    pub format: FileFormat,
    /// How hard gzip tries.
    pub gzip_level: GzipLevel,
    /// The Extended JSON of the changes.
    pub json_mode: JsonMode,
    /// Limits of each feed.
    pub limits: Limits,
}

/// How snapshots are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotSettings {
    /// Ranges of a collection that are read at the same time.
    pub ranges: u32,
    /// Bytes of documents a second, of all snapshots together; `None` for as fast as it goes.
    pub rate_limit_bytes_per_second: Option<u64>,
}

/// Where resume tokens are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointSettings {
    /// In the MongoDB that is watched.
    MongoDb {
        /// Database of the checkpoints.
        database: String,
        /// Collection of the checkpoints.
        collection: String,
    },
    /// In the lake, for roles that may not write to MongoDB.
    Lake,
}

/// What is logged and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The least that is worth a line.
    pub level: tracing::Level,
    /// How a line is written.
    pub format: LogFormat,
}

impl std::fmt::Display for CheckpointSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::MongoDb {
                database,
                collection,
            } => write!(f, "mongodb {database}.{collection}"),
            Self::Lake => f.write_str("lake"),
        }
    }
}
