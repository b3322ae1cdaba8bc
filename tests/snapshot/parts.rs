//! The files of a snapshot.

use silt::snapshot::{State, Status};
use silt_core::extjson::Mode;
use silt_core::namespace::Layout;

use crate::harness::python;
use crate::harness::silt::run;

use super::world::World;

/// Ranges have consecutive numbers, parts roll over at the size limit, and users' tools can read them.
#[tokio::test]
async fn parts_roll_over_and_are_read_by_python_duckdb_and_jq() {
    let script = include_str!("../readers/read_file.py");
    for extension in ["json", "json.gz", "ndjson", "ndjson.gz"] {
        let world = World::new().await.with_format(extension);
        let mut world = world.with_small_parts(40_000, 150_000);
        world.target.json_mode = Mode::Relaxed;
        world.insert(0..4_500).await;
        world.take().await;
        let snapshot = world.snapshot().await;
        assert_eq!(snapshot.documents.len(), 4_500);
        snapshot.sorted_keys();
        let numbers = snapshot.parts.iter().map(|(name, bytes)| {
            assert!(bytes.len() <= 150_000, "{name}: {}", bytes.len());
            let (number, rest) = name.strip_prefix("part-").unwrap().split_once('.').unwrap();
            assert_eq!(rest, extension);
            number.parse::<u32>().unwrap()
        });
        let numbers: Vec<u32> = numbers.collect();
        for range in 1..=4 {
            let mut of_range = numbers.clone();
            of_range.retain(|number| number % 4 == range % 4);
            let expected = (0..).map(|turn| range + turn * 4);
            assert!(
                of_range.iter().copied().eq(expected.take(of_range.len())),
                "{numbers:?}"
            );
            assert!(!of_range.is_empty(), "{numbers:?}");
        }
        if !extension.ends_with("gz") {
            assert!(snapshot.parts.len() >= 8, "{}", snapshot.parts.len());
        }
        let folder = tempfile::tempdir().unwrap();
        let (mut count, mut sum) = (0, 0);
        for (name, bytes) in &snapshot.parts {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let output = python(script, &[path.to_str().unwrap()]);
            let found: Vec<&str> = output
                .lines()
                .map(|line| line.split_once(' ').unwrap().1)
                .collect();
            assert_eq!(found.len(), 3, "{output}");
            assert!(found.iter().all(|result| result == &found[0]), "{output}");
            let (documents, numbers) = found[0].split_once(' ').unwrap();
            count += documents.parse::<i64>().unwrap();
            sum += numbers.parse::<i64>().unwrap();
        }
        assert_eq!((count, sum), (4_500, 4_499 * 4_500 / 2));
    }
}

#[tokio::test]
async fn plan_and_manifest_name_the_filters_of_the_changes() {
    for filters in [&["OPERATION_TYPES=insert".to_owned()][..], &[]] {
        let mut world = World::new().await;
        world.target.change_filters = filters.to_vec();
        world.take().await;
        let folder = world.folders().await.pop().unwrap();
        for name in ["_plan.json", "_manifest.json"] {
            let said = world.json(&folder, name).await.unwrap();
            assert_eq!(said["change_filters"], serde_json::json!(filters), "{name}");
        }
    }
}

/// The manifest is the record of a part that was deleted or truncated, so it is not rewritten.
#[tokio::test]
async fn a_manifest_is_kept_when_its_parts_are_damaged() {
    for cut_to in [None, Some(10)] {
        for has_grown in [false, true] {
            let world = World::new().await.with_small_parts(2_000, 20_000);
            world.insert(0..500).await;
            world.take().await;
            let name = world.folders().await.pop().unwrap();
            let manifest = world.get(&name, "_manifest.json").await.unwrap();
            // The range's last part, so no number is missing.
            let folder = world.folder(&name);
            let last = world.snapshot().await.parts.pop().unwrap().0;
            let bytes = std::fs::read(folder.join(&last)).unwrap();
            std::fs::remove_file(folder.join(&last)).unwrap();
            if let Some(len) = cut_to {
                std::fs::write(folder.join(&last), &bytes[..len]).unwrap();
            }
            let more = folder.join("part-00999.json");
            if has_grown {
                std::fs::copy(folder.join("part-00001.json"), &more).unwrap();
            }
            let handle = world.start();
            let done = world.until(&handle, |status| status.state == State::Done);
            let trouble = done.await.trouble.unwrap();
            for part in [&name, &last, "restore it", "out of the lake"] {
                assert!(trouble.contains(part), "{trouble}");
            }
            let now = world.get(&name, "_manifest.json").await.unwrap();
            assert!(now == manifest, "it was rewritten");
            std::fs::write(folder.join(&last), &bytes).unwrap();
            let _ = std::fs::remove_file(more);
            handle.send(world.target.clone());
            let is_well = |status: &Status| status.state == State::Done && status.trouble.is_none();
            world.until(&handle, is_well).await;
        }
    }
}

/// Compares the output of `silt ls` with the files, in both folder layouts.
#[tokio::test]
async fn silt_ls_lists_snapshots() {
    for layout in [Layout::Collection, Layout::DatabaseAndCollection] {
        let world = World::new().await.with_format("ndjson");
        let mut world = world.with_small_parts(2_000, 20_000);
        world.target.origin.layout = layout;
        world.insert(0..500).await;
        world.take().await;
        let mut begun = world
            .json(&world.folders().await[0], "_plan.json")
            .await
            .unwrap();
        begun["cluster_time"]["$timestamp"]["t"] = 1_705_328_123.into();
        let name = "snapshot-2024-01-15-14-15-23";
        world
            .put(name, "_plan.json", begun.to_string().as_bytes())
            .await;
        let settings = &world.scene.settings;
        let database = world.scene.database.name();
        let shown = match layout {
            Layout::Collection => "users".to_owned(),
            Layout::DatabaseAndCollection => format!("{database}.users"),
        };
        for arguments in [&["ls", "--json"][..], &["ls", "--json", &shown]] {
            let (code, listing) = run(settings, arguments);
            assert_eq!(code, 0, "{listing}");
            let listing: serde_json::Value = serde_json::from_str(&listing).unwrap();
            assert_eq!(listing["others"], 0);
            let found = &listing["collections"][0];
            assert_eq!(found["collection"], "users");
            let snapshots = found["snapshots"].as_array().unwrap();
            assert_eq!(snapshots.len(), 2);
            assert_eq!(
                (&snapshots[0]["folder"], &snapshots[0]["is_finished"]),
                (&name.into(), &false.into())
            );
            assert_eq!(
                (&snapshots[1]["documents"], &snapshots[1]["is_finished"]),
                (&500.into(), &true.into())
            );
        }
        let (code, text) = run(settings, &["ls"]);
        assert_eq!(code, 0, "{text}");
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with(&shown))
            .collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(
            lines[1].ends_with("unfinished") && lines[2].ends_with("  finished"),
            "{text}"
        );
        // A part was removed.
        let folder = world.folders().await.pop().unwrap();
        std::fs::remove_file(world.folder(&folder).join("part-00001.ndjson")).unwrap();
        let (code, text) = run(settings, &["ls"]);
        assert_eq!(code, 1, "{text}");
        assert!(
            text.contains(&format!("damaged: {shown}/{folder}")),
            "{text}"
        );
    }
}
