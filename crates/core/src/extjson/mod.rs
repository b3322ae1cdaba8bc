//! Writes raw BSON as MongoDB Extended JSON, version 2.
//!
//! [`write_document`] goes from the bytes of a BSON document to the text of a JSON object in
//! one pass: no tree is built and nothing is allocated but room in the output. What the types
//! look like follows the [Extended JSON v2 specification], how the bytes are read follows the
//! [BSON specification].
//!
//! # What is kept and what is not
//!
//! The order of fields and fields of the same name are kept as they stand. [`Mode::Canonical`]
//! keeps the type of every value; [`Mode::Relaxed`] gives up, as the specification says, the
//! difference between 32 and 64 bit integers. Neither keeps
//!
//! * the keys of an array's elements, which have no place in a JSON array;
//! * the payload and sign of a NaN, of a double as of a decimal;
//! * the bits of a decimal whose coefficient has more than 34 digits, which stands for zero;
//! * the difference between a BSON value and a document spelled like it. Field names are written
//!   as they stand, so a stored document `{"$numberLong": "1"}` or `{"$date": …}` gives the same
//!   text as the value of that type, and a reader of Extended JSON takes it for that value.
//!   Extended JSON has no escape for this.
//!
//! The options of a regular expression are written as they are stored. Both specifications want
//! them in alphabetical order; where a writer stored them otherwise, the text shows it.
//!
//! [Extended JSON v2 specification]: https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md
//! [BSON specification]: https://bsonspec.org/spec.html
#![warn(clippy::pedantic)]
#![forbid(unsafe_code)]

mod decimal128;
mod document;
mod error;
#[cfg(test)]
mod prop_tests;
mod reader;
mod scalar;
mod string;

pub use document::{MAX_DEPTH, write_document, write_value};
pub use error::Error;

/// Which of the two forms of Extended JSON to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Plain JSON where JSON has a like type: numbers as numbers, dates from 1970 to 9999 as
    /// ISO-8601 text. Easy to read and query. All digits of an integer are written, but readers
    /// that take every number for a double, such as JavaScript, round those beyond 2^53.
    Relaxed,
    /// Every value with its type, so that the document can be restored as it was.
    Canonical,
}
