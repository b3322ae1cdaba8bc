//! Reads the parts of BSON from a byte slice, and checks every length.

use super::Error;
use super::names::array_key_len;
use super::string::{ShortText, find_special};

/// The shortest document: its length and the zero byte at its end.
const MIN_DOCUMENT: usize = 5;

/// The unread bytes of a document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// The offset of the end of `rest` in the input. Reading moves only the start, so the end needs
    /// no update.
    end: usize,
}

/// Text that isn't checked to be UTF-8 yet, and its offset in the input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) offset: usize,
}

/// Text of ASCII characters that need no escape.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlainText<'a> {
    /// The bytes from the start of the text to somewhere after its end.
    pub(super) bytes: &'a [u8],
    /// How many of them are the text.
    pub(super) len: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            end: bytes.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The offset of the next byte in the input.
    pub(super) fn offset(&self) -> usize {
        self.end - self.rest.len()
    }

    /// Fails if anything is left.
    pub(super) fn finish(&self) -> Result<(), Error> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Error::TrailingBytes {
                offset: self.offset(),
            })
        }
    }

    pub(super) fn byte(&mut self) -> Result<u8, Error> {
        self.array().map(|[byte]| byte)
    }

    /// The next `N` bytes.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        match self.rest.split_first_chunk() {
            Some((array, rest)) => {
                self.rest = rest;
                Ok(*array)
            }
            None => Err(self.truncated(N)),
        }
    }

    /// The next `len` bytes.
    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Result<Reader<'a>, Error> {
        match self.rest.split_at_checked(len) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(Reader {
                    rest: taken,
                    end: self.end - rest.len(),
                })
            }
            None => Err(self.truncated(len)),
        }
    }

    /// The unread bytes.
    pub(super) fn into_bytes(self) -> &'a [u8] {
        self.rest
    }

    /// A length, which must be at least `min`.
    #[inline]
    pub(super) fn length(&mut self, min: usize) -> Result<usize, Error> {
        let offset = self.offset();
        let length = i32::from_le_bytes(self.array()?);
        match usize::try_from(length) {
            Ok(valid) if valid >= min => Ok(valid),
            _ => Err(Error::Length { offset, length }),
        }
    }

    /// The type of an element. Zero isn't a type but the end of a document, here before the end that
    /// its length gives.
    #[inline]
    pub(super) fn element_type(&mut self) -> Result<u8, Error> {
        match self.byte()? {
            0 => Err(Error::TrailingBytes {
                offset: self.offset(),
            }),
            element_type => Ok(element_type),
        }
    }

    /// The content of a document or array, between its length and the zero byte at its end.
    pub(super) fn document(&mut self) -> Result<Reader<'a>, Error> {
        let length = self.length(MIN_DOCUMENT)?;
        // The length counts its own four bytes.
        self.take(length - 4)?.terminated()
    }

    /// Takes a string if it is well-formed and plain; otherwise takes nothing.
    #[inline]
    pub(super) fn plain_string(&mut self) -> Option<PlainText<'a>> {
        let (length, rest_of_input) = self.rest.split_first_chunk()?;
        let length = usize::try_from(i32::from_le_bytes(*length)).ok()?;
        // The first special byte must be the zero byte at the end, which the length includes.
        let len = find_special(rest_of_input);
        if length != len.checked_add(1)? {
            return None;
        }
        let (0, rest) = rest_of_input.get(len..)?.split_first()? else {
            return None;
        };
        self.rest = rest;
        Some(PlainText {
            bytes: rest_of_input,
            len,
        })
    }

    /// A string: its length, its text and a zero byte.
    pub(super) fn string(&mut self) -> Result<Text<'a>, Error> {
        let length = self.length(1)?;
        let text = self.take(length)?.terminated()?;
        Ok(Text {
            offset: text.offset(),
            bytes: text.rest,
        })
    }

    /// Takes a C string if it is well-formed and plain; otherwise takes nothing.
    #[inline]
    pub(super) fn plain_cstring(&mut self) -> Option<PlainText<'a>> {
        let rest_of_input = self.rest;
        let len = find_special(rest_of_input);
        let (0, rest) = rest_of_input.get(len..)?.split_first()? else {
            return None;
        };
        self.rest = rest;
        Some(PlainText {
            bytes: rest_of_input,
            len,
        })
    }

    /// Takes a C string if it is well-formed, short and plain; otherwise takes nothing.
    #[inline]
    pub(super) fn short_cstring(&mut self) -> Option<ShortText<'a>> {
        let text = ShortText::in_block(self.rest.first_chunk()?)?;
        let (0, rest) = self.rest.get(text.len..)?.split_first()? else {
            return None;
        };
        self.rest = rest;
        Some(text)
    }

    /// Takes the key of an array's element if it is the one of its position; otherwise takes nothing.
    #[inline]
    pub(super) fn array_key(&mut self, position: usize) -> bool {
        let len = array_key_len(self.rest, position);
        let rest = len.and_then(|len| self.rest.get(len..));
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// A C string: text up to the next zero byte.
    pub(super) fn cstring(&mut self) -> Result<Text<'a>, Error> {
        let offset = self.offset();
        let len = self.rest.iter().position(|byte| *byte == 0);
        let text = self.take(len.ok_or(Error::UnterminatedName { offset })?)?;
        self.byte()?;
        Ok(Text {
            offset,
            bytes: text.rest,
        })
    }

    /// Everything before the last byte, which must be zero.
    #[inline]
    fn terminated(self) -> Result<Reader<'a>, Error> {
        let end = self.end.saturating_sub(1);
        match self.rest.split_last() {
            Some((0, rest)) => Ok(Reader { rest, end }),
            _ => Err(Error::Unterminated { offset: end }),
        }
    }

    #[cold]
    fn truncated(&self, needed: usize) -> Error {
        Error::Truncated {
            offset: self.offset(),
            needed,
            left: self.rest.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_count_from_the_start_of_the_input() {
        let mut reader = Reader::new(b"abcdefgh");
        assert_eq!(reader.array(), Ok(*b"ab"));
        let mut inner = reader.take(4).unwrap();
        assert_eq!((inner.offset(), reader.offset()), (2, 6));
        assert_eq!(inner.array(), Ok(*b"cde"));
        assert_eq!(inner.offset(), 5);
        assert_eq!(inner.finish(), Err(Error::TrailingBytes { offset: 5 }));
        assert_eq!(
            inner.array::<2>(),
            Err(Error::Truncated {
                offset: 5,
                needed: 2,
                left: 1
            })
        );
        assert_eq!(inner.byte(), Ok(b'f'));
        assert_eq!(inner.finish(), Ok(()));
        assert!(inner.is_empty());
    }

    #[test]
    fn lengths_are_checked() {
        let length = |length: i32, min| Reader::new(&length.to_le_bytes()).length(min);
        assert_eq!(length(5, 5), Ok(5));
        assert_eq!(length(i32::MAX, 0), Ok(0x7FFF_FFFF));
        for (wrong, min) in [(4, 5), (-1, 0), (i32::MIN, 0)] {
            assert_eq!(
                length(wrong, min),
                Err(Error::Length {
                    offset: 0,
                    length: wrong
                })
            );
        }
    }

    #[test]
    fn documents_end_in_a_zero_byte() {
        let document = |bytes| {
            let mut reader = Reader::new(bytes);
            let body = reader.document().map(Reader::into_bytes);
            body.map(|body| (body, reader.into_bytes()))
        };
        assert_eq!(document(b"\x05\0\0\0\0"), Ok((&b""[..], &b""[..])));
        assert_eq!(
            document(b"\x07\0\0\0ab\0rest"),
            Ok((&b"ab"[..], &b"rest"[..]))
        );
        assert_eq!(
            document(b"\x07\0\0\0abc"),
            Err(Error::Unterminated { offset: 6 })
        );
        assert_eq!(
            document(b"\x07\0\0\0a\0"),
            Err(Error::Truncated {
                offset: 4,
                needed: 3,
                left: 2
            })
        );
    }

    #[test]
    fn plain_text_is_taken_only_if_it_is_well_formed() {
        let plain = |bytes| {
            let mut reader = Reader::new(bytes);
            let text = reader.plain_string();
            (text.map(|text| text.len), reader.into_bytes().len())
        };
        assert_eq!(plain(b"\x03\0\0\0ab\0c"), (Some(2), 1));
        for not_plain in [
            &b"\x04\0\0\0ab\0c"[..],
            b"\x02\0\0\0ab\0c",
            b"\x03\0\0\0ab",
            b"\x03\0\0\0a\"\0",
            b"\x03\0\0\0a\x80\0",
            b"\x03\0\0\0ab\"",
            b"\0\0\0\0",
            b"\xFF\xFF\xFF\xFFab\0",
            b"\x03\0",
        ] {
            assert_eq!(plain(not_plain), (None, not_plain.len()));
        }
    }
}
