//! `silt check` against real servers, as a user meets it.

mod lake;
mod mongodb;
mod newest;
mod patterns;
mod tls;

use bson::doc;
use silt::lake::Lake as _;

use crate::harness::scene::{Scene, insert};
use crate::harness::silt::{Silt, run, run_on_terminal};

/// Checks, and expects this exit status and all of these words.
fn checks(scene: &Scene, status: i32, words: &[&str]) -> String {
    let (code, output) = run(&scene.settings, &["check"]);
    expect(&output, words);
    assert_eq!(code, status, "{output}");
    output
}

fn expect(output: &str, words: &[&str]) {
    for word in words {
        assert!(output.contains(word), "{word:?} is missing in:\n{output}");
    }
}

/// The row of this name, and its mend.
fn row(output: &str, what: &str) -> String {
    let mut lines = output.lines();
    let is_it = |line: &str| {
        let rest = line.trim_start();
        let rest = rest
            .split_once(' ')
            .map_or("", |(_, rest)| rest.trim_start());
        line.starts_with("  ") && rest.starts_with(&format!("{what:<24} "))
    };
    let line = lines.find(|line| is_it(line));
    let line = line.unwrap_or_else(|| panic!("no row {what:?} in:\n{output}"));
    let fixes = lines.take_while(|line| line.trim_start().starts_with("fix:"));
    fixes.fold(line.to_owned(), |row, fix| row + "\n" + fix)
}

#[tokio::test]
async fn where_all_is_there_the_status_is_0_and_nothing_is_left() {
    for scene in [Scene::new().await, Scene::new().await.on_azurite()] {
        let is_local = scene.settings.contains_key("LAKE_URL");
        if is_local {
            std::fs::create_dir(scene.lake()).unwrap();
        } else {
            scene.azurite().prepare().await.unwrap();
        }
        for (format, compression) in [("json", "none"), ("ndjson", "gzip")] {
            let mut settings = scene.settings.clone();
            settings.insert("OUTPUT_FORMAT".into(), format.into());
            settings.insert("COMPRESSION".into(), compression.into());
            let (code, output) = run(&settings, &["check"]);
            assert_eq!(code, 0, "{output}");
            assert!(
                !output.contains("FAIL") && !output.contains("skip "),
                "{output}"
            );
            expect(
                &output,
                &[
                    "replica set rs0, primary",
                    "committed three times, refused a stale write, read back, removed",
                    "written, read and removed",
                    "users                    not there yet, which is fine",
                    "opened and closed",
                    "silt can run: ",
                ],
            );
        }
        let left = scene.checkpoints().count_documents(doc! {}).await.unwrap();
        assert_eq!(left, 0);
        if is_local {
            let folder = std::fs::read_dir(scene.lake().join("_silt/check")).unwrap();
            let names: Vec<_> = folder.map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, [".silt.lock"]);
        } else {
            assert_eq!(scene.azurite().list("_silt/check").await.unwrap(), []);
        }
    }
}

#[tokio::test]
async fn a_feed_that_runs_is_no_hindrance_and_its_position_is_told() {
    let scene = Scene::new().await.with("HTTP_ADDR", "127.0.0.1:0");
    let scene_lake = scene.lake();
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    for round in 0..2 {
        insert(&scene.users(), round * 3..round * 3 + 3).await;
        let count = usize::try_from(round * 3 + 3).unwrap();
        scene.flush_until(&mut silt, "users", count).await;
    }
    let hidden = || {
        let folder = std::fs::read_dir(scene_lake.join("_silt/.hidden/users")).unwrap();
        let names = folder.map(|entry| entry.unwrap().file_name());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let before = hidden();
    let address = silt.log.iter().find_map(|line| line["address"].as_str());
    let scene = scene.with("HTTP_ADDR", address.unwrap());
    let output = checks(&scene, 0, &["by a silt that runs"]);
    assert!(row(&output, "users").contains("there"), "{output}");
    let checkpoint = row(&output, "users checkpoint");
    assert!(checkpoint.contains("the oplog holds it"), "{output}");
    expect(&row(&output, "users newest file"), &["ok", "up to"]);
    assert_eq!(hidden(), before, "what a writer keeps is left to it");
    insert(&scene.users(), 6..9).await;
    scene.flush_until(&mut silt, "users", 9).await;
    silt.drain();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let scene = scene.with("HTTP_ADDR", &address);
    checks(
        &scene,
        1,
        &["is taken by another program", "take another port"],
    );
}

#[tokio::test]
async fn checkpoints_in_the_lake_are_tried_there() {
    let scene = Scene::new().await.with("CHECKPOINT_STORE", "lake");
    std::fs::create_dir(scene.lake()).unwrap();
    let output = checks(&scene, 0, &[]);
    expect(
        &row(&output, "store"),
        &["ok", "lake: written, read and removed"],
    );
    let scene = scene.with("MONGODB_URI", "mongodb://127.0.0.1:1/");
    let output = checks(&scene, 1, &[]);
    expect(&row(&output, "store"), &["ok"]);
}

#[tokio::test]
async fn on_a_terminal_progress_is_shown_and_marks_are_signs() {
    let scene = Scene::new()
        .await
        .with("LANG", "C.UTF-8")
        .with("TERM", "xterm");
    std::fs::create_dir(scene.lake()).unwrap();
    let shown = run_on_terminal(&scene.settings, &["check"]);
    expect(
        &shown,
        &[
            "\r\u{1b}[KMongoDB: connects",
            "\u{1b}[32m✓\u{1b}[0m users stream",
            "silt can run",
        ],
    );
    let scene = scene.with("NO_COLOR", "1").with("LANG", "C");
    let shown = run_on_terminal(&scene.settings, &["check"]);
    expect(&shown, &["  ok   users stream"]);
    assert!(!shown.contains("\u{1b}[32m"), "{shown}");
    let (_, plain) = run(&scene.settings, &["check"]);
    assert!(
        !plain.contains('\u{1b}') && !plain.contains('\r'),
        "{plain}"
    );
}

#[tokio::test]
async fn servers_that_keep_silent_do_not_hold_it_up() {
    // Connections are taken by the system, and nobody ever answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let scene = Scene::new()
        .await
        .on_azurite()
        .with("MONGODB_URI", &format!("mongodb://{address}/"))
        .with(
            "AZURE_STORAGE_ENDPOINT",
            &format!("http://{address}/devstoreaccount1"),
        )
        .with("HTTP_ADDR", &address.to_string())
        .with("LAKE_TIMEOUT_SECONDS", "5");
    let output = checks(&scene, 1, &["is taken by another program"]);
    expect(&row(&output, "TCP"), &["ok"]);
    expect(&row(&output, "TLS"), &["ok", "off"]);
    expect(&row(&output, "answer"), &["FAIL", "gives no answer"]);
    let of_lake = output.split_once("Lake\n").unwrap().1;
    expect(&row(of_lake, "TLS"), &["ok", "off"]);
    let limit = "did not respond within 5000 ms (LAKE_TIMEOUT_SECONDS)";
    expect(&row(of_lake, "answer"), &["FAIL", limit]);
}
