//! Writes raw BSON as MongoDB Extended JSON, version 2.
//!
//! [`write_document`] turns the bytes of a BSON document into the text of a JSON object in one pass, without building a
//! tree. The output follows the [Extended JSON v2 specification], the input the [BSON specification].
//!
//! # What reads back
//!
//! The order of fields is kept. [`Mode::Canonical`] keeps the type of every value; [`Mode::Relaxed`] gives up the
//! difference between 32 and 64 bit integers, as the specification says. Extended JSON has no way to write
//!
//! * a document that is spelled like a value: a stored `{"$numberLong": "1"}` and the value give the same text;
//! * fields of the same name, of which readers keep one;
//! * keys of an array's elements other than 0, 1, 2 and so on;
//! * the payload and sign of a NaN, of a double or a decimal, and the other bits of a decimal that don't count;
//! * options of a regular expression that readers don't know or put in another order.
//!
//! The encoder notices all of them, and returns [`Fidelity::Lossy`]. The text is valid nevertheless.
//!
//! [Extended JSON v2 specification]: https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md
//! [BSON specification]: https://bsonspec.org/spec.html
#![warn(clippy::pedantic)]
#![forbid(unsafe_code)]

mod decimal128;
mod document;
mod error;
mod names;
#[cfg(test)]
mod prop_tests;
mod reader;
mod scalar;
mod string;

pub use document::{MAX_DEPTH, write_document, write_value};
pub use error::Error;

/// Whether a text reads back as the BSON that it was written from, apart from what its [`Mode`] gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fidelity {
    /// It reads back.
    Exact,
    /// A reader takes it for another document, or can't keep all of it.
    Lossy,
}

/// Which of the two forms of Extended JSON to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Plain JSON where JSON has an equivalent type: numbers as numbers, dates from 1970 to 9999 as ISO-8601 text. Easy
    /// to read and query. All digits of an integer are written, but readers that make every number a double, such as
    /// JavaScript, round those beyond 2^53.
    Relaxed,
    /// Every value with its type, so that the document can be restored.
    Canonical,
}
