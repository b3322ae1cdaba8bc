//! The key of a document: its `_id` in a JSON object.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The field that holds BSON bytes where Extended JSON can't represent a key, as in a change.
pub const RAW: &str = "siltRawEvent";

/// A document's key as the text of a JSON object: `{"_id":…}` in Extended JSON. Where Extended JSON can't represent
/// it, `{"siltRawEvent":…}` with the bytes of a BSON document whose `documentKey` is the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// A key from the text of the object.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// A key that Extended JSON can't represent, from the Extended JSON of a binary value.
    #[must_use]
    pub fn raw(binary: &str) -> Self {
        Self(format!("{{\"{RAW}\":{binary}}}"))
    }

    /// The text of the object.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

impl Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(raw.get().to_owned()))
    }
}
