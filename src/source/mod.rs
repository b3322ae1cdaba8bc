//! Change streams of a MongoDB deployment.
//!
//! - `stream`: what a stream asks of the server, and the one place where it is opened and read.
//! - `parcel`: events on their way from the reader to the encoder.
//! - `encode`: events to lines, sorted by collection.
//! - `large`: changes that the server can't send in one piece.
//! - `reader`: puts these together for one feed.

mod deployment;
mod encode;
mod error;
mod large;
mod parcel;
pub mod preflight;
mod reader;
mod report;
mod similar_names;
mod stream;
mod token;
#[cfg(test)]
mod untrusted_input_prop_tests;
mod version;

pub use deployment::{Deployment, Facts, OplogWindow};
pub(crate) use encode::line::{EVENT_LIMIT_BYTES, RAW_EVENT, write_with_raw_event};
pub use error::SourceError;
pub(crate) use error::without_command;
pub use reader::Reader;
pub use report::Report;
pub(crate) use similar_names::likely_name;
pub use stream::{Patience, StreamOptions};
pub use version::ServerVersion;
