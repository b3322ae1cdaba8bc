//! JSON strings.

use super::Error;
use super::names;
use super::reader::{PlainText, Reader, Text};
use crate::json::{self, LINE_ENDS};

/// Every byte of a word is 1; times a byte, every byte of the word is that byte.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The top bit of every byte.
const TOPS: u64 = 0x80 * ONES;

/// Appends a BSON string as a JSON string. Quotes, backslashes, control characters and [`LINE_ENDS`] are
/// escaped, all else stands as UTF-8.
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

/// Appends a field name as a JSON string between a comma and a colon.
#[inline]
pub(super) fn write_name<'a>(
    reader: &mut Reader<'a>,
    out: &mut Vec<u8>,
) -> Result<Name<'a>, Error> {
    match reader.short_cstring() {
        Some(short) => {
            write_short_name(short.block, short.len, out);
            Ok(Name {
                bytes: short.block,
                len: short.len,
                signature: short.signature,
            })
        }
        None => write_other_name(reader, out),
    }
}

#[inline(never)]
fn write_other_name<'a>(reader: &mut Reader<'a>, out: &mut Vec<u8>) -> Result<Name<'a>, Error> {
    out.push(b',');
    let mut name = *reader;
    write_cstring(reader, out)?;
    out.push(b':');
    let bytes = name.cstring()?.bytes;
    Ok(Name {
        bytes,
        len: bytes.len(),
        signature: names::signature(bytes),
    })
}

/// All that surrounds the name is appended at once, because each append costs a check of the capacity.
#[inline]
fn write_short_name(block: &[u8; 16], len: usize, out: &mut Vec<u8>) {
    const LEN: usize = 2 + 16 + 2;
    let start = out.len();
    out.extend_from_slice(&[0; LEN]);
    if let Some([comma, quote, text @ ..]) = out.last_chunk_mut::<LEN>() {
        (*comma, *quote) = (b',', b'"');
        let (name, _) = text.split_at_mut(16);
        name.copy_from_slice(block);
        let len = len & 15;
        text[len] = b'"';
        text[len + 1] = b':';
    }
    out.truncate(start + 4 + len);
}

/// A field name that was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'a> {
    /// The bytes from the start of the name to somewhere after its end.
    bytes: &'a [u8],
    len: usize,
    pub(super) signature: u32,
}

impl<'a> Name<'a> {
    /// Whether it begins like the name of a type.
    #[inline]
    pub(super) fn has_dollar(&self) -> bool {
        self.as_bytes().first() == Some(&b'$')
    }

    pub(super) fn as_bytes(&self) -> &'a [u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// A C string of less than 16 bytes that need no escape.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShortText<'a> {
    /// The text, and what follows it.
    pub(super) block: &'a [u8; 16],
    pub(super) len: usize,
    pub(super) signature: u32,
}

impl<'a> ShortText<'a> {
    /// The text up to the first byte that isn't ASCII or must be escaped, if there is one in the block.
    #[inline]
    pub(super) fn in_block(block: &'a [u8; 16]) -> Option<Self> {
        let (words, _) = block.as_chunks::<8>();
        let [low, high] = words else { return None };
        let (low, high) = (u64::from_le_bytes(*low), u64::from_le_bytes(*high));
        let marked = specials(low) & TOPS;
        if marked != 0 {
            return Some(Self {
                block,
                len: (marked.trailing_zeros() / 8) as usize,
                signature: names::short_signature(before(marked) & low, None),
            });
        }
        let marked = specials(high) & TOPS;
        (marked != 0).then(|| {
            let in_high = before(marked) & high;
            Self {
                block,
                len: 8 + (marked.trailing_zeros() / 8) as usize,
                signature: names::short_signature(low, (in_high != 0).then_some(in_high)),
            }
        })
    }
}

/// All bits of the bytes before the first whose top bit is set.
#[inline]
fn before(marked: u64) -> u64 {
    let lowest = marked & marked.wrapping_neg();
    (lowest >> 7).wrapping_sub(1)
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
    let mut text = utf8(text)?;
    out.push(b'"');
    if may_have_line_end(text.as_bytes()) {
        while let Some((clean, rest)) = text
            .find(LINE_ENDS)
            .and_then(|at| text.split_at_checked(at))
        {
            write_escaped(clean.as_bytes(), out);
            let mut rest = rest.chars();
            let escape = rest.next().map(json::escape).unwrap_or_default();
            out.extend_from_slice(escape.as_bytes());
            text = rest.as_str();
        }
    }
    write_escaped(text.as_bytes(), out);
    out.push(b'"');
    Ok(())
}

/// Appends text without [`LINE_ENDS`].
#[inline]
fn write_escaped(mut rest: &[u8], out: &mut Vec<u8>) {
    while let Some((clean, [byte, tail @ ..])) = rest.split_at_checked(find_escape(rest)) {
        out.extend_from_slice(clean);
        write_escape(*byte, out);
        rest = tail;
    }
    out.extend_from_slice(rest);
}

/// Whether UTF-8 text may have one of [`LINE_ENDS`]: `C2 85`, `E2 80 A8` or `E2 80 A9`. Most text has neither first byte.
#[inline]
fn may_have_line_end(text: &[u8]) -> bool {
    let first = memchr::memchr2(0xC2, 0xE2, text);
    first.is_some_and(|at| may_have_line_end_after(text.get(at..).unwrap_or_default()))
}

/// Looks at all bytes, many at a time: text with many first bytes, such as that of `“`, costs no more than text with one.
#[inline(never)]
fn may_have_line_end_after(text: &[u8]) -> bool {
    let next = text.get(1..).unwrap_or_default();
    let one = text.get(..next.len()).unwrap_or_default();
    let found = line_ends::<32>(one, next)
        .or_else(|| line_ends::<8>(one, next))
        .unwrap_or_else(|| one.iter().zip(next).map(is_line_end).fold(0, u8::max));
    found != 0
}

/// Whether any byte of `one` and that at its place in `next` are the end of a line, in blocks of so many bytes. The last
/// block overlaps the one before, so that nothing is left over. `None` if there is less than a block.
#[inline]
fn line_ends<const BLOCK: usize>(one: &[u8], next: &[u8]) -> Option<u8> {
    // Without an early end, so that the compiler makes it compare a block at a time.
    let in_block = |(one, next): (&[u8; BLOCK], &[u8; BLOCK])| {
        one.iter()
            .zip(next)
            .map(is_line_end)
            .fold(0, |found, it| found | it)
    };
    let last = in_block((one.last_chunk()?, next.last_chunk()?));
    let blocks = one.as_chunks().0.iter().zip(next.as_chunks().0);
    Some(blocks.map(in_block).fold(last, |found, it| found | it))
}

/// 1 if two bytes are the end of one of [`LINE_ENDS`], or of one of a few other characters. The caller looks at each
/// character.
#[inline]
#[allow(
    clippy::needless_bitwise_bool,
    reason = "a branch would keep the loop from being vectorized"
)]
fn is_line_end((one, next): (&u8, &u8)) -> u8 {
    let is_next_line = (*one == 0xC2) & (*next == 0x85);
    let is_separator = (*one == 0x80) & (*next & !1 == 0xA8);
    u8::from(is_next_line | is_separator)
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
    // The quote, 0x22, becomes 0x20 here, the space becomes 0x22, and control characters remain below 0x20.
    let control_or_quote = (word ^ (0x02 * ONES)).wrapping_sub(0x21 * ONES);
    // Every byte that isn't ASCII has its top bit set by at least one of the two.
    let backslash = (word ^ (0x5C * ONES)).wrapping_sub(ONES);
    control_or_quote | backslash
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

    /// What `serde_json` writes, which doesn't escape these.
    fn expected(text: &str) -> String {
        serde_json::to_string(text)
            .unwrap()
            .replace('\u{85}', "\\u0085")
            .replace('\u{2028}', "\\u2028")
            .replace('\u{2029}', "\\u2029")
    }

    #[test]
    fn every_character_is_escaped_as_serde_json_does_or_as_a_line_end() {
        let others = [0x1028, 0x3029, 0xFEFF, 0xFFFF, 0x1_F600, 0x10_FFFF];
        let all = (0..=0x024F).chain(0x2000..=0x206F).chain(others);
        for character in all.filter_map(char::from_u32) {
            // The position within a word of eight bytes must not matter.
            for place in 0..9 {
                let text = format!("{}{character}end", "x".repeat(place));
                assert_eq!(
                    written(text.as_bytes(), false, b"").unwrap(),
                    expected(&text)
                );
            }
        }
    }

    #[test]
    fn a_line_end_is_found_wherever_it_is_in_a_text() {
        for line_end in ["\u{85}", "\u{2028}", "\u{2029}"] {
            for before in 0..70 {
                for after in 0..70 {
                    let text = format!("“{}{line_end}{}", "x".repeat(before), "x".repeat(after));
                    let text = text.as_bytes();
                    assert!(may_have_line_end(text), "{before} {after}");
                    assert!(!may_have_line_end(text.get(..before + 4).unwrap()));
                }
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
        fn any_text_is_one_line_with_the_escapes_of_serde_json(
            text in prop_oneof![
                any::<String>(),
                // Much to escape, and the bytes next to those.
                r#"["\\\x00-\x21\x23\x5b\x5d\x7e-\xa2]{0,40}"#,
                "[a\"“”…é\u{85}\u{2027}-\u{202a}]{0,40}",
                "[ -~]{0,40}",
            ],
            after: Vec<u8>,
        ) {
            let expected = expected(&text);
            // All characters at which `str.splitlines()` splits (https://docs.python.org/3/library/stdtypes.html#str.splitlines).
            let line_ends = [
                '\n', '\r', '\x0B', '\x0C', '\x1C', '\x1D', '\x1E', '\u{85}', '\u{2028}', '\u{2029}',
            ];
            prop_assert_eq!(expected.find(line_ends), None);
            prop_assert_eq!(&written(text.as_bytes(), false, &after).unwrap(), &expected);
            if !text.contains('\0') {
                prop_assert_eq!(written(text.as_bytes(), true, &after).unwrap(), expected);
            }
        }

        #[test]
        fn any_bytes_are_text_exactly_if_they_are_utf8(bytes: Vec<u8>) {
            prop_assert_eq!(
                written(&bytes, false, b"").ok(),
                std::str::from_utf8(&bytes).ok().map(expected)
            );
        }
    }
}
