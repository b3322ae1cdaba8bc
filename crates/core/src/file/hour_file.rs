//! Hours, the names of hour files, and what is known about an hour file.

use std::fmt;
use std::str::FromStr;

use crate::file::format::FileFormat;
use crate::file::layout::Extent;
use crate::position::{ClusterTime, LastChange};

const SECONDS_PER_HOUR: i64 = 3600;

/// An hour, counted from 1970-01-01T00 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(i64);

impl Hour {
    /// The hour of a cluster time.
    #[must_use]
    pub fn of(time: ClusterTime) -> Self {
        Self(i64::from(time.seconds) / SECONDS_PER_HOUR)
    }

    /// The least cluster time in it.
    #[must_use]
    pub fn first_cluster_time(self) -> ClusterTime {
        let seconds = u32::try_from(self.0 * SECONDS_PER_HOUR).unwrap_or(u32::MAX);
        ClusterTime {
            seconds,
            increment: 0,
        }
    }

    /// The greatest cluster time in it.
    #[must_use]
    pub fn last_cluster_time(self) -> ClusterTime {
        let seconds = u32::try_from((self.0 + 1) * SECONDS_PER_HOUR - 1).unwrap_or(u32::MAX);
        ClusterTime {
            seconds,
            increment: u32::MAX,
        }
    }

    /// The first cluster time after it.
    #[must_use]
    pub fn end_cluster_time(self) -> ClusterTime {
        Self(self.0 + 1).first_cluster_time()
    }

    /// When the hour ends, in milliseconds since 1970.
    #[must_use]
    pub fn end_unix_ms(self) -> i64 {
        (self.0 + 1) * SECONDS_PER_HOUR * 1000
    }
}

impl fmt::Display for Hour {
    /// `YYYY-MM-DD-HH`, UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match chrono::DateTime::from_timestamp(self.0 * SECONDS_PER_HOUR, 0) {
            Some(time) => write!(f, "{}", time.format("%Y-%m-%d-%H")),
            None => write!(f, "hour {}", self.0),
        }
    }
}

impl FromStr for Hour {
    type Err = NotAnHourFile;

    fn from_str(text: &str) -> Result<Self, NotAnHourFile> {
        let time = chrono::NaiveDateTime::parse_from_str(&format!("{text}-00"), "%Y-%m-%d-%H-%M")
            .map_err(|_| NotAnHourFile)?;
        let hour = Self(time.and_utc().timestamp() / SECONDS_PER_HOUR);
        // chrono accepts missing padding; names don't.
        if hour.to_string() == text {
            Ok(hour)
        } else {
            Err(NotAnHourFile)
        }
    }
}

/// The name of an hour file: `YYYY-MM-DD-HH[.partN].EXTENSION`.
///
/// Part numbers count across formats, so hour and part alone say which file is newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HourFileName {
    /// The hour of the changes' cluster times.
    pub hour: Hour,
    /// From 1. Part 1 has no `.partN` in its name.
    pub part: u32,
    /// The format.
    pub format: FileFormat,
}

impl HourFileName {
    /// Orders the files of one collection by age.
    #[must_use]
    pub fn age_key(&self) -> (Hour, u32) {
        (self.hour, self.part)
    }
}

impl fmt::Display for HourFileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.hour)?;
        if self.part > 1 {
            write!(f, ".part{}", self.part)?;
        }
        write!(f, ".{}", self.format.extension())
    }
}

/// A name that isn't an hour file's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of an hour file")]
pub struct NotAnHourFile;

impl FromStr for HourFileName {
    type Err = NotAnHourFile;

    fn from_str(name: &str) -> Result<Self, NotAnHourFile> {
        let (stem, extension) = name.split_once('.').ok_or(NotAnHourFile)?;
        let hour = stem.parse()?;
        let (part, extension) = match extension.strip_prefix("part") {
            Some(rest) => {
                let (number, extension) = rest.split_once('.').ok_or(NotAnHourFile)?;
                (number.parse().map_err(|_| NotAnHourFile)?, extension)
            }
            None => (1, extension),
        };
        let format = FileFormat::of_extension(extension).ok_or(NotAnHourFile)?;
        let parsed = Self { hour, part, format };
        if parsed.to_string() == name {
            Ok(parsed)
        } else {
            Err(NotAnHourFile)
        }
    }
}

/// What is known about an hour file in the lake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HourFile {
    /// Its name.
    pub name: HourFileName,
    /// Its length.
    pub len_bytes: u64,
    /// Length of the head, which each commit replaces.
    pub head_len_bytes: u64,
    /// Length of the foot.
    pub foot_len_bytes: u64,
    /// Commits to it. Uncompressed `ndjson` doesn't state them; then only those since it was opened count.
    pub commits: u32,
    /// Changes in it, with the same exception as `commits`.
    pub changes: u64,
    /// Cluster time of its first change, if the file states it.
    pub first_cluster_time: Option<ClusterTime>,
    /// Its last change: the tail.
    pub last: LastChange,
}

impl HourFile {
    /// Its length, and that of head and foot.
    #[must_use]
    pub fn extent(&self) -> Extent {
        Extent {
            len_bytes: self.len_bytes,
            head_len_bytes: self.head_len_bytes,
            foot_len_bytes: self.foot_len_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::format::Compression;

    #[test]
    fn names_round_trip() {
        let hour = Hour::of(ClusterTime {
            seconds: 1_705_327_199,
            increment: 1,
        });
        assert_eq!(hour.to_string(), "2024-01-15-13");
        assert_eq!(hour.end_unix_ms(), 1_705_327_200_000);
        for format in FileFormat::ALL {
            for part in [1, 2, 17] {
                let name = HourFileName { hour, part, format };
                assert_eq!(name.to_string().parse(), Ok(name));
            }
        }
        let name: HourFileName = "2024-01-15-13.part2.json.gz".parse().unwrap();
        assert_eq!(name.part, 2);
        assert_eq!(name.format.compression, Compression::Gzip);
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "",
            "2024-01-15-13",
            "2024-01-15-13.txt",
            "2024-01-15-24.json",
            "2024-1-15-13.json",
            "2024-01-15-13.part1.json",
            "2024-01-15-13.part02.json",
            "2024-01-15-13.part.json",
            ".2024-01-15-13.json",
            "2024-01-15-13.json.tmp",
            "2024-02-30-01.json",
            "_gaps",
        ] {
            assert_eq!(name.parse::<HourFileName>(), Err(NotAnHourFile), "{name}");
        }
    }

    #[test]
    fn parts_order_across_formats() {
        let newer: HourFileName = "2024-01-15-13.part2.ndjson".parse().unwrap();
        let older: HourFileName = "2024-01-15-13.json.gz".parse().unwrap();
        assert!(newer.age_key() > older.age_key());
    }
}
