//! `silt watch`: what it prints, against what the server sent; where it begins and ends.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{ChildStdout, Stdio};

use bson::{Document, doc};
use serde_json::Value;

use crate::harness::at_once;
use crate::harness::replica_set::QUICK;
use crate::harness::scene::{Scene, canonical, insert, token, tokens};
use crate::harness::servers::mongod_address;
use crate::harness::silt::{Settings, Signal, Silt, run, run_apart, run_on_terminal, settings};
use crate::harness::tcp_proxy::{Fault, TcpProxy};

/// A silt that watches, and its output.
struct Watch {
    silt: Silt,
    output: BufReader<ChildStdout>,
}

impl Watch {
    /// Starts it, and waits until it watches.
    fn start(settings: &Settings, arguments: &[&str]) -> Self {
        let arguments = [&["watch"], arguments].concat();
        let mut silt = Silt::with_output(settings, &arguments, Stdio::piped());
        let output = BufReader::new(silt.output());
        silt.wait_for("watching");
        Self { silt, output }
    }

    /// What it said when it began to watch.
    fn beginning(&self) -> &Value {
        let mut log = self.silt.log.iter();
        log.find(|line| line["message"] == "watching").unwrap()
    }

    /// The next changes.
    fn changes(&mut self, count: usize) -> Vec<Value> {
        let lines = self.output.by_ref().lines().take(count);
        lines.map(|line| change(&line.unwrap())).collect()
    }

    /// Its exit status, and the changes that it printed until then.
    fn ended(self) -> (i32, Vec<Value>) {
        let lines: Vec<String> = self.output.lines().map(Result::unwrap).collect();
        let (code, _) = self.silt.wait();
        (code, lines.iter().map(|line| change(line)).collect())
    }
}

/// The exit status of a silt that ends by itself, and its log.
fn end_of(settings: &Settings, arguments: &[&str]) -> (i32, String) {
    let arguments = [&["watch"], arguments].concat();
    let (code, silt) = Silt::with_output(settings, &arguments, Stdio::null()).wait();
    (code, silt.text())
}

/// The change of a line, which has a time of receipt beside it and nothing else.
fn change(line: &str) -> Value {
    let mut line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    let time = line["timestamp"].as_str().unwrap();
    assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{time}");
    assert_eq!(line.as_object().unwrap().len(), 2, "{line}");
    line["change"].take()
}

/// Settings of a silt that only watches: without a lake.
fn settings_of(scene: &Scene) -> Settings {
    let mut settings = scene.settings.clone();
    settings.remove("LAKE_URL");
    settings
}

/// Collections and operations, in order.
fn summary(changes: &[Value]) -> Vec<String> {
    let of = |change: &Value| {
        let collection = change["ns"]["coll"].as_str().unwrap();
        format!("{collection} {}", change["operationType"].as_str().unwrap())
    };
    changes.iter().map(of).collect()
}

#[tokio::test]
async fn every_change_is_one_line_as_the_server_sent_it_and_nothing_is_kept() {
    let scene = Scene::new().await.with("JSON_MODE", "canonical");
    let mut witness = scene.witness("users").await;
    let watch = Watch::start(&settings_of(&scene), &["--limit", "4"]);
    assert_eq!(watch.beginning()["from"], "now");
    let named = format!("{}.users", scene.database.name());
    assert_eq!(watch.beginning()["collections"], named);
    let users = scene.users();
    let by_id = doc! { "_id": 1 };
    let text = "two\nlines \u{2028} 🐘";
    users
        .insert_one(doc! { "_id": 1, "text": text, "n": 7_i64 })
        .await
        .unwrap();
    let set = doc! { "$set": { "n": 8.5 } };
    users.update_one(by_id.clone(), set).await.unwrap();
    users
        .replace_one(by_id.clone(), doc! { "only": 1 })
        .await
        .unwrap();
    users.delete_one(by_id).await.unwrap();
    users.insert_one(doc! { "_id": 2 }).await.unwrap();
    let (code, shown) = watch.ended();
    assert_eq!((code, shown.len()), (0, 4));
    for (ours, theirs) in shown.iter().zip(witness.see(4).await.iter().map(canonical)) {
        for (key, value) in theirs.as_object().unwrap() {
            // Each stream looks the document of an update up for itself.
            if key != "fullDocument" || ours["operationType"] != "update" {
                assert_eq!(&ours[key], value, "{key}");
            }
        }
    }
    assert!(!scene.lake().exists());
    assert!(scene.checkpoint().await.is_none());
}

#[tokio::test]
async fn the_filters_of_the_settings_and_the_command_line_apply() {
    let stages =
        r#"[{"$match": {"documentKey._id": {"$ne": 2}}}, {"$unset": "fullDocument.secret"}]"#;
    let scene = Scene::new().await.with("PIPELINE", stages);
    let arguments = ["--operation-types", "insert,delete", "--limit", "3"];
    let watch = Watch::start(&settings_of(&scene), &arguments);
    let filters = watch.beginning()["filters"].as_str().unwrap();
    assert!(
        filters.contains("OPERATION_TYPES=insert,delete PIPELINE=[{"),
        "{filters}"
    );
    let users = scene.users();
    for number in 1..4 {
        let document = doc! { "_id": number, "secret": "s", "open": "o" };
        users.insert_one(document).await.unwrap();
        let (one, set) = (doc! { "_id": number }, doc! { "$set": { "open": "p" } });
        users.update_one(one, set).await.unwrap();
    }
    users.delete_one(doc! { "_id": 3 }).await.unwrap();
    let (code, shown) = watch.ended();
    assert_eq!(code, 0);
    let ids: Vec<_> = shown.iter().map(|one| &one["documentKey"]["_id"]).collect();
    assert_eq!(ids, [1, 3, 3]);
    assert_eq!(
        summary(&shown),
        ["users insert", "users insert", "users delete"]
    );
    let document = &shown[0]["fullDocument"];
    assert_eq!(*document, serde_json::json!({ "_id": 1, "open": "o" }));
}

#[tokio::test]
async fn several_collections_are_shown_by_name_and_by_pattern() {
    let scene = Scene::new().await;
    let settings = settings_of(&scene);
    let mut by_pattern = Watch::start(&settings, &["users", "orders_*", "!*_tmp"]);
    let mut by_name = Watch::start(&settings, &["users,orders_1"]);
    let collection = |name: &str| scene.database.collection::<Document>(name);
    for name in ["other", "orders_tmp", "users", "orders_1"] {
        insert(&collection(name), 0..1).await;
    }
    assert_eq!(
        summary(&by_pattern.changes(2)),
        ["users insert", "orders_1 insert"]
    );
    // Two streams, in whichever order they answer.
    let mut shown = summary(&by_name.changes(2));
    shown.sort();
    assert_eq!(shown, ["orders_1 insert", "users insert"]);
    // A rename concerns two watched collections, and is one change.
    let name = scene.database.name();
    let rename =
        doc! { "renameCollection": format!("{name}.orders_1"), "to": format!("{name}.orders_2") };
    let admin = scene.client.database("admin");
    admin.run_command(rename).await.unwrap();
    insert(&collection("orders_2"), 1..2).await;
    assert_eq!(
        summary(&by_pattern.changes(2)),
        ["orders_1 rename", "orders_2 insert"]
    );
    for watch in [by_pattern, by_name] {
        watch.silt.signal(Signal::INT);
        assert_eq!(watch.ended().0, 0);
    }
}

#[tokio::test]
async fn a_section_of_the_settings_file_applies_to_its_collection() {
    let scene = Scene::new().await;
    let file = scene.folder.path().join("silt.toml");
    std::fs::write(&file, "[collections.users]\nOPERATION_TYPES = \"delete\"\n").unwrap();
    let scene = scene
        .with("SILT_CONFIG", file.to_str().unwrap())
        .with("MONGODB_COLLECTIONS", "users,orders")
        .with("STREAMS", "shared");
    let settings = settings_of(&scene);
    let orders: mongodb::Collection<Document> = scene.database.collection("orders");
    let mut both = Watch::start(&settings, &[]);
    let mut one = Watch::start(&settings, &["orders"]);
    insert(&scene.users(), 0..3).await;
    insert(&orders, 0..1).await;
    scene.users().delete_many(doc! {}).await.unwrap();
    let mut shown = summary(&both.changes(4));
    shown.sort();
    let delete = "users delete";
    assert_eq!(shown, ["orders insert", delete, delete, delete]);
    assert_eq!(summary(&one.changes(1)), ["orders insert"]);
}

#[tokio::test]
async fn it_begins_at_a_time_or_after_a_change() {
    let scene = Scene::new().await.with("START_AT", "1971-01-01T00:00:00Z");
    let settings = settings_of(&scene);
    let mut witness = scene.witness("users").await;
    insert(&scene.users(), 0..4).await;
    let seen: Vec<Value> = witness.see(4).await.iter().map(canonical).collect();
    let all = tokens(&seen);
    let seconds = seen[0]["clusterTime"]["$timestamp"]["t"].as_i64().unwrap();
    let time = chrono::DateTime::from_timestamp(seconds, 0).unwrap();
    let (time, id, data) = (time.to_rfc3339(), seen[0]["_id"].to_string(), &all[1]);
    for (from, limit, expected) in [
        (&time, "4", &all[..]),
        (&id, "3", &all[1..]),
        (data, "1", &all[2..3]),
    ] {
        let watch = Watch::start(&settings, &["--from", from, "--limit", limit]);
        let (code, shown) = watch.ended();
        assert_eq!((code, tokens(&shown)), (0, expected.to_vec()), "{from}");
    }
    // START_AT is for feeds; a look begins now.
    let mut watch = Watch::start(&settings, &[]);
    insert(&scene.users(), 4..5).await;
    let next = &watch.changes(1)[0];
    assert_eq!(next["fullDocument"]["number"], 4);
    assert_eq!(token(next), witness.tokens(5).await[4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_resumed_and_every_change_is_shown_once() {
    let proxy = TcpProxy::before(mongod_address().await).await;
    let address = proxy.address();
    let uri = format!("mongodb://{address}/?directConnection=true&{QUICK}");
    let scene = Scene::new().await.with("MONGODB_URI", &uri);
    let mut witness = scene.witness("users").await;
    let mut watch = Watch::start(&settings_of(&scene), &["--limit", "40"]);
    for round in 0..4 {
        insert(&scene.users(), round * 10..round * 10 + 5).await;
        // The driver opens a stream again by itself, so it must not reach the server for a while.
        proxy.refuse();
        proxy.strike([Fault::Cut, Fault::Reset][round as usize % 2]);
        watch.silt.wait_for("can't read now, retrying");
        proxy.mend();
        insert(&scene.users(), round * 10 + 5..round * 10 + 10).await;
    }
    let (code, shown) = watch.ended();
    assert_eq!((code, tokens(&shown)), (0, witness.tokens(40).await));
}

#[tokio::test]
async fn a_dropped_collection_is_watched_on() {
    let scene = Scene::new().await;
    let watch = Watch::start(&settings_of(&scene), &["--limit", "4"]);
    insert(&scene.users(), 0..1).await;
    scene.users().drop().await.unwrap();
    // The server answers the next stream from the invalidate on.
    insert(&scene.users(), 1..2).await;
    let (code, shown) = watch.ended();
    let kinds: Vec<_> = shown.iter().map(|one| &one["operationType"]).collect();
    assert_eq!(code, 0);
    assert_eq!(kinds, ["insert", "drop", "invalidate", "insert"]);
}

#[tokio::test]
async fn it_ends_when_nobody_reads_and_at_signals() {
    let scene = Scene::new().await;
    let settings = settings_of(&scene);
    // No further change comes that would show it.
    let Watch { silt, output } = Watch::start(&settings, &[]);
    drop(output);
    assert_eq!(silt.wait().0, 0);
    for signal in [Signal::INT, Signal::TERM] {
        let watch = Watch::start(&settings, &[]);
        watch.silt.signal(signal);
        assert_eq!(watch.ended(), (0, Vec::new()));
    }
    // Nobody reads, and the pipe is full.
    let Watch { mut silt, output } = Watch::start(&settings, &[]);
    let long = "x".repeat(200_000);
    scene
        .users()
        .insert_one(doc! { "long": long })
        .await
        .unwrap();
    silt.signal(Signal::TERM);
    assert_eq!(silt.wait().0, 0);
    drop(output);
    silt = Silt::with_output(&settings, &["watch"], File::create("/dev/full").unwrap());
    silt.wait_for("watching");
    insert(&scene.users(), 0..1).await;
    let (code, silt) = silt.wait();
    assert_eq!(code, 1, "{}", silt.text());
    let told = "can't write to the standard output: No space left on device";
    assert!(silt.text().contains(told), "{}", silt.text());
}

#[tokio::test]
async fn pretty_is_coloured_on_a_terminal_alone() {
    let scene = Scene::new().await;
    let settings = settings_of(&scene);
    let mut witness = scene.witness("users").await;
    insert(&scene.users(), 7..8).await;
    let seen = canonical(&witness.see(1).await[0]);
    let seconds = seen["clusterTime"]["$timestamp"]["t"].as_i64().unwrap();
    let time = chrono::DateTime::from_timestamp(seconds, 0).unwrap();
    let time = time.to_rfc3339();
    let arguments = ["watch", "--limit", "1", "--from", &time, "--pretty"];
    let (code, output, _) = run_apart(&settings, &arguments);
    assert_eq!(code, 0);
    assert!(!output.contains('\u{1b}'), "{output}");
    let value: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(value["change"]["fullDocument"]["number"], 7);
    assert_eq!(output, format!("{value:#}\n"));
    let shown = run_on_terminal(&settings, &arguments);
    let coloured = "      \u{1b}[34;1m\"number\"\u{1b}[0m: \u{1b}[36m7\u{1b}[0m";
    assert!(shown.contains(coloured), "{shown}");
    let plain = run_on_terminal(&settings, &arguments[..5]);
    assert!(plain.contains("\"number\":7,"), "{plain}");
}

#[test]
fn silence_is_explained() {
    let missing = "doesn't exist; did you mean";
    let cases = [
        (
            "users",
            "",
            vec![
                "nothing has come for 10 s: the stream is open, so nobody has written since the start",
            ],
        ),
        (
            "usres,Orders",
            "",
            vec![
                "usres doesn't exist",
                "Orders doesn't exist; did you mean orders?",
                "; or nobody has written",
            ],
        ),
        ("user", "", vec!["user doesn't exist; did you mean users?"]),
        ("crm_*", "", vec!["no collection matches crm_*"]),
        (
            "users",
            "[{\"$match\":{\"ns.coll\":\"x\"}}]",
            vec!["PIPELINE=[{\"$match\":{\"ns.coll\":\"x\"}}] may leave out every change"],
        ),
    ];
    at_once(cases, async |(names, pipeline, expected)| {
        let mut scene = Scene::new().await;
        for name in ["users", "orders"] {
            scene.database.create_collection(name).await.unwrap();
        }
        scene.set("MONGODB_COLLECTIONS", names);
        if !pipeline.is_empty() {
            scene.set("PIPELINE", pipeline);
        }
        let mut watch = Watch::start(&settings_of(&scene), &[]);
        let line = watch
            .silt
            .wait_where("an explanation", |line| line["level"] == "WARN");
        let message = line["message"].as_str().unwrap();
        for words in &expected {
            assert!(
                message.contains(words),
                "{words:?} is missing in: {message}"
            );
        }
        let says_missing = expected.iter().any(|words| words.contains(missing));
        assert_eq!(message.contains(missing), says_missing, "{message}");
    });
}

#[tokio::test]
async fn a_token_of_elsewhere_is_refused() {
    let scene = Scene::new().await;
    let settings = settings_of(&scene);
    for token in ["820000000100000001", r#"{"_data":"xyz"}"#, r#"{"a":1}"#] {
        let (code, output) = end_of(&settings, &["--from", token]);
        assert_eq!(code, 1, "{output}");
        assert!(
            output.contains("refuses the resume token of --from"),
            "{output}"
        );
    }
}

#[test]
fn bad_input_is_refused_with_status_2() {
    let source = settings([("MONGODB_URI", "mongodb://localhost:1")]);
    for (arguments, words) in [
        (&["--limit", "0"][..], "invalid value '0' for '--limit <N>'"),
        (&["--limit", "x"], "invalid value 'x' for '--limit <N>'"),
        (
            &["--from", "yesterday"],
            "START_AT=yesterday (given as --from): neither `now` nor an RFC 3339 time; give now",
        ),
        (
            &["--from", "2099-01-01T00:00:00Z"],
            "in the future; give now, an RFC 3339 time",
        ),
        (&["--operation-types", "deletes"], "did you mean delete?"),
        (
            &["a$b"],
            "MONGODB_COLLECTIONS=a$b (given as COLLECTION): `a$b`: a collection's name can't hold a `$`",
        ),
        (
            &[""],
            "MONGODB_COLLECTIONS (given as COLLECTION): its value is empty",
        ),
        (
            &["users,orders", "--from", "8265A53E2F000000012B0229296E04"],
            "a resume token is of one stream, and there are 2",
        ),
        (&["--unknown"], "unexpected argument '--unknown'"),
    ] {
        let (code, output) = run(&source, &[&["watch"], arguments].concat());
        assert_eq!(code, 2, "{output}");
        assert!(output.contains(words), "{words:?} is missing in:\n{output}");
    }
}
