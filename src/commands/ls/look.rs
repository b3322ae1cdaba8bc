//! What one file says.

use std::time::Duration;

use serde::Deserialize;

use super::subject::{OfClosing, OfSnapshot, Subject, Whose};
use crate::lake::{FileInfo, FileState, Lake, LakeError, LakePath, UnreadableFolder};
use crate::reading::FileReader;
use crate::snapshot::lake::parts;
use silt_core::closing::Latest;
use silt_core::failure::Disposition;
use silt_core::file::damage::Damage;
use silt_core::file::format::{Compression, FileFormat, OutputFormat};
use silt_core::file::hour_file::{Hour, HourFile, HourFileName};
use silt_core::file::hour_file_scan::HourFileScan;
use silt_core::file::tail_scan::Step;
use silt_core::namespace::Namespace;
use silt_core::position::ClusterTime;
use silt_core::reading::Change;
use silt_core::snapshot::folder::FolderName;
use silt_core::snapshot::manifest::Manifest;
use silt_core::snapshot::part::PartName;
use silt_core::time::rfc3339;

/// A file may be replaced while it is read, and a lake may be busy.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// What was seen of a file.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    Hour(HourSeen),
    Gap(GapSeen),
    /// An hour that is closed.
    Closed(Whose, Hour),
    /// How far a collection is complete.
    Complete(Whose, ClusterTime),
    Snapshot(SnapshotSeen),
    /// Not what silt writes.
    Damaged {
        path: String,
        why: String,
    },
    Other,
    Own,
    /// Removed since it was found.
    Gone,
    /// A folder that can't be read.
    Unreadable(UnreadableFolder),
}

/// An hour file. `None` where it doesn't say.
#[derive(Clone, Debug)]
pub(super) struct HourSeen {
    pub whose: Whose,
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
    pub whose: Whose,
    pub file: String,
    pub from: Option<String>,
    pub until: Option<String>,
    pub seconds: Option<u64>,
}

impl GapSeen {
    /// The hour in which it begins.
    pub(super) fn first_hour(&self) -> Option<Hour> {
        let time = chrono::DateTime::parse_from_rfc3339(self.from.as_ref()?).ok()?;
        let seconds = u32::try_from(time.timestamp()).ok()?;
        Some(Hour::of(ClusterTime {
            seconds,
            increment: 0,
        }))
    }

    /// Whether some of its changes may be of this hour.
    pub(super) fn concerns(&self, hour: Hour) -> bool {
        // Times of one form have the order of their texts.
        let text = |time: ClusterTime| rfc3339(i64::from(time.seconds) * 1000);
        let begins = self.from.as_ref();
        let ends = self.until.as_ref();
        begins.is_none_or(|from| *from < text(hour.end_cluster_time()))
            && ends.is_none_or(|until| *until >= text(hour.first_cluster_time()))
    }
}

/// A file of a snapshot.
#[derive(Clone, Debug)]
pub(super) struct SnapshotSeen {
    pub whose: Whose,
    pub folder: FolderName,
    pub file: SnapshotFile,
}

/// What a file of a snapshot says.
#[derive(Clone, Debug)]
pub(super) enum SnapshotFile {
    Plan,
    Manifest(Box<Manifest>),
    /// A part; `None` where it doesn't say how many documents it has.
    Part {
        name: PartName,
        documents: Option<u64>,
        len_bytes: u64,
    },
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
    file: FileInfo,
    subject: Subject,
    counts_lines: bool,
) -> Result<Seen, LakeError> {
    let mut tries = 1;
    loop {
        let looked = match &subject {
            Subject::Hour(whose, name) => {
                hour_file(lake, &file.path, whose, *name, counts_lines).await
            }
            Subject::Gap(whose) => gap_record(lake, &file.path, whose).await,
            Subject::Closing(whose, OfClosing::Record(hour)) => {
                Ok(Seen::Closed(whose.clone(), *hour))
            }
            Subject::Closing(whose, OfClosing::Latest) => latest(lake, &file.path, whose).await,
            Subject::Snapshot(whose, folder, what) => {
                let looked = of_snapshot(lake, &file.path, whose, *what, counts_lines).await;
                looked.map(|looked| looked.seen(whose, *folder))
            }
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
    whose: &Whose,
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
    let begun = match &whose.database {
        Some(database) => {
            let origin = Namespace::new(database, &whose.collection);
            HourFileScan::begin(&origin, name, opened.len_bytes)
        }
        None => HourFileScan::begin_of_any_database(&whose.collection, name, opened.len_bytes),
    };
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
        whose: whose.clone(),
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
    opened: &FileState,
    format: FileFormat,
) -> Result<Option<ClusterTime>, LakeError> {
    let mut reader = FileReader::new(lake, path.clone(), format, None, opened.clone());
    let Some(block) = reader.next().await? else {
        return Ok(None);
    };
    let Some(line) = block.lines().next() else {
        return Ok(None);
    };
    let change = Change::parse(line.bytes).map_err(|error| LakeError::Damaged {
        path: path.to_string(),
        damage: line.place.damage(&error),
    })?;
    Ok(Some(change.cluster_time))
}

/// Changes and commits. Uncompressed `ndjson` says neither; its lines can be counted.
async fn counts(
    lake: &dyn Lake,
    path: &LakePath,
    opened: &FileState,
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
    let reader = FileReader::new(lake, path.clone(), plain, None, opened.clone());
    Ok((Some(reader.count().await?), None))
}

async fn gap_record(lake: &dyn Lake, path: &LakePath, whose: &Whose) -> Result<Seen, LakeError> {
    let Some(object) = lake.get(path).await? else {
        return Ok(Seen::Gone);
    };
    Ok(match serde_json::from_slice::<GapRecord>(&object.bytes) {
        Ok(record) => Seen::Gap(GapSeen {
            whose: whose.clone(),
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

async fn latest(lake: &dyn Lake, path: &LakePath, whose: &Whose) -> Result<Seen, LakeError> {
    let Some(object) = lake.get(path).await? else {
        return Ok(Seen::Gone);
    };
    Ok(match serde_json::from_slice::<Latest>(&object.bytes) {
        Ok(latest) => Seen::Complete(whose.clone(), latest.completeness().until),
        Err(error) => Seen::Damaged {
            path: path.to_string(),
            why: format!("it doesn't say how far the collection is complete: {error}"),
        },
    })
}

/// What was seen of a snapshot's file.
enum Looked {
    File(SnapshotFile),
    Damaged { path: String, why: String },
    Gone,
}

impl Looked {
    fn seen(self, whose: &Whose, folder: FolderName) -> Seen {
        match self {
            Self::File(file) => Seen::Snapshot(SnapshotSeen {
                whose: whose.clone(),
                folder,
                file,
            }),
            Self::Damaged { path, why } => Seen::Damaged { path, why },
            Self::Gone => Seen::Gone,
        }
    }
}

async fn of_snapshot(
    lake: &dyn Lake,
    path: &LakePath,
    whose: &Whose,
    what: OfSnapshot,
    counts_lines: bool,
) -> Result<Looked, LakeError> {
    match what {
        OfSnapshot::Plan => Ok(Looked::File(SnapshotFile::Plan)),
        OfSnapshot::Manifest => {
            let Some(object) = lake.get(path).await? else {
                return Ok(Looked::Gone);
            };
            let read = serde_json::from_slice(&object.bytes);
            Ok(match read {
                Ok(manifest) => Looked::File(SnapshotFile::Manifest(manifest)),
                Err(error) => Looked::Damaged {
                    path: path.to_string(),
                    why: format!("it is no manifest of a snapshot: {error}"),
                },
            })
        }
        OfSnapshot::Part(name) => part(lake, path, whose, name, counts_lines).await,
    }
}

async fn part(
    lake: &dyn Lake,
    path: &LakePath,
    whose: &Whose,
    name: PartName,
    counts_lines: bool,
) -> Result<Looked, LakeError> {
    let Some((seen, opened)) = parts::scan(lake, path, name).await? else {
        return Ok(Looked::Gone);
    };
    let database = whose.database.as_ref().unwrap_or(&seen.database);
    if seen.collection != whose.collection || seen.database != *database {
        let found = format!("{}.{}", seen.database, seen.collection);
        let expected = format!("{database}.{}", whose.collection);
        let why = Damage::Foreign { found, expected }.to_string();
        let path = path.to_string();
        return Ok(Looked::Damaged { path, why });
    }
    let len_bytes = opened.len_bytes;
    let documents = match seen.part.documents {
        None if counts_lines => {
            let reader = FileReader::new(lake, path.clone(), name.format, None, opened);
            Some(reader.count().await?)
        }
        documents => documents,
    };
    Ok(Looked::File(SnapshotFile::Part {
        name,
        documents,
        len_bytes,
    }))
}
