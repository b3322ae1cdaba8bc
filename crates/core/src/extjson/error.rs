//! The errors of the encoder.

use super::MAX_DEPTH;

/// Why bytes can't be written as Extended JSON.
///
/// Every offset counts bytes from the start of the input, however deeply the fault is nested, so it
/// can be looked up in a hex dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value is longer than the rest of its document.
    #[error(
        "malformed BSON: at byte {offset} a value needs {needed} bytes but its document has only {left} left"
    )]
    Truncated {
        /// Where the value starts.
        offset: usize,
        /// The bytes it needs.
        needed: usize,
        /// The bytes that are left.
        left: usize,
    },

    /// A length is negative, or too small for its value.
    #[error("malformed BSON: the length {length} at byte {offset} is not possible")]
    Length {
        /// Where the length is.
        offset: usize,
        /// The length as it was read.
        length: i32,
    },

    /// A document or string doesn't end in a zero byte.
    #[error("malformed BSON: the byte at {offset} ends a document or string and must be zero")]
    Unterminated {
        /// Where the zero byte should be.
        offset: usize,
    },

    /// A field name or a part of a regular expression has no zero byte after it.
    #[error("malformed BSON: the field name or regular expression at byte {offset} has no end")]
    UnterminatedName {
        /// Where the text starts.
        offset: usize,
    },

    /// There are bytes after the end of a document or value.
    #[error("malformed BSON: a value ends at byte {offset}, but more bytes follow")]
    TrailingBytes {
        /// The first of these bytes.
        offset: usize,
    },

    /// Text isn't UTF-8. MongoDB doesn't check what clients store, so otherwise valid documents may contain
    /// such text.
    #[error("malformed BSON: text is not valid UTF-8 from byte {offset} on")]
    Utf8 {
        /// The first byte that is not UTF-8.
        offset: usize,
    },

    /// An element type that the BSON specification doesn't define.
    #[error("malformed BSON: unknown element type 0x{element_type:02x} at byte {offset}")]
    UnknownType {
        /// Where the type is.
        offset: usize,
        /// The type as it was read.
        element_type: u8,
    },

    /// A boolean that is neither 0 nor 1.
    #[error("malformed BSON: the boolean at byte {offset} is 0x{value:02x}, not 0 or 1")]
    Boolean {
        /// Where the boolean is.
        offset: usize,
        /// The byte as it was read.
        value: u8,
    },

    /// Documents and arrays are nested deeper than [`MAX_DEPTH`].
    #[error("documents are nested deeper than {MAX_DEPTH} levels at byte {offset}")]
    TooDeep {
        /// Where the first document that is too deep starts.
        offset: usize,
    },

    /// A binary value whose base64 form is longer than the address space.
    #[error("the binary value at byte {offset} is too long to be written as base64")]
    BinaryTooLong {
        /// Where the binary value's bytes start.
        offset: usize,
    },
}
