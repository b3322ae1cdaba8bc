//! A local disk that is full, that refuses, or whose folders go away: silt says where and what mends it,
//! keeps the changes, and goes on when it is mended. What lies there stays valid all the while.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::Value;

use crate::harness::ledger::{Load, compare, tokens_of};
use crate::harness::rounds::rounds;
use crate::harness::scene::{Scene, changes_of, hour_files};
use crate::harness::silt::{Signal, Silt};
use crate::harness::{at_once, variable};

/// A scene's settings that differ from case to case.
const FORMS: [(&str, &str, &str); 3] = [
    ("json", "none", "mongodb"),
    ("ndjson", "none", "lake"),
    ("json", "gzip", "lake"),
];

async fn scene_of((format, compression, store): (&str, &str, &str)) -> Scene {
    Scene::new()
        .await
        .with("OUTPUT_FORMAT", format)
        .with("COMPRESSION", compression)
        .with("CHECKPOINT_STORE", store)
        .with("BATCH_SIZE", "5")
}

/// Waits for a line that reports an error with all of these words.
fn wait_for_error(silt: &mut Silt, words: &[&str]) {
    silt.wait_where(&format!("an error with {words:?}"), |line| {
        let error = line["error"].as_str().unwrap_or("");
        words.iter().all(|word| error.contains(word))
    });
}

/// Reads all that is there, which panics if some of it isn't valid.
fn assert_valid(scene: &Scene) {
    scene.archived("users");
}

/// Room for all that a load makes, also on a slow machine, in a file and its twin.
const DISK_LEN_BYTES: u64 = 32 * 1024 * 1024;
/// What is left beside it is soon full.
const BALLAST_LEN_BYTES: usize = (32 * 1024 - 424) * 1024;
const FILE_LIMIT_BYTES: u64 = 200 * 1024;
/// Bytes of text in each document.
const TEXT_LEN_BYTES: usize = 2000;

/// A disk that is soon full, of one kind or the other.
enum Narrow {
    /// A file system of its own. A file that isn't silt's takes most of it.
    Disk { holder: Holder, ballast: PathBuf },
    /// A limit of the process, where the system lets nobody make a file system. The error has another
    /// number, and comes at the same places.
    Limit,
}

/// Keeps a small file system there.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

impl Narrow {
    /// One of each kind that the system allows.
    fn all() -> Vec<&'static str> {
        match Self::disk(tempfile::tempdir().unwrap().path()) {
            Some(_) => vec!["disk", "limit"],
            None => vec!["limit"],
        }
    }

    /// A small disk in this folder.
    fn disk(folder: &Path) -> Option<Self> {
        let mut child = Command::new(variable("SILT_TEST_PYTHON"))
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/harness/confined.py"
            ))
            .arg("disk")
            .arg(folder)
            .arg(DISK_LEN_BYTES.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut answer = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut answer).unwrap();
        let seen = PathBuf::from(format!("/proc/{}/root{}", child.id(), folder.display()));
        let holder = Holder(child);
        if answer.trim() != "ready" {
            eprintln!(
                "no disk of the test's own ({}): limits alone",
                answer.trim()
            );
            return None;
        }
        let ballast = seen.join("ballast");
        fs::write(&ballast, vec![1; BALLAST_LEN_BYTES]).unwrap();
        Some(Self::Disk { holder, ballast })
    }

    fn confinement(&self) -> Vec<String> {
        match self {
            Self::Disk { holder, .. } => vec!["--within".to_owned(), holder.0.id().to_string()],
            Self::Limit => vec!["--file-bytes".to_owned(), FILE_LIMIT_BYTES.to_string()],
        }
    }

    /// What silt says when it is full.
    fn words(&self) -> [&'static str; 3] {
        match self {
            Self::Disk { .. } => ["no space left", "/lake/users/", "free some space"],
            Self::Limit => ["File too large", "/lake/users/", "MAX_FILE_SIZE"],
        }
    }

    /// Makes room for all that is to come.
    fn widen(&self, silt: &Silt) {
        match self {
            Self::Disk { ballast, .. } => fs::remove_file(ballast).unwrap(),
            Self::Limit => {
                let unlimited = Rlimit {
                    current: None,
                    maximum: None,
                };
                prlimit(Some(silt.pid()), Resource::Fsize, unlimited).unwrap();
            }
        }
    }
}

#[test]
fn a_full_disk_is_told_and_silt_goes_on_by_itself_when_there_is_room() {
    let kinds = Narrow::all();
    for round in rounds("a full disk", 1, 20) {
        let cases = kinds
            .iter()
            .flat_map(|kind| FORMS.map(|form| (*kind, form)));
        at_once(cases, async |(kind, form)| {
            fills_up(kind, form, round.random()).await;
        });
    }
}

async fn fills_up(kind: &str, form: (&str, &str, &str), mut random: fastrand::Rng) {
    let scene = scene_of(form).await;
    let (scene, narrow) = match kind {
        "disk" => {
            let folder = scene.folder.path().to_owned();
            let narrow = Narrow::disk(&folder).unwrap();
            let Narrow::Disk { ballast, .. } = &narrow else {
                unreachable!()
            };
            let seen = ballast.parent().unwrap().to_owned();
            (scene.with_lake_in(&folder, &seen), narrow)
        }
        _ => (scene, Narrow::Limit),
    };
    let start = || Silt::confined(&narrow.confinement(), &scene.settings);
    let mut silt = start().once_watching(&["users"]);
    let load = Load::of(&scene, "users", TEXT_LEN_BYTES, Duration::from_millis(2)).await;
    wait_for_error(&mut silt, &narrow.words());
    assert_valid(&scene);
    if random.bool() {
        silt.kill();
        silt = start().once_watching(&["users"]);
        wait_for_error(&mut silt, &narrow.words());
        assert_valid(&scene);
    }
    narrow.widen(&silt);
    silt.wait_for("recovered");
    load.end().await.verify(&scene, silt).await;
}

/// What is taken from silt.
#[derive(Clone, Copy, Debug)]
enum Right {
    /// To make or rename files in the collection's folder.
    WriteFolder,
    /// To make a folder for a collection.
    WriteRoot,
    /// Even to look into the folder.
    SeeFolder,
    /// To save a checkpoint in the lake.
    WriteCheckpoints,
}

#[test]
fn a_lost_permission_is_told_and_silt_goes_on_when_it_has_it_again() {
    let rights = [
        Right::WriteFolder,
        Right::WriteRoot,
        Right::SeeFolder,
        Right::WriteCheckpoints,
    ];
    for round in rounds("a lost permission", 1, 20) {
        at_once(rights, async |right| {
            let mut random = round.random();
            let scene = scene_of(FORMS[random.usize(1..FORMS.len())]).await;
            loses(&scene, right, random).await;
        });
    }
}

async fn loses(scene: &Scene, right: Right, mut random: fastrand::Rng) {
    let start = || Silt::confined(&["--bound-by-modes".to_owned()], &scene.settings);
    let mut silt = start().once_watching(&["users"]);
    let (path, mode) = match right {
        Right::WriteFolder => (scene.lake().join("users"), 0o555),
        Right::SeeFolder => (scene.lake().join("users"), 0o000),
        Right::WriteRoot => (scene.lake(), 0o555),
        Right::WriteCheckpoints => (scene.lake().join("_silt/checkpoints"), 0o555),
    };
    // It meets a collection without a folder, or one with files in it.
    let is_new = matches!(right, Right::WriteRoot);
    if is_new {
        set_mode(&path, mode);
    }
    let load = Load::begin(scene, Duration::from_millis(2)).await;
    if !is_new {
        silt.wait_for("flushed");
        set_mode(&path, mode);
    }
    let words = [
        path.to_str().unwrap(),
        "Permission denied",
        "permission to write there",
    ];
    wait_for_error(&mut silt, &words);
    // At the start a root that can't be written is hopeless, and so it is told with status 1.
    if random.bool() && !is_new {
        silt.kill();
        silt = start();
        // The start reads first.
        let right = match right {
            Right::SeeFolder => "permission to read there",
            _ => words[2],
        };
        wait_for_error(&mut silt, &[words[0], words[1], right]);
    }
    set_mode(&path, 0o755);
    silt.signal(Signal::USR1);
    silt.wait_for("recovered");
    load.end().await.verify(scene, silt).await;
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What goes away, and comes back.
#[derive(Clone, Copy, Debug)]
enum Gone {
    /// The lake's folder, and it is put back.
    Root,
    /// The lake's folder, and an empty one is made.
    RootForGood,
    /// The collection's folder; nothing is put back.
    Folder,
    /// The collection's folder, and a file is in its place for a while.
    FolderBehindFile,
    /// The newest hour file; nothing is put back.
    File,
}

#[test]
fn folders_that_go_away_are_told_and_what_comes_next_is_archived() {
    let all = [
        Gone::Root,
        Gone::RootForGood,
        Gone::Folder,
        Gone::FolderBehindFile,
        Gone::File,
    ];
    for round in rounds("a folder that goes away", 1, 20) {
        at_once(all, async |gone| {
            let form = FORMS[round.random().usize(..FORMS.len())];
            goes_away(gone, form).await;
        });
    }
}

async fn goes_away(gone: Gone, form: (&str, &str, &str)) {
    // With the root gone for good, a checkpoint in it would be gone as well.
    let form = match gone {
        Gone::RootForGood => (form.0, form.1, "mongodb"),
        _ => form,
    };
    let scene = scene_of(form).await;
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let load = Load::begin(&scene, Duration::from_millis(2)).await;
    silt.wait_for("flushed");
    silt.wait_for("flushed");
    let (lake, folder) = (scene.lake(), scene.lake().join("users"));
    let away = scene.folder.path().join("away");
    // What the operator took away and keeps.
    let mut kept = Vec::new();
    match gone {
        Gone::Root => {
            fs::rename(&lake, &away).unwrap();
            wait_for_error(&mut silt, &[lake.to_str().unwrap(), "does not exist"]);
            fs::rename(&away, &lake).unwrap();
            silt.signal(Signal::USR1);
        }
        Gone::RootForGood => {
            fs::rename(&lake, &away).unwrap();
            wait_for_error(&mut silt, &[lake.to_str().unwrap(), "does not exist"]);
            fs::create_dir(&lake).unwrap();
            silt.signal(Signal::USR1);
            kept = archived_in(&away.join("users"));
        }
        Gone::Folder => {
            fs::rename(&folder, &away).unwrap();
            silt.wait_for("reloading checkpoint and tail");
            kept = archived_in(&away);
        }
        Gone::FolderBehindFile => {
            fs::rename(&folder, &away).unwrap();
            // silt may be quicker than that.
            while fs::File::create_new(&folder).is_err() {
                kept.extend(archived_in(&folder));
                fs::remove_dir_all(&folder).unwrap();
            }
            wait_for_error(
                &mut silt,
                &[folder.to_str().unwrap(), "Not a directory", "move it"],
            );
            fs::remove_file(&folder).unwrap();
            kept = archived_in(&away).into_iter().chain(kept).collect();
        }
        Gone::File => {
            let newest = scene.files("users").pop().unwrap();
            fs::rename(&newest, &away).unwrap();
            silt.wait_for("reloading checkpoint and tail");
            let name = scene.folder.path().join(newest.file_name().unwrap());
            fs::rename(&away, &name).unwrap();
            kept = changes_of(&name);
        }
    }
    silt.wait_for("flushed");
    let ledger = load.end().await;
    let expected = tokens_of(
        &ledger
            .changes(&scene.direct_uri, scene.database.name())
            .await,
    );
    let all = |scene: &Scene| [kept.clone(), scene.archived("users")].concat();
    scene
        .flush_until(&mut silt, "users", expected.len() - kept.len())
        .await;
    silt.drain();
    compare(&expected, &all(&scene));
}

fn archived_in(folder: &Path) -> Vec<Value> {
    hour_files(folder)
        .iter()
        .flat_map(|path| changes_of(path))
        .collect()
}
