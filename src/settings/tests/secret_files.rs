//! Secrets that come from files.

use std::path::Path;

use super::*;
use crate::settings::table::setting::Setting;

/// A file with this content, for as long as the test takes.
fn file(content: impl AsRef<[u8]>) -> tempfile::TempPath {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content.as_ref()).unwrap();
    file.into_temp_path()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn secrets() -> impl Iterator<Item = &'static Setting> {
    let all = table::ALL.iter().copied();
    all.filter(|setting| setting.may_be_in_file())
}

#[test]
fn a_file_does_as_well_as_a_variable_wherever_it_is_named() {
    let uri = file("mongodb://u:p@h\n");
    let with_mark = file("\u{feff}mongodb://u:p@h\r\n");
    let lake = [("LAKE_URL", "file:///lake")];
    let line = format!("MONGODB_URI_FILE={}\n", text(&uri));
    for given in [
        Given::of(&lake).and(&[("MONGODB_URI_FILE", text(&uri))]),
        Given::of(&lake).args(&["--mongodb-uri-file", text(&uri)]),
        Given::of(&lake).env_file(&line),
        Given::of(&lake).and(&[("MONGODB_URI_FILE", text(&with_mark))]),
        // Files of settings often carry `NAME=`.
        Given::of(&lake).env_file(&line).and(&[("MONGODB_URI", "")]),
    ] {
        assert_eq!(given.settings().source.uri.reveal(), "mongodb://u:p@h");
    }
    let key = file("a2V5\r\n");
    let given = Given::of(&AZURE).and(&[("AZURE_STORAGE_ACCOUNT_KEY_FILE", text(&key))]);
    match given.settings().lake.location {
        LakeLocation::Azure {
            credential: AzureCredential::SharedKey(key),
            ..
        } => assert_eq!(key.reveal(), "a2V5"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_secret_may_come_from_a_file_and_nothing_else_may() {
    let path = file("cAnArY");
    for setting in secrets() {
        let both = [
            (setting.name, "cAnArYcAnArY"),
            (setting.file_name, text(&path)),
        ];
        let (_, problems) = Given::of(&both).problems();
        let refusal = format!(
            "{}: it is set, and so is {}",
            setting.name, setting.file_name
        );
        assert!(problems.contains(&refusal), "{problems}");
        assert!(!problems.contains("cAnArY"), "{problems}");
    }
    let given = Given::of(&LOCAL).and(&[("BATCH_SIZE_FILE", text(&path))]);
    assert_eq!(given.settings().files.limits.batch_size_changes, 1000);
}

#[test]
fn what_a_file_holds_is_never_shown_but_its_path_is() {
    let path = file("cAnArY");
    let given = Given::of(&[("MONGODB_URI_FILE", text(&path)), LOCAL[1]]);
    let problem = given.problem();
    assert!(problem.starts_with(&format!("MONGODB_URI (from {}): ", text(&path))));
    assert!(!problem.contains("cAnArY"), "{problem}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let large = file(vec![b'x'; 65 * 1024]);
    for (path, what) in [
        (missing.as_path(), "No such file"),
        (folder.path(), "directory"),
        (&large, "larger than 64 KiB"),
    ] {
        let given = Given::of(&AZURE).and(&[("AZURE_STORAGE_ACCOUNT_KEY_FILE", text(path))]);
        let problem = given.problem();
        let start = format!("AZURE_STORAGE_ACCOUNT_KEY_FILE: {}: ", text(path));
        assert!(problem.starts_with(&start), "{problem}");
        assert!(problem.contains(what), "{problem}");
        assert!(
            problem.ends_with("name a file that silt can read and that contains only the value")
        );
    }
    let binary = file([0xff, 0xfe]);
    let given = Given::of(&[("MONGODB_URI_FILE", text(&binary)), LOCAL[1]]);
    assert!(given.problem().contains("not UTF-8"));
    let given = Given::of(&LOCAL).and(&[("HTTP_TOKEN_FILE", " ")]);
    assert!(given.settings().http.token.is_none());
}

#[test]
fn a_missing_uri_file_is_told_once() {
    let given = Given::of(&[("MONGODB_URI_FILE", "/nowhere/uri"), LOCAL[1]]);
    let problem = given.problem();
    assert!(
        problem.starts_with("MONGODB_URI_FILE: /nowhere/uri: "),
        "{problem}"
    );
}
