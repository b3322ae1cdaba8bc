//! Changes that are missing from the lake, and the records that the lake keeps of them.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::json;
use crate::large_event::{self, LargeEvent};
use crate::namespace::Namespace;
use crate::position::{ClusterTime, LastChange};
use crate::time::rfc3339;

/// The folder of gap records within a collection's folder.
pub const FOLDER: &str = "_gaps";

/// A range of a collection's changes that the oplog dropped before silt read them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The feed had read up to here. `None` if its position doesn't state a time.
    pub from: Option<ClusterTime>,
    /// The feed resumes here, inclusive. `None` if that isn't known yet.
    pub until: Option<ClusterTime>,
    /// The last change before the gap that the lake holds.
    pub last_change: Option<LastChange>,
}

/// A record of missing changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Changes that the oplog dropped.
    Lost(Gap),
    /// A change that the server can't send.
    TooLarge(LargeEvent),
}

impl Record {
    /// The name of its file. `None` if no time of the gap is known.
    #[must_use]
    pub fn file_name(&self) -> Option<String> {
        match self {
            Self::Lost(gap) => gap.file_name(),
            Self::TooLarge(event) => Some(event.file_name()),
        }
    }

    /// Merges what the existing file says.
    ///
    /// # Errors
    ///
    /// These bytes aren't a record.
    pub fn merged(self, existing: &[u8]) -> serde_json::Result<Self> {
        match self {
            Self::Lost(gap) => gap.merged(existing).map(Self::Lost),
            // The record of one event is the same whoever writes it.
            large @ Self::TooLarge(_) => Ok(large),
        }
    }

    /// The file's content.
    ///
    /// # Errors
    ///
    /// A token isn't JSON.
    pub fn write(&self, origin: &Namespace, now_unix_ms: i64) -> serde_json::Result<Vec<u8>> {
        match self {
            Self::Lost(gap) => gap.record(origin, now_unix_ms),
            Self::TooLarge(event) => event.record(now_unix_ms),
        }
    }
}

/// The record of a gap.
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

/// The fields that are read from a record.
#[derive(Deserialize)]
struct Known {
    from_cluster_time: Option<ClusterTime>,
    until_cluster_time: Option<ClusterTime>,
    last_change: Option<LastChange>,
    reason: Option<String>,
    recorded_at: Option<String>,
    /// Of a single change.
    cluster_time: Option<ClusterTime>,
}

/// What a record says of the time of its changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Why they are missing.
    pub reason: String,
    /// The first one is at or after this time. `None` if that isn't known.
    pub from: Option<ClusterTime>,
    /// The last one is at or before this time. `None` if that isn't known.
    pub until: Option<ClusterTime>,
}

impl Extent {
    /// Reads it from a record of either kind.
    ///
    /// # Errors
    ///
    /// These bytes aren't a record.
    pub fn of(record: &[u8]) -> serde_json::Result<Self> {
        let known: Known = serde_json::from_slice(record)?;
        Ok(Self {
            reason: known.reason.unwrap_or_default(),
            from: known.from_cluster_time.or(known.cluster_time),
            until: known.until_cluster_time.or(known.cluster_time),
        })
    }

    /// Whether some of its changes may lie in a time, whose end is exclusive.
    #[must_use]
    pub fn concerns(&self, from: ClusterTime, until: ClusterTime) -> bool {
        self.from.is_none_or(|begin| begin < until) && self.until.is_none_or(|end| end >= from)
    }
}

/// The end of a recorded gap: documents that are read at a later position don't need its changes. `None` if the
/// record is of a single change. If the end isn't known, it is the time of the record.
///
/// # Errors
///
/// These bytes aren't a record.
pub fn lost_until(record: &[u8]) -> serde_json::Result<Option<ClusterTime>> {
    let record: Known = serde_json::from_slice(record)?;
    if record.reason.as_deref() == Some(large_event::REASON) {
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
    /// Its length. Zero if it ends before it begins.
    #[must_use]
    pub fn seconds(&self) -> Option<u32> {
        let (from, until) = (self.from?, self.until?);
        Some(until.seconds.saturating_sub(from.seconds))
    }

    /// The name of its record, `YYYY-MM-DD-HH-MM-SS.json`. It is the time of the beginning, so a feed that is killed
    /// and records the gap again writes to the same file. `None` if no time of the gap is known.
    #[must_use]
    pub fn file_name(&self) -> Option<String> {
        let time = date(self.from.or(self.until)?)?;
        Some(format!("{}.json", time.format("%Y-%m-%d-%H-%M-%S")))
    }

    /// Merges the existing record. Its writer, this feed before it was killed or another one, may have resumed later.
    /// What is recorded as lost stays recorded.
    ///
    /// # Errors
    ///
    /// These bytes aren't a record.
    pub fn merged(self, record: &[u8]) -> serde_json::Result<Self> {
        let existing: Known = serde_json::from_slice(record)?;
        let until = self.until.max(existing.until_cluster_time);
        Ok(if existing.from_cluster_time <= self.from {
            Self {
                from: existing.from_cluster_time,
                until,
                last_change: existing.last_change,
            }
        } else {
            Self { until, ..self }
        })
    }

    /// The content of its record.
    ///
    /// # Errors
    ///
    /// A token isn't JSON.
    pub fn record(&self, origin: &Namespace, now_unix_ms: i64) -> serde_json::Result<Vec<u8>> {
        let text = |time: Option<ClusterTime>| {
            time.map(|time| rfc3339(i64::from(time.seconds).saturating_mul(1000)))
        };
        json::to_document(&LostRecord {
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
        })
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
    use crate::file::commit::tests::origin;
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
    fn the_text_states_the_times_and_the_length() {
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
    fn the_record_is_named_after_the_beginning() {
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
    fn a_record_states_the_end_of_the_gap() {
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
        let extent = Extent::of(&record).unwrap();
        assert_eq!(
            (extent.from, extent.until),
            (Some(time(30)), Some(time(30)))
        );
        assert!(lost_until(b"x").is_err());
    }

    #[test]
    fn a_gap_concerns_the_times_that_it_touches() {
        let concerns = |from, until| {
            let record = gap(from, until).record(&origin(), 0).unwrap();
            let extent = Extent::of(&record).unwrap();
            assert_eq!(extent.reason, "historyLost");
            extent.concerns(time(20), time(30))
        };
        assert!(concerns(Some(25), Some(26)) && concerns(Some(10), Some(40)));
        assert!(concerns(Some(10), Some(20)) && concerns(Some(29), Some(40)));
        assert!(concerns(None, Some(20)) && concerns(Some(29), None));
        assert!(!concerns(Some(10), Some(19)) && !concerns(Some(30), Some(40)));
        assert!(!concerns(None, Some(19)) && !concerns(Some(30), None));
    }

    #[test]
    fn a_record_never_shrinks() {
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
        let merged = |one: &Gap, existing: &Gap| {
            let record = existing.record(&origin(), 0).unwrap();
            one.clone().merged(&record).unwrap()
        };
        let (short, long) = (gap(20, 30), gap(20, 40));
        assert_eq!(merged(&short, &long), long);
        assert_eq!(merged(&long, &short), long);
        let (early, late) = (gap(10, 30), gap(20, 40));
        let both = Gap {
            until: late.until,
            ..early.clone()
        };
        assert_eq!(merged(&early, &late), both);
        assert_eq!(merged(&late, &early), both);
        assert!(short.merged(b"{}x").is_err());
    }

    #[test]
    fn the_record_has_every_field() {
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
