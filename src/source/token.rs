//! Converts resume tokens between the driver's form and the core's.

use bson::{Bson, RawBson, RawDocument, Timestamp};
use mongodb::change_stream::event::ResumeToken as DriverToken;

use super::SourceError;
use silt_core::extjson::{self, Mode};
use silt_core::position::{ClusterTime, ResumeToken};

/// Converts to the driver's token.
pub(super) fn to_driver(token: &ResumeToken) -> Result<DriverToken, SourceError> {
    let malformed = |error: String| SourceError::MalformedToken { reason: error };
    let json: serde_json::Value = serde_json::from_str(token.as_extended_json())
        .map_err(|error| malformed(error.to_string()))?;
    let bson = Bson::try_from(json).map_err(|error| malformed(error.to_string()))?;
    // A JSON object may also represent another type: {"$date":0}.
    if !matches!(bson, Bson::Document(_)) {
        return Err(malformed("it isn't a document".to_owned()));
    }
    bson::deserialize_from_bson(bson).map_err(|error| malformed(error.to_string()))
}

/// Converts to the core's token.
pub(super) fn from_driver(token: &DriverToken) -> Result<ResumeToken, SourceError> {
    let malformed = |error: String| SourceError::MalformedToken { reason: error };
    let bson = bson::serialize_to_bson(token).map_err(|error| malformed(error.to_string()))?;
    let raw = RawBson::try_from(bson).map_err(|error| malformed(error.to_string()))?;
    let RawBson::Document(document) = raw else {
        return Err(malformed("it isn't a document".to_owned()));
    };
    from_raw(&document)
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

fn from_raw(token: &RawDocument) -> Result<ResumeToken, SourceError> {
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
    use super::*;

    #[test]
    fn tokens_survive_both_conversions() {
        for text in [
            r#"{"_data":"8265A53E2F000000012B0229296E04"}"#,
            r#"{"_data":"82","_typeBits":{"$binary":{"base64":"gkA=","subType":"00"}}}"#,
        ] {
            let token = ResumeToken::from_canonical(text);
            assert_eq!(from_driver(&to_driver(&token).unwrap()).unwrap(), token);
        }
        for text in ["{", r#"{"$date":0}"#] {
            assert!(to_driver(&ResumeToken::from_canonical(text)).is_err());
        }
    }
}
