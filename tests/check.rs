//! `silt check` against real servers, as a user meets it.

use bson::{Document, doc};
use mongodb::Client;
use silt::archive::position::{Checkpoint, ClusterTime, Position};
use silt::checkpoint::{Checkpoints as _, FeedId, MongoCheckpoints};
use silt::lake::Lake as _;

use crate::harness::scene::{Scene, insert};
use crate::harness::servers::{AZURITE_ACCOUNT, AZURITE_KEY, Server, azurite_at, deployment};
use crate::harness::silt::{Silt, run, run_bound_by_modes, run_on_terminal};
use crate::harness::{python, unique, variable};

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
    let mends = lines.take_while(|line| line.trim_start().starts_with("mend:"));
    mends.fold(line.to_owned(), |row, mend| row + "\n" + mend)
}

/// A user of a server with logins: what it may do, and its connection string.
async fn user(server: &Server, name: &str, privileges: Vec<Document>) -> String {
    let client = Client::with_uri_str(server.uri()).await.unwrap();
    let admin = client.database("admin");
    let role = format!("role-{name}");
    admin
        .run_command(doc! { "createRole": &role, "privileges": privileges, "roles": [] })
        .await
        .unwrap();
    admin
        .run_command(doc! { "createUser": name, "pwd": "canary-5e1f", "roles": [role] })
        .await
        .unwrap();
    server
        .uri()
        .replace("root:root@", &format!("{name}:canary-5e1f@"))
}

fn may(database: &str, actions: &[&str]) -> Document {
    doc! { "resource": { "db": database, "collection": "" }, "actions": actions }
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
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    insert(&scene.users(), 0..3).await;
    scene.flush_until(&mut silt, "users", 3).await;
    let address = silt.log.iter().find_map(|line| line["address"].as_str());
    let scene = scene.with("HTTP_ADDR", &address.unwrap().to_owned());
    let output = checks(&scene, 0, &["by a silt that runs"]);
    assert!(row(&output, "users").contains("there"), "{output}");
    let checkpoint = row(&output, "users checkpoint");
    assert!(checkpoint.contains("the oplog holds it"), "{output}");
    insert(&scene.users(), 3..6).await;
    scene.flush_until(&mut silt, "users", 6).await;
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
async fn a_privilege_that_is_missing_is_named_and_its_mend_mends() {
    let server = Server::mongod_with(&["--auth"]);
    let root = Client::with_uri_str(server.uri()).await.unwrap();
    let write = &["find", "insert", "update", "remove"];
    for (name, on_data, on_meta, what, missing) in [
        (
            "no-stream",
            &["find"][..],
            &write[..],
            "users stream",
            "changeStream on DB.users is missing",
        ),
        (
            "no-find",
            &["changeStream"],
            write,
            "users stream",
            "find on DB.users is missing",
        ),
        (
            "neither",
            &["insert"],
            write,
            "users stream",
            "find and changeStream on DB.users are missing",
        ),
        (
            "no-write",
            &["find", "changeStream"],
            &["find"],
            "store",
            "may not use the checkpoint collection",
        ),
    ] {
        let scene = Scene::on(&server.uri()).await;
        std::fs::create_dir(scene.lake()).unwrap();
        let database = scene.database.name().to_owned();
        let meta = format!("{database}-meta");
        let uri = user(
            &server,
            name,
            vec![may(&database, on_data), may(&meta, on_meta)],
        )
        .await;
        let scene = scene.with("MONGODB_URI", &uri);
        let output = checks(&scene, 1, &["silt can't run"]);
        let row = row(&output, what);
        expect(&row, &["FAIL", &missing.replace("DB", &database)]);
        assert_eq!(output.matches("FAIL").count(), 1, "{output}");
        let (role, on) = if what == "store" {
            ("readWrite", &meta)
        } else {
            ("read", &database)
        };
        let mend = format!(
            "db.getSiblingDB(\"admin\").grantRolesToUser(\"{name}\", [{{role: \"{role}\", db: \"{on}\"}}])"
        );
        expect(&row, &[&mend]);
        assert!(!output.contains("canary-5e1f"), "{output}");
        root.database("admin")
            .run_command(doc! { "grantRolesToUser": name, "roles": [{ "role": role, "db": on }] })
            .await
            .unwrap();
        let output = checks(&scene, 0, &[]);
        expect(
            &self::row(&output, "oplog"),
            &["warn", "find on local.oplog.rs"],
        );
    }
    let scene = Scene::on(&server.uri()).await;
    for (login, found, mend) in [
        (
            "root:canary-5e1f@",
            "Authentication failed",
            "authSource=DATABASE",
        ),
        ("", "requires authentication", "asks for a login"),
    ] {
        let uri = server.uri().replace("root:root@", login);
        let mut settings = scene.settings.clone();
        settings.insert("MONGODB_URI".into(), uri);
        let (code, output) = run(&settings, &["check"]);
        assert_eq!(code, 1, "{output}");
        expect(&row(&output, "login"), &["FAIL", found, mend]);
        assert!(!output.contains("canary-5e1f"), "{output}");
    }
    let uri = user(
        &server,
        "no-remove",
        vec![
            may("x", &["find", "changeStream"]),
            may("x-meta", &write[..3]),
        ],
    );
    let uri = uri.await;
    let scene = scene
        .with("MONGODB_URI", &uri)
        .with("MONGODB_DATABASE", "x")
        .with("CHECKPOINT_DATABASE", "x-meta");
    let output = checks(&scene, 0, &[]);
    expect(
        &row(&output, "store"),
        &["warn", "stays: x-meta.change_stream_state"],
    );
    checks(&scene, 0, &[]);
    let left = root
        .database("x-meta")
        .collection::<Document>("change_stream_state");
    assert_eq!(
        left.count_documents(doc! {}).await.unwrap(),
        1,
        "they don't pile up"
    );
}

#[tokio::test]
async fn what_is_no_collection_with_a_stream_is_refused_by_name() {
    let scene = Scene::new()
        .await
        .with("MONGODB_COLLECTIONS", "seen,times,plain,kept");
    let database = &scene.database;
    insert(&database.collection("plain"), 0..1).await;
    for command in [
        doc! { "create": "seen", "viewOn": "plain", "pipeline": [] },
        doc! { "create": "times", "timeseries": { "timeField": "at" } },
        doc! { "create": "kept", "changeStreamPreAndPostImages": { "enabled": true } },
    ] {
        database.run_command(command).await.unwrap();
    }
    let scene = scene.with("FULL_DOCUMENT", "required");
    let output = checks(&scene, 1, &[]);
    expect(&row(&output, "seen"), &["FAIL", "a view"]);
    expect(&row(&output, "times"), &["FAIL", "time-series"]);
    expect(&row(&output, "plain"), &["ok", "there"]);
    expect(
        &row(&output, "plain images"),
        &["FAIL", "collMod: \"plain\""],
    );
    expect(&row(&output, "kept images"), &["ok", "is enabled"]);
    let scene = scene
        .with("FULL_DOCUMENT", "whenAvailable")
        .with("MONGODB_COLLECTIONS", "plain");
    let output = checks(&scene, 0, &[]);
    expect(
        &row(&output, "plain images"),
        &["warn", "without fullDocument"],
    );
}

#[tokio::test]
async fn a_position_that_the_oplog_has_lost_fails_unless_that_is_foreseen() {
    let scene = Scene::new().await;
    let database = &scene.settings["CHECKPOINT_DATABASE"];
    let store = MongoCheckpoints::new(&deployment().await, database, "change_stream_state");
    let feed = FeedId {
        database: scene.database.name().to_owned(),
        collection: "users".to_owned(),
    };
    let checkpoint = Checkpoint {
        position: Position::At(ClusterTime {
            seconds: 1_705_327_200,
            increment: 1,
        }),
        last_change: None,
        stream_hash: "collection stream, no pipeline".to_owned(),
        restarted_at: None,
    };
    store.save(&feed, &checkpoint, 0).await.unwrap();
    let output = checks(&scene, 1, &[]);
    let lost = row(&output, "users checkpoint");
    expect(
        &lost,
        &[
            "FAIL",
            "saved 1 times, of 2024-01-15T14:00:00Z/1",
            "ON_HISTORY_LOST=restart",
        ],
    );
    let scene = scene.with("ON_HISTORY_LOST", "restart");
    let output = checks(&scene, 0, &[]);
    expect(
        &row(&output, "users checkpoint"),
        &["warn", "records the gap"],
    );

    scene.checkpoints().delete_many(doc! {}).await.unwrap();
    let scene = scene
        .with("START_AT", "2024-01-15T14:00:00Z")
        .with("ON_HISTORY_LOST", "halt");
    let output = checks(&scene, 1, &[]);
    expect(&row(&output, "users checkpoint"), &["FAIL", "(START_AT)"]);
    scene
        .checkpoints()
        .insert_one(doc! { "_id": feed.to_string(), "schema": 99 })
        .await
        .unwrap();
    let output = checks(&scene, 1, &[]);
    expect(
        &row(&output, "users checkpoint"),
        &["FAIL", "a newer silt wrote it"],
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_or_another_is_told_apart() {
    let scene = Scene::new().await;
    let uri = scene.settings["MONGODB_URI"].clone();
    for (uri, what, words) in [
        (
            "mongodb://127.0.0.1:1/".to_owned(),
            "TCP",
            ["Connection refused", "start the servers"],
        ),
        (
            "mongodb://nowhere.invalid/".to_owned(),
            "DNS",
            ["nowhere.invalid:27017", "this machine's DNS"],
        ),
        (
            uri.replace("=rs0", "=other"),
            "kind",
            ["replica set rs0, but", "replicaSet=rs0"],
        ),
        (
            format!("{uri}&tls=true"),
            "TLS",
            ["doesn't speak TLS", "switch TLS off"],
        ),
    ] {
        let mut settings = scene.settings.clone();
        settings.insert("MONGODB_URI".into(), uri);
        let (code, output) = run(&settings, &["check"]);
        assert_eq!(code, 1, "{output}");
        let row = row(&output, what);
        expect(&row, &["FAIL"]);
        expect(&row, &words);
        expect(&output, &["  skip users"]);
    }
}

/// A signature for a container of Azurite.
fn signature(filesystem: &str, rights: &str, hours: i64) -> String {
    const SCRIPT: &str = "import sys\n\
        from datetime import datetime, timedelta, timezone\n\
        from azure.storage.blob import generate_container_sas\n\
        account, key, container, rights, hours = sys.argv[1:]\n\
        end = datetime.now(timezone.utc) + timedelta(hours=int(hours))\n\
        begin = end - timedelta(days=30)\n\
        print(generate_container_sas(account, container, key, permission=rights, start=begin, expiry=end), end='')";
    let hours = hours.to_string();
    python(
        SCRIPT,
        &[AZURITE_ACCOUNT, AZURITE_KEY, filesystem, rights, &hours],
    )
}

#[tokio::test]
async fn trouble_with_azure_is_told_apart() {
    let scene = Scene::new().await.on_azurite();
    let output = checks(&scene, 0, &["as far as could be checked"]);
    expect(
        &row(&output, "file system"),
        &["warn", "is not there yet", "account key may"],
    );
    expect(&row(&output, "commits"), &["skip"]);
    let missing = azurite_at(&scene.direct_lake, scene.filesystem(), "")
        .list("")
        .await;
    assert!(missing.is_err(), "a check creates none");

    scene.azurite().prepare().await.unwrap();
    let container = scene.filesystem().to_owned();
    let sas = |rights, hours| {
        (
            "AZURE_STORAGE_SAS_TOKEN",
            signature(&container, rights, hours),
        )
    };
    let wrong_key = ("AZURE_STORAGE_ACCOUNT_KEY", "Y2FuYXJ5LTVlMWY=".to_owned());
    for ((name, value), status, what, words) in [
        (
            wrong_key,
            1,
            "credential",
            ["FAIL", "account key", "check AZURE_STORAGE_ACCOUNT_KEY"],
        ),
        (
            sas("rwdl", -1),
            1,
            "credential",
            ["FAIL", "which expired at", "its expiry"],
        ),
        (
            sas("l", 500),
            1,
            "commits",
            ["FAIL", "the first commit fails", "SAS rights rwl"],
        ),
        (
            sas("rwdl", 500),
            0,
            "commits",
            ["ok", "refused a stale write", "removed"],
        ),
        (
            sas("rwdl", 5),
            0,
            "credential",
            ["warn", "valid until", "renew it"],
        ),
    ] {
        let mut settings = scene.settings.clone();
        settings.remove("AZURE_STORAGE_ACCOUNT_KEY");
        settings.insert(name.into(), value.clone());
        let (code, output) = run(&settings, &["check"]);
        expect(&row(&output, what), &words);
        assert_eq!(code, status, "{output}");
        let secret = value
            .rsplit_once("sig=")
            .map_or(value.as_str(), |(_, rest)| rest);
        let secret = secret.split('&').next().unwrap();
        assert!(!output.contains(secret), "{output}");
    }
    assert_eq!(scene.azurite().list("_silt/check").await.unwrap(), []);
    let mut settings = scene.settings.clone();
    settings.remove("AZURE_STORAGE_ACCOUNT_KEY");
    settings.insert(
        "AZURE_STORAGE_SAS_TOKEN".into(),
        signature(&container, "rwl", 500),
    );
    let (code, output) = run(&settings, &["check"]);
    assert_eq!(code, 0, "{output}");
    expect(&row(&output, "commits"), &["warn", "stays: _silt/check/"]);

    settings.insert("AZURE_ADLS_FILESYSTEM".into(), unique("none"));
    let (code, output) = run(&settings, &["check"]);
    assert_eq!(code, 1, "{output}");

    let endpoint = "http://127.0.0.1:1/devstoreaccount1";
    let scene = scene.with("AZURE_STORAGE_ENDPOINT", endpoint);
    let output = checks(&scene, 1, &[]);
    expect(&row(&output, "TCP"), &["ok"]);
    let of_lake = output.split_once("Lake\n").unwrap().1;
    expect(&row(of_lake, "TCP"), &["FAIL", "Connection refused"]);
}

#[tokio::test]
async fn a_folder_that_may_not_be_written_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let scene = Scene::new().await;
    let output = checks(&scene, 0, &[]);
    expect(&row(&output, "folder"), &["warn", "silt creates it"]);
    assert!(!scene.lake().exists(), "a check creates none");
    let set = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set(scene.folder.path(), 0o555);
    let (code, output) = run_bound_by_modes(&scene.settings, &["check"]);
    set(scene.folder.path(), 0o755);
    assert_eq!(code, 1, "{output}");
    expect(&row(&output, "folder"), &["FAIL", "may not create it in"]);
    std::fs::create_dir(scene.lake()).unwrap();
    set(&scene.lake(), 0o555);
    let (code, output) = run_bound_by_modes(&scene.settings, &["check"]);
    set(&scene.lake(), 0o755);
    assert_eq!(code, 1, "{output}");
    expect(&row(&output, "folder"), &["ok"]);
    expect(
        &row(&output, "commits"),
        &["FAIL", "Permission denied", "the right to write there"],
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
    let uri = scene.settings["MONGODB_URI"].clone();
    let scene = scene.with("MONGODB_URI", "mongodb://127.0.0.1:1/");
    let output = checks(&scene, 1, &[]);
    expect(&row(&output, "store"), &["ok"]);
    assert_eq!(uri, variable("SILT_TEST_MONGODB_URI"));
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
