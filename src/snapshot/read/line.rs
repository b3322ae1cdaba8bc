//! Encodes documents as lines, in the format of changes.

use bson::raw::cstr;
use bson::{RawDocument, RawDocumentBuf, Timestamp};

use super::id::Id;
use super::request::unmade;
use crate::source;
use silt_core::extjson::{self, Fidelity, Mode};
use silt_core::failure::Failure;
use silt_core::file::format::Separator;
use silt_core::position::ClusterTime;

/// Encodes the documents of one collection. A line looks like a change with the operation type `read` at the snapshot's
/// position. It has no `_id`, since that is a change's place in the stream; the `documentKey` identifies the
/// document within its snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Liner {
    mode: Mode,
    separator: Separator,
    /// The fields that all lines have in common.
    common: RawDocumentBuf,
    /// The same as text, up to the document key.
    common_text: Vec<u8>,
}

impl Liner {
    pub(crate) fn new(
        (database, collection): (&str, &str),
        position: ClusterTime,
        mode: Mode,
        separator: Separator,
    ) -> Result<Self, Failure> {
        let common = bson::rawdoc! {
            "operationType": "read",
            "clusterTime": Timestamp { time: position.seconds, increment: position.increment },
            "ns": { "db": database, "coll": collection },
        };
        let mut common_text = Vec::new();
        extjson::write_document(common.as_bytes(), mode, &mut common_text)
            .map_err(|error| unmade(&error.to_string()))?;
        common_text.pop();
        common_text.extend_from_slice(b",\"documentKey\":");
        Ok(Self {
            mode,
            separator,
            common,
            common_text,
        })
    }

    /// Appends a document's line with its separator. `received` is the time of the reply.
    pub(crate) fn write(
        &self,
        id: &Id,
        document: &RawDocument,
        received: &str,
        lines: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let key = id.document_key();
        let key = key.map_err(|error| unmade(&error.to_string()))?;
        lines.extend_from_slice(self.separator.before);
        lines.extend_from_slice(b"{\"timestamp\":\"");
        lines.extend_from_slice(received.as_bytes());
        lines.extend_from_slice(b"\",\"change\":");
        let start = lines.len();
        let is_exact =
            id.is_flat_enough() && self.write_json(&key, document, lines) == Ok(Fidelity::Exact);
        if !is_exact || lines.len() - start > source::EVENT_LIMIT_BYTES {
            lines.truncate(start);
            self.write_with_raw_event(key, document, lines)?;
        }
        lines.push(b'}');
        lines.extend_from_slice(self.separator.after);
        Ok(())
    }

    /// Writes the line of an event without building the event.
    fn write_json(
        &self,
        key: &RawDocument,
        document: &RawDocument,
        lines: &mut Vec<u8>,
    ) -> Result<Fidelity, extjson::Error> {
        lines.extend_from_slice(&self.common_text);
        let key = extjson::write_document(key.as_bytes(), self.mode, lines)?;
        lines.extend_from_slice(b",\"fullDocument\":");
        let document = extjson::write_document(document.as_bytes(), self.mode, lines)?;
        lines.push(b'}');
        Ok(match key {
            Fidelity::Exact => document,
            Fidelity::Lossy => key,
        })
    }

    /// Writes what Extended JSON can represent, and the event's bytes beside it, as for a change.
    fn write_with_raw_event(
        &self,
        key: RawDocumentBuf,
        document: &RawDocument,
        lines: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let mut event = self.common.clone();
        event.append(cstr!("documentKey"), key);
        event.append(cstr!("fullDocument"), document);
        let limit_bytes = source::EVENT_LIMIT_BYTES;
        source::write_with_raw_event(&event, self.mode, limit_bytes, lines)
            .map_err(|error| Failure::from(&error))
    }
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::super::id::tests::documents;
    use super::*;
    use silt_core::reading::Change;
    use silt_core::snapshot::key::Key;

    const POSITION: ClusterTime = ClusterTime {
        seconds: 7,
        increment: 2,
    };

    fn line(mode: Mode, document: &RawDocument) -> Vec<u8> {
        let separator = Separator {
            before: b"",
            after: b"\n",
        };
        let liner = Liner::new(("mydb", "a\"b"), POSITION, mode, separator).unwrap();
        let mut written = Vec::new();
        let id = Id::of(document).unwrap();
        liner.write(&id, document, "T", &mut written).unwrap();
        written
    }

    #[test]
    fn a_document_is_a_change_that_was_read() {
        let document = RawDocumentBuf::try_from(&doc! { "_id": 5, "text": "ü" }).unwrap();
        let expected = concat!(
            r#"{"timestamp":"T","change":{"operationType":"read","clusterTime":{"$timestamp":{"t":7,"i":2}},"#,
            r#""ns":{"db":"mydb","coll":"a\"b"},"documentKey":{"_id":5},"fullDocument":{"_id":5,"text":"ü"}}}"#,
            "\n"
        );
        let relaxed = line(Mode::Relaxed, &document);
        assert_eq!(String::from_utf8(relaxed).unwrap(), expected);
        let canonical = String::from_utf8(line(Mode::Canonical, &document)).unwrap();
        assert!(
            canonical.contains(r#""documentKey":{"_id":{"$numberInt":"5"}}"#),
            "{canonical}"
        );
    }

    /// A range resumes after the `_id` in its last line.
    #[test]
    fn every_line_contains_its_id() {
        for document in documents() {
            let id = Id::of(&document).unwrap();
            for mode in [Mode::Canonical, Mode::Relaxed] {
                let line = line(mode, &document);
                let change = Change::parse(&line).unwrap();
                assert_eq!(change.operation.as_deref(), Some("read"));
                let key = match (change.raw_event, change.document_key) {
                    (Some(raw), _) => Key::raw(raw),
                    (None, key) => Key::new(key.unwrap().to_owned()),
                };
                let read = Id::from_key(&key).unwrap();
                if mode == Mode::Canonical {
                    assert_eq!(read, id, "{}", key.as_json());
                }
            }
        }
    }

    #[test]
    fn what_json_cannot_express_is_kept_as_bytes() {
        let mut bytes = RawDocumentBuf::try_from(&doc! { "_id": 5, "text": "QQQQ" })
            .unwrap()
            .into_bytes();
        let at = bytes.windows(4).position(|text| text == b"QQQQ").unwrap();
        bytes[at] = 0xFF;
        let document = RawDocumentBuf::from_bytes(bytes.clone()).unwrap();
        let line: serde_json::Value =
            serde_json::from_slice(&line(Mode::Relaxed, &document)).unwrap();
        let change = &line["change"];
        assert_eq!(change["documentKey"]["_id"], 5);
        assert!(change.get("fullDocument").is_none());
        let kept = bson::Bson::try_from(change["siltRawEvent"].clone()).unwrap();
        let bson::Bson::Binary(kept) = kept else {
            panic!("{kept}")
        };
        assert!(kept.bytes.windows(bytes.len()).any(|part| part == bytes));
    }
}
