//! A change event as a line.

use bson::RawDocument;

use super::SourceError;
use crate::archive::position::ClusterTime;
use crate::extjson::{self, Mode};

/// What else a change says that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The stream goes on.
    Ordinary,
    /// The server closes the stream behind it.
    Invalidate,
}

/// Looks at a change without decoding it.
pub(super) fn kind(event: &RawDocument) -> Kind {
    match event.get_str("operationType") {
        Ok("invalidate") => Kind::Invalidate,
        _ => Kind::Ordinary,
    }
}

/// Appends a change's line, separator included, and the Extended JSON of its token.
pub(super) fn write(
    event: &RawDocument,
    received: &str,
    mode: Mode,
    separator: &[u8],
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
    let encode = |document: &RawDocument, mode, out: &mut Vec<u8>| {
        extjson::write_document(document.as_bytes(), mode, out).map_err(|error| {
            SourceError::MalformedEvent {
                reason: error.to_string(),
            }
        })
    };
    lines.extend_from_slice(b"{\"timestamp\":\"");
    lines.extend_from_slice(received.as_bytes());
    lines.extend_from_slice(b"\",\"change\":");
    encode(event, mode, lines)?;
    lines.push(b'}');
    lines.extend_from_slice(separator);
    let mut text = Vec::with_capacity(160);
    encode(token, Mode::Canonical, &mut text)?;
    let text = std::str::from_utf8(&text).map_err(|error| malformed(&error.to_string()))?;
    tokens.push_str(text);
    Ok(ClusterTime {
        seconds: time.time,
        increment: time.increment,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Timestamp, doc};

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
        let time = write(&event, "T", Mode::Relaxed, b",\n", &mut lines, &mut tokens).unwrap();
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
            "{\"timestamp\":\"T\",\"change\":{\"_id\":{\"_data\":\"82AB\"},\
             \"operationType\":\"insert\",\"clusterTime\":{\"$timestamp\":{\"t\":7,\"i\":2}},\
             \"fullDocument\":{\"_id\":1,\"note\":\"two\\nlines\"}}},\n"
        );
        assert_eq!(kind(&event), Kind::Ordinary);
        assert_eq!(
            kind(&raw(&doc! { "operationType": "invalidate" })),
            Kind::Invalidate
        );
    }

    #[test]
    fn an_event_without_token_or_time_is_refused() {
        for event in [doc! {}, doc! { "_id": { "_data": "1" } }] {
            let error = write(
                &raw(&event),
                "T",
                Mode::Relaxed,
                b"",
                &mut Vec::new(),
                &mut String::new(),
            );
            assert!(matches!(error, Err(SourceError::MalformedEvent { .. })));
        }
    }
}
