//! `/status` follows what happens.

use std::fs;

use bson::doc;

use crate::harness::asks::{address, ask, get, get_until, status_when};
use crate::harness::fail_point::{FailPoint, Strikes};
use crate::harness::http::{Answer, Kind};
use crate::harness::http_proxy::{Fault, HttpProxy, Which};
use crate::harness::scene::{Scene, insert};
use crate::harness::servers::Server;
use crate::harness::silt::{Signal, Silt};
use crate::harness::variable;

#[tokio::test]
async fn it_follows_a_load_from_the_server_into_the_lake() {
    let scene = Scene::new().await.with("HTTP_ADDR", "127.0.0.1:0");
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let idle = status_when(&mut silt, |status| {
        status["collections"][0]["lag_seconds"] == 0.0
            && status["mongodb"]["oplog_window_seconds"].is_u64()
            && status["collections"][0]["oplog_runway_seconds"].is_u64()
    });
    assert_eq!(idle["ready"], true);
    assert_eq!(idle["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(idle["mongodb"]["replica_set"], "rs0");
    assert_eq!(idle["lake"], scene.settings["LAKE_URL"]);
    assert_eq!(idle["can_flush"], false);
    assert_eq!(idle["schedule"]["pattern"], "0 0 1 1 *");
    let users = &idle["collections"][0];
    assert_eq!(users["database"], scene.settings["MONGODB_DATABASE"]);
    assert_eq!(users["state"], "watching");
    assert!(users["last_flush"].is_null() && users["current_file"].is_null());

    insert(&scene.users(), 0..30).await;
    let waiting = status_when(&mut silt, |status| {
        status["collections"][0]["buffered"]["changes"] == 30
    });
    let users = &waiting["collections"][0];
    assert_eq!(users["changes_read"], 30);
    assert_eq!(users["changes_archived"], 0);
    assert!(users["read_bytes"].as_u64().unwrap() > 30 * 100);
    assert!(waiting["buffer"]["used_bytes"].as_u64().unwrap() > 0);
    assert!(users["buffered"]["bytes"].as_u64().unwrap() > 0);

    silt.signal(Signal::USR1);
    let flushed = status_when(&mut silt, |status| {
        let users = &status["collections"][0];
        users["changes_archived"] == 30 && users["lag_seconds"] == 0.0
    });
    let (users, totals) = (&flushed["collections"][0], &flushed["totals"]);
    assert_eq!(totals["changes_archived"], 30);
    assert_eq!(totals["buffered_changes"], 0);
    assert_eq!(flushed["buffer"]["used_bytes"], 0);
    let [file] = &scene.files("users")[..] else {
        panic!("{:?}", scene.files("users"));
    };
    let len_bytes = std::fs::metadata(file).unwrap().len();
    let name = file.file_name().unwrap().to_str().unwrap();
    assert_eq!(users["current_file"]["path"], format!("users/{name}"));
    assert_eq!(users["current_file"]["bytes"], len_bytes);
    assert_eq!(users["current_file"]["flushes"], 1);
    assert_eq!(users["uploaded_bytes"], len_bytes);
    assert_eq!(users["last_flush"]["changes"], 30);
    assert_eq!(users["last_flush"]["reason"], "signal");
    assert_eq!(users["last_flush"]["bytes"], len_bytes);
    assert_eq!(
        users["flushes"],
        serde_json::json!({ "committed": 1, "failed": 0 })
    );
    assert_eq!(users["last_change_at"].as_str().unwrap().len(), 24);
    silt.drain();
}

#[tokio::test]
async fn an_outage_of_the_lake_shows_and_goes() {
    let proxy = HttpProxy::new(&variable("SILT_TEST_AZURITE"));
    let scene = Scene::new().await.on_azurite().behind(&proxy);
    let scene = scene
        .with("HTTP_ADDR", "127.0.0.1:0")
        .with("BATCH_SIZE", "5");
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    proxy.fail(
        Which::every(Kind::Commit),
        Fault::Answer(Answer::new(503, "ServerBusy")),
    );
    insert(&scene.users(), 0..5).await;
    let failing = status_when(&mut silt, |status| status["ready"] == false);
    let users = &failing["collections"][0];
    assert_eq!(users["state"], "watching");
    let trouble = &users["trouble"];
    assert!(
        trouble["message"].as_str().unwrap().starts_with("lake: "),
        "{trouble}"
    );
    assert_eq!(trouble["needs_a_person"], false);
    assert!(trouble["failures"].as_u64().unwrap() >= 3);
    assert!(trouble["since"].is_string());
    assert_eq!(users["buffered"]["changes"], 5);
    assert!(users["flushes"]["failed"].as_u64().unwrap() >= 3);
    assert_eq!(users["flushes"]["committed"], 0);

    proxy.mend();
    let well = status_when(&mut silt, |status| {
        status["totals"]["changes_archived"] == 5
    });
    let users = &well["collections"][0];
    assert_eq!(well["ready"], true);
    assert!(users["trouble"].is_null());
    let past = users["last_error"]["message"].as_str().unwrap();
    assert!(past.contains("ServerBusy"), "{past}");
    assert!(users["last_flush"]["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(users["last_flush"]["reason"], "count");
    silt.drain();
}

#[tokio::test]
async fn the_trouble_of_one_collection_of_a_shared_stream_names_it() {
    let scene = Scene::new()
        .await
        .with("HTTP_ADDR", "127.0.0.1:0")
        .with("MONGODB_COLLECTIONS", "*")
        .with("BATCH_SIZE", "5");
    let mut silt = Silt::watching(&scene.settings, &["*"]);
    fs::write(scene.lake().join("users"), "where the folder should be").unwrap();
    insert(&scene.users(), 0..5).await;
    let failing = status_when(&mut silt, |status| status["ready"] == false);
    let feed = &failing["collections"][0];
    assert_eq!(feed["collection"], "*");
    let message = feed["trouble"]["message"].as_str().unwrap();
    let named = format!("{}.users: lake: ", scene.database.name());
    assert!(message.starts_with(&named), "{message}");
    let readyz = get(&mut silt, "/readyz").body;
    assert!(readyz.contains(&named), "{readyz}");
    silt.kill();
}

#[tokio::test]
async fn a_server_that_is_not_reached_shows_in_every_collection() {
    let scene = Scene::new().await.with("HTTP_ADDR", "127.0.0.1:0").with(
        "MONGODB_URI",
        "mongodb://u:canary@127.0.0.1:1/?serverSelectionTimeoutMS=100",
    );
    let mut silt = Silt::start(&scene.settings);
    let answer = get_until(&mut silt, "/readyz", |answer| {
        answer.body.contains("no server")
    });
    assert_eq!(answer.status, 503);
    let readiness = answer.json();
    assert_eq!(readiness["not_ready"][0]["collection"], "users");
    let metrics = get(&mut silt, "/metrics").body;
    for part in [
        "silt_feed_ready{",
        "state=\"starting\"} 1",
        "cause=\"mongodb_passing\"} ",
    ] {
        assert!(metrics.contains(part), "{part}:\n{metrics}");
    }
    let status = get(&mut silt, "/status");
    assert!(!status.body.contains("canary"));
    let status = status.json();
    assert_eq!(status["ready"], false);
    assert_eq!(status["mongodb"]["hosts"], "mongodb://127.0.0.1:1");
    assert!(status["mongodb"]["version"].is_null());
    let users = &status["collections"][0];
    assert_eq!(users["state"], "starting");
    assert_eq!(users["ready"], false);
    let message = users["trouble"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("MongoDB: no server can be reached"),
        "{message}"
    );
    assert!(users["last_error"]["at"].is_string());
    assert_eq!(get(&mut silt, "/livez").status, 200);
    let answer = ask(
        &address(&mut silt),
        "POST",
        "/flush",
        &["Authorization: Bearer x"],
    );
    assert_eq!(answer.status, 403);
    silt.drain();
}

#[tokio::test]
async fn an_outage_of_mongodb_is_counted_once_and_by_its_own_name() {
    let mongod = Server::mongod();
    let scene = Scene::on(&mongod.uri()).await;
    let uri = format!("{}&serverSelectionTimeoutMS=200", mongod.uri());
    let scene = scene
        .with("MONGODB_URI", &uri)
        .with("HTTP_ADDR", "127.0.0.1:0");
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let before = status_when(&mut silt, |status| {
        status["collections"][0]["oplog_runway_seconds"].is_u64()
    });
    assert_eq!(before["collections"][0]["reconnects"], 0);
    let stopped = mongod.stop();
    let during = status_when(&mut silt, |status| {
        let users = &status["collections"][0];
        users["trouble"]["failures"].as_u64() >= Some(3)
    });
    let users = &during["collections"][0];
    assert_eq!(users["state"], "reconnecting");
    assert_eq!(users["reconnects"], 0, "it isn't open again");
    let error = users["last_error"]["message"].as_str().unwrap();
    assert!(error.starts_with("MongoDB: "), "{error}");
    let metrics = get(&mut silt, "/metrics").body;
    assert!(!metrics.contains("cause=\"silt_"), "{metrics}");
    let _mongod = stopped.start();
    let after = status_when(&mut silt, |status| status["ready"] == true);
    assert_eq!(after["collections"][0]["reconnects"], 1);
    silt.drain();
}

#[tokio::test]
async fn a_feed_that_halts_at_its_start_lags_from_where_it_was() {
    let scene = Scene::new().await.with("HTTP_ADDR", "127.0.0.1:0");
    let scene = scene.with("MONGODB_COLLECTIONS", "users,orders");
    let mut silt = Silt::watching(&scene.settings, &["users", "orders"]);
    insert(&scene.users(), 0..3).await;
    scene.flush_until(&mut silt, "users", 3).await;
    silt.drain();
    let [file] = &scene.files("users")[..] else {
        panic!("one file")
    };
    std::fs::write(file, "[]").unwrap();
    let mut silt = Silt::watching(&scene.settings, &["orders"]);
    let halted = status_when(&mut silt, |status| {
        let users = &status["collections"][0];
        users["state"] == "halted" && users["oplog_runway_seconds"].is_u64()
    });
    let users = &halted["collections"][0];
    assert!(users["lag_seconds"].as_f64().unwrap() > 0.0, "{users}");
    assert_eq!(
        halted["totals"]["lag_seconds"], users["lag_seconds"],
        "the worst"
    );
    silt.signal(Signal::TERM);
    silt.wait();
}

#[tokio::test]
async fn without_the_privilege_the_runway_is_unknown_and_nothing_else_suffers() {
    let mongod = Server::mongod();
    let scene = Scene::on(&mongod.uri()).await;
    let scene = scene.with("HTTP_ADDR", "127.0.0.1:0");
    let failure = doc! { "errorCode": 13, "namespace": "local.oplog.rs" };
    let (client, always) = (&scene.client, Strikes::Always);
    let point = FailPoint::arm(client, "silt", &["find"], always, &failure).await;
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    point.struck(1).await;
    let status = status_when(&mut silt, |status| {
        status["collections"][0]["lag_seconds"] == 0.0
    });
    assert!(status["mongodb"]["oplog_window_seconds"].is_null());
    assert!(status["collections"][0]["oplog_runway_seconds"].is_null());
    assert_eq!(status["ready"], true);
    assert!(
        !get(&mut silt, "/metrics")
            .body
            .contains("silt_oplog_runway_seconds{")
    );
    silt.drain();
}
