//! Changes that are lost to a feed, and the record that the lake keeps of them.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::file::frame::rfc3339;
use crate::namespace::origin::Origin;
use crate::position::{ClusterTime, LastChange, ResumeToken};

/// Folder of a collection's gap records, within its own.
pub const FOLDER: &str = "_gaps";

/// The reason of a record of a single change.
const TOO_LARGE: &str = "tooLarge";

/// A stretch of a collection's changes that the oplog lost before they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The feed had read up to here; `None` if its position doesn't tell.
    pub from: Option<ClusterTime>,
    /// The feed goes on here, inclusive; `None` if that isn't known yet.
    pub until: Option<ClusterTime>,
    /// The last change before the gap that the lake holds.
    pub last_change: Option<LastChange>,
}

/// A change that the server can't send, being larger than BSON allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LargeEvent {
    /// Whose change it is.
    pub origin: Origin,
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
    /// Name of its record: its time, and what tells it from others of that time.
    #[must_use]
    pub fn file_name(&self) -> String {
        let time = date(self.cluster_time).unwrap_or_default();
        let digest = Sha256::digest(self.token.as_extended_json());
        let [a, b, c, d, ..] = digest[..] else {
            return format!("{}-large.json", time.format("%Y-%m-%d-%H-%M-%S"));
        };
        let time = time.format("%Y-%m-%d-%H-%M-%S");
        format!("{time}-large-{a:02x}{b:02x}{c:02x}{d:02x}.json")
    }

    /// Content of its record.
    ///
    /// # Errors
    ///
    /// The token or the key is no JSON.
    pub fn record(&self, now_unix_ms: i64) -> serde_json::Result<Vec<u8>> {
        let key = self.document_key.as_deref().map(serde_json::from_str);
        let time = rfc3339(i64::from(self.cluster_time.seconds) * 1000);
        let mut bytes = serde_json::to_vec_pretty(&LargeRecord {
            reason: TOO_LARGE,
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
        })?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

impl fmt::Display for LargeEvent {
    /// `the update of {"_id":1} in mydb.users at 2024-01-15T14:15:23Z/1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {}", self.operation_type)?;
        if let Some(key) = &self.document_key {
            write!(f, " of {key}")?;
        }
        write!(f, " in {} at {}", self.origin, self.cluster_time)
    }
}

/// A large event as it is recorded.
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
    document_key: Option<serde_json::Value>,
    recorded_at: String,
    silt_version: &'static str,
}

/// What the lake is to keep on record of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Changes that the oplog lost.
    Lost(Gap),
    /// A change that the server can't send.
    TooLarge(LargeEvent),
}

impl Record {
    /// The name of its file; `None` if nothing is known of its place.
    #[must_use]
    pub fn file_name(&self) -> Option<String> {
        match self {
            Self::Lost(gap) => gap.file_name(),
            Self::TooLarge(event) => Some(event.file_name()),
        }
    }

    /// Takes in what the file says already.
    ///
    /// # Errors
    ///
    /// These bytes are no record.
    pub fn joined(self, there: &[u8]) -> serde_json::Result<Self> {
        match self {
            Self::Lost(gap) => gap.joined(there).map(Self::Lost),
            // The same event, whoever recorded it.
            large @ Self::TooLarge(_) => Ok(large),
        }
    }

    /// The file's content.
    ///
    /// # Errors
    ///
    /// A token is no JSON.
    pub fn write(&self, origin: &Origin, now_unix_ms: i64) -> serde_json::Result<Vec<u8>> {
        match self {
            Self::Lost(gap) => gap.record(origin, now_unix_ms),
            Self::TooLarge(event) => event.record(now_unix_ms),
        }
    }
}

/// A gap as it is recorded.
#[derive(Serialize)]
struct LostRecord<'a> {
    reason: &'static str,
    database: &'a str,
    collection: &'a str,
    from: Option<String>,
    until: Option<String>,
    seconds: Option<u32>,
    from_cluster_time: Option<ClusterTime>,
    until_cluster_time: Option<ClusterTime>,
    last_change: Option<&'a LastChange>,
    recorded_at: String,
    silt_version: &'static str,
}

/// What is read of a record.
#[derive(Deserialize)]
struct Known {
    from_cluster_time: Option<ClusterTime>,
    until_cluster_time: Option<ClusterTime>,
    last_change: Option<LastChange>,
    reason: Option<String>,
    recorded_at: Option<String>,
}

/// Where a recorded stretch of lost changes ends: documents that are read at a later position don't miss
/// them. `None` if the record is of a single change. Where the end isn't known, it ends when it was recorded.
///
/// # Errors
///
/// These bytes are no record.
pub fn lost_until(record: &[u8]) -> serde_json::Result<Option<ClusterTime>> {
    let record: Known = serde_json::from_slice(record)?;
    if record.reason.as_deref() == Some(TOO_LARGE) {
        return Ok(None);
    }
    let recorded_at = || {
        let time = DateTime::parse_from_rfc3339(record.recorded_at.as_ref()?).ok()?;
        Some(ClusterTime {
            seconds: u32::try_from(time.timestamp()).ok()?,
            increment: u32::MAX,
        })
    };
    Ok(record.until_cluster_time.or_else(recorded_at))
}

impl Gap {
    /// How long it is. Zero if its end is before its beginning.
    #[must_use]
    pub fn seconds(&self) -> Option<u32> {
        let (from, until) = (self.from?, self.until?);
        Some(until.seconds.saturating_sub(from.seconds))
    }

    /// Name of its record: `YYYY-MM-DD-HH-MM-SS.json`, by where it begins, so that a feed that is
    /// killed and records it again meets the same file. `None` if nothing is known of its place.
    #[must_use]
    pub fn file_name(&self) -> Option<String> {
        let time = date(self.from.or(self.until)?)?;
        Some(format!("{}.json", time.format("%Y-%m-%d-%H-%M-%S")))
    }

    /// Takes in what its record says already. Who wrote that may have gone on further behind: this
    /// feed before it was killed, or another one. What is on record as lost stays so.
    ///
    /// # Errors
    ///
    /// These bytes are no record.
    pub fn joined(self, record: &[u8]) -> serde_json::Result<Self> {
        let there: Known = serde_json::from_slice(record)?;
        let until = self.until.max(there.until_cluster_time);
        Ok(if there.from_cluster_time <= self.from {
            Self {
                from: there.from_cluster_time,
                until,
                last_change: there.last_change,
            }
        } else {
            Self { until, ..self }
        })
    }

    /// Content of its record.
    ///
    /// # Errors
    ///
    /// A token is no JSON.
    pub fn record(&self, origin: &Origin, now_unix_ms: i64) -> serde_json::Result<Vec<u8>> {
        let text = |time: Option<ClusterTime>| {
            time.map(|time| rfc3339(i64::from(time.seconds).saturating_mul(1000)))
        };
        let mut bytes = serde_json::to_vec_pretty(&LostRecord {
            reason: "historyLost",
            database: &origin.database,
            collection: &origin.collection,
            from: text(self.from),
            until: text(self.until),
            seconds: self.seconds(),
            from_cluster_time: self.from,
            until_cluster_time: self.until,
            last_change: self.last_change.as_ref(),
            recorded_at: rfc3339(now_unix_ms),
            silt_version: env!("CARGO_PKG_VERSION"),
        })?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

fn date(time: ClusterTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(i64::from(time.seconds), 0)
}

impl fmt::Display for Gap {
    /// `its changes between 2024-01-15T14:15:23Z/1 and 2024-01-15T16:20:00Z/1 (2 h 4 min 37 s) are lost`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.until) {
            (Some(from), Some(until)) => write!(f, "its changes between {from} and {until}")?,
            (Some(from), None) => write!(f, "its changes from {from} up to now")?,
            (None, Some(until)) => write!(f, "its changes before {until}")?,
            (None, None) => write!(f, "its changes up to now")?,
        }
        if let Some(seconds) = self.seconds() {
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            write!(f, " ({hours} h {minutes} min {} s)", seconds % 60)?;
        }
        f.write_str(" are lost")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::frame::tests::origin;
    use crate::position::ResumeToken;

    fn time(seconds: u32) -> ClusterTime {
        ClusterTime {
            seconds,
            increment: 1,
        }
    }

    fn gap(from: Option<u32>, until: Option<u32>) -> Gap {
        Gap {
            from: from.map(time),
            until: until.map(time),
            last_change: None,
        }
    }

    #[test]
    fn it_says_how_much_was_lost_between_which_times() {
        for (from, until, text) in [
            (
                Some(1_705_328_123),
                Some(1_705_335_600),
                "its changes between 2024-01-15T14:15:23Z/1 and 2024-01-15T16:20:00Z/1 (2 h 4 min 37 s) are lost",
            ),
            (
                Some(1_705_328_123),
                None,
                "its changes from 2024-01-15T14:15:23Z/1 up to now are lost",
            ),
            (
                None,
                Some(1_705_328_123),
                "its changes before 2024-01-15T14:15:23Z/1 are lost",
            ),
            (None, None, "its changes up to now are lost"),
        ] {
            assert_eq!(gap(from, until).to_string(), text);
        }
    }

    #[test]
    fn its_record_is_named_by_its_beginning() {
        let beginning = "2024-01-15-14-15-23.json";
        let [with_end, later_end] = [1_705_335_600, 1_705_399_999]
            .map(|until| gap(Some(1_705_328_123), Some(until)).file_name());
        assert_eq!(with_end.as_deref(), Some(beginning));
        assert_eq!(with_end, later_end);
        let no_beginning = gap(None, Some(1_705_328_123)).file_name();
        assert_eq!(no_beginning.as_deref(), Some(beginning));
        assert_eq!(gap(None, None).file_name(), None);
    }

    #[test]
    fn a_record_tells_where_what_is_lost_ends() {
        let until = |gap: &Gap| {
            let record = gap.record(&origin(), 1_705_340_000_000).unwrap();
            lost_until(&record).unwrap()
        };
        assert_eq!(until(&gap(Some(20), Some(30))), Some(time(30)));
        let recorded = ClusterTime {
            seconds: 1_705_340_000,
            increment: u32::MAX,
        };
        assert_eq!(until(&gap(Some(20), None)), Some(recorded));
        let large = LargeEvent {
            origin: origin(),
            token: ResumeToken::from_canonical("{}"),
            cluster_time: time(30),
            operation_type: "update".to_owned(),
            document_key: None,
        };
        let record = large.record(1_705_340_000_000).unwrap();
        assert_eq!(lost_until(&record).unwrap(), None, "a single change");
        assert!(lost_until(b"x").is_err());
    }

    #[test]
    fn its_record_never_shrinks() {
        let change = |seconds| {
            Some(LastChange {
                token: ResumeToken::from_canonical(&format!(r#"{{"_data":"82{seconds}"}}"#)),
                cluster_time: time(seconds),
            })
        };
        let gap = |from, until| Gap {
            last_change: change(from),
            ..gap(Some(from), Some(until))
        };
        let joined = |one: &Gap, there: &Gap| {
            let record = there.record(&origin(), 0).unwrap();
            one.clone().joined(&record).unwrap()
        };
        let (short, long) = (gap(20, 30), gap(20, 40));
        assert_eq!(joined(&short, &long), long);
        assert_eq!(joined(&long, &short), long);
        let (early, late) = (gap(10, 30), gap(20, 40));
        let both = Gap {
            until: late.until,
            ..early.clone()
        };
        assert_eq!(joined(&early, &late), both);
        assert_eq!(joined(&late, &early), both);
        assert!(short.joined(b"{}x").is_err());
    }

    #[test]
    fn its_record_says_it_all() {
        let mut gap = gap(Some(1_705_328_123), Some(1_705_335_600));
        gap.last_change = Some(LastChange {
            token: ResumeToken::from_canonical(r#"{"_data":"82AB"}"#),
            cluster_time: time(1_705_328_100),
        });
        let bytes = gap.record(&origin(), 1_705_340_000_000).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(record["reason"], "historyLost");
        assert_eq!(record["collection"], origin().collection);
        assert_eq!(record["database"], origin().database);
        assert_eq!(record["from"], "2024-01-15T14:15:23.000Z");
        assert_eq!(record["until"], "2024-01-15T16:20:00.000Z");
        assert_eq!(record["seconds"], 7477);
        assert_eq!(
            record["until_cluster_time"]["$timestamp"]["t"],
            1_705_335_600
        );
        assert_eq!(record["last_change"]["token"]["_data"], "82AB");
        assert_eq!(record["recorded_at"], "2024-01-15T17:33:20.000Z");
    }
}
