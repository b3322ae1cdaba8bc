//! A change event as a line.

use bson::raw::cstr;
use bson::spec::BinarySubtype;
use bson::{Binary, RawDocument, RawDocumentBuf};

use crate::source::SourceError;
use silt_core::extjson::{self, Fidelity, Mode};
use silt_core::file::format::Separator;
use silt_core::limits::LINE_LIMIT_BYTES;
use silt_core::position::ClusterTime;

/// Field of a change that holds the event's BSON bytes, where Extended JSON doesn't read back as the same bytes.
pub(crate) const RAW_EVENT: &bson::raw::CStr = cstr!("siltRawEvent");

/// The most bytes of an event in a line, with room for what is around it.
pub(crate) const EVENT_LIMIT_BYTES: usize = LINE_LIMIT_BYTES - 1024;

/// Appends a change's line, separator included, and the Extended JSON of its token.
pub(in crate::source) fn write(
    event: &RawDocument,
    received: &str,
    mode: Mode,
    separator: Separator,
    lines: &mut Vec<u8>,
    tokens: &mut String,
) -> Result<ClusterTime, SourceError> {
    let malformed = |what: &str| SourceError::MalformedEvent {
        reason: what.to_owned(),
    };
    let token = event
        .get_document("_id")
        .map_err(|_| malformed("it has no resume token"))?;
    let time = event
        .get_timestamp("clusterTime")
        .map_err(|_| malformed("it has no clusterTime"))?;
    lines.extend_from_slice(separator.before);
    lines.extend_from_slice(b"{\"timestamp\":\"");
    lines.extend_from_slice(received.as_bytes());
    lines.extend_from_slice(b"\",\"change\":");
    write_event(event, mode, EVENT_LIMIT_BYTES, lines)?;
    lines.push(b'}');
    lines.extend_from_slice(separator.after);
    // The token's text is encoded after the line, where there is room, and removed again.
    let line_end = lines.len();
    encode(token, Mode::Canonical, lines)?;
    let text = lines.get(line_end..).unwrap_or_default();
    let text = simdutf8::basic::from_utf8(text).map_err(|error| malformed(&error.to_string()))?;
    tokens.push_str(text);
    lines.truncate(line_end);
    Ok(ClusterTime {
        seconds: time.time,
        increment: time.increment,
    })
}

fn encode(document: &RawDocument, mode: Mode, out: &mut Vec<u8>) -> Result<(), SourceError> {
    match extjson::write_document(document.as_bytes(), mode, out) {
        Ok(_) => Ok(()),
        Err(error) => Err(SourceError::MalformedEvent {
            reason: error.to_string(),
        }),
    }
}

/// Appends an event as Extended JSON. Where that doesn't read back as the same event, [`RAW_EVENT`] is added, so that
/// nothing is lost and the feed doesn't stop for ever.
fn write_event(
    event: &RawDocument,
    mode: Mode,
    limit_bytes: usize,
    lines: &mut Vec<u8>,
) -> Result<(), SourceError> {
    let start = lines.len();
    match extjson::write_document(event.as_bytes(), mode, lines) {
        Ok(Fidelity::Exact) if lines.len() - start <= limit_bytes => Ok(()),
        _ => {
            lines.truncate(start);
            write_with_raw_event(event, mode, limit_bytes, lines)
        }
    }
}

/// Appends an event's BSON bytes in [`RAW_EVENT`], and its fields that Extended JSON can represent and that leave the line
/// within the limit. MongoDB stores text that isn't UTF-8, for example.
pub(crate) fn write_with_raw_event(
    event: &RawDocument,
    mode: Mode,
    limit_bytes: usize,
    lines: &mut Vec<u8>,
) -> Result<(), SourceError> {
    let mut kept = RawDocumentBuf::new();
    let mut probe = Vec::new();
    // Base64 is a third longer.
    let mut left_bytes = limit_bytes.saturating_sub(event.as_bytes().len() / 3 * 4 + 128);
    for (key, value) in event.iter().flatten() {
        probe.clear();
        let mut field = RawDocumentBuf::new();
        field.append(key, value);
        let is_written = extjson::write_document(field.as_bytes(), mode, &mut probe).is_ok();
        // A field of this name would hide the event's bytes.
        if is_written && probe.len() <= left_bytes && key != RAW_EVENT {
            left_bytes -= probe.len();
            kept.append(key, value);
        }
    }
    encode(&kept, mode, lines)?;
    append_raw_event(event, lines)
}

/// Adds the event's BSON bytes to its JSON object.
fn append_raw_event(event: &RawDocument, lines: &mut Vec<u8>) -> Result<(), SourceError> {
    let bytes = event.as_bytes().to_vec();
    let subtype = BinarySubtype::Generic;
    let mut raw = RawDocumentBuf::new();
    raw.append(RAW_EVENT, Binary { subtype, bytes });
    // The object's last brace is replaced, and so is the first of the field's.
    lines.pop();
    let comma = lines.len();
    encode(&raw, Mode::Canonical, lines)?;
    if let Some(brace) = lines.get_mut(comma) {
        *brace = b',';
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Timestamp, doc};

    const JSON: Separator = Separator {
        before: b",\n",
        after: b"",
    };
    const NDJSON: Separator = Separator {
        before: b"",
        after: b"\n",
    };

    fn raw(document: &bson::Document) -> bson::RawDocumentBuf {
        bson::RawDocumentBuf::try_from(document).unwrap()
    }

    #[test]
    fn the_whole_event_becomes_one_line() {
        let event = raw(&doc! {
            "_id": { "_data": "82AB" },
            "operationType": "insert",
            "clusterTime": Timestamp { time: 7, increment: 2 },
            "fullDocument": { "_id": 1, "note": "two\nlines" },
        });
        let (mut lines, mut tokens) = (Vec::new(), String::new());
        let time = write(&event, "T", Mode::Relaxed, JSON, &mut lines, &mut tokens).unwrap();
        assert_eq!(
            time,
            ClusterTime {
                seconds: 7,
                increment: 2
            }
        );
        assert_eq!(tokens, r#"{"_data":"82AB"}"#);
        assert_eq!(
            String::from_utf8(lines).unwrap(),
            ",\n{\"timestamp\":\"T\",\"change\":{\"_id\":{\"_data\":\"82AB\"},\
             \"operationType\":\"insert\",\"clusterTime\":{\"$timestamp\":{\"t\":7,\"i\":2}},\
             \"fullDocument\":{\"_id\":1,\"note\":\"two\\nlines\"}}}"
        );
    }

    #[test]
    fn an_event_that_does_not_read_back_is_kept_as_bytes_beside_its_json() {
        let value = doc! { "$numberLong": "5" };
        for (fields, expected) in [
            (doc! { "q": value.clone() }, true),
            (doc! { "q": [1, { "q": value.clone() }] }, true),
            (doc! { "q": 5_i64 }, false),
        ] {
            let event = raw(&doc! {
                "_id": { "_data": "82AB" },
                "clusterTime": Timestamp { time: 7, increment: 2 },
                "fullDocument": fields,
            });
            for mode in [Mode::Canonical, Mode::Relaxed] {
                let (mut lines, mut tokens) = (Vec::new(), String::new());
                write(&event, "T", mode, NDJSON, &mut lines, &mut tokens).unwrap();
                let line: serde_json::Value = serde_json::from_slice(&lines).unwrap();
                let change = line["change"].as_object().unwrap();
                assert!(change["fullDocument"].get("q").is_some());
                let kept = change.get("siltRawEvent").map(|kept| {
                    match bson::Bson::try_from(kept.clone()).unwrap() {
                        bson::Bson::Binary(kept) => kept.bytes,
                        other => panic!("{other}"),
                    }
                });
                assert_eq!(kept, expected.then(|| event.as_bytes().to_vec()));
            }
        }
    }

    #[test]
    fn an_event_that_would_exceed_the_limit_of_a_line_is_kept_as_bytes() {
        let long = doc! { "": vec![bson::Bson::Undefined; 50] };
        let event = raw(&doc! { "_id": { "_data": "82AB" }, "fullDocument": long, "ns": "a" });
        let written = |limit_bytes| {
            let mut line = Vec::new();
            write_event(&event, Mode::Canonical, limit_bytes, &mut line).unwrap();
            line
        };
        let whole = written(usize::MAX);
        assert_eq!(written(whole.len()), whole);
        let limited = written(whole.len() - 1);
        assert!(limited.len() < whole.len());
        let limited: serde_json::Value = serde_json::from_slice(&limited).unwrap();
        let names: Vec<_> = limited.as_object().unwrap().keys().collect();
        assert_eq!(names, ["_id", "ns", "siltRawEvent"]);
    }

    #[test]
    fn an_event_without_token_or_time_is_refused() {
        for event in [doc! {}, doc! { "_id": { "_data": "1" } }] {
            let error = write(
                &raw(&event),
                "T",
                Mode::Relaxed,
                NDJSON,
                &mut Vec::new(),
                &mut String::new(),
            );
            assert!(matches!(error, Err(SourceError::MalformedEvent { .. })));
        }
    }

    #[test]
    fn an_event_that_json_cannot_represent_is_kept_as_bytes_beside_the_fields_that_it_can() {
        let event = raw(&doc! {
            "_id": { "_data": "82AB" },
            "operationType": "insert",
            "clusterTime": Timestamp { time: 7, increment: 2 },
            "documentKey": { "_id": 1 },
            "fullDocument": { "_id": 1, "text": "QQQQ" },
        });
        let mut bytes = event.into_bytes();
        let at = bytes.windows(4).position(|text| text == b"QQQQ").unwrap();
        bytes[at + 1] = 0xFF;
        let event = RawDocumentBuf::from_bytes(bytes.clone()).unwrap();
        let (mut lines, mut tokens) = (Vec::new(), String::new());
        write(&event, "T", Mode::Relaxed, NDJSON, &mut lines, &mut tokens).unwrap();
        let line: serde_json::Value = serde_json::from_slice(&lines).unwrap();
        let change = &line["change"];
        assert_eq!(change["_id"]["_data"], "82AB");
        assert_eq!(change["documentKey"]["_id"], 1);
        assert_eq!(change["clusterTime"]["$timestamp"]["t"], 7);
        assert!(change.get("fullDocument").is_none());
        let kept = bson::Bson::try_from(change["siltRawEvent"].clone()).unwrap();
        let bson::Bson::Binary(kept) = kept else {
            panic!("{kept}")
        };
        assert_eq!(kept.bytes, bytes);
    }
}
