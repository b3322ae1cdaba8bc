//! A listing for machines.

use serde::Serialize;

use super::snapshots;
use super::subject::Whose;
use super::tally::{Sum, Tally};
use silt_core::position::ClusterTime;
use silt_core::time::rfc3339;

#[derive(Serialize)]
struct Listing<'a> {
    lake: &'a str,
    collections: Vec<Collection<'a>>,
    total: Total,
    /// Files that aren't silt's.
    others: u64,
    damaged: Vec<Damaged<'a>>,
    /// Folders that may not be read.
    unreadable: Vec<Damaged<'a>>,
}

#[derive(Serialize)]
struct Collection<'a> {
    database: Option<&'a str>,
    #[serde(rename = "collection")]
    name: &'a str,
    #[serde(flatten)]
    sum: Total,
    closed_hours: Vec<String>,
    complete_until: Option<String>,
    files: Vec<File>,
    gaps: Vec<Gap<'a>>,
    snapshots: Vec<snapshots::Json>,
}

/// Sums; `null` where a file doesn't say.
#[derive(Serialize)]
struct Total {
    hours: usize,
    file_count: u64,
    changes: Option<u64>,
    bytes: u64,
    #[serde(flatten)]
    times: Times,
    gap_count: usize,
}

#[derive(Serialize)]
struct Times {
    first_at: Option<String>,
    last_at: Option<String>,
    first_cluster_time: Option<ClusterTime>,
    last_cluster_time: Option<ClusterTime>,
}

#[derive(Serialize)]
struct File {
    name: String,
    hour: String,
    part: u32,
    format: &'static str,
    bytes: u64,
    changes: Option<u64>,
    commits: Option<u32>,
    #[serde(flatten)]
    times: Times,
}

#[derive(Serialize)]
struct Gap<'a> {
    file: &'a str,
    from: Option<&'a str>,
    until: Option<&'a str>,
    seconds: Option<u64>,
}

#[derive(Serialize)]
struct Damaged<'a> {
    path: &'a str,
    why: &'a str,
}

impl Times {
    fn new(first: Option<ClusterTime>, last: Option<ClusterTime>) -> Self {
        let text = |time: Option<ClusterTime>| {
            time.map(|time| rfc3339(i64::from(time.seconds).saturating_mul(1000)))
        };
        Self {
            first_at: text(first),
            last_at: text(last),
            first_cluster_time: first,
            last_cluster_time: last,
        }
    }
}

impl From<&Sum> for Total {
    fn from(sum: &Sum) -> Self {
        Self {
            hours: sum.hours.len(),
            file_count: sum.files,
            changes: sum.changes,
            bytes: sum.len_bytes,
            times: Times::new(sum.first, sum.last),
            gap_count: sum.gaps.len(),
        }
    }
}

/// One JSON document.
pub(super) fn text(lake: &str, tally: &Tally) -> String {
    let listing = Listing {
        lake,
        collections: tally
            .collections
            .iter()
            .map(|(whose, sum)| collection(whose, sum))
            .collect(),
        total: Total::from(&tally.total()),
        others: tally.others,
        damaged: tally
            .damaged
            .iter()
            .map(|(path, why)| Damaged { path, why })
            .collect(),
        unreadable: tally
            .unread
            .iter()
            .map(|unread| Damaged {
                path: &unread.folder,
                why: &unread.reason,
            })
            .collect(),
    };
    // Neither maps with odd keys nor anything else that could fail is in it.
    let text = serde_json::to_string_pretty(&listing).map(silt_core::json::escape_line_ends);
    text.unwrap_or_else(|error| error.to_string())
}

fn collection<'a>(whose: &'a Whose, sum: &'a Sum) -> Collection<'a> {
    let files = sum.all_files.values().map(|file| File {
        name: file.name.to_string(),
        hour: file.name.hour.to_string(),
        part: file.name.part,
        format: file.name.format.extension(),
        bytes: file.len_bytes,
        changes: file.changes,
        commits: file.commits,
        times: Times::new(file.first, Some(file.last)),
    });
    let gaps = sum.gaps.iter().map(|gap| Gap {
        file: &gap.file,
        from: gap.from.as_deref(),
        until: gap.until.as_deref(),
        seconds: gap.seconds,
    });
    Collection {
        database: whose.database.as_deref().or(sum.database.as_deref()),
        name: &whose.collection,
        sum: Total::from(sum),
        closed_hours: sum.closed.iter().map(ToString::to_string).collect(),
        complete_until: sum
            .complete_until
            .map(|time| rfc3339(i64::from(time.seconds).saturating_mul(1000))),
        files: files.collect(),
        gaps: gaps.collect(),
        snapshots: snapshots::json(&sum.snapshots),
    }
}
