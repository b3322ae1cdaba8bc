//! What one file is, and what it says.

use std::time::Duration;

use serde::Deserialize;

use crate::archive::failure::Disposition;
use crate::archive::first;
use crate::archive::gap;
use crate::archive::hour_file::{Compression, FileFormat, HourFile, HourFileName, OutputFormat};
use crate::archive::names;
use crate::archive::position::ClusterTime;
use crate::archive::tail::{Scan, Step};
use crate::lake::{self, Found, Lake, LakeError, LakePath, Opened};

/// A file may be replaced while it is read, and a lake may be busy.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);
/// The first look for a first line.
const BEGINNING_BYTES: u64 = 64 * 1024;

/// What a file is by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// Changes of a collection.
    Hour(String, HourFileName),
    /// A record of a gap of a collection.
    Gap(String),
    /// silt's own.
    Own,
}

/// What it is, or `None` if it isn't silt's.
pub(super) fn subject(file: &Found) -> Option<Subject> {
    let LakePath { folder, name } = &file.path;
    let (first, deeper) = match folder.split_once('/') {
        Some((first, deeper)) => (first, Some(deeper)),
        None => (folder.as_str(), None),
    };
    if first == names::OWN_FOLDER {
        return Some(Subject::Own);
    }
    let collection = names::decode(first).filter(|name| !name.is_empty())?;
    match deeper {
        None => Some(Subject::Hour(collection, name.parse().ok()?)),
        Some(gap::FOLDER) => {
            name.strip_suffix(".json")?;
            Some(Subject::Gap(collection))
        }
        Some(_) => None,
    }
}

/// What was seen of a file.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    Hour(HourSeen),
    Gap(GapSeen),
    /// Not what silt writes.
    Damaged {
        path: String,
        why: String,
    },
    Other,
    Own,
    /// Removed since it was found.
    Gone,
}

/// An hour file. `None` where it doesn't say.
#[derive(Clone, Debug)]
pub(super) struct HourSeen {
    pub collection: String,
    pub database: Option<String>,
    pub name: HourFileName,
    pub len_bytes: u64,
    pub changes: Option<u64>,
    pub commits: Option<u32>,
    pub first: Option<ClusterTime>,
    pub last: ClusterTime,
}

/// A record of a gap.
#[derive(Clone, Debug)]
pub(super) struct GapSeen {
    pub collection: String,
    pub file: String,
    pub from: Option<String>,
    pub until: Option<String>,
    pub seconds: Option<u64>,
}

#[derive(Deserialize)]
struct GapRecord {
    from: Option<String>,
    until: Option<String>,
    seconds: Option<u64>,
}

/// Reads a file as far as is needed.
pub(super) async fn look(
    lake: &dyn Lake,
    file: Found,
    subject: Subject,
    counts_lines: bool,
) -> Result<Seen, LakeError> {
    let mut tries = 1;
    loop {
        let looked = match &subject {
            Subject::Hour(collection, name) => {
                hour_file(lake, &file.path, collection, *name, counts_lines).await
            }
            Subject::Gap(collection) => gap_record(lake, &file.path, collection).await,
            Subject::Own => Ok(Seen::Own),
        };
        let error = match looked {
            Ok(seen) => return Ok(seen),
            Err(LakeError::Damaged { path, damage }) => {
                let why = damage.to_string();
                return Ok(Seen::Damaged { path, why });
            }
            Err(error) => error,
        };
        let pause = match error.disposition() {
            Disposition::Reload => Duration::ZERO,
            Disposition::Retry { after_ms } => {
                after_ms.map_or(PAUSE * tries, Duration::from_millis)
            }
            _ => return Err(error),
        };
        if tries == TRIES {
            return Err(error);
        }
        tries += 1;
        tokio::time::sleep(pause).await;
    }
}

async fn hour_file(
    lake: &dyn Lake,
    path: &LakePath,
    collection: &str,
    name: HourFileName,
    counts_lines: bool,
) -> Result<Seen, LakeError> {
    let Some(opened) = lake.open(path).await? else {
        return Ok(Seen::Gone);
    };
    let damaged = |damage| LakeError::Damaged {
        path: path.to_string(),
        damage,
    };
    let begun = Scan::begin_of_any_database(collection, name, opened.len_bytes);
    let (mut scan, mut range) = begun.map_err(damaged)?;
    let file = loop {
        let bytes = lake.read(path, &opened.version, range).await?;
        match scan.feed(&bytes).map_err(damaged)? {
            Step::Read(next) => range = next,
            Step::Done(file) => break file,
        }
    };
    let first = match file.first_cluster_time {
        Some(first) => Some(first),
        None => first_time(lake, path, &opened, name.format).await?,
    };
    let (changes, commits) = counts(lake, path, &opened, &file, counts_lines).await?;
    Ok(Seen::Hour(HourSeen {
        collection: collection.to_owned(),
        database: scan.found_database().map(str::to_owned),
        name,
        len_bytes: file.len_bytes,
        changes,
        commits,
        first,
        last: file.last.cluster_time,
    }))
}

/// The time of the first change of a file whose head doesn't say it.
async fn first_time(
    lake: &dyn Lake,
    path: &LakePath,
    opened: &Opened,
    format: FileFormat,
) -> Result<Option<ClusterTime>, LakeError> {
    let mut end = BEGINNING_BYTES.min(opened.len_bytes);
    loop {
        let bytes = lake.read(path, &opened.version, 0..end).await?;
        let time = first::cluster_time(format, &bytes);
        if time.is_some() || end == opened.len_bytes {
            return Ok(time);
        }
        end = (end * 8).min(opened.len_bytes);
    }
}

/// Changes and commits. Uncompressed `ndjson` says neither; its lines can be counted.
async fn counts(
    lake: &dyn Lake,
    path: &LakePath,
    opened: &Opened,
    file: &HourFile,
    counts_lines: bool,
) -> Result<(Option<u64>, Option<u32>), LakeError> {
    let plain = FileFormat {
        output: OutputFormat::Ndjson,
        compression: Compression::None,
    };
    if file.name.format != plain {
        return Ok((Some(file.changes), Some(file.commits)));
    }
    if !counts_lines {
        return Ok((None, None));
    }
    let lines = lake::lines::count(lake, path, &opened.version, opened.len_bytes).await?;
    Ok((Some(lines), None))
}

async fn gap_record(lake: &dyn Lake, path: &LakePath, collection: &str) -> Result<Seen, LakeError> {
    let Some(object) = lake.get(path).await? else {
        return Ok(Seen::Gone);
    };
    Ok(match serde_json::from_slice::<GapRecord>(&object.bytes) {
        Ok(record) => Seen::Gap(GapSeen {
            collection: collection.to_owned(),
            file: path.name.clone(),
            from: record.from,
            until: record.until,
            seconds: record.seconds,
        }),
        Err(error) => Seen::Damaged {
            path: path.to_string(),
            why: format!("it is no record of a gap: {error}"),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_tell_what_a_file_is() {
        let of = |folder: &str, name: &str| {
            let (folder, name) = (folder.to_owned(), name.to_owned());
            subject(&Found {
                path: LakePath { folder, name },
                len_bytes: 1,
            })
        };
        let name = "2024-01-15-14.json";
        assert_eq!(
            of("a%2Fb", name),
            Some(Subject::Hour("a/b".to_owned(), name.parse().unwrap()))
        );
        assert_eq!(
            of("users/_gaps", "x.json"),
            Some(Subject::Gap("users".to_owned()))
        );
        assert_eq!(of("_silt/checkpoints", "a.b.json"), Some(Subject::Own));
        for (folder, name) in [
            ("users", "notes.txt"),
            ("users/deeper", name),
            ("users/_gaps", "x.txt"),
            ("%zz", name),
            ("", name),
        ] {
            assert_eq!(of(folder, name), None, "{folder}/{name}");
        }
    }
}
