//! Closing: an hour that is over and checked gets a record that never changes.
//!
//! [`plan::Survey`] says which hour is next, from the names in the lake and the durable position alone. [`Record`]
//! is what is written of it, [`Latest`] how far the collection is complete. [`tokens::TokenCheck`] finds changes
//! that are there twice.

pub mod plan;
mod record;
pub mod tokens;

pub use record::{
    Completeness, Context, FileEntry, GapEntry, Latest, Link, Linked, Origin, Record,
    RecordedSettings, hour_of, record_name,
};

/// The folder of closing records within a collection's folder.
pub const FOLDER: &str = "_closed";
/// The name of the file that says how far the collection is complete.
pub const LATEST: &str = "latest.json";
