//! `silt ls`: what it says of a lake, against what was written.

use std::sync::Arc;

use serde_json::Value;
use silt::lake::{self, Base, Lake, LakePath, Version};
use silt_core::file::hour_file::HourFile;

use crate::harness::changes::{commit, name, origin};
use crate::harness::http::{Answer, Kind};
use crate::harness::http_proxy::{Fault, HttpProxy, Which};
use crate::harness::scene::{Scene, insert};
use crate::harness::servers::{AZURITE_ACCOUNT, AZURITE_KEY, Place};
use crate::harness::silt::{
    Settings, Silt, run, run_apart, run_bound_by_modes, run_on_terminal, settings,
};
use crate::harness::variable;

/// What silt must be told to find the place.
fn settings_of(place: &Place) -> Settings {
    match place {
        Place::Local(folder) => {
            let url = format!("file://{}/lake", folder.path().display());
            settings([("LAKE_URL", &url)])
        }
        Place::Azurite { filesystem } => {
            let endpoint = variable("SILT_TEST_AZURITE");
            let host = format!("{AZURITE_ACCOUNT}.dfs.core.windows.net");
            let url = format!("abfss://{filesystem}@{host}/pre%20fix/deep");
            settings([
                ("LAKE_URL", &url),
                ("AZURE_STORAGE_ENDPOINT", &endpoint),
                ("AZURE_STORAGE_ACCOUNT_NAME", AZURITE_ACCOUNT),
                ("AZURE_STORAGE_ACCOUNT_KEY", AZURITE_KEY),
            ])
        }
    }
}

/// Writes so many commits of three changes each.
async fn write(lake: &dyn Lake, collection: &str, extension: &str, commits: u32) -> HourFile {
    let origin = origin(collection);
    let mut state: Option<(HourFile, Version)> = None;
    for number in 0..commits {
        let known = state.as_ref().map(|(file, _)| file);
        let commit = commit(
            &origin,
            known,
            name(extension),
            number * 3 + 1..number * 3 + 4,
        );
        let path = lake::tail::path(&origin, commit.file.name);
        let base = state.as_ref().map(|(file, version)| Base {
            version,
            head_len_bytes: file.head_len_bytes,
            foot_len_bytes: file.foot_len_bytes,
        });
        let version = lake.append(&path, base, &commit.addition).await.unwrap();
        state = Some((commit.file, version));
    }
    state.unwrap().0
}

async fn put(lake: &dyn Lake, folder: &str, name: &str, bytes: &[u8]) {
    let path = LakePath {
        folder: folder.to_owned(),
        name: name.to_owned(),
    };
    lake.put(&path, None, bytes.to_vec()).await.unwrap();
}

fn listed(settings: &Settings, arguments: &[&str]) -> (i32, Value) {
    let (code, output) = run(settings, &[&["ls", "--json"], arguments].concat());
    let listing = serde_json::from_str(&output).unwrap_or_else(|_| panic!("no JSON: {output}"));
    (code, listing)
}

#[tokio::test]
async fn it_says_what_was_written_in_every_format() {
    for place in Place::all() {
        let lake = place.prepared().await;
        let settings = settings_of(&place);
        let extensions = ["json", "json.gz", "ndjson", "ndjson.gz"];
        for extension in extensions {
            let file = write(lake.as_ref(), &format!("of/{extension}"), extension, 4).await;
            let is_plain = extension == "ndjson";
            for arguments in [&[][..], &["--count"]] {
                let (code, listing) = listed(&settings, arguments);
                assert_eq!(code, 0, "{listing}");
                let all = listing["collections"].as_array().unwrap();
                let of = |one: &&Value| one["collection"] == format!("of/{extension}");
                let found = all.iter().find(of).unwrap();
                assert_eq!(
                    found["database"],
                    if is_plain || extension == "ndjson.gz" {
                        Value::Null
                    } else {
                        "mydb".into()
                    }
                );
                let knows = !is_plain || !arguments.is_empty();
                assert_eq!(
                    found["changes"],
                    if knows { 12.into() } else { Value::Null }
                );
                let entry = &found["files"][0];
                assert_eq!(entry["name"], file.name.to_string());
                assert_eq!(entry["bytes"], file.len_bytes);
                assert_eq!(entry["hour"], "2024-01-15-14");
                assert_eq!(entry["format"], extension);
                assert_eq!(
                    entry["commits"],
                    if is_plain { Value::Null } else { 4.into() }
                );
                assert_eq!(entry["first_cluster_time"]["$timestamp"]["i"], 1);
                assert_eq!(entry["last_cluster_time"]["$timestamp"]["i"], 12);
                assert_eq!(entry["last_at"], "2024-01-15T14:00:00.000Z");
            }
        }
        let (_, listing) = listed(&settings, &["--count"]);
        assert_eq!(listing["total"]["changes"], 48);
        assert_eq!(listing["total"]["file_count"], 4);
        assert_eq!(listing["total"]["hours"], 1);
        let (code, one) = listed(&settings, &["of/json"]);
        assert_eq!((code, one["collections"].as_array().unwrap().len()), (0, 1));
    }
}

#[tokio::test]
async fn damage_gaps_and_others_are_told() {
    for place in Place::all() {
        let lake = place.prepared().await;
        let settings = settings_of(&place);
        write(lake.as_ref(), "users", "json", 2).await;
        let gap = br#"{"from":"2024-01-15T10:00:00.000Z","until":"2024-01-15T12:30:00.000Z","seconds":9000}"#;
        put(
            lake.as_ref(),
            "users/_gaps",
            "2024-01-15-10-00-00.json",
            gap,
        )
        .await;
        put(lake.as_ref(), "users", "notes.txt", b"other").await;
        put(lake.as_ref(), "_silt/checkpoints", "mydb.users.json", b"{}").await;
        let (code, output) = run(&settings, &["ls"]);
        assert_eq!(code, 0, "{output}");
        for words in [
            "users           1       0      1        6",
            "from 2024-01-15T10:00:00.000Z until 2024-01-15T12:30:00.000Z (2 h 30 min)",
            "1 other file, which isn't silt's",
        ] {
            assert!(output.contains(words), "{words:?} is missing in:\n{output}");
        }
        assert!(!output.contains("2024-01-15-14.json"), "{output}");
        for arguments in [&["ls", "users"], &["ls", "--files"]] {
            let (_, output) = run(&settings, arguments);
            assert!(output.contains("  2024-01-15-14.json"), "{output}");
        }

        put(lake.as_ref(), "users", "2024-01-15-15.json", b"{\"half\":").await;
        put(lake.as_ref(), "users/_gaps", "x.json", b"no").await;
        // Changes of another collection.
        let other = write(lake.as_ref(), "orders", "json", 1).await;
        let path = lake::tail::path(&origin("orders"), other.name);
        let bytes = lake.get(&path).await.unwrap().unwrap().bytes;
        put(lake.as_ref(), "moved", "2024-01-15-14.json", &bytes).await;
        let (code, listing) = listed(&settings, &[]);
        assert_eq!(code, 1, "{listing}");
        let damaged: Vec<&str> = listing["damaged"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["path"].as_str().unwrap())
            .collect();
        let expected = [
            "moved/2024-01-15-14.json",
            "users/2024-01-15-15.json",
            "users/_gaps/x.json",
        ];
        assert_eq!(damaged, expected);
        let gaps = &listing["collections"][1]["gaps"];
        assert_eq!(gaps[0]["seconds"], 9000);

        let (code, output) = run(&settings, &["ls", "nobody"]);
        assert_eq!(code, 1, "{output}");
        assert!(
            output.contains("nobody: the lake holds nothing of it"),
            "{output}"
        );
    }
}

#[tokio::test]
async fn a_lake_that_is_not_there_is_told() {
    for place in Place::all() {
        let (code, output) = run(&settings_of(&place), &["ls"]);
        assert_eq!(code, 1, "{output}");
        assert!(output.contains("does not exist"), "{output}");
    }
    let (code, output) = run(&Settings::new(), &["ls"]);
    assert_eq!(code, 2, "{output}");
    assert!(
        output.contains("LAKE_URL") && !output.contains("MONGODB_URI"),
        "{output}"
    );
}

#[tokio::test]
async fn an_error_is_no_listing_and_goes_to_the_standard_error() {
    for place in Place::all() {
        for arguments in [&["ls", "--json"][..], &["ls"]] {
            let (code, listing, told) = run_apart(&settings_of(&place), arguments);
            assert_eq!((code, listing.as_str()), (1, ""), "{told}");
            assert!(told.contains("does not exist"), "{told}");
        }
    }
}

#[tokio::test]
async fn a_folder_that_may_not_be_read_is_told_and_the_rest_is_listed() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::all().into_iter().next().unwrap();
    let Place::Local(folder) = &place else {
        panic!("the first is local")
    };
    let lake = place.prepared().await;
    write(lake.as_ref(), "users", "json", 2).await;
    let settings = settings_of(&place);
    for (name, status) in [("lost+found", 0), ("orders", 1)] {
        let path = folder.path().join("lake").join(name);
        std::fs::create_dir(&path).unwrap();
        let set = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        set(0o000);
        let (code, output) = run_bound_by_modes(&settings, &["ls"]);
        let (_, json) = run_bound_by_modes(&settings, &["ls", "--json"]);
        let (named_code, named) = run_bound_by_modes(&settings, &["ls", name]);
        set(0o755);
        std::fs::remove_dir(&path).unwrap();
        assert_eq!(code, status, "{output}");
        assert!(output.contains("users           1"), "{output}");
        let told = format!("not readable: {name}: ");
        assert!(output.contains(&told), "{output}");
        let listing: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(listing["unreadable"][0]["path"], name);
        assert_eq!(named_code, 1, "{named}");
        assert!(named.contains("permission to read there"), "{named}");
    }
}

#[tokio::test]
async fn a_page_that_fails_is_asked_for_again() {
    let scene = Scene::new().await.on_azurite();
    scene.azurite().prepare().await.unwrap();
    write(&scene.azurite(), "users", "json", 2).await;
    let proxy = HttpProxy::new(&scene.direct_lake);
    let settings = scene.settings_behind(&proxy);
    let busy = || Fault::Answer(Answer::new(503, "ServerBusy"));
    proxy.fail(Which::nth(Kind::List, 1), busy());
    proxy.fail(Which::nth(Kind::List, 2), Fault::Reset);
    let (code, listing) = listed(&settings, &[]);
    assert_eq!((code, &listing["total"]["changes"]), (0, &6.into()));
    proxy.fail(Which::every(Kind::List), busy());
    let (code, output) = run(&settings, &["ls"]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("503 ServerBusy"), "{output}");
}

#[tokio::test]
async fn it_may_run_beside_a_silt_at_work() {
    for scene in [Scene::new().await, Scene::new().await.on_azurite()] {
        let scene = scene.with("BATCH_SIZE", "5");
        let mut silt = Silt::watching(&scene.settings, &["users"]);
        for round in 0..6 {
            insert(&scene.users(), round * 20..round * 20 + 20).await;
            let (code, listing) = listed(&scene.settings, &[]);
            assert_eq!(code, 0, "{listing}");
        }
        scene.flush_until(&mut silt, "users", 120).await;
        let (_, listing) = listed(&scene.settings, &[]);
        assert_eq!(listing["total"]["changes"], 120, "{listing}");
        assert_eq!(listing["collections"][0]["database"], scene.database.name());
        silt.drain();
    }
}

#[tokio::test]
async fn many_files_are_all_counted_and_progress_is_shown_on_a_terminal_alone() {
    let place = Place::all().into_iter().next().unwrap();
    let lake: Arc<dyn Lake> = place.prepared().await;
    let Place::Local(folder) = &place else {
        panic!("the first is local")
    };
    for collection in 0..40 {
        let file = write(lake.as_ref(), &format!("c{collection}"), "json.gz", 1).await;
        let folder = folder.path().join(format!("lake/c{collection}"));
        for hour in 0..50 {
            let copy = format!("2023-02-{:02}-{:02}.json.gz", hour / 24 + 1, hour % 24);
            std::fs::copy(folder.join(file.name.to_string()), folder.join(copy)).unwrap();
        }
    }
    let settings = settings_of(&place);
    let (code, listing) = listed(&settings, &[]);
    assert_eq!(code, 0, "{}", listing["damaged"]);
    assert_eq!(listing["total"]["file_count"], 40 * 51);
    assert_eq!(listing["total"]["changes"], 40 * 51 * 3);
    assert_eq!(listing["total"]["hours"], 51);
    let (_, plain) = run(&settings, &["ls"]);
    assert!(
        !plain.contains("files read") && !plain.contains('\r'),
        "{plain}"
    );
    let shown = run_on_terminal(&settings, &["ls"]);
    assert!(
        shown.contains("\r\u{1b}[K2000 files read\r\u{1b}[K"),
        "{shown}"
    );
}
