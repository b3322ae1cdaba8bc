//! Decompresses gzip members (RFC 1952) as their bytes come in.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::decompress::{Filled, STEP_BYTES};

const MAGIC: [u8; 3] = [0x1F, 0x8B, 8];
const FIXED_HEADER_BYTES: usize = 10;
const CHECKSUM_BYTES: usize = 8;
/// silt's headers are 34 bytes at most. Others may have a name and a comment of any length.
const HEADER_LIMIT_BYTES: usize = 128 * 1024;

const HAS_HEADER_CHECKSUM: u8 = 1 << 1;
const HAS_EXTRA: u8 = 1 << 2;
const HAS_NAME: u8 = 1 << 3;
const HAS_COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

#[derive(Debug)]
enum Stage {
    /// The bytes of the header so far.
    Header(Vec<u8>),
    Body,
    /// The bytes of the checksum and the length so far.
    Checksum(Vec<u8>),
}

/// Decompresses one member after the other.
#[derive(Debug)]
pub(super) struct Gzip {
    stage: Stage,
    inflate: Decompress,
    checksum: Crc,
    extra: Vec<u8>,
}

impl Gzip {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Header(Vec::new()),
            inflate: Decompress::new(false),
            checksum: Crc::new(),
            extra: Vec::new(),
        }
    }

    /// Whether everything so far is whole members.
    pub(super) fn is_between_members(&self) -> bool {
        matches!(&self.stage, Stage::Header(bytes) if bytes.is_empty())
    }

    /// Appends up to [`STEP_BYTES`] of text, up to the end of a member.
    pub(super) fn fill(&mut self, input: &mut &[u8], text: &mut Vec<u8>) -> Result<Filled, String> {
        if let Stage::Header(known) = &mut self.stage {
            let known_len = known.len();
            known.extend_from_slice(&input[..input.len().min(HEADER_LIMIT_BYTES)]);
            let Some(header) = read_header(known)? else {
                if known.len() > HEADER_LIMIT_BYTES {
                    return Err("the header of its gzip member has no end".to_owned());
                }
                *input = &[];
                return Ok(Filled::Partly);
            };
            *input = &input[header.len - known_len..];
            self.extra = header.extra;
            self.stage = Stage::Body;
        }
        if matches!(self.stage, Stage::Body) && !self.inflate(input, text)? {
            return Ok(Filled::Partly);
        }
        if let Stage::Checksum(known) = &mut self.stage {
            let (now, rest) = input.split_at(input.len().min(CHECKSUM_BYTES - known.len()));
            known.extend_from_slice(now);
            *input = rest;
            if known.len() == CHECKSUM_BYTES {
                return self.end_member();
            }
        }
        Ok(Filled::Partly)
    }

    /// Whether the member's text is complete.
    fn inflate(&mut self, input: &mut &[u8], text: &mut Vec<u8>) -> Result<bool, String> {
        text.reserve(STEP_BYTES);
        let (before, read_before) = (text.len(), self.inflate.total_in());
        let inflated = self
            .inflate
            .decompress_vec(input, text, FlushDecompress::None);
        let status = inflated.map_err(|_| "its compressed data is corrupt".to_owned())?;
        let read = self.inflate.total_in() - read_before;
        *input = &input[usize::try_from(read).unwrap_or(input.len())..];
        self.checksum.update(&text[before..]);
        if status == Status::StreamEnd {
            self.stage = Stage::Checksum(Vec::with_capacity(CHECKSUM_BYTES));
            return Ok(true);
        }
        if read == 0 && text.len() == before && !input.is_empty() {
            return Err("its compressed data is corrupt".to_owned());
        }
        Ok(false)
    }

    fn end_member(&mut self) -> Result<Filled, String> {
        let Stage::Checksum(bytes) = &self.stage else {
            return Ok(Filled::Partly);
        };
        let found = [
            self.checksum.sum().to_le_bytes(),
            self.checksum.amount().to_le_bytes(),
        ];
        if found.concat() != *bytes {
            return Err("the checksum of its compressed data is wrong".to_owned());
        }
        self.stage = Stage::Header(Vec::new());
        self.inflate.reset(false);
        self.checksum.reset();
        let extra = std::mem::take(&mut self.extra);
        Ok(Filled::ChunkEnd { extra })
    }
}

struct Header {
    len: usize,
    extra: Vec<u8>,
}

/// Reads the header that these bytes begin with; `None` if they end within it.
fn read_header(bytes: &[u8]) -> Result<Option<Header>, String> {
    let magic_len = bytes.len().min(MAGIC.len());
    if bytes[..magic_len] != MAGIC[..magic_len] {
        return Err("what follows is not gzip".to_owned());
    }
    let Some((fixed, mut rest)) = bytes.split_at_checked(FIXED_HEADER_BYTES) else {
        return Ok(None);
    };
    let flags = fixed[3];
    if flags & RESERVED != 0 {
        return Err("the header of its gzip member is corrupt".to_owned());
    }
    let mut extra = Vec::new();
    if flags & HAS_EXTRA != 0 {
        let Some((len, after)) = rest.split_first_chunk::<2>() else {
            return Ok(None);
        };
        let Some((field, after)) = after.split_at_checked(usize::from(u16::from_le_bytes(*len)))
        else {
            return Ok(None);
        };
        extra = field.to_vec();
        rest = after;
    }
    for flag in [HAS_NAME, HAS_COMMENT] {
        if flags & flag != 0 {
            let Some(end) = memchr::memchr(0, rest) else {
                return Ok(None);
            };
            rest = &rest[end + 1..];
        }
    }
    if flags & HAS_HEADER_CHECKSUM != 0 {
        let covered = bytes.len() - rest.len();
        let Some((expected, after)) = rest.split_first_chunk::<2>() else {
            return Ok(None);
        };
        let mut checksum = Crc::new();
        checksum.update(&bytes[..covered]);
        if checksum.sum().to_le_bytes()[..2] != *expected {
            return Err("the header of its gzip member is corrupt".to_owned());
        }
        rest = after;
    }
    Ok(Some(Header {
        len: bytes.len() - rest.len(),
        extra,
    }))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::GzBuilder;

    use super::*;

    fn read_in_pieces(bytes: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<Vec<u8>>), String> {
        let (mut gzip, mut text, mut extras) = (Gzip::new(), Vec::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            let mut input = piece;
            while !input.is_empty() {
                if let Filled::ChunkEnd { extra } = gzip.fill(&mut input, &mut text)? {
                    extras.push(extra);
                }
            }
        }
        assert!(gzip.is_between_members());
        Ok((text, extras))
    }

    #[test]
    fn headers_with_every_field_are_read_however_they_are_cut() {
        let member = |builder: GzBuilder, text: &[u8]| {
            let mut encoder = builder.write(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        let plain = member(GzBuilder::new(), b"one");
        let full = GzBuilder::new()
            .extra("extra")
            .filename("name")
            .comment("comment");
        let full = member(full, b"two");
        let bytes = [plain, full].concat();
        for piece in 1..bytes.len() {
            let (text, extras) = read_in_pieces(&bytes, piece).unwrap();
            assert_eq!(text, b"onetwo");
            assert_eq!(extras, [b"".to_vec(), b"extra".to_vec()]);
        }
    }

    #[test]
    fn a_header_checksum_is_checked() {
        let mut bytes = GzBuilder::new().write(Vec::new(), flate2::Compression::fast());
        bytes.write_all(b"text").unwrap();
        let mut bytes = bytes.finish().unwrap();
        bytes[3] |= HAS_HEADER_CHECKSUM;
        let mut checksum = Crc::new();
        checksum.update(&bytes[..FIXED_HEADER_BYTES]);
        let sum = checksum.sum().to_le_bytes();
        bytes.splice(FIXED_HEADER_BYTES..FIXED_HEADER_BYTES, [sum[0], sum[1]]);
        assert_eq!(read_in_pieces(&bytes, 3).unwrap().0, b"text");
        bytes[FIXED_HEADER_BYTES] ^= 1;
        read_in_pieces(&bytes, 3).unwrap_err();
    }
}
