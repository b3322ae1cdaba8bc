//! Reads files back: the inverse of [`crate::file::commit`] and [`crate::snapshot::part`].
//!
//! [`FileParser`] does no IO. It is fed with the bytes of one file, in pieces of any length, and returns
//! blocks of whole lines. It holds one piece, one block and one incomplete line, however long the file is.
//! [`Change`] is what a line says; [`Inspection`] is what a whole file says when every line is parsed.

mod block;
#[cfg(test)]
mod damage_prop_tests;
mod decompress;
mod gzip;
mod inspection;
mod line;
mod namespace;
mod parser;
mod resume;
#[cfg(test)]
mod round_trip_prop_tests;

pub use block::{Block, Line, Place};
pub use inspection::{Inspection, Summary};
pub use line::Change;
pub use parser::{FileParser, Head, Parsed};
pub use resume::ResumePoint;
