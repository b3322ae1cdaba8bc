//! gzip members (RFC 1952). A file of concatenated members is a valid gzip file.

use std::fmt;
use std::io::{self, Read, Write};

use flate2::GzBuilder;
use flate2::bufread::GzDecoder;

/// The name of silt's subfield in a member's extra field.
const SUBFIELD: [u8; 2] = *b"SL";
const TRAILER_PAYLOAD_LEN_BYTES: u8 = 20;

/// The compression level, from 1 (fastest) to 9 (smallest).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GzipLevel(u32);

impl GzipLevel {
    /// The fastest, and the default: docs/performance.md has the figures.
    pub const LEAST: u32 = 1;
    /// The slowest.
    pub const MOST: u32 = 9;

    /// This level, or the nearest valid one.
    #[must_use]
    pub fn new(level: u32) -> Self {
        Self(level.clamp(Self::LEAST, Self::MOST))
    }
}

impl fmt::Display for GzipLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Default for GzipLevel {
    fn default() -> Self {
        Self(Self::LEAST)
    }
}

/// Compresses `data` into one member.
pub(crate) fn member(data: &[u8], level: GzipLevel) -> io::Result<Vec<u8>> {
    let out = Vec::with_capacity(data.len() / 4 + data.len() / 16 + 64);
    let mut encoder = GzBuilder::new().write(out, flate2::Compression::new(level.0));
    encoder.write_all(data)?;
    encoder.finish()
}

/// Stores `data` in one member uncompressed, so that the member's length depends only on the length of the data.
pub(crate) fn stored_member(data: &[u8]) -> io::Result<Vec<u8>> {
    let out = Vec::with_capacity(data.len() + 64);
    let mut encoder = GzBuilder::new().write(out, flate2::Compression::none());
    encoder.write_all(data)?;
    encoder.finish()
}

/// Decompresses the member at the start of `bytes`, and returns the length of that member too. `None` if `bytes` ends within it.
pub(crate) fn first_member(bytes: &[u8]) -> io::Result<Option<(Vec<u8>, usize)>> {
    let mut decoder = GzDecoder::new(bytes);
    let mut data = Vec::new();
    match decoder.read_to_end(&mut data) {
        Ok(_) => {
            let consumed = bytes.len() - decoder.into_inner().len();
            Ok(Some((data, consumed)))
        }
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// The text at the start of the member that `bytes` begins with, as far as it can be decompressed.
pub(crate) fn beginning(bytes: &[u8]) -> Vec<u8> {
    let mut text = vec![0; 512];
    let len = GzDecoder::new(bytes).read(&mut text).unwrap_or_default();
    text.truncate(len);
    text
}

/// The content of the empty member after each chunk of a compressed `ndjson` file. With it a reader finds the
/// last chunk from the end of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    /// Length of the member before the trailer.
    pub member_len_bytes: u64,
    /// Changes in the file so far.
    pub changes: u64,
    /// Commits in the file so far.
    pub commits: u32,
}

impl Trailer {
    /// The trailer as an empty gzip member.
    pub(crate) fn write(self) -> io::Result<Vec<u8>> {
        let mut extra = Vec::with_capacity(4 + usize::from(TRAILER_PAYLOAD_LEN_BYTES));
        extra.extend_from_slice(&SUBFIELD);
        extra.extend_from_slice(&[TRAILER_PAYLOAD_LEN_BYTES, 0]);
        extra.extend_from_slice(&self.member_len_bytes.to_le_bytes());
        extra.extend_from_slice(&self.changes.to_le_bytes());
        extra.extend_from_slice(&self.commits.to_le_bytes());
        GzBuilder::new()
            .extra(extra)
            .write(Vec::new(), flate2::Compression::none())
            .finish()
    }

    /// The length of a trailer, which is the same for all.
    pub(crate) fn len_bytes() -> io::Result<u64> {
        let any = Self {
            member_len_bytes: 0,
            changes: 0,
            commits: 0,
        };
        any.write().map(|bytes| bytes.len() as u64)
    }

    /// Reads a trailer. `None` if these bytes aren't one.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut decoder = GzDecoder::new(bytes);
        let mut data = Vec::new();
        decoder.read_to_end(&mut data).ok()?;
        let extra = decoder.header()?.extra()?;
        if !data.is_empty() {
            return None;
        }
        Self::from_extra(extra)
    }

    /// Reads the extra field of a trailer. `None` if it is another program's.
    pub(crate) fn from_extra(extra: &[u8]) -> Option<Self> {
        let (name, rest) = extra.split_first_chunk::<2>()?;
        let (len, rest) = rest.split_first_chunk::<2>()?;
        let is_silts = *name == SUBFIELD && usize::from(u16::from_le_bytes(*len)) == rest.len();
        if !is_silts {
            return None;
        }
        let (member_len_bytes, rest) = rest.split_first_chunk::<8>()?;
        let (changes, rest) = rest.split_first_chunk::<8>()?;
        let (commits, _) = rest.split_first_chunk::<4>()?;
        Some(Self {
            member_len_bytes: u64::from_le_bytes(*member_len_bytes),
            changes: u64::from_le_bytes(*changes),
            commits: u32::from_le_bytes(*commits),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_concatenate() {
        let mut file = member(b"one\n", GzipLevel::default()).unwrap();
        let first_len = file.len();
        file.extend(stored_member(b"two\n").unwrap());
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(&file[..])
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "one\ntwo\n");
        assert_eq!(
            first_member(&file).unwrap(),
            Some((b"one\n".to_vec(), first_len))
        );
        assert_eq!(first_member(&file[..first_len - 1]).unwrap(), None);
        assert!(first_member(b"not gzip at all").is_err());
    }

    #[test]
    fn a_stored_members_length_depends_on_the_length_of_the_data() {
        for len in [0, 1, 511, 512, 40_000, 70_000] {
            let zeros = stored_member(&vec![0; len]).unwrap();
            let noise: Vec<u8> = (0..=250).cycle().step_by(7).take(len).collect();
            assert_eq!(stored_member(&noise).unwrap().len(), zeros.len());
        }
    }

    #[test]
    fn trailers_round_trip_and_nothing_else_is_read_as_one() {
        let trailer = Trailer {
            member_len_bytes: 1 << 33,
            changes: 7,
            commits: 3,
        };
        let bytes = trailer.write().unwrap();
        assert_eq!(bytes.len() as u64, Trailer::len_bytes().unwrap());
        assert_eq!(Trailer::read(&bytes), Some(trailer));
        assert_eq!(
            Trailer::read(&member(b"", GzipLevel::default()).unwrap()),
            None
        );
        assert_eq!(Trailer::read(&bytes[1..]), None);
    }

    #[test]
    fn another_programs_extra_field_is_no_trailer() {
        let read = |extra: &[u8], data: &[u8]| {
            let compression = flate2::Compression::none();
            let mut encoder = GzBuilder::new().extra(extra).write(Vec::new(), compression);
            encoder.write_all(data).unwrap();
            Trailer::read(&encoder.finish().unwrap())
        };
        let field = |name: &[u8; 2], len: u8| [&name[..], &[len, 0], &[0; 20]].concat();
        assert!(read(&field(b"SL", 20), b"").is_some());
        assert_eq!(read(&field(b"AB", 20), b""), None);
        assert_eq!(read(&field(b"SL", 19), b""), None);
        assert_eq!(read(&field(b"SL", 20), b"text"), None);
        assert_eq!(read(b"SL", b""), None);
    }
}
