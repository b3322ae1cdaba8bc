//! Snapshots: what their files add up to, for people and for machines.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::look::SnapshotFile;
use super::table::{aligned, changes, size, time};
use super::tally::Tally;
use silt_core::position::ClusterTime;
use silt_core::snapshot::folder::FolderName;
use silt_core::snapshot::manifest::Manifest;
use silt_core::time::rfc3339;

/// What was seen of a snapshot.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    manifest: Option<Box<Manifest>>,
    /// Lengths of its parts, by their names.
    parts: HashMap<String, u64>,
    /// Documents in the parts that say how many they have.
    documents: u64,
    /// Whether one doesn't.
    is_silent: bool,
}

impl Snapshot {
    pub(super) fn add(&mut self, file: SnapshotFile) {
        match file {
            SnapshotFile::Plan => {}
            SnapshotFile::Manifest(manifest) => self.manifest = Some(manifest),
            SnapshotFile::Part {
                name,
                documents,
                len_bytes,
            } => {
                self.parts.insert(name.to_string(), len_bytes);
                self.is_silent |= documents.is_none();
                self.documents += documents.unwrap_or(0);
            }
        }
    }

    /// `None` if that can't be known without reading all of it.
    fn documents(&self) -> Option<u64> {
        match &self.manifest {
            Some(manifest) => Some(manifest.count),
            None => Some(self.documents).filter(|_| !self.is_silent),
        }
    }

    fn len_bytes(&self) -> u64 {
        self.parts.values().sum()
    }

    /// Why it isn't what its manifest says, if it isn't.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let manifest = self.manifest.as_ref()?;
        let parts = self.parts.iter().map(|(name, len)| (name.as_str(), *len));
        let is_true = manifest.fits(parts) && (self.is_silent || self.documents == manifest.count);
        (!is_true).then_some(
            "its parts aren't those that its manifest names; restore them, or move the folder out of the \
             lake, and SNAPSHOT takes another",
        )
    }
}

/// Whether some snapshot doesn't say how many documents it has.
pub(super) fn is_unknown(tally: &Tally) -> bool {
    let mut all = tally
        .collections
        .values()
        .flat_map(|sum| sum.snapshots.values());
    all.any(|snapshot| snapshot.documents().is_none())
}

/// A line a snapshot; `None` if there is none.
pub(super) fn table(tally: &Tally) -> Option<String> {
    let head = ["snapshot of", "at", "documents", "bytes", "parts", ""];
    let mut rows = vec![head.map(str::to_owned)];
    for (whose, sum) in &tally.collections {
        rows.extend(sum.snapshots.iter().map(|(folder, snapshot)| {
            let is_finished = snapshot.manifest.is_some();
            [
                whose.to_string(),
                time(Some(at(*folder))),
                changes(snapshot.documents()),
                size(snapshot.len_bytes()),
                snapshot.parts.len().to_string(),
                if is_finished {
                    "finished"
                } else {
                    "unfinished"
                }
                .to_owned(),
            ]
        }));
    }
    (rows.len() > 1).then(|| aligned(&rows, &[0, 1, 5]))
}

fn at(folder: FolderName) -> ClusterTime {
    ClusterTime {
        seconds: folder.seconds(),
        increment: 0,
    }
}

/// One snapshot for machines; `null` where it isn't known.
#[derive(Serialize)]
pub(super) struct Json {
    folder: String,
    at: String,
    is_finished: bool,
    documents: Option<u64>,
    bytes: u64,
    part_count: usize,
    /// The exact position, and until where changes are needed at least.
    cluster_time: Option<ClusterTime>,
    complete_cluster_time: Option<ClusterTime>,
}

pub(super) fn json(snapshots: &BTreeMap<FolderName, Snapshot>) -> Vec<Json> {
    let one = |(folder, snapshot): (&FolderName, &Snapshot)| {
        let manifest = snapshot.manifest.as_ref();
        Json {
            folder: folder.to_string(),
            at: rfc3339(i64::from(folder.seconds()) * 1000),
            is_finished: manifest.is_some(),
            documents: snapshot.documents(),
            bytes: snapshot.len_bytes(),
            part_count: snapshot.parts.len(),
            cluster_time: manifest.map(|manifest| manifest.cluster_time),
            complete_cluster_time: manifest.map(|manifest| manifest.complete_cluster_time),
        }
    };
    snapshots.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::super::look::{Seen, SnapshotSeen};
    use super::super::subject::Whose;
    use super::*;

    fn part(number: u32, documents: Option<u64>) -> SnapshotFile {
        SnapshotFile::Part {
            name: format!("part-{number:05}.json").parse().unwrap(),
            documents,
            len_bytes: 1024,
        }
    }

    fn manifest(count: u64, parts: u32) -> SnapshotFile {
        let part = |number| {
            let name = format!("part-{number:05}.json");
            serde_json::json!({ "name": name, "count": 1, "bytes": 1024 })
        };
        let time = serde_json::json!({ "$timestamp": { "t": 1_705_328_123, "i": 4 } });
        let manifest = serde_json::json!({
            "database": "mydb",
            "collection": "users",
            "uuid": null,
            "count": count,
            "bytes": 1024 * parts,
            "parts": (1..=parts).map(part).collect::<Vec<_>>(),
            "cluster_time": time,
            "at": "",
            "complete_cluster_time": time,
            "started_at": "",
            "finished_at": "",
            "ranges": 2,
            "format": "json",
            "json_mode": "relaxed",
            "silt_version": "0.1.0",
        });
        SnapshotFile::Manifest(serde_json::from_value(manifest).unwrap())
    }

    fn tally(files: Vec<(&str, SnapshotFile)>) -> Tally {
        let mut tally = Tally::new(false);
        for (second, file) in files {
            let folder = format!("snapshot-2024-01-15-14-15-{second}");
            tally.add(Seen::Snapshot(SnapshotSeen {
                whose: Whose::collection("users"),
                folder: FolderName::parse(&folder).unwrap(),
                file,
            }));
        }
        tally.close();
        tally
    }

    #[test]
    fn each_has_a_line_that_says_whether_it_is_finished() {
        let tally = tally(vec![
            ("23", part(1, Some(3))),
            ("24", SnapshotFile::Plan),
            ("24", part(1, None)),
            ("23", manifest(5, 2)),
            ("23", part(2, Some(2))),
        ]);
        let expected = "\
snapshot of  at                    documents    bytes  parts
users        2024-01-15T14:15:23Z          5  2.0 KiB      2  finished
users        2024-01-15T14:15:24Z          ?  1.0 KiB      1  unfinished";
        assert_eq!(table(&tally).unwrap(), expected);
        assert!(tally.is_good() && is_unknown(&tally));
        assert_eq!(table(&Tally::new(false)), None);
        let json = json(&tally.collections[&Whose::collection("users")].snapshots);
        let json = serde_json::to_value(json).unwrap();
        assert_eq!(json[0]["cluster_time"]["$timestamp"]["i"], 4);
        assert_eq!(json[0]["documents"], 5);
        assert_eq!(json[1]["is_finished"], false);
        assert_eq!(json[1]["documents"], serde_json::Value::Null);
    }

    #[test]
    fn one_that_is_not_what_its_manifest_says_is_damaged() {
        for files in [
            vec![("23", manifest(5, 2)), ("23", part(1, Some(5)))],
            vec![("23", manifest(5, 1)), ("23", part(1, Some(4)))],
            vec![("23", manifest(5, 0)), ("23", part(1, Some(5)))],
        ] {
            let tally = tally(files);
            assert_eq!(tally.damaged[0].0, "users/snapshot-2024-01-15-14-15-23");
            assert!(!tally.is_good());
        }
    }
}
