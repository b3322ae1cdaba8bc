//! Writes the elements of a document one by one.

use super::decimal128::write_decimal128;
use super::names::{self, Signatures};
use super::reader::Reader;
use super::scalar::{
    is_exact_double, write_binary, write_date, write_double, write_int32, write_int64,
    write_object_id, write_timestamp,
};
use super::string::{skip_cstring, write_cstring, write_name, write_string};
use super::{Error, Fidelity, Mode};

/// How many levels of documents, arrays and scopes may be nested, including the outermost.
///
/// MongoDB stores documents of up to 180 levels, and a change event adds a few. The limit bounds the stack for any
/// input, to about 100 KiB in an optimised build.
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
/// `raw` isn't exactly one well-formed BSON document. `out` is unchanged then.
pub fn write_document(raw: &[u8], mode: Mode, out: &mut Vec<u8>) -> Result<Fidelity, Error> {
    write_value(DOCUMENT, raw, mode, out)
}

/// Appends one BSON value to `out`, as [`write_document`] writes it in a field.
///
/// `element_type` is the type byte, and `raw` is what follows the field's name. `0x03` with a document is the same as
/// [`write_document`]. Offsets in errors count from the start of `raw`; an unknown `element_type` is reported at 0.
///
/// # Errors
///
/// `raw` isn't exactly one well-formed value of this type. `out` is unchanged then.
pub fn write_value(
    element_type: u8,
    raw: &[u8],
    mode: Mode,
    out: &mut Vec<u8>,
) -> Result<Fidelity, Error> {
    let start = out.len();
    // JSON is seldom shorter than BSON, and for a large document, which is mostly text, seldom much longer. Without the
    // slack, growing by a few bytes would copy it once more.
    out.reserve(raw.len() + raw.len() / 32 + 512);
    let mut writer = Writer {
        out,
        mode,
        depth: 0,
        is_exact: true,
        signatures: Signatures::new(),
    };
    let mut reader = Reader::new(raw);
    let result = writer
        .value(element_type, 0, &mut reader)
        .and_then(|()| reader.finish());
    let fidelity = if writer.is_exact {
        Fidelity::Exact
    } else {
        Fidelity::Lossy
    };
    if result.is_err() {
        out.truncate(start);
    }
    result.map(|()| fidelity)
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    mode: Mode,
    depth: usize,
    /// Whether the text so far stands for these bytes and no others, apart from what the mode gives up.
    is_exact: bool,
    signatures: Signatures,
}

impl Writer<'_> {
    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn document(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        let whole = *reader;
        let mut elements = self.enter(reader)?;
        let start = self.out.len();
        let names_start = self.signatures.len();
        let mut reference = Reference::default();
        while !elements.is_empty() {
            let offset = elements.offset();
            let element_type = elements.element_type()?;
            let name = write_name(&mut elements, self.out)?;
            if name.has_dollar() {
                let position = self.signatures.len() - names_start;
                self.is_exact &= reference.takes(name.as_bytes(), element_type, position);
            }
            self.signatures.push(name.signature);
            self.value(element_type, offset, &mut elements)?;
        }
        self.open(start, b'{');
        self.put("}");
        self.is_exact &= reference.is_whole(self.signatures.len() - names_start);
        if self.signatures.close(names_start) {
            let len = whole.into_bytes().len() - reader.into_bytes().len();
            let document = whole.into_bytes().get(..len).unwrap_or_default();
            self.is_exact &= !names::has_repeated_names(document);
        }
        self.depth -= 1;
        Ok(())
    }

    /// An array is stored as a document whose field names are the positions.
    fn array(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        let mut elements = self.enter(reader)?;
        let start = self.out.len();
        let mut position = 0;
        while !elements.is_empty() {
            self.put(",");
            let offset = elements.offset();
            let element_type = elements.element_type()?;
            if !elements.array_key(position) {
                skip_cstring(&mut elements)?;
                self.is_exact = false;
            }
            position += 1;
            self.value(element_type, offset, &mut elements)?;
        }
        self.open(start, b'[');
        self.put("]");
        self.depth -= 1;
        Ok(())
    }

    /// Replaces the comma before the first element.
    #[inline]
    fn open(&mut self, start: usize, bracket: u8) {
        match self.out.get_mut(start) {
            Some(comma) => *comma = bracket,
            None => self.out.push(bracket),
        }
    }

    /// Goes one level deeper, into a document or array.
    #[inline]
    fn enter<'a>(&mut self, reader: &mut Reader<'a>) -> Result<Reader<'a>, Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::TooDeep {
                offset: reader.offset(),
            });
        }
        reader.document()
    }

    /// `offset` is that of the type in the input.
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

    /// A value that contains no others. A function of its own needs less stack on each level.
    fn leaf(
        &mut self,
        element_type: u8,
        offset: usize,
        reader: &mut Reader<'_>,
    ) -> Result<(), Error> {
        match element_type {
            0x01 => {
                let value = f64::from_le_bytes(reader.array()?);
                write_double(value, self.mode, self.out);
                self.is_exact &= is_exact_double(value);
            }
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
        self.is_exact &= write_decimal128(bytes, self.out);
        self.put("\"}");
        Ok(())
    }

    /// A string after the key of its type.
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
        // The old binary subtype repeats its length before its bytes.
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
        let options = *reader;
        write_cstring(reader, self.out)?;
        self.is_exact &= has_readable_options(options);
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

    /// The length of the whole, the code, and the document with its variables.
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

/// The fields of a reference to another document (`DBRef`). Drivers turn a document with `$ref` and `$id` into a type of
/// their own. It reads back if it has nothing but these and perhaps `$db`, in this order.
#[derive(Debug, Default)]
struct Reference {
    has_ref: bool,
    has_id: bool,
    fields_in_order: usize,
}

impl Reference {
    /// Whether a document with a field whose name begins with `$` can still read back.
    #[cold]
    fn takes(&mut self, name: &[u8], element_type: u8, position: usize) -> bool {
        let is_string = element_type == 0x02;
        let is_in_order = match name {
            b"$ref" => {
                self.has_ref = true;
                position == 0 && is_string
            }
            b"$id" => {
                self.has_id = true;
                position == 1
            }
            b"$db" => position == 2 && is_string,
            other => return !names::is_type_name(other),
        };
        self.fields_in_order += usize::from(is_in_order);
        true
    }

    /// Whether a document of so many fields is no reference, or nothing but one.
    #[inline]
    fn is_whole(&self, fields: usize) -> bool {
        !(self.has_ref && self.has_id) || self.fields_in_order == fields
    }
}

/// Whether readers keep these options of a regular expression as they are. They know six, and put them in order.
fn has_readable_options(mut options: Reader<'_>) -> bool {
    let Ok(options) = options.cstring() else {
        return false;
    };
    let is_known = |option| b"ilmsux".contains(option);
    options.bytes.iter().all(is_known) && options.bytes.is_sorted_by(|one, next| one < next)
}

#[cfg(test)]
mod tests;
