//! Parses a file into blocks of lines.

use std::ops::Range;

use bytes::{Buf as _, Bytes};
use serde::Deserialize;

use super::block::{Block, Offsets, Place};
use super::decompress::{Decompressor, Filled, STEP_BYTES};
use super::line::Change;
use super::namespace;
use super::resume::{self, ResumePoint};
use crate::file::damage::Damage;
use crate::file::format::{Compression, FileFormat, OutputFormat};
use crate::file::gzip::Trailer;
use crate::file::layout;
use crate::limits::LINE_LIMIT_BYTES;
use crate::namespace::Namespace;
use crate::position::{ClusterTime, ResumeToken};

/// The line that ends a `json` file.
const FOOT_LINE: &[u8] = b"]}";
/// Blocks whose buffer would be mostly unused are copied.
const SPARSE: usize = 4;

/// `metadata` of a `json` file, as far as it concerns a reader.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Head {
    /// Database of the changes or documents.
    pub database: String,
    /// Their collection.
    pub collection: String,
    /// How many there are.
    pub count: u64,
    /// Cluster time of an hour file's first change.
    pub first_cluster_time: Option<ClusterTime>,
    /// Cluster time of an hour file's last change.
    pub last_cluster_time: Option<ClusterTime>,
    /// Resume token of an hour file's last change.
    pub last_resume_token: Option<ResumeToken>,
}

/// What the parser has to say.
#[derive(Debug)]
pub enum Parsed {
    /// Some lines.
    Block(Block),
    /// It needs the next bytes, or the word that there are none: [`FileParser::feed`], [`FileParser::end`].
    NeedsInput,
    /// It needs the bytes from this offset on instead of those that follow.
    Seek(u64),
    /// The file is read to its end, and whole.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Before the first change of a `json` file.
    Head,
    /// Where there is a change, or in a `json` file its foot.
    Lines,
    /// Right after a seek, where the text may begin with what ends the line before.
    Sought,
    /// After the foot of a `json` file.
    End,
}

/// Parses one file.
#[derive(Debug)]
pub struct FileParser {
    format: FileFormat,
    /// Whose changes it must hold.
    namespace: Option<Namespace>,
    decompressor: Decompressor,
    input: Bytes,
    has_ended: bool,
    /// Offset in the file after the input.
    fed_until: u64,
    /// Uncompressed bytes that belong to no block yet.
    text: Vec<u8>,
    /// How much of the text is known to have no line end.
    searched: usize,
    /// Offset in the file of the text, or of the chunk that it begins in.
    text_offset: u64,
    /// Offset in the file of the chunk that is being decompressed.
    chunk_offset: u64,
    /// Length of the chunk before that.
    last_chunk_len_bytes: u64,
    stage: Stage,
    head: Option<Head>,
    head_len_bytes: u64,
    /// Lines of the text that were taken, the head included.
    text_lines: u64,
    /// Changes that were taken.
    changes: u64,
    /// Whether another change must follow, by the comma after the last.
    is_continued: bool,
    /// Whether the last chunk of a compressed `ndjson` file was a trailer, as at its end.
    has_trailer: bool,
    /// Where to resume, as long as it isn't there yet.
    resume: Option<ResumePoint>,
    /// Lines that must still be passed over.
    skip_lines: u64,
    point: ResumePoint,
}

impl FileParser {
    /// For a file from its beginning.
    #[must_use]
    pub fn new(format: FileFormat) -> Self {
        Self {
            format,
            namespace: None,
            decompressor: Decompressor::new(format.compression),
            input: Bytes::new(),
            has_ended: false,
            fed_until: 0,
            text: Vec::new(),
            searched: 0,
            text_offset: 0,
            chunk_offset: 0,
            last_chunk_len_bytes: 0,
            stage: match format.output {
                OutputFormat::Json => Stage::Head,
                OutputFormat::Ndjson => Stage::Lines,
            },
            head: None,
            head_len_bytes: 0,
            text_lines: 0,
            changes: 0,
            is_continued: false,
            has_trailer: false,
            resume: None,
            skip_lines: 0,
            point: ResumePoint::default(),
        }
    }

    /// For a file in a later state, of which the lines before this point were returned.
    #[must_use]
    pub fn resume(format: FileFormat, point: ResumePoint) -> Self {
        Self {
            resume: (point.returned_lines > 0).then_some(point),
            point,
            ..Self::new(format)
        }
    }

    /// The same for a file that must hold changes, or documents, of this collection: its metadata and its first
    /// line are checked.
    #[must_use]
    pub fn of(mut self, namespace: Namespace) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// What was returned so far.
    #[must_use]
    pub fn resume_point(&self) -> ResumePoint {
        self.point
    }

    /// The metadata of a `json` file, once it is read.
    #[must_use]
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Takes the next bytes of the file. What was fed before and isn't parsed yet is kept; a caller that
    /// feeds when asked to, as [`Parsed::NeedsInput`] says, never has two pieces in memory.
    pub fn feed(&mut self, bytes: Bytes) {
        self.fed_until += bytes.len() as u64;
        self.input = if self.input.is_empty() {
            bytes
        } else {
            [&self.input[..], &bytes[..]].concat().into()
        };
    }

    /// Takes the word that the file ends here.
    pub fn end(&mut self) {
        self.has_ended = true;
    }

    /// Parses on.
    ///
    /// # Errors
    ///
    /// The file isn't what silt writes.
    pub fn parse(&mut self) -> Result<Parsed, Damage> {
        loop {
            if self.has_whole_head()
                && let Some(block) = self.take_lines()?
            {
                self.expect_first(&block)?;
                self.point.advance(&block, self.head_len_bytes);
                return Ok(Parsed::Block(block));
            }
            if self.stage != Stage::Head
                && let Some(point) = self.resume.take()
            {
                return Ok(Parsed::Seek(self.seek(point)));
            }
            if !self.input.is_empty() {
                self.fill()?;
            } else if self.has_ended {
                self.expect_end()?;
                return Ok(Parsed::End);
            } else {
                return Ok(Parsed::NeedsInput);
            }
        }
    }

    /// Makes sure that the file's first line is of the right database.
    fn expect_first(&self, block: &Block) -> Result<(), Damage> {
        let is_first = self.point.returned_lines == 0;
        let Some((namespace, line)) = self
            .namespace
            .as_ref()
            .filter(|_| is_first)
            .zip(block.lines().next())
        else {
            return Ok(());
        };
        let change = Change::parse(line.bytes).map_err(|error| line.place.damage(&error))?;
        namespace::expect(namespace, change.database.as_deref(), None)
    }

    /// Whether nothing is missing of a head that is a compressed chunk: its end is that of the chunk.
    fn has_whole_head(&self) -> bool {
        self.stage != Stage::Head
            || self.format.compression == Compression::None
            || self.chunk_offset > 0
    }

    fn seek(&mut self, point: ResumePoint) -> u64 {
        let offset_bytes = self.head_len_bytes + point.offset_bytes;
        self.decompressor = Decompressor::new(self.format.compression);
        self.input = Bytes::new();
        self.has_ended = false;
        self.fed_until = offset_bytes;
        self.text.clear();
        self.searched = 0;
        self.chunk_offset = offset_bytes;
        self.changes = point.returned_lines.saturating_sub(point.skipped_lines);
        self.text_lines = self.changes + u64::from(self.format.output == OutputFormat::Json);
        self.skip_lines = point.skipped_lines;
        self.stage = Stage::Sought;
        offset_bytes
    }

    /// Turns some input into text.
    fn fill(&mut self) -> Result<(), Damage> {
        if self.text.is_empty() {
            self.text_offset = match self.format.compression {
                Compression::None => self.fed_until - self.input.len() as u64,
                Compression::Gzip => self.chunk_offset,
            };
        }
        let before = self.text.len();
        let mut input = &self.input[..];
        let filled = self.decompressor.fill(&mut input, &mut self.text);
        let read = self.input.len() - input.len();
        self.input.advance(read);
        let filled = filled.map_err(|what| self.place().damage(&what))?;
        if self.text.len() > before {
            self.has_trailer = false;
            if self.stage == Stage::End {
                return Err(self.place().damage("something follows its end"));
            }
        }
        if let Filled::ChunkEnd { extra } = filled {
            self.end_chunk(&extra)?;
        }
        if self.text.len() > LINE_LIMIT_BYTES {
            return Err(self.place().damage("the line has no end"));
        }
        Ok(())
    }

    /// Where the text begins.
    fn place(&self) -> Place {
        Place {
            line: self.text_lines + 1,
            offset_bytes: if self.text.is_empty() {
                self.chunk_offset
            } else {
                self.text_offset
            },
        }
    }

    fn end_chunk(&mut self, extra: &[u8]) -> Result<(), Damage> {
        let end = self.fed_until - self.input.len() as u64;
        if self.format.output == OutputFormat::Ndjson
            && let Some(trailer) = Trailer::from_extra(extra)
        {
            self.expect_trailer(trailer)?;
        }
        self.last_chunk_len_bytes = end - self.chunk_offset;
        self.chunk_offset = end;
        Ok(())
    }

    /// Makes sure that a trailer says what was read.
    fn expect_trailer(&mut self, trailer: Trailer) -> Result<(), Damage> {
        if !self.text.is_empty() {
            return Err(self.place().damage("the line has no end"));
        }
        if trailer.member_len_bytes != self.last_chunk_len_bytes {
            return Err(self
                .place()
                .damage("a chunk is missing before this trailer"));
        }
        if trailer.changes != self.changes {
            return Err(self.place().damage(&format!(
                "there are {} changes up to here, and the trailer counts {}",
                self.changes, trailer.changes
            )));
        }
        self.has_trailer = true;
        Ok(())
    }

    /// Takes all whole lines of the text. `None` if they hold no change.
    fn take_lines(&mut self) -> Result<Option<Block>, Damage> {
        let end = memchr::memrchr(b'\n', &self.text[self.searched..]);
        let Some(end) = end.map(|end| self.searched + end + 1) else {
            self.searched = self.text.len();
            return Ok(None);
        };
        let text = self.take_text(end);
        let offsets = match self.format.compression {
            Compression::None => Offsets::Text(self.text_offset),
            Compression::Gzip => Offsets::Chunks {
                first_line: self.text_offset,
                others: self.chunk_of_text(),
            },
        };
        self.text_offset = match offsets {
            Offsets::Text(offset_bytes) => offset_bytes + end as u64,
            Offsets::Chunks { others, .. } => others,
        };
        let mut block = Block {
            first_line: 0,
            spans: Vec::with_capacity(text.len() / 512 + 1),
            text,
            offsets,
        };
        let mut start = 0;
        let text = std::mem::take(&mut block.text);
        for end in memchr::memchr_iter(b'\n', &text) {
            if let Some(span) = self.take_line(&text, start..end, offsets)? {
                if block.spans.is_empty() {
                    block.first_line = self.text_lines;
                }
                block.spans.push(span);
            }
            start = end + 1;
            if self.resume.is_some() {
                // What follows the head is passed over.
                break;
            }
        }
        block.text = text;
        Ok((!block.spans.is_empty()).then_some(block))
    }

    /// The chunk that the text's last lines are from: that at hand, or the one that has just ended.
    fn chunk_of_text(&self) -> u64 {
        let at = self.fed_until - self.input.len() as u64;
        if at == self.chunk_offset {
            self.chunk_offset - self.last_chunk_len_bytes
        } else {
            self.chunk_offset
        }
    }

    /// Takes the text up to here, and keeps the rest.
    fn take_text(&mut self, end: usize) -> Vec<u8> {
        self.searched = 0;
        if end * SPARSE < self.text.capacity() {
            let taken = self.text[..end].to_vec();
            self.text.drain(..end);
            return taken;
        }
        let mut rest = Vec::with_capacity(self.text.len() - end + STEP_BYTES);
        rest.extend_from_slice(&self.text[end..]);
        let mut taken = std::mem::replace(&mut self.text, rest);
        taken.truncate(end);
        taken
    }

    /// Takes a line: where its change is, if it is to be returned.
    fn take_line(
        &mut self,
        text: &[u8],
        span: Range<usize>,
        offsets: Offsets,
    ) -> Result<Option<Range<usize>>, Damage> {
        let line = &text[span.clone()];
        let is_at_seek = self.stage == Stage::Sought;
        if is_at_seek {
            self.stage = Stage::Lines;
        }
        if is_at_seek && self.format.output == OutputFormat::Json && line == b"," {
            // The chunk begins with what separates it from the one before.
            self.is_continued = true;
            return Ok(None);
        }
        self.text_lines += 1;
        let place = Place {
            line: self.text_lines,
            offset_bytes: offsets.of(span.start),
        };
        let span = match (self.format.output, self.stage) {
            (OutputFormat::Ndjson, _) => span,
            (OutputFormat::Json, Stage::Head) => {
                self.take_head(&text[..=span.end], text.len(), place)?;
                return Ok(None);
            }
            (OutputFormat::Json, Stage::Lines | Stage::Sought) if line == FOOT_LINE => {
                if self.is_continued || self.changes == 0 {
                    return Err(place.damage("a change is missing before its end"));
                }
                self.stage = Stage::End;
                return Ok(None);
            }
            (OutputFormat::Json, Stage::Lines | Stage::Sought) => {
                if self.changes > 0 && !self.is_continued && !is_at_seek {
                    return Err(place.damage("the line before lacks its comma"));
                }
                self.is_continued = line.ends_with(b",");
                span.start..span.end - usize::from(self.is_continued)
            }
            (OutputFormat::Json, Stage::End) => {
                return Err(place.damage("something follows its end"));
            }
        };
        let line = &text[span.clone()];
        if !(line.starts_with(b"{") && line.ends_with(b"}")) {
            return Err(place.damage("the line isn't a JSON object"));
        }
        self.changes += 1;
        Ok(self.is_new(line, place)?.then_some(span))
    }

    /// Whether a line wasn't returned before.
    fn is_new(&mut self, line: &[u8], place: Place) -> Result<bool, Damage> {
        if self.skip_lines == 0 {
            return Ok(true);
        }
        self.skip_lines -= 1;
        if self.skip_lines == 0 && resume::hash(line) != self.point.last_line_hash {
            return Err(place.damage("the file was replaced by another while it was read"));
        }
        Ok(false)
    }

    /// Takes the head: the first line of a text of this length.
    fn take_head(&mut self, line: &[u8], text_len: usize, place: Place) -> Result<(), Damage> {
        let head = layout::read_head(line);
        let head: Head = head.map_err(|error| place.damage(&format!("its metadata: {error}")))?;
        if let Some(namespace) = &self.namespace {
            namespace::expect(namespace, Some(&head.database), Some(&head.collection))?;
        }
        self.head = Some(head);
        self.stage = Stage::Lines;
        self.head_len_bytes = match self.format.compression {
            Compression::None => line.len() as u64,
            // It is a chunk of its own.
            Compression::Gzip if line.len() == text_len && self.text.is_empty() => {
                self.chunk_offset
            }
            Compression::Gzip => return Err(place.damage("its head is not a chunk of its own")),
        };
        Ok(())
    }

    fn expect_end(&self) -> Result<(), Damage> {
        let place = self.place();
        let is_cut = match self.format.output {
            OutputFormat::Json => self.stage != Stage::End,
            OutputFormat::Ndjson => {
                !self.text.is_empty()
                    || self.changes == 0
                    || (self.format.compression != Compression::None && !self.has_trailer)
            }
        };
        if is_cut || !self.decompressor.is_between_chunks() || self.skip_lines > 0 {
            return Err(place.damage("its end is missing"));
        }
        match &self.head {
            Some(head) if head.count != self.changes => Err(place.damage(&format!(
                "it has {} changes, and its metadata counts {}",
                self.changes, head.count
            ))),
            _ => Ok(()),
        }
    }
}
