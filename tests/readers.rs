//! The files are read by the programs that users use.

use bson::doc;
use silt_core::file::hour_file::HourFileName;

use crate::harness::folder::NamesWatch;
use crate::harness::python;
use crate::harness::scene::{Scene, insert};
use crate::harness::silt::Silt;

async fn archive(format: &str, compression: &str) -> Scene {
    let scene = Scene::new()
        .await
        .with("OUTPUT_FORMAT", format)
        .with("COMPRESSION", compression)
        .with("BATCH_SIZE", "25");
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    for number in 0..100 {
        let document =
            doc! { "number": number, "name": format!("näme \"{number}\""), "ratio": 0.5 };
        scene.users().insert_one(document).await.unwrap();
    }
    scene.flush_until(&mut silt, "users", 100).await;
    silt.drain();
    scene
}

#[tokio::test]
async fn python_duckdb_and_jq_read_every_format() {
    let script = include_str!("readers/read_file.py");
    for (format, compression) in [
        ("json", "none"),
        ("json", "gzip"),
        ("ndjson", "none"),
        ("ndjson", "gzip"),
    ] {
        let scene = archive(format, compression).await;
        for path in scene.files("users") {
            let expected = crate::harness::scene::changes_of(&path).len();
            let sum: i64 = crate::harness::scene::changes_of(&path)
                .iter()
                .map(|change| change["fullDocument"]["number"].as_i64().unwrap())
                .sum();
            let output = python(script, &[path.to_str().unwrap()]);
            for line in output.lines() {
                let (reader, result) = line.split_once(' ').unwrap();
                assert_eq!(
                    result,
                    format!("{expected} {sum}"),
                    "{reader} {}",
                    path.display()
                );
            }
            assert_eq!(output.lines().count(), 3, "{output}");
        }
    }
}

/// The changes that DuckDB finds with a pattern.
const COUNT: &str = "import duckdb, sys\n\
    source = f\"read_json('{sys.argv[1]}', format='newline_delimited')\"\n\
    print(*duckdb.sql(f'SELECT count(*) FROM {source}').fetchone())";

#[tokio::test]
async fn a_pattern_finds_hour_files_only_while_silt_writes() {
    let scene = Scene::new().await.with("OUTPUT_FORMAT", "ndjson");
    std::fs::create_dir_all(scene.lake().join("users")).unwrap();
    let watch = NamesWatch::new(&scene.lake().join("users"));
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let pattern = format!("{}/users/*", scene.lake().display());
    for changes in [4, 8, 12] {
        insert(&scene.users(), changes - 4..changes).await;
        let count = usize::try_from(changes).unwrap();
        scene.flush_until(&mut silt, "users", count).await;
        assert_eq!(python(COUNT, &[&pattern]).trim(), count.to_string());
    }
    let hidden = std::fs::read_dir(scene.lake().join("_silt/.hidden/users")).unwrap();
    assert!(hidden.count() > 0, "a twin was there to be found");
    silt.drain();
    let names = watch.names();
    assert!(!names.is_empty());
    for name in names {
        assert!(name.parse::<HourFileName>().is_ok(), "{name}");
    }
}

#[tokio::test]
async fn the_official_azure_client_reads_what_silt_wrote() {
    for (format, compression) in [("json", "none"), ("ndjson", "gzip")] {
        let scene = Scene::new()
            .await
            .on_azurite()
            .with("OUTPUT_FORMAT", format)
            .with("COMPRESSION", compression)
            .with("BATCH_SIZE", "5");
        let mut witness = scene.witness("users").await;
        let mut silt = Silt::watching(&scene.settings, &["users"]);
        crate::harness::scene::insert(&scene.users(), 0..20).await;
        scene.flush_until(&mut silt, "users", 20).await;
        silt.drain();
        let script = include_str!("readers/azure_tokens.py");
        let endpoint = crate::harness::variable("SILT_TEST_AZURITE");
        let listed = python(script, &[&endpoint, scene.filesystem(), "users"]);
        let listed: Vec<String> = listed.lines().map(str::to_owned).collect();
        assert_eq!(listed, witness.tokens(20).await, "{format} {compression}");
    }
}
