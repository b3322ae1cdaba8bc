//! Settings: from command line, environment, `.env` file and settings file to checked structs.
//!
//! `table` has every setting once, as data; `assemble` builds the typed [`Settings`] from their
//! values. A new setting is a row in one and a line in the other. Problems are collected and
//! reported together. Nothing here prints, and only [`load_from_process`] reads the process.

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
mod surroundings;
mod table;
#[cfg(test)]
mod tests;
mod values;
mod watch;
mod watched;

use std::net::SocketAddr;
use std::time::Duration;

use bson::Document;

pub use command::{
    Command, InstanceSettings, ListDetail, ListSettings, WatchFrom, WatchSettings, WatchedStream,
};
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
    /// The format of files, unless a section sets another one.
    pub files: FileSettings,
    /// Memory for the changes of all feeds together.
    pub buffer_limit_bytes: u64,
    /// When everything is flushed.
    pub schedule: Schedule,
    /// Where checkpoints are kept.
    pub checkpoints: CheckpointSettings,
    /// How snapshots are read.
    pub snapshot: SnapshotSettings,
    /// How hours are closed.
    pub closing: ClosingSettings,
    /// How long a drain may take.
    pub shutdown_timeout: Duration,
    /// The HTTP server.
    pub http: HttpSettings,
}

/// Where changes go.
#[derive(Clone, Debug)]
pub struct LakeSettings {
    /// Its location and credential.
    pub location: LakeLocation,
    /// Its address for logs and messages, without secrets.
    pub url_for_people: String,
    /// Longest wait for a reply.
    pub timeout: Duration,
    /// Most flushes at the same time.
    pub concurrency: usize,
}

/// The HTTP server.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Its address; `None` for no server.
    pub address: Option<SocketAddr>,
    /// Bearer token for `POST /flush`; `None` disables flushing.
    pub token: Option<Secret>,
}

/// Where changes come from.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// Connection string for the driver.
    pub uri: Secret,
    /// Its scheme and hosts, for logs and messages.
    pub uri_for_people: String,
    /// Compression of replies.
    pub wire_compression: WireCompression,
    /// Longest wait for a reply.
    pub timeout: Duration,
    /// The databases that are watched.
    pub databases: NameSet,
    /// The collections that are watched in each of them.
    pub collections: NameSet,
    /// The layout of their folders.
    pub layout: Layout,
}

/// A feed: one change stream and where its changes go.
#[derive(Clone, Debug)]
pub struct FeedSettings {
    /// What it watches.
    pub watched: Watched,
    /// The options of its stream.
    pub stream: StreamSettings,
    /// The format and limits of its files.
    pub files: FileSettings,
    /// Where it starts without a checkpoint.
    pub start_at: StartAt,
    /// What to do if its position is no longer in the oplog.
    pub on_history_lost: OnHistoryLost,
    /// What to do about a change that the server can't send.
    pub on_large_event: OnLargeEvent,
    /// When to take snapshots.
    pub snapshot: SnapshotMode,
}

/// The options of a change stream.
#[derive(Clone, Debug)]
pub struct StreamSettings {
    /// What updates carry.
    pub full_document: FullDocument,
    /// Whether changes carry the document before the change.
    pub full_document_before_change: FullDocumentBeforeChange,
    /// Whether it has events on collections and indexes (`showExpandedEvents`).
    pub show_expanded_events: bool,
    /// The operations to archive; all if the list is empty.
    pub operation_types: Vec<String>,
    /// Further stages that the server applies to each change.
    pub pipeline: Vec<Document>,
    /// Most changes in one reply of the server.
    pub cursor_batch_changes: u32,
}

/// The format of files, and limits for flushing.
#[derive(Clone, Debug)]
pub struct FileSettings {
    /// Frame and compression.
    pub format: FileFormat,
    /// gzip's level.
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
    /// Bytes of documents per second for all snapshots together; `None` for no limit.
    pub rate_limit_bytes_per_second: Option<u64>,
}

/// How hours are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosingSettings {
    /// Whether hours are closed.
    pub is_on: bool,
    /// Bytes of hour files that are read back per second; `None` for no limit.
    pub rate_limit_bytes_per_second: Option<u64>,
}

/// Where checkpoints are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointSettings {
    /// In the MongoDB deployment that is watched.
    MongoDb {
        /// Database of the checkpoints.
        database: String,
        /// Collection of the checkpoints.
        collection: String,
    },
    /// In the lake, for roles that may not write to MongoDB.
    Lake,
}

/// Level and format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Least important level that is logged.
    pub level: tracing::Level,
    /// Format of the lines.
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
