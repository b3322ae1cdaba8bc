//! The commands of silt, each with the settings that it needs.

use std::net::SocketAddr;

use super::{LakeSettings, Secret, Settings};

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
}

/// How to reach the instance that runs on this machine.
#[derive(Clone, Debug)]
pub struct InstanceSettings {
    /// Its address.
    pub address: SocketAddr,
    /// Bearer token for `POST /flush`.
    pub token: Option<Secret>,
}

/// What `ls` lists, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListSettings {
    /// Whether to print JSON.
    pub as_json: bool,
    /// Whether to list each file, even if no collections are named.
    pub has_files: bool,
    /// Whether to count lines in files that don't record their number.
    pub counts_lines: bool,
    /// Only these collections, or all if the list is empty.
    pub collections: Vec<String>,
}
