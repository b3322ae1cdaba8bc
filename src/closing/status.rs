//! The status of closing, for the page, `/status` and the metrics.

use std::collections::BTreeMap;

use silt_core::closing::Completeness;
use silt_core::namespace::Namespace;

/// The status of each collection that was sent.
pub type Statuses = BTreeMap<Namespace, Status>;

/// The status of one collection.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Between which cluster times it is complete.
    pub completeness: Option<Completeness>,
    /// Hours closed by this process.
    pub closed: u64,
    /// Failures since the start of this process. All are retried.
    pub failures: u64,
    /// What is wrong, and how to fix it: a file failed its check, or the lake fails repeatedly.
    pub trouble: Option<String>,
}
