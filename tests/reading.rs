//! The archive read back through the reader, on every lake.

use std::ops::RangeBounds;
use std::time::Duration;

use silt::clock::Clock;
use silt::lake::{self, Base, Lake, LakeError, LakePath, Version};
use silt::pace::Pace;
use silt::reading::{Reader, inspect};
use silt_core::file::damage::Damage;
use silt_core::file::hour_file::HourFile;
use silt_core::position::ClusterTime;
use silt_core::reading::{Change, Line};
use silt_core::snapshot::folder::FolderName;

use crate::harness::changes::{commit, name, origin};
use crate::harness::servers::Place;

const EXTENSIONS: [&str; 4] = ["json", "json.gz", "ndjson", "ndjson.gz"];
const HOUR_SECONDS: u32 = 1_705_327_200;

/// A writer of one collection that knows the state of its newest file.
struct Writer<'a> {
    lake: &'a dyn Lake,
    collection: &'a str,
    state: Option<(HourFile, Version)>,
    written: u32,
}

impl<'a> Writer<'a> {
    fn new(lake: &'a dyn Lake, collection: &'a str) -> Self {
        Self {
            lake,
            collection,
            state: None,
            written: 0,
        }
    }

    /// Commits so many changes to a file with this extension, which may have `partN.` before it.
    async fn commit(&mut self, extension: &str, changes: u32) {
        let origin = origin(self.collection);
        let name = name(extension);
        let known = self.state.take().filter(|(file, _)| file.name == name);
        let numbers = self.written..self.written + changes;
        let commit = commit(&origin, known.as_ref().map(|(file, _)| file), name, numbers);
        let base = known.as_ref().map(|(file, version)| Base {
            version,
            head_len_bytes: file.head_len_bytes,
            foot_len_bytes: file.foot_len_bytes,
        });
        let path = lake::tail::path(&origin, name);
        let appended = self.lake.append(&path, base, &commit.addition).await;
        self.state = Some((commit.file, appended.unwrap()));
        self.written += changes;
    }
}

fn time(increment: u32) -> ClusterTime {
    ClusterTime {
        seconds: HOUR_SECONDS,
        increment,
    }
}

async fn read(
    lake: &dyn Lake,
    collection: &str,
    range: impl RangeBounds<ClusterTime>,
) -> Result<Vec<u32>, LakeError> {
    let mut reader = Reader::of_changes(lake, origin(collection), range).await?;
    let mut numbers = Vec::new();
    while let Some(piece) = reader.next().await? {
        for line in piece.block.lines() {
            let change = Change::parse(line.bytes).unwrap();
            numbers.push(change.cluster_time.increment);
        }
    }
    Ok(numbers)
}

fn up_to(end: u32) -> Vec<u32> {
    (0..end).collect()
}

#[tokio::test]
async fn each_change_is_read_once_while_a_commit_follows_every_block() {
    for place in Place::all() {
        let lake = place.prepared().await;
        for extension in EXTENSIONS {
            let mut writer = Writer::new(lake.as_ref(), extension);
            for _ in 0..4 {
                writer.commit(extension, 1000).await;
            }
            let origin = origin(extension);
            let mut reader = Reader::of_changes(lake.as_ref(), origin, ..).await.unwrap();
            let (mut numbers, mut pieces) = (Vec::new(), 0);
            while let Some(piece) = reader.next().await.unwrap() {
                for line in piece.block.lines() {
                    numbers.push(Change::parse(line.bytes).unwrap().cluster_time.increment);
                }
                pieces += 1;
                if pieces < 8 {
                    writer.commit(extension, 300).await;
                }
            }
            assert!(pieces > 3, "{extension}: {pieces}");
            assert!(numbers.len() >= 4000, "{extension}: {}", numbers.len());
            assert_eq!(numbers, up_to(numbers.len() as u32), "{extension}");
        }
    }
}

#[tokio::test]
async fn a_reader_beside_a_writer_of_five_commits_a_second_sees_a_gapless_beginning() {
    for place in Place::all() {
        let lake = place.prepared().await;
        let writing_lake = place.open();
        let (committed, seen) = tokio::sync::watch::channel(0);
        let writing = async {
            let mut writer = Writer::new(writing_lake.as_ref(), "users");
            let mut ticks = tokio::time::interval(Duration::from_millis(200));
            for number in 0..20 {
                ticks.tick().await;
                let part = number / 5;
                let extension = EXTENSIONS[part];
                let extension = match part {
                    0 => extension.to_owned(),
                    part => format!("part{}.{extension}", part + 1),
                };
                writer.commit(&extension, 500).await;
                committed.send(writer.written).unwrap();
            }
        };
        let reading = async {
            let (mut passes, mut all) = (0, 0);
            while all < 20 * 500 {
                let least = *seen.borrow();
                let numbers = read(lake.as_ref(), "users", ..).await.unwrap();
                all = numbers.len() as u32;
                assert!(all >= least, "{all} of {least}");
                assert_eq!(numbers, up_to(all));
                passes += 1;
            }
            passes
        };
        let ((), passes) = tokio::join!(writing, reading);
        assert!(passes > 5, "{passes}");
    }
}

#[tokio::test]
async fn parts_of_any_format_are_read_in_order_and_within_a_range() {
    for place in Place::all() {
        let lake = place.prepared().await;
        let mut writer = Writer::new(lake.as_ref(), "users");
        for (part, extension) in EXTENSIONS.iter().enumerate() {
            let extension = match part {
                0 => (*extension).to_owned(),
                part => format!("part{}.{extension}", part + 1),
            };
            writer.commit(&extension, 3).await;
            writer.commit(&extension, 7).await;
        }
        let lake = lake.as_ref();
        assert_eq!(read(lake, "users", ..).await.unwrap(), up_to(40));
        let some = read(lake, "users", time(8)..=time(21)).await.unwrap();
        assert_eq!(some, (8..22).collect::<Vec<_>>());
        let some = read(lake, "users", ..time(8)).await.unwrap();
        assert_eq!(some, up_to(8));
        let later = ClusterTime {
            seconds: HOUR_SECONDS + 3600,
            increment: 0,
        };
        assert_eq!(read(lake, "users", later..).await.unwrap(), up_to(0));
        assert_eq!(read(lake, "others", ..).await.unwrap(), up_to(0));
    }
}

/// Writes a file of any content.
async fn put(lake: &dyn Lake, name: &str, bytes: Vec<u8>) {
    put_in(lake, "users", name, bytes).await;
}

async fn put_in(lake: &dyn Lake, folder: &str, name: &str, bytes: Vec<u8>) {
    let path = LakePath {
        folder: folder.to_owned(),
        name: name.to_owned(),
    };
    let known = lake.get(&path).await.unwrap();
    let base = known.map(|file| file.version);
    lake.put(&path, base.as_ref(), bytes).await.unwrap();
}

fn line(seconds: u32, increment: u32, text: &str) -> String {
    format!(
        "{{\"timestamp\":\"2024-01-15T14:00:00.000Z\",\"change\":{{\"_id\":{{\"_data\":\"82{increment:08}\"}},\
         \"operationType\":\"insert\",\"clusterTime\":{{\"$timestamp\":{{\"t\":{seconds},\"i\":{increment}}}}},\
         \"ns\":{{\"db\":\"mydb\",\"coll\":\"users\"}},\"documentKey\":{{\"_id\":{increment}}},\
         \"fullDocument\":{{\"text\":\"{text}\"}}}}}}\n"
    )
}

fn damage(error: LakeError, file: &str) -> (Damage, String) {
    let said = error.to_string();
    let LakeError::Damaged { path, damage } = error else {
        panic!("{said}");
    };
    assert!(path.ends_with(file), "{path}");
    (damage, said)
}

#[tokio::test]
async fn damage_is_an_error_with_file_line_and_offset() {
    for place in Place::all() {
        let lake = place.prepared().await;
        let lake = lake.as_ref();
        let good = [1, 2, 3].map(|number| line(HOUR_SECONDS, number, "x"));
        let file = "2024-01-15-14.ndjson";
        let mut broken = good.clone();
        broken[1] = broken[1].replacen('{', "x", 1);
        put(lake, file, broken.concat().into_bytes()).await;
        let (found, said) = damage(read(lake, "users", ..).await.unwrap_err(), file);
        let Damage::InLine {
            line, offset_bytes, ..
        } = found
        else {
            panic!("{said}");
        };
        assert_eq!((line, offset_bytes), (2, good[0].len() as u64));
        assert!(said.contains("move it out of the lake"), "{said}");

        let mut cut = good.concat().into_bytes();
        cut.truncate(cut.len() - 10);
        put(lake, file, cut).await;
        let (_, said) = damage(read(lake, "users", ..).await.unwrap_err(), file);
        assert!(said.contains("its end is missing"), "{said}");

        let foreign = good.concat().replace("mydb", "other");
        put(lake, file, foreign.into_bytes()).await;
        let (found, said) = damage(read(lake, "users", ..).await.unwrap_err(), file);
        assert!(matches!(found, Damage::Foreign { .. }), "{said}");

        put(lake, file, good.concat().into_bytes()).await;
        put(
            lake,
            "2024-01-15-14.part3.ndjson",
            good.concat().into_bytes(),
        )
        .await;
        let (_, said) = damage(
            read(lake, "users", ..).await.unwrap_err(),
            "2024-01-15-14.part3.ndjson",
        );
        assert!(said.contains("the part before it is missing"), "{said}");
    }
}

#[tokio::test]
async fn hours_follow_each_other_and_lines_may_be_huge() {
    for place in Place::all() {
        let lake = place.prepared().await;
        let lake = lake.as_ref();
        let long = "x".repeat(20 << 20);
        for (hour, numbers) in [(14, [0, 1]), (15, [2, 3]), (17, [4, 5])] {
            let text = if hour == 15 { &long } else { "short" };
            let lines = numbers.map(|number| line(HOUR_SECONDS + (hour - 14) * 3600, number, text));
            let name = format!("2024-01-15-{hour}.ndjson");
            put(lake, &name, lines.concat().into_bytes()).await;
        }
        assert_eq!(read(lake, "users", ..).await.unwrap(), up_to(6));
        let hour = |hour: u32| ClusterTime {
            seconds: HOUR_SECONDS + (hour - 14) * 3600,
            increment: 0,
        };
        let some = read(lake, "users", hour(15)..hour(17)).await.unwrap();
        assert_eq!(some, [2, 3]);
        let origin = origin("users");
        let file = name("ndjson");
        let path = lake::tail::path(&origin, file);
        let state = lake.open(&path).await.unwrap().unwrap();
        let mut seen = Vec::new();
        let each = |change: &Change<'_>, _: &Line<'_>| {
            seen.push(change.cluster_time.increment);
            Ok(())
        };
        let pace = Pace::new(None, Clock::start());
        let summary = inspect(lake, (&path, file), &state, &origin, &pace, each);
        let summary = summary.await.unwrap();
        assert_eq!(seen, [0, 1]);
        assert_eq!(summary.changes, 2);
        assert_eq!(summary.operations["insert"], 2);
        assert_eq!(summary.first.cluster_time, time(0));
    }
}

#[tokio::test]
async fn a_snapshots_parts_are_read_by_number() {
    for place in Place::all() {
        let lake = place.prepared().await;
        let lake = lake.as_ref();
        let folder = FolderName::of(time(0));
        let path = folder.path(&origin("users"));
        for number in [10, 2, 1] {
            let name = format!("part-{number:05}.ndjson");
            let text = line(HOUR_SECONDS, number, "x");
            put_in(lake, &path, &name, text.into_bytes()).await;
        }
        let mut reader = Reader::of_snapshot(lake, origin("users"), folder)
            .await
            .unwrap();
        let mut numbers = Vec::new();
        while let Some(piece) = reader.next().await.unwrap() {
            for line in piece.block.lines() {
                numbers.push(Change::parse(line.bytes).unwrap().cluster_time.increment);
            }
        }
        assert_eq!(numbers, [1, 2, 10]);
    }
}
