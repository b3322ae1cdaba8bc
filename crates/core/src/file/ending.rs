//! How a file of lines ends, read from the file alone.
//!
//! [`EndScan`] does no IO: it says which bytes it needs and is fed with them, so one implementation
//! serves every lake. It reads a few kilobytes however long the file is.

use std::ops::Range;

use crate::file::addition::{self, Extent};
use crate::file::hour_file::{Compression, FileFormat, OutputFormat};
use crate::file::tail::Damage;
use crate::file::zip::{self, Trailer};

const FIRST_WINDOW_BYTES: u64 = 16 * 1024;
/// A head holds one resume token or document key, and some numbers.
const HEAD_LIMIT_BYTES: u64 = 1024 * 1024;

/// How a file ends.
#[derive(Debug)]
pub(crate) struct Ending {
    pub extent: Extent,
    pub says: Says,
}

/// Where a file says what it holds.
#[derive(Debug)]
pub(crate) enum Says {
    /// In its head, of which this is the text.
    Head(Vec<u8>),
    /// In its last line, and in its trailer if it has one.
    Line(Vec<u8>, Option<Trailer>),
}

/// What a scan wants next.
#[derive(Debug)]
pub(crate) enum Wants {
    /// These bytes of the file.
    Read(Range<u64>),
    /// Nothing more.
    Done(Ending),
}

#[derive(Debug)]
enum Stage {
    Head,
    Foot { text: Vec<u8>, head_len_bytes: u64 },
    LastLine,
    Trailer,
    LastMember(Trailer),
}

/// Reads the ending of one file.
#[derive(Debug)]
pub(crate) struct EndScan {
    format: FileFormat,
    len_bytes: u64,
    stage: Stage,
    window: Range<u64>,
}

impl EndScan {
    /// Begins to read a file of this length. Feed it the bytes of each [`Wants::Read`].
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
                    .ok_or_else(|| broken("too short"))?;
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

    /// Takes the bytes that were asked for.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Wants, Damage> {
        let asked = self.window.end - self.window.start;
        if bytes.len() as u64 != asked {
            return Err(broken(&format!(
                "{asked} bytes expected, {} there",
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

    fn ask(&mut self, window: Range<u64>) -> Wants {
        self.window = window.clone();
        Wants::Read(window)
    }

    fn head(&mut self, bytes: &[u8]) -> Result<Wants, Damage> {
        let found = match self.format.compression {
            Compression::None => bytes
                .iter()
                .position(|byte| *byte == b'\n')
                .map(|at| (bytes[..=at].to_vec(), at + 1)),
            Compression::Gzip => zip::first_member(bytes).map_err(|error| broken(&error))?,
        };
        let Some((text, head_len)) = found else {
            return self.wider_head();
        };
        let foot_len_bytes = foot(self.format)?.len() as u64;
        self.stage = Stage::Foot {
            text,
            head_len_bytes: head_len as u64,
        };
        // A head is longer than a foot and doesn't end like one, so no head passes for a whole file.
        let start = self.len_bytes.checked_sub(foot_len_bytes);
        let start = start.ok_or_else(|| broken("its end is missing"))?;
        Ok(self.ask(start..self.len_bytes))
    }

    fn wider_head(&mut self) -> Result<Wants, Damage> {
        let wider = (self.window.end * 4).min(self.len_bytes);
        if wider == self.window.end || self.window.end >= HEAD_LIMIT_BYTES {
            return Err(broken("its head has no end"));
        }
        Ok(self.ask(0..wider))
    }

    fn foot(&self, text: Vec<u8>, head_len_bytes: u64, bytes: &[u8]) -> Result<Wants, Damage> {
        if bytes != foot(self.format)? {
            return Err(broken("its end is missing"));
        }
        Ok(Wants::Done(Ending {
            extent: Extent {
                len_bytes: self.len_bytes,
                head_len_bytes,
                foot_len_bytes: bytes.len() as u64,
            },
            says: Says::Head(text),
        }))
    }

    fn last_line(&mut self, bytes: &[u8]) -> Result<Wants, Damage> {
        let lines = without_end(bytes)?;
        let line = last_of(lines);
        if line.len() < lines.len() || self.window.start == 0 {
            return Ok(self.done(line, None));
        }
        let asked = self.window.end - self.window.start;
        let start = self.window.end.saturating_sub(asked * 4);
        Ok(self.ask(start..self.len_bytes))
    }

    fn trailer(&mut self, bytes: &[u8]) -> Result<Wants, Damage> {
        let trailer = Trailer::read(bytes).ok_or_else(|| broken("its end is missing"))?;
        let end = self.window.start;
        let start = end
            .checked_sub(trailer.member_len_bytes)
            .ok_or_else(|| broken("its end doesn't fit its length"))?;
        self.stage = Stage::LastMember(trailer);
        Ok(self.ask(start..end))
    }

    fn last_member(&mut self, trailer: Trailer, bytes: &[u8]) -> Result<Wants, Damage> {
        let member = zip::first_member(bytes).map_err(|error| broken(&error))?;
        let (text, _) = member.ok_or_else(|| broken("its last chunk has no end"))?;
        let line = last_of(without_end(&text)?);
        Ok(self.done(line, Some(trailer)))
    }

    fn done(&self, line: &[u8], trailer: Option<Trailer>) -> Wants {
        Wants::Done(Ending {
            extent: Extent {
                len_bytes: self.len_bytes,
                ..Extent::default()
            },
            says: Says::Line(line.to_vec(), trailer),
        })
    }
}

fn foot(format: FileFormat) -> Result<Vec<u8>, Damage> {
    addition::foot(format).map_err(|error| broken(&error))
}

fn without_end(lines: &[u8]) -> Result<&[u8], Damage> {
    lines
        .strip_suffix(b"\n")
        .ok_or_else(|| broken("its last line has no end"))
}

fn last_of(lines: &[u8]) -> &[u8] {
    lines
        .rsplit(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default()
}

pub(crate) fn broken(what: &(impl ToString + ?Sized)) -> Damage {
    Damage::Broken(what.to_string())
}
