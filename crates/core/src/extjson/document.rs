//! Walks the bytes of a document, element by element.

use super::decimal128::write_decimal128;
use super::reader::Reader;
use super::scalar::{
    write_binary, write_date, write_double, write_int32, write_int64, write_object_id,
    write_timestamp,
};
use super::string::{skip_cstring, write_cstring, write_string};
use super::{Error, Mode};

/// How many levels of documents, arrays and scopes may be nested, the outermost included.
///
/// MongoDB stores documents of up to 100 levels, and a change event puts a few around them. The
/// limit keeps the stack bounded whatever the bytes are, to some 100 KiB in an optimised build.
pub const MAX_DEPTH: usize = 256;

/// The type of an embedded document.
const DOCUMENT: u8 = 0x03;

/// The shortest code with scope: two lengths, an empty string and an empty document.
const MIN_CODE_WITH_SCOPE: usize = 4 + 4 + 1 + 5;

/// Appends the BSON document `raw` to `out` as one line of compact JSON, without a newline.
///
/// ```
/// use silt_core::extjson::{Mode, write_document};
///
/// let raw = b"\x0c\0\0\0\x10a\0\x01\0\0\0\0";
/// let mut out = Vec::new();
/// write_document(raw, Mode::Relaxed, &mut out)?;
/// assert_eq!(out, br#"{"a":1}"#);
/// # Ok::<(), silt_core::extjson::Error>(())
/// ```
///
/// # Errors
///
/// Fails if `raw` is anything but exactly one well-formed BSON document. `out` is then as it was.
pub fn write_document(raw: &[u8], mode: Mode, out: &mut Vec<u8>) -> Result<(), Error> {
    write_value(DOCUMENT, raw, mode, out)
}

/// Appends one BSON value to `out`, the same way as [`write_document`] writes it as a field.
///
/// `element_type` is the type byte and `raw` what follows the field's name: `0x03` with a whole
/// document is the same as [`write_document`]. Offsets in errors count from the start of `raw`,
/// and an unknown `element_type` is reported at 0.
///
/// # Errors
///
/// Fails if `raw` is anything but exactly one well-formed value of this type. `out` is then as it
/// was.
pub fn write_value(
    element_type: u8,
    raw: &[u8],
    mode: Mode,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let start = out.len();
    // JSON is seldom shorter than BSON, and that of a large document, which is mostly text or the like,
    // seldom much longer. Without the slack it would be copied once more to grow by a few bytes.
    out.reserve(raw.len() + raw.len() / 32 + 512);
    let mut writer = Writer {
        out,
        mode,
        depth: 0,
    };
    let mut reader = Reader::new(raw);
    let result = writer
        .value(element_type, 0, &mut reader)
        .and_then(|()| reader.finish());
    if result.is_err() {
        out.truncate(start);
    }
    result
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    mode: Mode,
    depth: usize,
}

impl Writer<'_> {
    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn document(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        self.put("{");
        self.elements(reader, |name, out| {
            write_cstring(name, out)?;
            out.push(b':');
            Ok(())
        })?;
        self.put("}");
        Ok(())
    }

    /// An array is stored as a document, whose field names do not count.
    fn array(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        self.put("[");
        self.elements(reader, |name, _| skip_cstring(name))?;
        self.put("]");
        Ok(())
    }

    /// Writes the elements of a document with commas between them, their names by `name`.
    #[inline]
    fn elements(
        &mut self,
        reader: &mut Reader<'_>,
        name: impl Fn(&mut Reader<'_>, &mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::TooDeep {
                offset: reader.offset(),
            });
        }
        let mut elements = reader.document()?;
        let mut first = true;
        while !elements.is_empty() {
            if !first {
                self.put(",");
            }
            first = false;
            let offset = elements.offset();
            let element_type = elements.element_type()?;
            name(&mut elements, self.out)?;
            self.value(element_type, offset, &mut elements)?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// `offset` is where the type stands in the input.
    fn value(
        &mut self,
        element_type: u8,
        offset: usize,
        reader: &mut Reader<'_>,
    ) -> Result<(), Error> {
        match element_type {
            DOCUMENT => self.document(reader),
            0x04 => self.array(reader),
            0x0F => self.code_with_scope(reader),
            _ => self.leaf(element_type, offset, reader),
        }
    }

    /// A value that holds no others. Apart from those that do, for less stack on each level.
    fn leaf(
        &mut self,
        element_type: u8,
        offset: usize,
        reader: &mut Reader<'_>,
    ) -> Result<(), Error> {
        match element_type {
            0x01 => write_double(f64::from_le_bytes(reader.array()?), self.mode, self.out),
            0x02 => write_string(reader, self.out)?,
            0x05 => self.binary(reader)?,
            0x06 => self.put("{\"$undefined\":true}"),
            0x07 => write_object_id(reader.array()?, self.out),
            0x08 => self.boolean(reader)?,
            0x09 => write_date(i64::from_le_bytes(reader.array()?), self.mode, self.out),
            0x0A => self.put("null"),
            0x0B => self.regex(reader)?,
            0x0C => self.db_pointer(reader)?,
            0x0D => self.wrapped("{\"$code\":", reader)?,
            0x0E => self.wrapped("{\"$symbol\":", reader)?,
            0x10 => write_int32(i32::from_le_bytes(reader.array()?), self.mode, self.out),
            0x11 => write_timestamp(reader.array()?, reader.array()?, self.out),
            0x12 => write_int64(i64::from_le_bytes(reader.array()?), self.mode, self.out),
            0x13 => self.decimal128(reader)?,
            0x7F => self.put("{\"$maxKey\":1}"),
            0xFF => self.put("{\"$minKey\":1}"),
            _ => {
                return Err(Error::UnknownType {
                    offset,
                    element_type,
                });
            }
        }
        Ok(())
    }

    fn boolean(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        let offset = reader.offset();
        match reader.byte()? {
            0 => self.put("false"),
            1 => self.put("true"),
            value => return Err(Error::Boolean { offset, value }),
        }
        Ok(())
    }

    fn decimal128(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        let bytes = reader.array()?;
        self.put("{\"$numberDecimal\":\"");
        write_decimal128(bytes, self.out);
        self.put("\"}");
        Ok(())
    }

    /// A string behind the key of its type.
    fn wrapped(&mut self, key: &str, reader: &mut Reader<'_>) -> Result<(), Error> {
        self.put(key);
        write_string(reader, self.out)?;
        self.put("}");
        Ok(())
    }

    fn binary(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        let length = reader.length(0)?;
        let subtype = reader.byte()?;
        let mut bytes = reader.take(length)?;
        // The old binary subtype has its length a second time, in front of its bytes.
        if subtype == 0x02 {
            let length = bytes.length(0)?;
            let inner = bytes.take(length)?;
            bytes.finish()?;
            bytes = inner;
        }
        write_binary(bytes.into_bytes(), subtype, bytes.offset(), self.out)
    }

    fn regex(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        self.put("{\"$regularExpression\":{\"pattern\":");
        write_cstring(reader, self.out)?;
        self.put(",\"options\":");
        write_cstring(reader, self.out)?;
        self.put("}}");
        Ok(())
    }

    fn db_pointer(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        self.put("{\"$dbPointer\":{\"$ref\":");
        write_string(reader, self.out)?;
        self.put(",\"$id\":");
        write_object_id(reader.array()?, self.out);
        self.put("}}");
        Ok(())
    }

    /// The length of the whole, the code and the document of its variables.
    fn code_with_scope(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        let length = reader.length(MIN_CODE_WITH_SCOPE)?;
        let mut parts = reader.take(length - 4)?;
        self.put("{\"$code\":");
        write_string(&mut parts, self.out)?;
        self.put(",\"$scope\":");
        self.document(&mut parts)?;
        self.put("}");
        parts.finish()
    }
}

#[cfg(test)]
mod tests;
