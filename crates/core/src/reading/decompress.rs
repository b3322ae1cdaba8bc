//! Turns the bytes of a file into text, whatever its compression.

use super::gzip::Gzip;
use crate::file::format::Compression;

/// Text that is produced at once: small enough to stay in a processor's cache.
pub(super) const STEP_BYTES: usize = 256 * 1024;

/// What a step ended with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// There may be more text, in the input at hand or in what follows.
    Partly,
    /// The end of a compressed chunk: a gzip member.
    ChunkEnd {
        /// The member's extra field.
        extra: Vec<u8>,
    },
}

/// Decompresses one file. Another compression, such as zstd, is another variant: its chunks are frames.
#[derive(Debug)]
pub(super) enum Decompressor {
    None,
    Gzip(Box<Gzip>),
}

impl Decompressor {
    pub(super) fn new(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::None,
            Compression::Gzip => Self::Gzip(Box::new(Gzip::new())),
        }
    }

    /// Appends about [`STEP_BYTES`] of text at most, and no more than up to the end of a chunk.
    pub(super) fn fill(&mut self, input: &mut &[u8], text: &mut Vec<u8>) -> Result<Filled, String> {
        match self {
            Self::None => {
                let (now, rest) = input.split_at(input.len().min(STEP_BYTES));
                text.extend_from_slice(now);
                *input = rest;
                Ok(Filled::Partly)
            }
            Self::Gzip(gzip) => gzip.fill(input, text),
        }
    }

    /// Whether the input so far can be all.
    pub(super) fn is_between_chunks(&self) -> bool {
        match self {
            Self::None => true,
            Self::Gzip(gzip) => gzip.is_between_members(),
        }
    }
}
