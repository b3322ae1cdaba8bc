//! The commands of silt, each with the settings that it needs.

use std::net::SocketAddr;

use super::{JsonMode, LakeSettings, Secret, Settings, SourceSettings, StreamSettings};
use silt_core::namespace::selection::Watched;
use silt_core::position::Position;

/// The command to run, with its settings.
#[derive(Clone, Debug)]
pub enum Command {
    /// Watch and archive.
    Run(Box<Settings>),
    /// Test whether [`Command::Run`] would work.
    Check(Box<Settings>),
    /// Make the running instance flush these collections, or all if the list is empty.
    Flush {
        /// The running instance.
        instance: InstanceSettings,
        /// Names of collections.
        collections: Vec<String>,
    },
    /// Ask the running instance whether it is ready.
    Healthcheck {
        /// The address of the running instance.
        address: SocketAddr,
        /// Whether being alive is enough.
        live_only: bool,
    },
    /// List what the lake contains.
    List {
        /// The lake.
        lake: Box<LakeSettings>,
        /// What to list.
        list: ListSettings,
    },
    /// Print changes as they come.
    Watch(Box<WatchSettings>),
}

/// How to reach the instance that runs on this machine.
#[derive(Clone, Debug)]
pub struct InstanceSettings {
    /// Its address.
    pub address: SocketAddr,
    /// Bearer token for `POST /flush`.
    pub token: Option<Secret>,
}

/// What `ls` lists beside the collections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListDetail {
    /// The files of the collections that are named, if any are.
    #[default]
    OfNamed,
    /// Each file.
    Files,
    /// Each hour, and whether it is closed.
    Hours,
}

/// What `ls` lists, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListSettings {
    /// Whether to print JSON.
    pub as_json: bool,
    /// What is listed beside the collections.
    pub detail: ListDetail,
    /// Whether to count lines in files that don't record their number.
    pub counts_lines: bool,
    /// Only these collections, or all if the list is empty.
    pub collections: Vec<String>,
}

/// What `watch` shows, and how.
#[derive(Clone, Debug)]
pub struct WatchSettings {
    /// Where changes come from.
    pub source: SourceSettings,
    /// The streams: at least one.
    pub streams: Vec<WatchedStream>,
    /// Where they begin.
    pub from: WatchFrom,
    /// Delay before a stream is opened again.
    pub retry_delay_ms: u64,
    /// Changes to show; `None` for all.
    pub limit: Option<u64>,
    /// Whether to indent them.
    pub is_pretty: bool,
}

/// Where `watch` begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchFrom {
    /// With what comes from now on.
    Now,
    /// At an earlier time, or after a change.
    Position(Position),
}

/// A change stream whose changes are shown.
#[derive(Clone, Debug)]
pub struct WatchedStream {
    /// What it watches.
    pub watched: Watched,
    /// Its options.
    pub stream: StreamSettings,
    /// The Extended JSON of its changes.
    pub json_mode: JsonMode,
}
