//! What the tests stand on: servers, lakes, changes.

pub mod changes;
pub mod servers;

use std::sync::atomic::{AtomicU32, Ordering};

/// A name that no other test uses, in this run or one beside it.
pub fn unique(prefix: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{}-{number}", std::process::id())
}

/// A setting of the test run.
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests by `make test`"))
}
