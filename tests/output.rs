//! Output that can't be written, and readers that leave.

use std::fs::File;

use crate::harness::asks::address;
use crate::harness::scene::Scene;
use crate::harness::silt::{Settings, Silt, run_into};

/// Every command that prints, in the middle of its life.
const COMMANDS: [&[&str]; 8] = [
    &["--help"],
    &["--version"],
    &["ls", "--help"],
    &["ls"],
    &["ls", "--json"],
    &["check"],
    &["flush"],
    &["healthcheck"],
];

/// A silt that runs, and the settings to ask it with.
async fn running() -> (Scene, Silt, Settings) {
    let scene = Scene::new()
        .await
        .with("HTTP_ADDR", "127.0.0.1:0")
        .with("HTTP_TOKEN", "a-token-of-the-tests");
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let mut settings = scene.settings.clone();
    settings.insert("HTTP_ADDR".to_owned(), address(&mut silt));
    (scene, silt, settings)
}

#[tokio::test]
async fn output_that_cannot_be_written_is_an_error() {
    let (_scene, _silt, settings) = running().await;
    for arguments in COMMANDS {
        for (output, error) in [
            (
                File::options().write(true).open("/dev/full"),
                "No space left on device (os error 28)",
            ),
            (File::open("/dev/null"), "Bad file descriptor (os error 9)"),
        ] {
            let (code, errors) = run_into(output.unwrap(), &settings, arguments);
            assert_eq!(
                (code, errors),
                (1, format!("can't write to the standard output: {error}\n")),
                "{arguments:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_reader_that_leaves_is_none() {
    let (_scene, _silt, settings) = running().await;
    for arguments in COMMANDS {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (code, errors) = run_into(writer, &settings, arguments);
        assert_eq!((code, errors), (0, String::new()), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_failure_stays_one_whoever_reads() {
    let scene = Scene::new().await.with("LAKE_URL", "file:///dev/null/lake");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let (code, errors) = run_into(writer, &scene.settings, &["check"]);
    assert_eq!((code, errors), (1, String::new()));
}
