//! What can be wrong with the bytes of a document.

use super::MAX_DEPTH;

/// Why bytes could not be written as Extended JSON.
///
/// Every offset counts bytes from the start of the input that was handed in, so it can be looked
/// up in a hex dump of the document, however deep in it the fault lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value is longer than the bytes of the document it stands in.
    #[error(
        "malformed BSON: at byte {offset} a value needs {needed} bytes but its document has only {left} left"
    )]
    Truncated {
        /// Where the value starts.
        offset: usize,
        /// The bytes it needs.
        needed: usize,
        /// The bytes there are.
        left: usize,
    },

    /// A length is negative, or too small for the value it belongs to.
    #[error("malformed BSON: the length {length} at byte {offset} is not possible")]
    Length {
        /// Where the length stands.
        offset: usize,
        /// The length as it was read.
        length: i32,
    },

    /// A document or string does not end in the zero byte that it must end in.
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
        /// The first byte that does not belong.
        offset: usize,
    },

    /// Text is not UTF-8. MongoDB does not check what clients store, so this can be found in
    /// documents that are otherwise sound.
    #[error("malformed BSON: text is not valid UTF-8 from byte {offset} on")]
    Utf8 {
        /// The first byte that is not UTF-8.
        offset: usize,
    },

    /// An element type that the BSON specification does not have.
    #[error("malformed BSON: unknown element type 0x{element_type:02x} at byte {offset}")]
    UnknownType {
        /// Where the type stands.
        offset: usize,
        /// The type as it was read.
        element_type: u8,
    },

    /// A boolean that is neither 0 nor 1.
    #[error("malformed BSON: the boolean at byte {offset} is 0x{value:02x}, not 0 or 1")]
    Boolean {
        /// Where the boolean stands.
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

    /// A binary value so long that its base64 form does not fit in memory.
    #[error("the binary value at byte {offset} is too long to be written as base64")]
    BinaryTooLong {
        /// Where the binary value's bytes start.
        offset: usize,
    },
}
