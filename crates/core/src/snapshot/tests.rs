//! Tests of plans, parts and manifests together.

use std::io::Read as _;

use bytes::Bytes;
use proptest::prelude::*;

use super::key::Key;
use super::manifest::{Counted, Fit, Manifest};
use super::part::{self, Documents, Part, PartName};
use super::part_scan::{FoundPart, PartScan};
use super::plan::{Bounds, End, JsonMode, Plan};
use crate::file::damage::Damage;
use crate::file::format::{Compression, FileFormat, OutputFormat};
use crate::file::gzip::GzipLevel;
use crate::file::layout::Commit;
use crate::file::tail_scan::Step;
use crate::position::ClusterTime;

fn formats() -> [FileFormat; 4] {
    ["json", "json.gz", "ndjson", "ndjson.gz"]
        .map(|extension| FileFormat::of_extension(extension).unwrap())
}

fn key(number: u32) -> Key {
    Key::new(format!("{{\"_id\":{number}}}"))
}

fn plan(format: FileFormat, boundaries: &[u32]) -> Plan {
    Plan {
        database: "mydb".to_owned(),
        collection: "users".to_owned(),
        uuid: None,
        cluster_time: ClusterTime {
            seconds: 1_705_328_123,
            increment: 4,
        },
        begun_at: "2024-01-15T14:15:24.000Z".to_owned(),
        estimated_documents: 100,
        estimated_bytes: Some(10_000),
        boundaries: boundaries.iter().copied().map(key).collect(),
        last: Some(key(99)),
        change_filters: Some(vec!["OPERATION_TYPES=insert".to_owned()]),
        format,
        json_mode: JsonMode::Canonical,
        chunk_limit_bytes: 1000,
        file_limit_bytes: 5000,
        file_limit_commits: 10,
        silt_version: "0.1.0".to_owned(),
    }
}

fn line(plan: &Plan, number: u32) -> String {
    let time = serde_json::to_string(&plan.cluster_time).unwrap();
    let line = format!(
        "{{\"timestamp\":\"T\",\"change\":{{\"operationType\":\"read\",\"clusterTime\":{time},\
         \"ns\":{{\"db\":\"mydb\",\"coll\":\"users\"}},\"documentKey\":{{\"_id\":{number}}},\
         \"fullDocument\":{{\"_id\":{number}}}}}}}"
    );
    let separator = plan.format.separator();
    let around = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    around(separator.before) + &line + &around(separator.after)
}

fn documents(plan: &Plan, numbers: std::ops::Range<u32>) -> Documents {
    Documents {
        count: numbers.len().try_into().unwrap(),
        last: key(numbers.end - 1),
        lines: Bytes::from(numbers.map(|number| line(plan, number)).collect::<String>()),
    }
}

/// What a lake does with a commit.
fn apply(bytes: &mut Vec<u8>, base: Option<&Part>, commit: &Commit<Part>) {
    if let Some(base) = base {
        let extent = base.extent;
        bytes.truncate(bytes.len() - usize::try_from(extent.foot_len_bytes).unwrap());
        bytes.drain(..usize::try_from(extent.head_len_bytes).unwrap());
    }
    bytes.splice(..0, commit.addition.head.iter().copied());
    bytes.extend_from_slice(&commit.addition.chunk);
    bytes.extend_from_slice(&commit.addition.foot);
}

/// A first part made by this many commits of three documents each.
fn written(plan: &Plan, commits: u32) -> (Vec<u8>, Part) {
    let name = PartName::first(0, plan.format);
    let (mut bytes, mut base) = (Vec::new(), None);
    for number in 0..commits {
        let documents = documents(plan, number * 3..number * 3 + 3);
        let level = GzipLevel::default();
        let commit = part::commit(plan, base.as_ref(), name, documents, level, 0).unwrap();
        apply(&mut bytes, base.as_ref(), &commit);
        assert_eq!(bytes.len() as u64, commit.file.extent.len_bytes);
        base = Some(commit.file);
    }
    (bytes, base.unwrap())
}

fn scan(name: PartName, bytes: &[u8]) -> Result<FoundPart, Damage> {
    let (mut scan, mut range) = PartScan::begin(name, bytes.len() as u64)?;
    for _ in 0..100 {
        let start = usize::try_from(range.start).unwrap();
        let end = usize::try_from(range.end).unwrap();
        match scan.feed(&bytes[start..end])? {
            Step::Read(next) => range = next,
            Step::Done(seen) => return Ok(seen),
        }
    }
    panic!("the scan never ends");
}

fn text(bytes: &[u8], format: FileFormat) -> String {
    let mut text = String::new();
    match format.compression {
        Compression::None => text.push_str(std::str::from_utf8(bytes).unwrap()),
        Compression::Gzip => {
            let mut decoder = flate2::read::MultiGzDecoder::new(bytes);
            decoder.read_to_string(&mut text).unwrap();
        }
    }
    text
}

#[test]
fn every_commit_leaves_a_valid_part_that_states_its_last_document() {
    for format in formats() {
        let plan = plan(format, &[]);
        for commits in [1, 2, 9] {
            let (bytes, part) = written(&plan, commits);
            let text = text(&bytes, format);
            let lines: Vec<serde_json::Value> = match format.output {
                OutputFormat::Ndjson => {
                    let lines = text.lines().map(serde_json::from_str);
                    lines.map(Result::unwrap).collect()
                }
                OutputFormat::Json => {
                    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
                    let metadata = &document["metadata"];
                    assert_eq!(metadata["count"], commits * 3);
                    assert_eq!(metadata["collection"], "users");
                    assert_eq!(metadata["cluster_time"]["$timestamp"]["i"], 4);
                    assert_eq!(metadata["last_document_key"]["_id"], commits * 3 - 1);
                    document["changes"].as_array().unwrap().clone()
                }
            };
            let numbers = lines
                .iter()
                .map(|line| &line["change"]["documentKey"]["_id"]);
            assert!(numbers.eq(0..commits * 3), "{format:?}");
            let seen = scan(part.name, &bytes).unwrap();
            let read = plan.expect(seen).unwrap();
            assert_eq!((&read.last, read.extent), (&part.last, part.extent));
            let is_plain = format == formats()[2];
            let expected = Some(u64::from(commits) * 3).filter(|_| !is_plain);
            assert_eq!(read.documents, expected);
            assert_eq!(read.commits, if is_plain { 0 } else { commits });
            assert_eq!(part.documents, Some(u64::from(commits) * 3));
        }
    }
}

#[test]
fn the_documents_of_a_reopened_ndjson_part_are_not_counted() {
    let plan = plan(formats()[2], &[]);
    let (bytes, part) = written(&plan, 1);
    let found = plan.expect(scan(part.name, &bytes).unwrap()).unwrap();
    let level = GzipLevel::default();
    let next = part::commit(
        &plan,
        Some(&found),
        part.name,
        documents(&plan, 3..4),
        level,
        0,
    );
    assert_eq!(next.unwrap().file.documents, None);
}

#[test]
fn a_part_of_another_snapshot_is_refused() {
    for format in formats() {
        let plan = plan(format, &[]);
        let (bytes, part) = written(&plan, 1);
        let seen = scan(part.name, &bytes).unwrap();
        for (database, collection) in [("other", "users"), ("mydb", "others")] {
            let other = Plan {
                database: database.to_owned(),
                collection: collection.to_owned(),
                ..plan.clone()
            };
            let error = other.expect(seen.clone()).unwrap_err();
            assert!(matches!(error, Damage::Foreign { .. }), "{error}");
        }
        let mut later = plan;
        later.cluster_time.increment += 1;
        let error = later.expect(seen).unwrap_err();
        assert!(
            error.to_string().contains("belongs to a snapshot at"),
            "{error}"
        );
    }
}

#[test]
fn the_last_document_is_known_if_its_key_is_only_in_the_raw_event() {
    let plan = plan(formats()[3], &[]);
    let raw = r#"{"$binary":{"base64":"AAAA","subType":"00"}}"#;
    let line = line(&plan, 1).replace(
        "\"documentKey\":{\"_id\":1},\"fullDocument\":{\"_id\":1}",
        &format!("\"siltRawEvent\":{raw}"),
    );
    for format in formats() {
        let plan = Plan {
            format,
            ..plan.clone()
        };
        let separator = format.separator();
        let lines = [
            separator.before,
            line.trim_end().as_bytes(),
            separator.after,
        ]
        .concat();
        let documents = Documents {
            lines: lines.into(),
            count: 1,
            last: Key::raw(raw),
        };
        let name = PartName::first(0, format);
        let commit = part::commit(&plan, None, name, documents, GzipLevel::default(), 0).unwrap();
        let mut bytes = Vec::new();
        apply(&mut bytes, None, &commit);
        assert_eq!(scan(name, &bytes).unwrap().part.last, Key::raw(raw));
        let without = line
            .replace("siltRawEvent", "other")
            .replace("documentKey", "other");
        assert!(scan(name, without.as_bytes()).is_err());
    }
}

#[test]
fn ranges_are_contiguous() {
    let plan = plan(formats()[0], &[10, 20]);
    assert_eq!(plan.ranges(), 3);
    let (ten, twenty, last) = (key(10), key(20), key(99));
    let bounds = |from, to| Some(Bounds { from, to });
    assert_eq!(plan.bounds(0), bounds(None, End::Before(&ten)));
    assert_eq!(plan.bounds(1), bounds(Some(&ten), End::Before(&twenty)));
    assert_eq!(plan.bounds(2), bounds(Some(&twenty), End::With(&last)));
    let empty = Plan {
        boundaries: Vec::new(),
        last: None,
        ..plan
    };
    assert_eq!((empty.ranges(), empty.bounds(0)), (1, None));
}

#[test]
fn a_part_that_could_exceed_its_limit_is_full() {
    for format in formats() {
        let plan = plan(format, &[10, 20]);
        let (first, base) = plan.place(1, None);
        assert_eq!((first.number, base), (2, None));
        let part = |len_bytes, commits| {
            let (_, mut part) = written(&plan, 1);
            part.name = first;
            part.extent.len_bytes = len_bytes;
            part.commits = commits;
            part
        };
        let most = match format.compression {
            Compression::None => 5000 - 1000 - 256,
            Compression::Gzip => 5000 - 1125 - 256,
        };
        let roomy = part(most, 9);
        assert_eq!(plan.place(1, Some(&roomy)), (first, Some(&roomy)));
        for full in [part(most + 1, 1), part(most, 10)] {
            let (next, base) = plan.place(1, Some(&full));
            assert_eq!((next.number, base), (5, None));
            assert_eq!(next.range(3), 1);
        }
    }
}

#[test]
fn plans_round_trip() {
    for format in formats() {
        let plan = plan(format, &[10, 20]);
        let bytes = serde_json::to_vec_pretty(&plan).unwrap();
        assert_eq!(serde_json::from_slice::<Plan>(&bytes).unwrap(), plan);
    }
    let text = serde_json::to_string(&plan(formats()[1], &[10])).unwrap();
    assert!(text.contains(r#""boundaries":[{"_id":10}],"last":{"_id":99},"change_filters":["OPERATION_TYPES=insert"],"format":"json.gz","json_mode":"canonical""#), "{text}");
    let other = text.replace("json.gz", "parquet");
    let error = serde_json::from_str::<Plan>(&other).unwrap_err();
    assert!(
        error.to_string().contains("parquet isn't a format"),
        "{error}"
    );
}

fn counted(number: u32, documents: u64) -> Counted {
    Counted {
        name: PartName {
            number,
            format: formats()[0],
        },
        documents,
        len_bytes: documents * 10,
    }
}

#[test]
fn the_manifest_totals_the_parts_and_refuses_missing_ones() {
    let plan = plan(formats()[0], &[10]);
    let complete = ClusterTime {
        seconds: 1_705_328_200,
        increment: 1,
    };
    let parts = vec![counted(3, 5), counted(1, 7), counted(2, 1)];
    let manifest = Manifest::new(&plan, parts.clone(), None, complete, 1_705_328_201_000).unwrap();
    assert_eq!(
        (manifest.count, manifest.bytes, manifest.ranges),
        (13, 130, 2)
    );
    assert_eq!(manifest.at, "2024-01-15T14:15:23.000Z");
    assert_eq!(manifest.finished_at, "2024-01-15T14:16:41.000Z");
    let files = [
        ("part-00001.json", 70),
        ("part-00002.json", 10),
        ("part-00003.json", 50),
    ];
    assert_eq!(manifest.parts[2].name, "part-00003.json");
    let rest = [("plan.json", 1), ("manifest.json", 2)];
    assert!(manifest.fits(files.into_iter().chain(rest)));
    let lacking = |lack: &str| Fit::Incomplete(lack.to_owned());
    let fewer = manifest.compare(files[..2].iter().copied());
    assert_eq!(fewer, lacking("part-00003.json is missing"));
    let more = files.into_iter().chain([("part-00004.json", 1)]);
    assert_eq!(manifest.compare(more), Fit::Grown);
    let third = |len_bytes| [files[0], files[1], ("part-00003.json", len_bytes)];
    assert_eq!(manifest.compare(third(51).into_iter()), Fit::Grown);
    assert!(!manifest.fits(third(51).into_iter()));
    let shorter = third(49).into_iter().chain([("part-00004.json", 1)]);
    let lack = lacking("part-00003.json has 49 bytes of 50");
    assert_eq!(
        manifest.compare(shorter),
        lack,
        "even if other parts were added"
    );
    let mut cut = parts.clone();
    cut[0].len_bytes -= 1;
    let made = Manifest::new(&plan, cut, Some(&manifest), complete, 0);
    assert!(made.unwrap_err().to_string().contains("has 49 bytes of 50"));
    let mut grown = parts.clone();
    grown[0].len_bytes += 1;
    assert!(Manifest::new(&plan, grown, Some(&manifest), complete, 0).is_ok());
    for missing in [0, 1] {
        let mut fewer = parts.clone();
        let gone = fewer.remove(missing).name;
        let made = Manifest::new(&plan, fewer.clone(), None, complete, 0);
        match gone.number {
            1 => assert!(
                made.unwrap_err()
                    .to_string()
                    .contains("part-00001.json is missing")
            ),
            _ => assert_eq!(
                made.unwrap().parts.len(),
                2,
                "nothing says that there was a last part"
            ),
        }
        let made = Manifest::new(&plan, fewer, Some(&manifest), complete, 0);
        let missing = format!("{gone} is missing");
        assert!(made.unwrap_err().to_string().contains(&missing));
    }
    let text = serde_json::to_string(&manifest).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), manifest);
    assert_eq!(manifest.change_filters, plan.change_filters);
}

#[test]
fn plans_and_manifests_of_older_versions_are_read() {
    let plan = plan(formats()[0], &[]);
    let manifest = Manifest::new(&plan, Vec::new(), None, plan.cluster_time, 0).unwrap();
    let older = |json: serde_json::Result<serde_json::Value>| {
        let mut json = json.unwrap();
        let filters = json.as_object_mut().unwrap().remove("change_filters");
        assert_eq!(filters.unwrap()[0], "OPERATION_TYPES=insert");
        json
    };
    let plan: Plan = serde_json::from_value(older(serde_json::to_value(plan))).unwrap();
    let manifest: Manifest = serde_json::from_value(older(serde_json::to_value(manifest))).unwrap();
    assert_eq!((plan.change_filters, manifest.change_filters), (None, None));
}

proptest! {
    #[test]
    fn part_names_round_trip_or_are_refused(
        name in prop_oneof![any::<String>(), "part-[0-9]{1,7}\\.(json|ndjson)(\\.gz)?"],
        number in 1_u32..1_000_000,
    ) {
        if let Ok(parsed) = name.parse::<PartName>() {
            prop_assert_eq!(parsed.to_string(), name);
        }
        for format in formats() {
            let name = PartName { number, format };
            prop_assert_eq!(name.to_string().parse::<PartName>(), Ok(name));
        }
    }

    /// No two ranges share a part, and each part names its range.
    #[test]
    fn ranges_share_no_part(ranges in 1_u32..20, steps in 0_u32..50) {
        let mut seen = std::collections::BTreeSet::new();
        for range in 0..ranges {
            let mut name = PartName::first(range, formats()[0]);
            for _ in 0..=steps {
                prop_assert!(seen.insert(name.number));
                prop_assert_eq!(name.range(ranges), range);
                name = name.next(ranges);
            }
        }
        prop_assert_eq!(seen.last().copied(), Some(ranges * (steps + 1)));
    }

    #[test]
    fn a_damaged_part_is_refused_or_can_be_continued(
        format in 0_usize..4,
        at in any::<prop::sample::Index>(),
        bits in 1_u8..,
        cut in any::<bool>(),
    ) {
        let plan = plan(formats()[format], &[]);
        let (mut bytes, part) = written(&plan, 2);
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] ^= bits;
        }
        if let Ok(FoundPart { part: read, .. }) = scan(part.name, &bytes) {
            let commit = part::commit(&plan, Some(&read), part.name, documents(&plan, 6..9), GzipLevel::default(), 0);
            let commit = commit.map_err(|error| TestCaseError::fail(error.to_string()))?;
            apply(&mut bytes, Some(&read), &commit);
            prop_assert_eq!(bytes.len() as u64, commit.file.extent.len_bytes);
        }
    }
}
