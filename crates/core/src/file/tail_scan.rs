//! How a file of lines ends, read from the file alone. Hour files and snapshot parts share it.
//!
//! [`TailScan`] does no IO: it says which bytes it needs and is given them, so one implementation serves every
//! lake. It reads a few kilobytes however long the file is.

use std::ops::Range;

use crate::file::damage::{Damage, broken};
use crate::file::format::{Compression, FileFormat, OutputFormat};
use crate::file::gzip::{self, Trailer};
use crate::file::layout::{self, Extent};

const FIRST_WINDOW_BYTES: u64 = 16 * 1024;

/// The end of a file.
#[derive(Debug)]
pub(crate) struct Tail {
    pub extent: Extent,
    pub source: TailSource,
}

/// Where a file says what it holds.
#[derive(Debug)]
pub(crate) enum TailSource {
    /// The text of its head.
    Head(Vec<u8>),
    /// Its last line, and its trailer if it has one.
    Line(Vec<u8>, Option<Trailer>),
}

/// What a scan needs next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// These bytes of the file.
    Read(Range<u64>),
    /// Nothing more.
    Done(T),
}

#[derive(Debug)]
enum Stage {
    Head,
    Foot { text: Vec<u8>, head_len_bytes: u64 },
    LastLine,
    Trailer,
    LastMember(Trailer),
}

/// Reads the end of one file.
#[derive(Debug)]
pub(crate) struct TailScan {
    format: FileFormat,
    len_bytes: u64,
    stage: Stage,
    window: Range<u64>,
}

impl TailScan {
    /// Begins to read a file of this length. Feed it the bytes of each [`Step::Read`].
    pub(crate) fn begin(format: FileFormat, len_bytes: u64) -> Result<(Self, Range<u64>), Damage> {
        let near = len_bytes.min(FIRST_WINDOW_BYTES);
        let (stage, window) = match (format.output, format.compression) {
            (OutputFormat::Json, _) => (Stage::Head, 0..near),
            (OutputFormat::Ndjson, Compression::None) => {
                (Stage::LastLine, len_bytes - near..len_bytes)
            }
            (OutputFormat::Ndjson, Compression::Gzip) => {
                let trailer_len_bytes = Trailer::len_bytes().map_err(|error| broken(&error))?;
                let start = len_bytes
                    .checked_sub(trailer_len_bytes)
                    .ok_or_else(|| broken("it is shorter than a trailer"))?;
                (Stage::Trailer, start..len_bytes)
            }
        };
        if len_bytes == 0 {
            return Err(broken("it is empty"));
        }
        let scan = Self {
            format,
            len_bytes,
            stage,
            window: window.clone(),
        };
        Ok((scan, window))
    }

    /// Takes the bytes of the last [`Step::Read`].
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Step<Tail>, Damage> {
        let asked = self.window.end - self.window.start;
        if bytes.len() as u64 != asked {
            return Err(broken(&format!(
                "expected {asked} bytes, got {}",
                bytes.len()
            )));
        }
        match &mut self.stage {
            Stage::Head => self.head(bytes),
            Stage::Foot {
                text,
                head_len_bytes,
            } => {
                let (text, head_len_bytes) = (std::mem::take(text), *head_len_bytes);
                self.foot(text, head_len_bytes, bytes)
            }
            Stage::LastLine => self.last_line(bytes),
            Stage::Trailer => self.trailer(bytes),
            Stage::LastMember(trailer) => {
                let trailer = *trailer;
                self.last_member(trailer, bytes)
            }
        }
    }

    fn read(&mut self, window: Range<u64>) -> Step<Tail> {
        self.window = window.clone();
        Step::Read(window)
    }

    fn head(&mut self, bytes: &[u8]) -> Result<Step<Tail>, Damage> {
        let found = match self.format.compression {
            Compression::None => bytes
                .iter()
                .position(|byte| *byte == b'\n')
                .map(|at| (bytes[..=at].to_vec(), at + 1)),
            Compression::Gzip => gzip::first_member(bytes).map_err(|error| broken(&error))?,
        };
        let Some((text, head_len)) = found else {
            return self.wider_head(bytes);
        };
        let foot_len_bytes = foot(self.format)?.len() as u64;
        self.stage = Stage::Foot {
            text,
            head_len_bytes: head_len as u64,
        };
        // A head is longer than a foot and ends differently, so a head alone is never taken for a whole file.
        let start = self.len_bytes.checked_sub(foot_len_bytes);
        let start = start.ok_or_else(|| broken("its end is missing"))?;
        Ok(self.read(start..self.len_bytes))
    }

    /// Reads on in a head that is longer than the window, if these bytes are the beginning of one.
    fn wider_head(&mut self, bytes: &[u8]) -> Result<Step<Tail>, Damage> {
        let beginning = match self.format.compression {
            Compression::None => bytes.to_vec(),
            Compression::Gzip => gzip::beginning(bytes),
        };
        if !beginning.starts_with(layout::HEAD_START) {
            return Err(broken("it doesn't begin with a head"));
        }
        let wider = (self.window.end * 4).min(self.len_bytes);
        if wider == self.window.end || self.window.end >= layout::HEAD_LIMIT_BYTES {
            return Err(broken("its head is incomplete"));
        }
        Ok(self.read(0..wider))
    }

    fn foot(&self, text: Vec<u8>, head_len_bytes: u64, bytes: &[u8]) -> Result<Step<Tail>, Damage> {
        if bytes != foot(self.format)? {
            return Err(broken("its end is missing"));
        }
        Ok(Step::Done(Tail {
            extent: Extent {
                len_bytes: self.len_bytes,
                head_len_bytes,
                foot_len_bytes: bytes.len() as u64,
            },
            source: TailSource::Head(text),
        }))
    }

    fn last_line(&mut self, bytes: &[u8]) -> Result<Step<Tail>, Damage> {
        let lines = without_newline(bytes)?;
        let line = last_line_of(lines);
        if line.len() < lines.len() || self.window.start == 0 {
            return Ok(self.done(line, None));
        }
        let asked = self.window.end - self.window.start;
        let start = self.window.end.saturating_sub(asked * 4);
        Ok(self.read(start..self.len_bytes))
    }

    fn trailer(&mut self, bytes: &[u8]) -> Result<Step<Tail>, Damage> {
        let trailer = Trailer::read(bytes).ok_or_else(|| broken("its end is missing"))?;
        let end = self.window.start;
        let start = end
            .checked_sub(trailer.member_len_bytes)
            .ok_or_else(|| broken("its trailer doesn't fit its length"))?;
        self.stage = Stage::LastMember(trailer);
        Ok(self.read(start..end))
    }

    fn last_member(&mut self, trailer: Trailer, bytes: &[u8]) -> Result<Step<Tail>, Damage> {
        let member = gzip::first_member(bytes).map_err(|error| broken(&error))?;
        let (text, _) = member.ok_or_else(|| broken("its last chunk is incomplete"))?;
        let line = last_line_of(without_newline(&text)?);
        Ok(self.done(line, Some(trailer)))
    }

    fn done(&self, line: &[u8], trailer: Option<Trailer>) -> Step<Tail> {
        Step::Done(Tail {
            extent: Extent {
                len_bytes: self.len_bytes,
                ..Extent::default()
            },
            source: TailSource::Line(line.to_vec(), trailer),
        })
    }
}

fn foot(format: FileFormat) -> Result<Vec<u8>, Damage> {
    layout::foot(format).map_err(|error| broken(&error))
}

fn without_newline(lines: &[u8]) -> Result<&[u8], Damage> {
    lines
        .strip_suffix(b"\n")
        .ok_or_else(|| broken("its last line is incomplete"))
}

fn last_line_of(lines: &[u8]) -> &[u8] {
    lines
        .rsplit(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default()
}
