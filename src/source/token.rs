//! Converts resume tokens between the server's form and the core's.

use bson::{Bson, Document, RawDocument, Timestamp};

use super::SourceError;
use silt_core::extjson::{self, Mode};
use silt_core::position::{ClusterTime, ResumeToken};

/// The server's form of a token.
pub(super) fn to_document(token: &ResumeToken) -> Result<Document, SourceError> {
    let malformed = |error: String| SourceError::MalformedToken { reason: error };
    let json: serde_json::Value = serde_json::from_str(token.as_extended_json())
        .map_err(|error| malformed(error.to_string()))?;
    // A JSON object may also represent another type: {"$date":0}.
    match Bson::try_from(json).map_err(|error| malformed(error.to_string()))? {
        Bson::Document(document) => Ok(document),
        _ => Err(malformed("it isn't a document".to_owned())),
    }
}

/// The core's token of an event.
pub(super) fn of_event(event: &RawDocument) -> Result<ResumeToken, SourceError> {
    let token = event
        .get_document("_id")
        .map_err(|_| SourceError::MalformedEvent {
            reason: "it has no resume token".to_owned(),
        })?;
    from_raw(token)
}

/// Converts to the core's token.
pub(super) fn from_raw(token: &RawDocument) -> Result<ResumeToken, SourceError> {
    let text = canonical(token).map_err(|error| SourceError::MalformedToken {
        reason: error.to_string(),
    })?;
    Ok(ResumeToken::from_canonical(&text))
}

/// A document as canonical Extended JSON.
pub(super) fn canonical(document: &RawDocument) -> Result<String, extjson::Error> {
    let mut text = Vec::new();
    extjson::write_document(document.as_bytes(), Mode::Canonical, &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The driver's timestamp.
pub(super) fn to_timestamp(time: ClusterTime) -> Timestamp {
    Timestamp {
        time: time.seconds,
        increment: time.increment,
    }
}

#[cfg(test)]
mod tests {
    use bson::RawDocumentBuf;

    use super::*;

    #[test]
    fn tokens_survive_both_conversions() {
        for text in [
            r#"{"_data":"8265A53E2F000000012B0229296E04"}"#,
            r#"{"_data":"82","_typeBits":{"$binary":{"base64":"gkA=","subType":"00"}}}"#,
        ] {
            let token = ResumeToken::from_canonical(text);
            let document = to_document(&token).unwrap();
            let document = RawDocumentBuf::try_from(&document).unwrap();
            assert_eq!(from_raw(&document).unwrap(), token);
        }
        for text in ["{", r#"{"$date":0}"#] {
            assert!(to_document(&ResumeToken::from_canonical(text)).is_err());
        }
    }
}
