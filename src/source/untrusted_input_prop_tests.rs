//! Whatever a store holds as a token and whatever the server sends as an event is accepted or refused, and never causes
//! a panic or a malformed line.

use bson::{Bson, Document, RawDocumentBuf};
use proptest::collection::{hash_map, vec};
use proptest::prelude::*;
use serde_json::Value;

use super::encode::line;
use super::token;
use silt_core::extjson::Mode;
use silt_core::file::format::Separator;
use silt_core::position::{Checkpoint, ResumeToken};

const NDJSON: Separator = Separator {
    before: b"",
    after: b"\n",
};

/// Names with a meaning in Extended JSON or in silt.
const NAMES: [&str; 14] = [
    "_data",
    "_typeBits",
    "_id",
    "clusterTime",
    "operationType",
    "$binary",
    "base64",
    "subType",
    "$oid",
    "$timestamp",
    "t",
    "i",
    "$numberLong",
    "$date",
];

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(&NAMES[..]).prop_map(str::to_owned),
        1 => "[a-z$]{0,6}",
    ]
}

/// JSON that is almost valid.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "(82)?[0-9A-F]{0,40}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            hash_map(name(), inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_token_is_accepted_or_refused(value in json(), text: String) {
        for text in [value.to_string(), text] {
            let Ok(parsed) = ResumeToken::from_extended_json(&text) else {
                continue;
            };
            let _ = parsed.cluster_time();
            let document = token::to_document(&parsed);
            if let Some(Ok(document)) = document.ok().as_ref().map(RawDocumentBuf::try_from) {
                let back = token::from_raw(&document);
                prop_assert!(back.is_ok(), "{text} came back as {back:?}");
            }
        }
    }

    #[test]
    fn any_checkpoint_is_read_or_refused(
        position in json(),
        last_change in json(),
        stream_hash in json(),
    ) {
        let fields = [("position", position), ("last_change", last_change), ("stream_hash", stream_hash)];
        let object = fields.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        if let Ok(checkpoint) = serde_json::from_value::<Checkpoint>(Value::Object(object)) {
            let text = serde_json::to_string(&checkpoint).unwrap();
            prop_assert_eq!(serde_json::from_str::<Checkpoint>(&text).unwrap(), checkpoint);
        }
    }

    #[test]
    fn any_event_is_a_line_or_refused(value in json(), bytes in vec(any::<u8>(), 0..200)) {
        let document = Bson::try_from(value).ok();
        let document = document.and_then(|bson| bson.as_document().cloned());
        let built = document.and_then(|document| {
            let mut event = Document::new();
            event.insert("_id", document.clone());
            event.extend(document);
            RawDocumentBuf::try_from(&event).ok()
        });
        for event in [built, RawDocumentBuf::from_bytes(bytes).ok()].into_iter().flatten() {
            let (mut lines, mut tokens) = (Vec::new(), String::new());
            let written = line::write(&event, "T", Mode::Relaxed, NDJSON, &mut lines, &mut tokens);
            if written.is_ok() {
                prop_assert_eq!(lines.iter().position(|byte| *byte == b'\n'), Some(lines.len() - 1));
                prop_assert!(serde_json::from_slice::<Value>(&lines).is_ok());
            }
        }
    }
}
