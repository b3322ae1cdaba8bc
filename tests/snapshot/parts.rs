//! The files that a snapshot leaves.

use silt::extjson::Mode;

use crate::harness::python;

use super::world::World;

/// The ranges meet in numbers, parts roll over at their size, and the programs of users read them.
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
