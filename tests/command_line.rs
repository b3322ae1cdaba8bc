//! What a user meets before anything runs: help, bad settings, servers that can't serve.

use crate::harness::scene::Scene;
use crate::harness::silt::{Settings, run, settings};

#[test]
fn all_bad_settings_are_told_together_with_status_2() {
    let bad = settings([
        ("MONGODB_COLLECTIONS", "users,,users"),
        ("BATCH_SIZE", "many"),
        ("DUMP_SCHEDULE", "61 * * * *"),
        ("TZ", "Atlantis"),
        ("AZURE_STORAGE_ACCOUNT_KEY", "canary-7f3a not base64!"),
    ]);
    let (code, output) = run(&bad, &["--retry-attempts", "-1"]);
    assert_eq!(code, 2, "{output}");
    for name in [
        "MONGODB_URI",
        "MONGODB_COLLECTIONS",
        "BATCH_SIZE=many",
        "DUMP_SCHEDULE",
        "TZ=Atlantis",
        "AZURE_STORAGE_ACCOUNT_KEY",
        "RETRY_ATTEMPTS",
        "AZURE_STORAGE_ACCOUNT_NAME",
    ] {
        assert!(output.contains(name), "{name} is missing in:\n{output}");
    }
    assert!(!output.contains("canary-7f3a"), "{output}");
}

#[test]
fn neither_lake_nor_account_is_an_error() {
    let (code, output) = run(
        &settings([("MONGODB_URI", "mongodb://localhost")]),
        &["run"],
    );
    assert_eq!(code, 2, "{output}");
    assert!(output.contains("LAKE_URL"), "{output}");
}

#[test]
fn help_documents_every_setting() {
    let (code, output) = run(&Settings::new(), &["--help"]);
    assert_eq!(code, 0, "{output}");
    let template = include_str!("../.env.template");
    let names = template.lines().filter_map(|line| {
        let (name, _) = line.trim_start_matches('#').split_once('=')?;
        let is_name = name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        is_name.then_some(name)
    });
    let mut count = 0;
    for name in names {
        count += 1;
        let flag = format!("--{}", name.to_lowercase().replace('_', "-"));
        assert!(
            output.contains(&flag) || output.contains(name),
            "{name}:\n{output}"
        );
    }
    assert!(count > 25, "{count} settings in the template");
}

#[test]
fn the_settings_page_names_every_setting() {
    let template = include_str!("../.env.template");
    let page = include_str!("../docs/settings.md");
    for line in template.lines() {
        let Some((name, _)) = line.trim_start_matches('#').split_once('=') else {
            continue;
        };
        if name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        {
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
    }
}

#[tokio::test]
async fn flags_win_over_the_environment_and_that_over_the_file() {
    let scene = Scene::new().await;
    let file = scene.folder.path().join("settings.env");
    std::fs::write(
        &file,
        "BATCH_SIZE=bad-in-file\nRETRY_ATTEMPTS=bad-in-file\n",
    )
    .unwrap();
    let scene = scene.with("RETRY_ATTEMPTS", "bad-in-environment");
    let arguments = [
        "--env-file",
        file.to_str().unwrap(),
        "--retry-delay-ms",
        "bad-in-flag",
    ];
    let (code, output) = run(&scene.settings, &arguments);
    assert_eq!(code, 2, "{output}");
    for expected in [
        "BATCH_SIZE=bad-in-file",
        "RETRY_ATTEMPTS=bad-in-environment",
        "RETRY_DELAY_MS=bad-in-flag",
    ] {
        assert!(
            output.contains(expected),
            "{expected} is missing in:\n{output}"
        );
    }
}

#[tokio::test]
async fn a_lake_that_cannot_be_written_is_told_with_status_1() {
    let scene = Scene::new().await;
    let file = scene.folder.path().join("file");
    std::fs::write(&file, "no folder").unwrap();
    let scene = scene.with("LAKE_URL", &format!("file://{}/below", file.display()));
    // The message comes with the retries or at once; either way it names the path.
    let mut silt = crate::harness::silt::Silt::start(&scene.settings);
    let line = silt.wait_where("an error", |line| line["error"].is_string());
    let path = file.to_str().unwrap();
    assert!(line["error"].as_str().unwrap().contains(path), "{line}");
}
