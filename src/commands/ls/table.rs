//! A listing for people.

use std::collections::BTreeSet;
use std::fmt::{Display, Write as _};

use super::look::{GapSeen, HourSeen};
use super::snapshots;
use super::tally::{Sum, Tally};
use crate::settings::{ListDetail, ListSettings};
use silt_core::file::hour_file::Hour;
use silt_core::position::ClusterTime;

const UNKNOWN: &str = "?";

/// The whole text, without a line's end behind it.
pub(super) fn text(tally: &Tally, list: &ListSettings) -> String {
    let mut text = collections(tally);
    if let Some(snapshots) = snapshots::table(tally) {
        text = format!("{text}\n\n{snapshots}");
    }
    let has_files = list.detail == ListDetail::Files || !list.collections.is_empty();
    if list.detail == ListDetail::Hours {
        for (name, sum) in tally.collections.iter().filter(|(_, sum)| sum.files > 0) {
            text = format!("{text}\n\n{name}\n{}", hours(sum));
        }
    } else if has_files {
        for (name, sum) in tally.collections.iter().filter(|(_, sum)| sum.files > 0) {
            text = format!("{text}\n\n{name}\n{}", files(sum));
        }
    }
    let mut notes = Vec::new();
    for (name, sum) in &tally.collections {
        if sum.is_missing() {
            notes.push(format!("{name}: the lake holds nothing of it"));
        }
        notes.extend(sum.gaps.iter().map(|gap| {
            let part = |time: &Option<String>| time.clone().unwrap_or_else(|| UNKNOWN.to_owned());
            let (from, until) = (part(&gap.from), part(&gap.until));
            let seconds = gap.seconds.map_or_else(String::new, |seconds| {
                format!(" ({} h {} min)", seconds / 3600, seconds / 60 % 60)
            });
            format!("{name}: changes are missing from {from} until {until}{seconds}")
        }));
    }
    if tally.total().changes.is_none() || snapshots::is_unknown(tally) {
        notes.push(format!(
            "{UNKNOWN}: uncompressed ndjson doesn't say; --count reads it"
        ));
    }
    match tally.others {
        0 => {}
        1 => notes.push("1 other file, which isn't silt's".to_owned()),
        others => notes.push(format!("{others} other files, which aren't silt's")),
    }
    let unread = tally.unread.iter();
    notes
        .extend(unread.map(|unread| format!("not readable: {}: {}", unread.folder, unread.reason)));
    let damaged = tally.damaged.iter();
    notes.extend(damaged.map(|(path, why)| format!("damaged: {path}: {why}")));
    for (number, note) in notes.iter().enumerate() {
        text += if number == 0 { "\n\n" } else { "\n" };
        text += note;
    }
    text
}

fn collections(tally: &Tally) -> String {
    let head = [
        "collection",
        "hours",
        "closed",
        "files",
        "changes",
        "bytes",
        "first",
        "last",
        "gaps",
        "complete until",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    let row = |name: &dyn Display, sum: &Sum| {
        [
            name.to_string(),
            sum.hours.len().to_string(),
            sum.closed.len().to_string(),
            sum.files.to_string(),
            changes(sum.changes),
            size(sum.len_bytes),
            time(sum.first),
            time(sum.last),
            sum.gaps.len().to_string(),
            time(sum.complete_until),
        ]
    };
    rows.extend(tally.collections.iter().map(|(name, sum)| row(name, sum)));
    rows.push(row(&"total", &tally.total()));
    aligned(&rows, &[0, 6, 7, 9])
}

/// The hours of a collection that have files or gaps, a line each.
fn hours(sum: &Sum) -> String {
    let head = ["  hour", "files", "changes", "bytes", "state"];
    let mut rows = vec![head.map(str::to_owned)];
    let with_gaps = sum.gaps.iter().filter_map(GapSeen::first_hour);
    let all: BTreeSet<Hour> = sum.hours.iter().copied().chain(with_gaps).collect();
    for hour in all {
        let files = sum.all_files.range((hour, 0, String::new())..);
        let files = files.take_while(|((of, ..), _)| *of == hour);
        let files: Vec<&HourSeen> = files.map(|(_, file)| file).collect();
        let count: Option<u64> = files.iter().map(|file| file.changes).sum();
        let is_closed = sum.closed.contains(&hour);
        let has_gap = sum.gaps.iter().any(|gap| gap.concerns(hour));
        rows.push([
            format!("  {hour}"),
            files.len().to_string(),
            changes(count),
            size(files.iter().map(|file| file.len_bytes).sum()),
            match (is_closed, has_gap) {
                (true, false) => "closed",
                (true, true) => "closed, with a gap",
                (false, false) => "open",
                (false, true) if files.is_empty() => "gap",
                (false, true) => "open, with a gap",
            }
            .to_owned(),
        ]);
    }
    aligned(&rows, &[0, 4])
}

fn files(sum: &Sum) -> String {
    let head = ["  file", "changes", "commits", "bytes", "first", "last"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(sum.all_files.values().map(|file: &HourSeen| {
        [
            format!("  {}", file.name),
            changes(file.changes),
            file.commits
                .map_or_else(|| UNKNOWN.to_owned(), |commits| commits.to_string()),
            size(file.len_bytes),
            time(file.first),
            time(Some(file.last)),
        ]
    }));
    aligned(&rows, &[0, 4, 5])
}

/// Columns two spaces apart: these to the left, numbers to the right.
pub(super) fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]], left: &[usize]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..COLUMNS)
        .map(|column| width(column).unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let gap = if column == 0 { "" } else { "  " };
            // Writing to a String can't fail.
            let _ = if left.contains(&column) {
                write!(line, "{gap}{cell:<width$}")
            } else {
                write!(line, "{gap}{cell:>width$}")
            };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text.pop();
    text
}

pub(super) fn changes(count: Option<u64>) -> String {
    count.map_or_else(|| UNKNOWN.to_owned(), |count| count.to_string())
}

pub(super) fn time(time: Option<ClusterTime>) -> String {
    let date = time.and_then(|time| chrono::DateTime::from_timestamp(time.seconds.into(), 0));
    date.map_or_else(
        || "-".to_owned(),
        |date| date.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}

/// Bytes in a unit that leaves a few digits.
#[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::super::look::{GapSeen, Seen};
    use super::super::subject::Whose;
    use super::*;

    fn seen(collection: &str, name: &str, changes: Option<u64>) -> Seen {
        let time = |increment| ClusterTime {
            seconds: 1_705_327_200,
            increment,
        };
        Seen::Hour(HourSeen {
            whose: Whose::collection(collection),
            database: Some("mydb".to_owned()),
            name: name.parse().unwrap(),
            len_bytes: 2048,
            changes,
            commits: changes.map(|_| 2),
            first: Some(time(1)),
            last: time(9),
        })
    }

    fn list(collections: &[&str]) -> ListSettings {
        ListSettings {
            as_json: false,
            detail: ListDetail::OfNamed,
            counts_lines: false,
            collections: collections.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn collections_stand_in_lines_with_a_total() {
        let mut tally = Tally::new(false);
        tally.add(seen("users", "2024-01-15-14.json", Some(10)));
        tally.add(seen("users", "2024-01-15-14.part2.json", Some(5)));
        tally.add(seen("orders", "2024-01-15-14.ndjson", None));
        tally.add(Seen::Gap(GapSeen {
            whose: Whose::collection("users"),
            file: "x.json".to_owned(),
            from: Some("2024-01-15T14:15:23.000Z".to_owned()),
            until: None,
            seconds: Some(7477),
        }));
        let whose = Whose::collection("users");
        let hour: Hour = "2024-01-15-14".parse().unwrap();
        tally.add(Seen::Closed(whose.clone(), hour));
        tally.add(Seen::Complete(whose, hour.first_cluster_time()));
        tally.add(Seen::Other);
        tally.add(Seen::Damaged {
            path: "users/y".to_owned(),
            why: "no end".to_owned(),
        });
        let expected = "\
collection  hours  closed  files  changes    bytes  first                 last                  gaps  complete until
orders          1       0      1        ?  2.0 KiB  2024-01-15T14:00:00Z  2024-01-15T14:00:00Z     0  -
users           1       1      2       15  4.0 KiB  2024-01-15T14:00:00Z  2024-01-15T14:00:00Z     1  2024-01-15T14:00:00Z
total           1       1      3        ?  6.0 KiB  2024-01-15T14:00:00Z  2024-01-15T14:00:00Z     1  -

users: changes are missing from 2024-01-15T14:15:23.000Z until ? (2 h 4 min)
?: uncompressed ndjson doesn't say; --count reads it
1 other file, which isn't silt's
damaged: users/y: no end";
        assert_eq!(text(&tally, &list(&[])), expected);
        assert!(!tally.is_good());
    }

    #[test]
    fn a_named_collection_lists_its_files_by_age() {
        let mut tally = Tally::new(true);
        tally.expect("users");
        tally.expect("none");
        for part in [10, 2] {
            let name = format!("2024-01-15-14.part{part}.json");
            tally.add(seen("users", &name, Some(1)));
        }
        let text = text(&tally, &list(&["users", "none"]));
        let [second, tenth] = ["part2.json", "part10.json"].map(|name| text.find(name).unwrap());
        assert!(second < tenth, "{text}");
        assert!(
            text.ends_with("none: the lake holds nothing of it"),
            "{text}"
        );
        assert!(!tally.is_good());
    }

    #[test]
    fn hours_say_whether_they_are_closed() {
        let mut tally = Tally::new(true);
        let gap = |from: &str, until: &str| {
            Seen::Gap(GapSeen {
                whose: Whose::collection("users"),
                file: format!("{from}.json"),
                from: Some(from.to_owned()),
                until: Some(until.to_owned()),
                seconds: None,
            })
        };
        for seen in [
            seen("users", "2024-01-15-14.json", Some(10)),
            seen("users", "2024-01-15-14.part2.json", Some(5)),
            seen("users", "2024-01-15-15.json", Some(1)),
            seen("users", "2024-01-15-17.ndjson", None),
            gap("2024-01-15T15:10:00.000Z", "2024-01-15T15:59:59.000Z"),
            gap("2024-01-15T16:00:00.000Z", "2024-01-15T16:10:00.000Z"),
        ] {
            tally.add(seen);
        }
        for hour in ["2024-01-15-14", "2024-01-15-15"] {
            tally.add(Seen::Closed(
                Whose::collection("users"),
                hour.parse().unwrap(),
            ));
        }
        let list = ListSettings {
            detail: ListDetail::Hours,
            ..list(&["users"])
        };
        let expected = "
users
  hour         files  changes    bytes  state
  2024-01-15-14      2       15  4.0 KiB  closed
  2024-01-15-15      1        1  2.0 KiB  closed, with a gap
  2024-01-15-16      0        0      0 B  gap
  2024-01-15-17      1        ?  2.0 KiB  open
";
        let words =
            |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
        let text = text(&tally, &list);
        let (_, hours) = text.split_once("\n\n").unwrap();
        let (hours, _) = hours.split_once("\n\n").unwrap();
        assert_eq!(words(hours), words(expected));
    }

    #[test]
    fn sizes_have_a_few_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (10 << 20, "10.0 MiB"),
            (5 << 50, "5120.0 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
