//! An `_id` of any type: as it is stored, and as a JSON key that is read back later.

use bson::raw::{CStr, cstr};
use bson::spec::{BinarySubtype, ElementType};
use bson::{Binary, Bson, RawDocument, RawDocumentBuf};

use crate::source::RAW_EVENT;
use silt_core::extjson::{self, Fidelity, Mode};
use silt_core::failure::{Disposition, Failure};
use silt_core::json::escape_line_ends;
use silt_core::snapshot::key::{Key, RAW};

/// The field of a document's identity.
const ID: &CStr = cstr!("_id");

/// The value of an `_id`, as bytes: it may contain text that isn't UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Id {
    element_type: ElementType,
    value: Vec<u8>,
}

/// A key that can't be decoded.
#[derive(Debug, thiserror::Error)]
#[error("the key {key} can't be decoded: {reason}")]
pub(crate) struct BadKey {
    key: String,
    reason: String,
}

impl From<BadKey> for Failure {
    fn from(bad: BadKey) -> Self {
        Self {
            disposition: Disposition::Halt,
            cause: "snapshot_key",
            message: format!("{bad}; move the snapshot's folder out of the lake"),
        }
    }
}

impl Id {
    /// The `_id` of a document, if it has one.
    pub(crate) fn of(document: &RawDocument) -> Option<Self> {
        let (element_type, value) = field(document, ID)?;
        Some(Self {
            element_type,
            value: value.to_vec(),
        })
    }

    /// A document with only this value, under this name.
    pub(crate) fn under(&self, name: &CStr) -> bson::error::Result<RawDocumentBuf> {
        // The document's length, the element's type, the name with its terminator, the value, the document's terminator.
        let len = 4 + 1 + name.len() + 1 + self.value.len() + 1;
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(&i32::try_from(len).unwrap_or(i32::MAX).to_le_bytes());
        bytes.push(self.element_type as u8);
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&self.value);
        bytes.push(0);
        RawDocumentBuf::from_bytes(bytes)
    }

    /// Its document key: `{_id: …}`.
    pub(crate) fn document_key(&self) -> bson::error::Result<RawDocumentBuf> {
        self.under(ID)
    }

    /// Whether no value is after it.
    pub(crate) fn is_max_key(&self) -> bool {
        self.element_type == ElementType::MaxKey
    }

    /// Whether no value is before it.
    pub(crate) fn is_min_key(&self) -> bool {
        self.element_type == ElementType::MinKey
    }

    /// The key from which [`Id::from_key`] restores this value.
    pub(crate) fn key(&self) -> Result<Key, Failure> {
        if let Some(key) = self.canonical_key() {
            return Ok(key);
        }
        let unmade = |error: String| super::request::unmade(&error);
        let document_key = self.document_key();
        let document_key = document_key.map_err(|error| unmade(error.to_string()))?;
        let mut event = RawDocumentBuf::new();
        event.append(cstr!("documentKey"), document_key);
        let binary = Binary {
            subtype: BinarySubtype::Generic,
            bytes: event.into_bytes(),
        };
        let mut raw = RawDocumentBuf::new();
        raw.append(RAW_EVENT, binary);
        let (text, _) = text(&raw, Mode::Canonical).map_err(unmade)?;
        Ok(Key::new(text))
    }

    /// Whether its Extended JSON has no more levels than [`Id::from_key`] reads, which is fewer than MongoDB stores.
    pub(crate) fn is_flat_enough(&self) -> bool {
        match self.element_type {
            ElementType::EmbeddedDocument
            | ElementType::Array
            | ElementType::JavaScriptCodeWithScope => self.canonical_key().is_some(),
            _ => true,
        }
    }

    /// The key in Extended JSON, if that reads back as the same value.
    fn canonical_key(&self) -> Option<Key> {
        let document_key = self.document_key().ok()?;
        let key = match text(&document_key, Mode::Canonical).ok()? {
            (text, Fidelity::Exact) => Key::new(text),
            (_, Fidelity::Lossy) => return None,
        };
        (Self::read(&key).as_ref() == Ok(self)).then_some(key)
    }

    /// The `_id` of a key.
    pub(crate) fn from_key(key: &Key) -> Result<Self, BadKey> {
        Self::read(key).map_err(|reason| BadKey {
            key: key.as_json().to_owned(),
            reason,
        })
    }

    fn read(key: &Key) -> Result<Self, String> {
        let json: serde_json::Value =
            serde_json::from_str(key.as_json()).map_err(|error| error.to_string())?;
        if let Some(raw) = json.get(RAW) {
            let raw = Bson::try_from(raw.clone()).map_err(|error| error.to_string())?;
            let Bson::Binary(raw) = raw else {
                return Err(format!("{RAW} is not a binary value"));
            };
            return Self::of_event(&raw.bytes).ok_or_else(|| format!("{RAW} has no documentKey"));
        }
        let Bson::Document(document) = Bson::try_from(json).map_err(|error| error.to_string())?
        else {
            return Err("it is not a document".to_owned());
        };
        let document = RawDocumentBuf::try_from(&document).map_err(|error| error.to_string())?;
        // Older versions of silt didn't escape line ends.
        let escaped = escape_line_ends(key.as_json().to_owned());
        let modes = [Mode::Canonical, Mode::Relaxed];
        let is_it = |mode| text(&document, mode).is_ok_and(|(text, _)| text == escaped);
        if !modes.into_iter().any(is_it) {
            return Err("its canonical form differs".to_owned());
        }
        Self::of(&document).ok_or_else(|| "it has no _id".to_owned())
    }

    /// The `_id` in the `documentKey` of an event's bytes.
    fn of_event(bytes: &[u8]) -> Option<Self> {
        let event = RawDocument::from_bytes(bytes).ok()?;
        let (_, key) = field(event, cstr!("documentKey"))?;
        Self::of(RawDocument::from_bytes(key).ok()?)
    }
}

/// Type and bytes of a field.
fn field<'a>(document: &'a RawDocument, name: &CStr) -> Option<(ElementType, &'a [u8])> {
    let mut at = 4;
    for element in document.iter_elements() {
        let element = element.ok()?;
        let start = at + 1 + element.key().len() + 1;
        at = start + element.size();
        if element.key() == name {
            let value = document.as_bytes().get(start..at)?;
            return Some((element.element_type(), value));
        }
    }
    None
}

fn text(document: &RawDocument, mode: Mode) -> Result<(String, Fidelity), String> {
    let mut text = Vec::new();
    let fidelity = extjson::write_document(document.as_bytes(), mode, &mut text)
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8(text).map_err(|error| error.to_string())?;
    Ok((text, fidelity))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use bson::oid::ObjectId;
    use bson::{DateTime, DbPointer, Decimal128, JavaScriptCodeWithScope, Regex, Timestamp, doc};

    /// A document with this `_id`.
    fn with_id(id: impl Into<Bson>) -> RawDocumentBuf {
        let document = doc! { "_id": id.into(), "text": "a value" };
        RawDocumentBuf::try_from(&document).unwrap()
    }

    fn db_pointer() -> Bson {
        let json = serde_json::json!({
            "$dbPointer": { "$ref": "db.coll", "$id": { "$oid": "5f5f5f5f5f5f5f5f5f5f5f5f" } },
        });
        let pointer = Bson::try_from(json).unwrap();
        assert!(matches!(pointer, Bson::DbPointer(DbPointer { .. })));
        pointer
    }

    /// Documents with `_id`s of all types that MongoDB stores, including unusual values.
    pub(crate) fn documents() -> Vec<RawDocumentBuf> {
        let regex = Regex {
            pattern: "^a".try_into().unwrap(),
            options: "mi".try_into().unwrap(),
        };
        let scope = JavaScriptCodeWithScope {
            code: "f".to_owned(),
            scope: doc! { "a": 1 },
        };
        let values = [
            Bson::MinKey,
            Bson::Null,
            7.into(),
            7_i64.into(),
            (1_i64 << 60).into(),
            i64::MIN.into(),
            7.0.into(),
            0.1.into(),
            (-0.0).into(),
            1e300.into(),
            5e-324.into(),
            f64::NAN.into(),
            f64::NEG_INFINITY.into(),
            Bson::Decimal128("3.50".parse::<Decimal128>().unwrap()),
            Bson::Decimal128("NaN".parse::<Decimal128>().unwrap()),
            "text with \"quotes\", \n and ü".into(),
            "".into(),
            Bson::Symbol("s".to_owned()),
            doc! {}.into(),
            doc! { "b": 1, "a": { "c": [1, 2_i64, 3.0, regex] } }.into(),
            doc! { "$ref": "coll", "$id": ObjectId::from_bytes([7; 12]) }.into(),
            doc! { "$ref": "coll", "$id": { "$numberLong": "1" } }.into(),
            Binary {
                subtype: BinarySubtype::Generic,
                bytes: vec![0, 255],
            }
            .into(),
            Binary {
                subtype: BinarySubtype::BinaryOld,
                bytes: vec![1, 2, 3],
            }
            .into(),
            Binary {
                subtype: BinarySubtype::Uuid,
                bytes: vec![9; 16],
            }
            .into(),
            ObjectId::from_bytes([3; 12]).into(),
            false.into(),
            true.into(),
            DateTime::from_millis(1_705_328_123_004).into(),
            DateTime::from_millis(-5).into(),
            DateTime::from_millis(i64::MAX).into(),
            Timestamp {
                time: 5,
                increment: 6,
            }
            .into(),
            db_pointer(),
            Bson::JavaScriptCode("f".to_owned()),
            Bson::JavaScriptCodeWithScope(scope),
            Bson::MaxKey,
        ];
        let mut documents: Vec<RawDocumentBuf> = values.into_iter().map(with_id).collect();
        let deep = (0..170).fold(doc! {}, |inner, _| doc! { "a": inner });
        documents.push(with_id(deep));
        documents.push(with_id(doc! { "$numberLong": "5" }));
        documents.push(with_id(f64::from_bits(0xFFF8_0000_0000_0001)));
        documents.push(garbled("QQQQ"));
        documents.push(garbled(doc! { "deep": "QQQQ" }));
        documents
    }

    /// A document with an `_id` whose text isn't UTF-8.
    fn garbled(id: impl Into<Bson>) -> RawDocumentBuf {
        let mut bytes = with_id(id).into_bytes();
        let at = bytes.windows(4).position(|text| text == b"QQQQ").unwrap();
        bytes[at + 1] = 0xFF;
        RawDocumentBuf::from_bytes(bytes).unwrap()
    }

    #[test]
    fn every_id_round_trips_through_its_key() {
        for document in documents() {
            let id = Id::of(&document).unwrap();
            let key = id.key().unwrap();
            assert_eq!(Id::from_key(&key).unwrap(), id, "{}", key.as_json());
            let json: serde_json::Value = serde_json::from_str(key.as_json()).unwrap();
            assert_eq!(json.as_object().unwrap().len(), 1);
        }
    }

    #[test]
    fn the_id_is_found_at_any_place_in_the_document() {
        let document = doc! { "a": "b", "_id": 5, "c": 1 };
        let id = Id::of(&RawDocumentBuf::try_from(&document).unwrap()).unwrap();
        let alone = RawDocumentBuf::try_from(&doc! { "$ne": 5 }).unwrap();
        assert_eq!(id.under(cstr!("$ne")).unwrap(), alone);
        let none = RawDocumentBuf::try_from(&doc! { "a": 1 }).unwrap();
        assert_eq!(Id::of(&none), None);
    }

    #[test]
    fn a_malformed_key_is_rejected() {
        for (text, why) in [
            ("{}", "has no _id"),
            ("[]", "not a document"),
            (r#"{"_id":{"$oid":"x"}}"#, "x"),
            (r#"{"_id": 1}"#, "its canonical form differs"),
            (
                r#"{"_id":1.0000000000000000001}"#,
                "its canonical form differs",
            ),
            (r#"{"siltRawEvent":1}"#, "is not a binary"),
            (
                r#"{"siltRawEvent":{"$binary":{"base64":"AAAA","subType":"00"}}}"#,
                "has no documentKey",
            ),
        ] {
            let error = Id::from_key(&Key::new(text.to_owned())).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    #[test]
    fn only_min_key_and_max_key_are_the_ends() {
        let id = |id: Bson| Id::of(&with_id(id)).unwrap();
        assert!(id(Bson::MaxKey).is_max_key() && !id(Bson::MinKey).is_max_key());
        assert!(id(Bson::MinKey).is_min_key() && !id(Bson::Null).is_min_key());
    }
}
