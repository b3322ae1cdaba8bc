//! A change that is too large for the server to send, and its record in the lake.

use std::fmt;

use chrono::DateTime;
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::json;
use crate::namespace::Namespace;
use crate::position::{ClusterTime, ResumeToken};
use crate::time::rfc3339;

/// The reason in the record of a single change.
pub(crate) const REASON: &str = "tooLarge";

/// Of a key, messages show so many characters: it may be megabytes long. The record has all of it.
const KEY_CHARS_MAX: usize = 200;

/// A change that the server can't send, because it is larger than BSON allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LargeEvent {
    /// The namespace of the change.
    pub origin: Namespace,
    /// Its `_id`.
    pub token: ResumeToken,
    /// Its `clusterTime`.
    pub cluster_time: ClusterTime,
    /// Its `operationType`.
    pub operation_type: String,
    /// Its `documentKey` as canonical Extended JSON, if it has one.
    pub document_key: Option<String>,
}

impl LargeEvent {
    /// The name of its record: its time, and a digest of its token.
    #[must_use]
    pub fn file_name(&self) -> String {
        let seconds = i64::from(self.cluster_time.seconds);
        let time = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
        let digest = Sha256::digest(self.token.as_extended_json());
        let [a, b, c, d, ..] = digest[..] else {
            return format!("{}-large.json", time.format("%Y-%m-%d-%H-%M-%S"));
        };
        let time = time.format("%Y-%m-%d-%H-%M-%S");
        format!("{time}-large-{a:02x}{b:02x}{c:02x}{d:02x}.json")
    }

    /// The content of its record.
    ///
    /// # Errors
    ///
    /// The token or the key isn't JSON.
    pub fn record(&self, now_unix_ms: i64) -> serde_json::Result<Vec<u8>> {
        // As it is, because its levels may be more than a parser accepts.
        let key = self.document_key.as_deref().map(serde_json::from_str);
        let time = rfc3339(i64::from(self.cluster_time.seconds) * 1000);
        json::to_document(&LargeRecord {
            reason: REASON,
            database: &self.origin.database,
            collection: &self.origin.collection,
            from: &time,
            until: &time,
            operation_type: &self.operation_type,
            resume_token: &self.token,
            cluster_time: self.cluster_time,
            document_key: key.transpose()?,
            recorded_at: rfc3339(now_unix_ms),
            silt_version: env!("CARGO_PKG_VERSION"),
        })
    }
}

impl fmt::Display for LargeEvent {
    /// `the update of {"_id":1} in mydb.users at 2024-01-15T14:15:23Z/1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {}", self.operation_type)?;
        if let Some(key) = &self.document_key {
            let shown: String = key.chars().take(KEY_CHARS_MAX).collect();
            let rest = if shown.len() < key.len() { "…" } else { "" };
            write!(f, " of {shown}{rest}")?;
        }
        write!(f, " in {} at {}", self.origin, self.cluster_time)
    }
}

/// The record of a large event.
#[derive(Serialize)]
struct LargeRecord<'a> {
    reason: &'static str,
    database: &'a str,
    collection: &'a str,
    from: &'a str,
    until: &'a str,
    operation_type: &'a str,
    resume_token: &'a ResumeToken,
    cluster_time: ClusterTime,
    document_key: Option<&'a RawValue>,
    recorded_at: String,
    silt_version: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_huge_key_messages_show_the_beginning() {
        let event = |key: &str| LargeEvent {
            origin: Namespace::new("mydb", "users"),
            token: ResumeToken::from_canonical("{}"),
            cluster_time: ClusterTime {
                seconds: 1_705_328_123,
                increment: 1,
            },
            operation_type: "update".to_owned(),
            document_key: Some(key.to_owned()),
        };
        let small = event(r#"{"_id":1}"#).to_string();
        let at = "in mydb.users at 2024-01-15T14:15:23Z/1";
        assert_eq!(small, format!(r#"the update of {{"_id":1}} {at}"#));
        let huge = event(&"é".repeat(3 << 20)).to_string();
        let shown = "é".repeat(KEY_CHARS_MAX);
        assert_eq!(huge, format!("the update of {shown}… {at}"));
    }
}
