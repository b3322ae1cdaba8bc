//! The pure core of silt: what to buffer, when to flush, what to commit, when to save, pause, retry or
//! halt, and the bytes of everything that silt writes.
//!
//! Nothing here does IO, reads a clock or is asynchronous. [`machine::Feed`] takes an input and the
//! time, and answers with actions; the edges of the `silt` crate (`source`, `lake`, `checkpoint`)
//! perform them and report back. File names and bytes are decided here too, so that every lake writes
//! the same file. The compiler keeps this crate pure: it depends on no runtime and no client, and its
//! `clippy.toml` refuses the standard library's clocks, files and sockets.

pub mod backoff;
pub mod batch;
pub mod closing;
pub mod extjson;
pub mod failure;
pub mod feed_id;
pub mod file;
pub mod gap;
pub mod handover;
pub mod json;
pub mod large_event;
pub mod limits;
pub mod machine;
#[cfg(test)]
mod model;
pub mod namespace;
pub mod position;
pub mod reading;
pub mod snapshot;
pub mod throttle;
pub mod time;
