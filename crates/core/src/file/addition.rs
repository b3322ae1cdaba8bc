//! The bytes that a commit adds to a file: head, chunk, foot.
//!
//! A commit replaces the head, adds one chunk behind the others and moves the foot on, so the file
//! is valid at every instant. The head is padded, so that its length hardly ever changes and a
//! lake that can overwrite in place needn't move the body.

use std::io;

use bytes::{Buf as _, Bytes};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::file::hour_file::{Compression, FileFormat, OutputFormat};
use crate::file::zip::{self, GzipLevel, Trailer};

/// Heads are padded with spaces to a multiple of this.
pub(crate) const HEAD_STEP_BYTES: usize = 512;
const HEAD_END: &str = "\"changes\":[\n";
const FOOT: &[u8] = b"\n]}\n";

/// What a commit changes of a file, ready for a lake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    /// The file's new beginning, in place of the old one. May be empty.
    pub head: Vec<u8>,
    /// What goes behind the file's chunks. Uncompressed it is the memory of the lines.
    pub chunk: Bytes,
    /// The file's end, the same in every commit of a file. May be empty.
    pub foot: Vec<u8>,
}

impl Addition {
    /// What goes over the wire.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        (self.head.len() + self.chunk.len() + self.foot.len()) as u64
    }
}

/// One commit to a file of this kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit<F> {
    /// What it changes.
    pub addition: Addition,
    /// What the file is when the commit is made.
    pub file: F,
}

/// How long a file is, and how much of it is frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// All of it.
    pub len_bytes: u64,
    /// The part before the first line, which each commit replaces.
    pub head_len_bytes: u64,
    /// The part behind the last line, which each commit moves on.
    pub foot_len_bytes: u64,
}

/// Sums over a file, the commit at hand included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sums {
    pub commits: u32,
    pub lines: u64,
}

/// Frames lines that go to a file of this extent, or to a new one. Says how long the file is then.
pub(crate) fn frame(
    format: FileFormat,
    base: Option<Extent>,
    metadata: &impl Serialize,
    lines: Bytes,
    sums: Sums,
    gzip_level: GzipLevel,
) -> io::Result<(Addition, Extent)> {
    let old = base.unwrap_or_default();
    let head = head(format, metadata, old.head_len_bytes)?;
    let chunk = chunk(format, lines, base.is_none(), sums, gzip_level)?;
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

/// The most bytes that a commit of lines of this length can add to a file.
#[must_use]
pub fn chunk_limit_bytes(lines_len_bytes: u64, compression: Compression) -> u64 {
    match compression {
        // With a little for the head, which may grow.
        Compression::None => lines_len_bytes + lines_len_bytes / 1024 + 256,
        // The quickest level takes nine bits for a byte that it knows no better word for; besides the frames
        // of a member and a trailer.
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
    let mut text = String::from("{\"metadata\":");
    text += &serde_json::to_string(metadata)?;
    text.push(',');
    // A gzip member's frame is shorter than a step, so rounding down gives the old text's length.
    let least = usize::try_from(least_len_bytes).unwrap_or(0) / HEAD_STEP_BYTES * HEAD_STEP_BYTES;
    pad(&mut text, least);
    match format.compression {
        Compression::None => Ok(text.into_bytes()),
        Compression::Gzip => zip::stored_member(text.as_bytes()),
    }
}

/// Pads to at least `least_len_bytes` and a multiple of the step, the head's end included.
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
    sums: Sums,
    gzip_level: GzipLevel,
) -> io::Result<Bytes> {
    if is_first {
        lines.advance(format.separator().before.len());
    }
    if format.compression == Compression::None {
        return Ok(lines);
    }
    let mut member = zip::member(&lines, gzip_level)?;
    if format.output == OutputFormat::Ndjson {
        let trailer = Trailer {
            member_len_bytes: member.len() as u64,
            changes: sums.lines,
            commits: sums.commits,
        };
        member.extend(trailer.write()?);
    }
    Ok(member.into())
}

/// The end of every file of this format.
pub(crate) fn foot(format: FileFormat) -> io::Result<Vec<u8>> {
    match (format.output, format.compression) {
        (OutputFormat::Ndjson, _) => Ok(Vec::new()),
        (OutputFormat::Json, Compression::None) => Ok(FOOT.to_vec()),
        (OutputFormat::Json, Compression::Gzip) => zip::stored_member(FOOT),
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
