//! Reads changes and documents back out of a lake.
//!
//! [`Reader`] streams a collection's changes, or a snapshot's documents: hours in order, parts in order, in
//! any format. [`FileReader`] reads one file in one state, and [`inspect`] checks a whole one. All parse with
//! [`silt_core::reading`], and fetch the next byte ranges while a block is at work. None holds more than
//! [`read_ahead::WINDOWS`] ranges, one block and one line of a file, however long it is.

mod file;
mod files;
mod inspect;
mod read_ahead;
mod reader;

pub use file::FileReader;
pub use files::{hour_files, parts};
pub use inspect::inspect;
pub use reader::{Piece, Reader};
