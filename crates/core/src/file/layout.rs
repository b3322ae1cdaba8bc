//! The bytes that a commit writes: head, chunk, foot.
//!
//! A commit replaces the head, appends one chunk after the others and moves the foot, so the file is valid at
//! every moment. The head is padded, so its length hardly ever changes, and a lake that can overwrite in place
//! needn't move the body.

use std::io;

use bytes::{Buf as _, Bytes};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::file::format::{Compression, FileFormat, OutputFormat};
use crate::file::gzip::{self, GzipLevel, Trailer};
use crate::json;

/// Heads are padded with spaces to a multiple of this.
pub(crate) const HEAD_STEP_BYTES: usize = 512;
/// The most bytes of a head. A head holds one resume token or document key. A token is at most as long as an
/// event (16 MiB); the Extended JSON of an `_id` is at most fourteen times as long as its BSON.
pub(crate) const HEAD_LIMIT_BYTES: u64 = 256 << 20;
/// What every head begins with.
pub(crate) const HEAD_START: &[u8] = b"{\"metadata\":";
const HEAD_END: &str = "\"changes\":[\n";
const FOOT: &[u8] = b"\n]}\n";

/// What a commit changes in a file, ready for a lake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    /// The file's new head, which replaces the old one. May be empty.
    pub head: Vec<u8>,
    /// The chunk to append after the others. Uncompressed, it shares the memory of the lines.
    pub chunk: Bytes,
    /// The foot, the same in every commit to a file. May be empty.
    pub foot: Vec<u8>,
}

impl Addition {
    /// How many bytes are sent to the lake.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        (self.head.len() + self.chunk.len() + self.foot.len()) as u64
    }
}

/// One commit to a file of this kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit<F> {
    /// What it changes in the file.
    pub addition: Addition,
    /// The file as it is after the commit.
    pub file: F,
}

/// How long a file is, and how much of it is head and foot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The whole file.
    pub len_bytes: u64,
    /// The head: what comes before the first line. Each commit replaces it.
    pub head_len_bytes: u64,
    /// The foot: what comes after the last line.
    pub foot_len_bytes: u64,
}

/// Totals of a file, including the commit being encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Totals {
    pub commits: u32,
    pub lines: u64,
}

/// Encodes lines that are added to a file of this extent, or to a new one. Also returns the extent after that.
pub(crate) fn frame(
    format: FileFormat,
    base: Option<Extent>,
    metadata: &impl Serialize,
    lines: Bytes,
    totals: Totals,
    gzip_level: GzipLevel,
) -> io::Result<(Addition, Extent)> {
    let old = base.unwrap_or_default();
    let head = head(format, metadata, old.head_len_bytes)?;
    let chunk = chunk(format, lines, base.is_none(), totals, gzip_level)?;
    let foot = foot(format)?;
    let body_len_bytes = old.len_bytes - old.head_len_bytes - old.foot_len_bytes;
    let addition = Addition { head, chunk, foot };
    let extent = Extent {
        len_bytes: body_len_bytes + addition.len_bytes(),
        head_len_bytes: addition.head.len() as u64,
        foot_len_bytes: addition.foot.len() as u64,
    };
    Ok((addition, extent))
}

/// The most bytes by which a commit of lines of this length can lengthen a file.
#[must_use]
pub fn chunk_limit_bytes(lines_len_bytes: u64, compression: Compression) -> u64 {
    match compression {
        // With some room for the head, which may grow.
        Compression::None => lines_len_bytes + lines_len_bytes / 1024 + 256,
        // The fastest level needs nine bits for a byte that it can't compress. A member and a trailer have
        // headers beside that.
        Compression::Gzip => lines_len_bytes + lines_len_bytes / 8 + 256,
    }
}

fn head(
    format: FileFormat,
    metadata: &impl Serialize,
    least_len_bytes: u64,
) -> io::Result<Vec<u8>> {
    if format.output == OutputFormat::Ndjson {
        return Ok(Vec::new());
    }
    let mut text = String::from_utf8_lossy(HEAD_START).into_owned();
    text += &json::to_line(metadata)?;
    text.push(',');
    // A gzip member's header and trailer are shorter than a step, so rounding down gives the old text's length.
    let least = usize::try_from(least_len_bytes).unwrap_or(0) / HEAD_STEP_BYTES * HEAD_STEP_BYTES;
    pad(&mut text, least);
    let head = match format.compression {
        Compression::None => text.into_bytes(),
        Compression::Gzip => gzip::stored_member(text.as_bytes())?,
    };
    if head.len() as u64 > HEAD_LIMIT_BYTES {
        return Err(io::Error::other(format!(
            "the head of the file would have {} bytes; a reader takes at most {HEAD_LIMIT_BYTES}",
            head.len()
        )));
    }
    Ok(head)
}

/// Pads to a multiple of the step and to at least `least_len_bytes`, both including [`HEAD_END`].
fn pad(text: &mut String, least_len_bytes: usize) {
    let len = (text.len() + HEAD_END.len()).max(least_len_bytes);
    let padded = len.next_multiple_of(HEAD_STEP_BYTES);
    text.extend(std::iter::repeat_n(
        ' ',
        padded - text.len() - HEAD_END.len(),
    ));
    text.push_str(HEAD_END);
}

fn chunk(
    format: FileFormat,
    mut lines: Bytes,
    is_first: bool,
    totals: Totals,
    gzip_level: GzipLevel,
) -> io::Result<Bytes> {
    if is_first {
        lines.advance(format.separator().before.len());
    }
    if format.compression == Compression::None {
        return Ok(lines);
    }
    let mut member = gzip::member(&lines, gzip_level)?;
    if format.output == OutputFormat::Ndjson {
        let trailer = Trailer {
            member_len_bytes: member.len() as u64,
            changes: totals.lines,
            commits: totals.commits,
        };
        member.extend(trailer.write()?);
    }
    Ok(member.into())
}

/// The foot of every file of this format.
pub(crate) fn foot(format: FileFormat) -> io::Result<Vec<u8>> {
    match (format.output, format.compression) {
        (OutputFormat::Ndjson, _) => Ok(Vec::new()),
        (OutputFormat::Json, Compression::None) => Ok(FOOT.to_vec()),
        (OutputFormat::Json, Compression::Gzip) => gzip::stored_member(FOOT),
    }
}

/// Reads the metadata in the text of a head, which ends with [`HEAD_END`].
pub(crate) fn read_head<M: DeserializeOwned>(text: &[u8]) -> Result<M, serde_json::Error> {
    #[derive(serde::Deserialize)]
    struct Head<M> {
        metadata: M,
    }
    let mut document = text.to_vec();
    document.extend_from_slice(FOOT);
    serde_json::from_slice(&document).map(|head: Head<M>| head.metadata)
}
