//! The commands of silt, each with the settings that it needs.

use std::net::SocketAddr;

use super::{LakeSettings, Secret, Settings};

/// What silt is to do, with the settings for it.
#[derive(Clone, Debug)]
pub enum Command {
    /// Watch and archive.
    Run(Box<Settings>),
    /// Look whether [`Command::Run`] would work.
    Check(Box<Settings>),
    /// Ask the running instance to flush these collections, or all if there is none.
    Flush {
        /// The running instance.
        instance: InstanceSettings,
        /// Names of collections.
        collections: Vec<String>,
    },
    /// Ask the running instance how it is.
    Healthcheck {
        /// Where the running instance answers.
        address: SocketAddr,
        /// Whether it is enough that it lives.
        live_only: bool,
    },
    /// List what the lake holds.
    List {
        /// The lake.
        lake: Box<LakeSettings>,
        /// What is listed.
        list: ListSettings,
    },
}

/// How to reach the silt that runs on this machine.
#[derive(Clone, Debug)]
pub struct InstanceSettings {
    /// Where it answers.
    pub address: SocketAddr,
    /// What it asks for before it flushes.
    pub token: Option<Secret>,
}

/// What of the lake is listed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListSettings {
    /// Whether machines are to read it.
    pub as_json: bool,
    /// Whether each file is listed. It is, if collections are named.
    pub has_files: bool,
    /// Whether lines are counted in files that don't say how many they have.
    pub counts_lines: bool,
    /// These collections alone, or all if there is none.
    pub collections: Vec<String>,
}
