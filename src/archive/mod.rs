//! The pure core: what to buffer, when to flush, what to commit, when to save, pause, retry or halt.
//!
//! Nothing here does IO, reads a clock or is asynchronous. [`machine::Feed`] takes an input and the
//! time, and answers with actions; the edges (`source`, `lake`, `checkpoint`) perform them and
//! report back. The hour file's names and bytes are decided here too, so that every lake writes
//! the same file.

pub mod addition;
pub mod backoff;
pub mod batch;
mod ending;
pub mod failure;
pub mod first;
pub mod frame;
pub mod gap;
pub mod hour_file;
pub mod limits;
pub mod machine;
#[cfg(test)]
mod model;
pub mod names;
pub mod origin;
pub mod position;
#[cfg(test)]
mod properties;
pub mod selection;
pub mod snapshot;
pub mod tail;
mod zip;
