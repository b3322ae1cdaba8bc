//! JSON strings.

use super::Error;
use super::names;
use super::reader::{PlainText, Reader, Text};

/// Every byte of a word is 1; times a byte, every byte of the word is that byte.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The top bit of every byte.
const TOPS: u64 = 0x80 * ONES;

/// Appends a BSON string as a JSON string. The result is what `serde_json` writes for the same
/// text: quotes, backslashes and control characters are escaped, all else stands as UTF-8.
#[inline]
pub(super) fn write_string(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    match reader.plain_string() {
        Some(text) => write_plain(text, out),
        None => write_text(reader.string()?, out)?,
    }
    Ok(())
}

/// Appends a BSON C string as a JSON string.
#[inline]
pub(super) fn write_cstring(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    match reader.plain_cstring() {
        Some(text) => write_plain(text, out),
        None => write_text(reader.cstring()?, out)?,
    }
    Ok(())
}

/// Appends a field name as a JSON string.
#[inline]
pub(super) fn write_name<'a>(
    reader: &mut Reader<'a>,
    out: &mut Vec<u8>,
) -> Result<Name<'a>, Error> {
    if let Some(text) = reader.plain_cstring() {
        write_plain(text, out);
        let signature = match text.bytes.first_chunk() {
            Some(block) if text.len <= 16 => names::signature_in_block(*block, text.len),
            _ => names::signature(text.bytes.get(..text.len).unwrap_or_default()),
        };
        return Ok(Name {
            bytes: text.bytes,
            len: text.len,
            signature,
        });
    }
    let text = reader.cstring()?;
    write_text(text, out)?;
    Ok(Name {
        bytes: text.bytes,
        len: text.bytes.len(),
        signature: names::signature(text.bytes),
    })
}

/// A field name that was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'a> {
    bytes: &'a [u8],
    len: usize,
    pub(super) signature: u32,
}

impl<'a> Name<'a> {
    /// Whether it begins like the name of a type.
    #[inline]
    pub(super) fn has_dollar(&self) -> bool {
        // A name is followed by its terminator, so the first byte is never one of the value.
        self.bytes.first() == Some(&b'$')
    }

    pub(super) fn as_bytes(&self) -> &'a [u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Skips a C string, which must be UTF-8 nevertheless.
#[inline]
pub(super) fn skip_cstring(reader: &mut Reader<'_>) -> Result<(), Error> {
    match reader.plain_cstring() {
        Some(_) => Ok(()),
        None => utf8(reader.cstring()?).map(|_| ()),
    }
}

/// Appends text in quotes. Copying a whole block and truncating it is faster than copying the right number of bytes,
/// because it needs no call.
#[inline]
fn write_plain(text: PlainText<'_>, out: &mut Vec<u8>) {
    match (
        text.bytes.first_chunk::<16>(),
        text.bytes.first_chunk::<32>(),
    ) {
        (Some(block), _) if text.len <= 16 => write_block(block, text.len, out),
        (_, Some(block)) if text.len <= 32 => write_block(block, text.len, out),
        _ => {
            out.push(b'"');
            out.extend_from_slice(text.bytes.get(..text.len).unwrap_or_default());
            out.push(b'"');
        }
    }
}

/// Appends the first `len` bytes of a block in quotes.
#[inline]
fn write_block<const N: usize>(block: &[u8; N], len: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(b'"');
    out.extend_from_slice(block);
    out.truncate(start + 1 + len);
    out.push(b'"');
}

/// Appends text that may need escapes.
fn write_text(text: Text<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    let mut rest = utf8(text)?.as_bytes();
    out.push(b'"');
    while let Some((clean, [byte, tail @ ..])) = rest.split_at_checked(find_escape(rest)) {
        out.extend_from_slice(clean);
        write_escape(*byte, out);
        rest = tail;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
    Ok(())
}

fn utf8(text: Text<'_>) -> Result<&str, Error> {
    simdutf8::compat::from_utf8(text.bytes).map_err(|error| Error::Utf8 {
        offset: text.offset + error.valid_up_to(),
    })
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0C => b'f',
        b'\r' => b'r',
        _ => {
            let [high, low] = hex(byte);
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// A byte as two lower-case hexadecimal digits.
#[inline]
pub(super) fn hex(byte: u8) -> [u8; 2] {
    HEX[usize::from(byte)]
}

static HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    table
};

/// The position of the first byte that isn't ASCII or must be escaped, zero bytes included, or the length if there is
/// none.
#[inline]
pub(super) fn find_special(bytes: &[u8]) -> usize {
    find(bytes, specials)
}

/// The position of the first byte that must be escaped, or the length if there is none.
fn find_escape(bytes: &[u8]) -> usize {
    find(bytes, |word| specials(word) & !word)
}

/// Finds the first byte whose top bit is set by `marks`, which looks at eight bytes at a time, the
/// first of them lowest.
#[inline]
fn find(bytes: &[u8], marks: impl Fn(u64) -> u64) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        let marked = marks(u64::from_le_bytes(*word)) & TOPS;
        if marked != 0 {
            return at + (marked.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let marked = |byte: &u8| marks(u64::from(*byte)) & 0x80 != 0;
    at + tail.iter().position(marked).unwrap_or(tail.len())
}

/// Sets the top bit of every byte that isn't ASCII or must be escaped in JSON. Up to the first of them no other bit is
/// set, because a subtraction borrows only from bytes above one that is found.
#[inline]
fn specials(word: u64) -> u64 {
    let control = word.wrapping_sub(0x20 * ONES);
    // Every byte that isn't ASCII has its top bit set by at least one of the three.
    let quote = (word ^ (0x22 * ONES)).wrapping_sub(ONES);
    let backslash = (word ^ (0x5C * ONES)).wrapping_sub(ONES);
    control | quote | backslash
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Writes `text` as a C string or string, followed by `after`.
    fn written(text: &[u8], as_name: bool, after: &[u8]) -> Result<String, Error> {
        let length = i32::try_from(text.len() + 1).unwrap().to_le_bytes();
        let length = if as_name { &[][..] } else { &length };
        let bytes = [length, text, b"\0", after].concat();
        let mut reader = Reader::new(&bytes);
        let mut out = Vec::new();
        if as_name {
            write_cstring(&mut reader, &mut out)?;
        } else {
            write_string(&mut reader, &mut out)?;
        }
        assert_eq!(reader.into_bytes(), after);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn every_character_is_escaped_as_serde_json_does() {
        let all = (0..=0x024F).chain([0x2028, 0x2029, 0xFEFF, 0xFFFF, 0x1_F600, 0x10_FFFF]);
        for character in all.filter_map(char::from_u32) {
            // The position within a word of eight bytes must not matter.
            for place in 0..9 {
                let text = format!("{}{character}end", "x".repeat(place));
                let expected = serde_json::to_string(&text).unwrap();
                assert_eq!(written(text.as_bytes(), false, b"").unwrap(), expected);
            }
        }
    }

    #[test]
    fn lengths_around_those_of_words_and_blocks() {
        for len in 0..70 {
            let text = "abcdefg".repeat(10);
            let text = text.get(..len).unwrap();
            for after in ["", "more", "more than sixteen bytes of other text"] {
                for as_name in [true, false] {
                    assert_eq!(
                        written(text.as_bytes(), as_name, after.as_bytes()).unwrap(),
                        format!("\"{text}\"")
                    );
                }
            }
        }
    }

    #[test]
    fn a_string_may_contain_a_zero_byte() {
        assert_eq!(written(b"a\0b", false, b"").unwrap(), r#""a\u0000b""#);
    }

    #[test]
    fn invalid_utf8_is_reported_at_its_offset() {
        for as_name in [true, false] {
            let start = if as_name { 0 } else { 4 };
            for (text, offset) in [
                (&b"\xFF"[..], 0),
                (b"abc\xC3", 3),
                (b"\xC3\xA4bc\xED\xA0\x80", 4),
                (b"\"a longer text\" \xC0\x80", 16),
            ] {
                assert_eq!(
                    written(text, as_name, b""),
                    Err(Error::Utf8 {
                        offset: start + offset
                    })
                );
            }
        }
    }

    #[test]
    fn skipped_names_are_checked() {
        let skip = |bytes| {
            let mut reader = Reader::new(bytes);
            skip_cstring(&mut reader).map(|()| reader.into_bytes())
        };
        assert_eq!(skip(b"10\0rest"), Ok(&b"rest"[..]));
        assert_eq!(skip(b"\xC3\xA4\"\0rest"), Ok(&b"rest"[..]));
        assert_eq!(skip(b"1\xFF\0rest"), Err(Error::Utf8 { offset: 1 }));
        assert_eq!(skip(b"10"), Err(Error::UnterminatedName { offset: 0 }));
    }

    proptest! {
        #[test]
        fn any_text_is_escaped_as_serde_json_does(
            text in prop_oneof![
                any::<String>(),
                // Much to escape, and the bytes next to those.
                r#"["\\\x00-\x21\x23\x5b\x5d\x7e-\xa2]{0,40}"#,
                "[ -~]{0,40}",
            ],
            after: Vec<u8>,
        ) {
            let expected = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(&written(text.as_bytes(), false, &after).unwrap(), &expected);
            if !text.contains('\0') {
                prop_assert_eq!(written(text.as_bytes(), true, &after).unwrap(), expected);
            }
        }

        #[test]
        fn any_bytes_are_text_exactly_if_they_are_utf8(bytes: Vec<u8>) {
            prop_assert_eq!(
                written(&bytes, false, b"").ok(),
                std::str::from_utf8(&bytes).ok().map(|text| serde_json::to_string(text).unwrap())
            );
        }
    }
}
