//! Closed hours: each record says what the files say, as a program without silt recomputes it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use bson::doc;
use futures::TryStreamExt as _;
use serde_json::Value;
use silt::lake::{Lake, Walked};

use crate::harness::asks::{get, status_when};
use crate::harness::hours::turn_hour;
use crate::harness::rounds::rounds;
use crate::harness::scene::{Scene, insert};
use crate::harness::servers::Server;
use crate::harness::silt::{Silt, WAIT_LIMIT};
use crate::harness::{at_once, python};

const RECOMPUTE: &str = include_str!("recompute.py");

/// Settings with which a position is saved soon.
fn quick(scene: Scene) -> Scene {
    scene
        .with("IDLE_CHECKPOINT_SECONDS", "1")
        .with("RETRY_DELAY_MS", "100")
        .with("LOG_LEVEL", "debug")
}

/// What the records of a collection say, after they were recomputed from the files.
async fn recomputed(scene: &Scene, collection: &str) -> Value {
    let copy = tempfile::tempdir().unwrap();
    let lake = local_copy(scene, copy.path()).await;
    let folder = lake.join(collection);
    serde_json::from_str(&python(RECOMPUTE, &[folder.to_str().unwrap()])).unwrap()
}

/// The lake as a folder.
async fn local_copy(scene: &Scene, copy: &Path) -> PathBuf {
    if scene.settings.contains_key("LAKE_URL") {
        return scene.lake();
    }
    let lake = scene.azurite();
    let mut walked = lake.walk("");
    while let Some(walked) = walked.try_next().await.unwrap() {
        let Walked::File(file) = walked else { continue };
        // Azurite may list what has blocks and was never committed.
        let Some(object) = lake.get(&file.path).await.unwrap() else {
            continue;
        };
        let folder = copy.join(&file.path.folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(&file.path.name), object.bytes).unwrap();
    }
    copy.to_owned()
}

/// Waits until closed hours hold so many changes since the start.
fn wait_for_closed(silt: &mut Silt, changes: u64) {
    silt.searched = 0;
    let mut closed = 0;
    while closed < changes {
        let line = silt.wait_for("closed an hour");
        closed += line["changes"].as_u64().unwrap();
    }
    wait_for_latest(silt);
}

/// Waits until `latest.json` names the record that was written last.
fn wait_for_latest(silt: &mut Silt) {
    let hours = silt
        .log
        .iter()
        .filter(|line| line["message"] == "closed an hour");
    let newest = hours.filter_map(|line| line["hour"].as_str()).max();
    let record = format!("{}.json", newest.unwrap());
    silt.searched = 0;
    silt.wait_where("latest.json", |line| {
        line["message"] == "moved latest.json on" && line["record"].as_str() >= Some(&record)
    });
}

#[test]
fn each_hour_is_closed_once_its_end_has_passed() {
    let mongod = Server::mongod();
    let cases = [
        ("json", "none", "local"),
        ("json", "gzip", "azurite"),
        ("ndjson", "none", "azurite"),
        ("ndjson", "gzip", "local"),
    ];
    at_once(cases, async |(format, compression, lake)| {
        let scene = quick(Scene::on(&mongod.uri()).await)
            .with("OUTPUT_FORMAT", format)
            .with("COMPRESSION", compression)
            .with("BATCH_SIZE", "7")
            .with("MAX_FILE_COMMITS", "2");
        let scene = match lake {
            "local" => scene,
            _ => scene.on_azurite(),
        };
        let mut silt = Silt::watching(&scene.settings, &["users"]);
        for turn in 0..3 {
            insert(&scene.users(), turn * 40..turn * 40 + 40).await;
            turn_hour(&scene.client, 0).await;
        }
        insert(&scene.users(), 120..121).await;
        scene.flush_until(&mut silt, "users", 121).await;
        wait_for_closed(&mut silt, 120);
        silt.drain();
        let found = recomputed(&scene, "users").await;
        // Other scenes turn the same server's hour: that of the last change may be closed as well.
        assert!((120..=121).contains(&found["changes"].as_u64().unwrap()));
        let settings = &found["records"][0]["settings"];
        assert_eq!(settings["full_document"], "updateLookup");
        assert_eq!(settings["filters"], Value::Array(Vec::new()));
    });
}

/// Inserts so many documents into each of so many hours, and one more into the hour after them.
async fn fill(scene: &Scene, hours: i32, documents: i32) {
    for hour in 0..hours {
        insert(&scene.users(), hour * documents..(hour + 1) * documents).await;
        turn_hour(&scene.client, 0).await;
    }
    insert(&scene.users(), hours * documents..hours * documents + 1).await;
}

/// Archives this without closing hours.
async fn archive(scene: &Scene, hours: i32, documents: i32) {
    let mut settings = scene.settings.clone();
    settings.insert("CLOSE_HOURS".to_owned(), "off".to_owned());
    let mut silt = Silt::watching(&settings, &["users"]);
    fill(scene, hours, documents).await;
    let all = usize::try_from(hours * documents + 1).unwrap();
    scene.flush_until(&mut silt, "users", all).await;
    silt.drain();
    assert!(!scene.lake().join("users/_closed").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backlog_is_closed_newest_first_and_linked_to_what_comes_after() {
    let mongod = Server::mongod();
    let scene = quick(Scene::on(&mongod.uri()).await);
    archive(&scene, 3, 5).await;
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    wait_for_closed(&mut silt, 15);
    let hours: Vec<String> = silt
        .log
        .iter()
        .filter(|line| line["message"] == "closed an hour")
        .map(|line| line["hour"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        hours.is_sorted_by(|newer, older| newer > older),
        "{hours:?}"
    );
    turn_hour(&scene.client, 0).await;
    insert(&scene.users(), 16..17).await;
    scene.flush_until(&mut silt, "users", 17).await;
    wait_for_closed(&mut silt, 16);
    silt.drain();
    let found = recomputed(&scene, "users").await;
    let records = found["records"].as_array().unwrap();
    let links: Vec<(bool, bool)> = records
        .iter()
        .map(|record| (record["previous"].is_object(), record["next"].is_object()))
        .collect();
    let (backlog, first, later) = ((false, true), (false, false), (true, false));
    assert_eq!(links, [backlog, backlog, first, later]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_hour_stays_open_and_says_why_until_it_is_repaired() {
    let mongod = Server::mongod();
    let scene = quick(Scene::on(&mongod.uri()).await)
        .with("HTTP_ADDR", "127.0.0.1:0")
        .with("OUTPUT_FORMAT", "ndjson");
    archive(&scene, 1, 5).await;
    let file = &scene.files("users")[0];
    let whole = std::fs::read_to_string(file).unwrap();
    // A change that is there twice.
    let line = whole.lines().next().unwrap();
    std::fs::write(file, format!("{line}\n{whole}")).unwrap();
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let trouble = |status: &Value| status["closing"][0]["trouble"].clone();
    let status = status_when(&mut silt, |status| trouble(status).is_string());
    let why = trouble(&status);
    let why = why.as_str().unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(why.contains(name) && why.contains("in line 2"), "{why}");
    assert!(why.contains("twice") && why.contains("restore it"), "{why}");
    assert_eq!(status["ready"], true, "changes are archived as before");
    let metrics = get(&mut silt, "/metrics").body;
    let line = metrics
        .lines()
        .find(|line| line.starts_with("silt_closing_trouble{"));
    assert!(line.unwrap().ends_with(" 1"), "{metrics}");
    std::fs::write(file, whole).unwrap();
    silt.drain();
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    wait_for_closed(&mut silt, 5);
    let status = status_when(&mut silt, |status| {
        status["closing"][0]["complete_until"].is_string()
    });
    assert!(trouble(&status).is_null());
    silt.drain();
    recomputed(&scene, "users").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_closed_hour_is_refused() {
    let mongod = Server::mongod();
    let scene = quick(Scene::on(&mongod.uri()).await).with("RETRY_ATTEMPTS", "2");
    let filtered = |scene: &Scene| {
        let mut settings = scene.settings.clone();
        settings.insert("OPERATION_TYPES".to_owned(), "insert".to_owned());
        settings
    };
    let mut silt = Silt::watching(&filtered(&scene), &["users"]);
    let old = scene.checkpoint().await.unwrap();
    insert(&scene.users(), 0..1).await;
    let deleted = scene.users().delete_one(doc! {}).await.unwrap();
    assert_eq!(deleted.deleted_count, 1);
    turn_hour(&scene.client, 0).await;
    insert(&scene.users(), 1..2).await;
    scene.flush_until(&mut silt, "users", 2).await;
    wait_for_closed(&mut silt, 1);
    silt.drain();
    // Somebody restores a checkpoint, deletes the newer file, and wants the deletes, too.
    let [closed, open] = &scene.files("users")[..] else {
        panic!("two files")
    };
    let before = std::fs::read(closed).unwrap();
    std::fs::remove_file(open).unwrap();
    let id = doc! { "_id": old.get("_id").unwrap() };
    scene.checkpoints().replace_one(id, old).await.unwrap();
    let mut silt = Silt::start(&scene.settings);
    let halted = silt.wait_where("halted", |line| {
        line["message"].as_str().unwrap().starts_with("halted")
    });
    let error = halted["error"].as_str().unwrap();
    assert!(
        error.contains("is closed") && error.contains("START_AT"),
        "{error}"
    );
    silt.kill();
    assert_eq!(std::fs::read(closed).unwrap(), before);
    assert_eq!(scene.files("users").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_collection_is_complete_without_a_file() {
    let mongod = Server::mongod();
    let scene = quick(Scene::on(&mongod.uri()).await);
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    // The position is saved within this hour first.
    let other = scene.database.collection("others");
    insert(&other, 0..1).await;
    silt.searched = 0;
    silt.wait_for("looks for hours to close");
    turn_hour(&scene.client, 0).await;
    insert(&other, 1..2).await;
    silt.wait_for("moved latest.json on");
    silt.drain();
    let found = recomputed(&scene, "users").await;
    assert_eq!(found["hours"], Value::Array(Vec::new()));
    assert!(found["record"].is_null());
    assert!(found["from"].as_str() < found["until"].as_str(), "{found}");
    assert!(scene.files("users").is_empty());
}

#[test]
fn kills_and_rivals_close_each_hour_once() {
    let mongod = Server::mongod();
    for round in rounds("hours that close", 2, 20) {
        at_once(["local", "azurite"], async |lake| {
            let scene = quick(Scene::on(&mongod.uri()).await).with("BATCH_SIZE", "5");
            let scene = match lake {
                "local" => scene,
                _ => scene.on_azurite(),
            };
            killed(&scene, round.random()).await;
        });
    }
}

/// Hours turn while silt is killed between any two steps, and two run at once.
async fn killed(scene: &Scene, mut random: fastrand::Rng) {
    const TURNS: i32 = 6;
    let mut running: Vec<Silt> = Vec::new();
    for turn in 0..TURNS {
        running.resize_with(random.usize(1..=2), || Silt::start(&scene.settings));
        if turn == 0 {
            running[0].wait_for("watching");
        }
        let before = state(scene).await;
        insert(&scene.users(), turn * 10..turn * 10 + 10).await;
        turn_hour(&scene.client, random.u32(0..3)).await;
        // At least a flush comes; or it is killed at once.
        let begun = Instant::now();
        while random.u8(0..20) != 0 && state(scene).await == before {
            assert!(begun.elapsed() < WAIT_LIMIT, "{}", running[0].text());
        }
        running.remove(0).kill();
    }
    drop(running);
    insert(&scene.users(), TURNS * 10..TURNS * 10 + 1).await;
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let made = usize::try_from(TURNS * 10 + 1).unwrap();
    scene.flush_until(&mut silt, "users", made).await;
    // Whoever closed them.
    let all = u64::try_from(TURNS * 10).unwrap();
    let begun = Instant::now();
    while recomputed(scene, "users").await["changes"].as_u64() < Some(all) {
        assert!(begun.elapsed() < WAIT_LIMIT, "{}", silt.text());
        silt.hear();
    }
    silt.drain();
    recomputed(scene, "users").await;
}

/// The files of the collection and their lengths.
async fn state(scene: &Scene) -> Vec<(String, u64)> {
    let lake = scene.any_lake();
    let mut walked = lake.walk("users");
    let mut files = Vec::new();
    while let Some(walked) = walked.try_next().await.unwrap() {
        if let Walked::File(file) = walked {
            files.push((file.path.to_string(), file.len_bytes));
        }
    }
    files.sort();
    files
}
