//! Settings and ways that change what archiving costs, and never what is archived.

use bson::{Document, doc};
use futures::TryStreamExt as _;
use mongodb::Collection;
use silt::lake::Lake as _;

use crate::harness::http::Kind;
use crate::harness::http_proxy::{HttpProxy, Moment, Which};
use crate::harness::scene::{Scene, insert, tokens};
use crate::harness::silt::Silt;
use crate::harness::variable;

/// Archives some changes and compares them with the stream.
async fn archive(scene: &Scene, changes: i32) {
    let mut witness = scene.witness("users").await;
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    insert(&scene.users(), 0..changes).await;
    scene
        .flush_until(&mut silt, "users", changes as usize)
        .await;
    silt.drain();
    assert_eq!(
        tokens(&scene.archived("users")),
        witness.tokens(changes as usize).await
    );
}

#[tokio::test]
async fn replies_come_compressed_where_that_is_wished() {
    for method in ["snappy", "zlib", "zstd"] {
        let scene = Scene::new().await.with("WIRE_COMPRESSION", method);
        let before = compressed_bytes(&scene, method).await;
        archive(&scene, 50).await;
        let sent = compressed_bytes(&scene, method).await - before;
        assert!(sent > 1000, "{method}: {sent} bytes");
    }
    // The connection string's word goes before the setting.
    let mut scene = Scene::new().await.with("WIRE_COMPRESSION", "snappy");
    let uri = format!("{}&compressors=zlib", scene.direct_uri);
    scene.set("MONGODB_URI", &uri);
    let before = compressed_bytes(&scene, "zlib").await;
    let other = compressed_bytes(&scene, "snappy").await;
    archive(&scene, 50).await;
    assert!(compressed_bytes(&scene, "zlib").await > before + 1000);
    assert_eq!(compressed_bytes(&scene, "snappy").await, other);
}

/// What the server has compressed by this method.
async fn compressed_bytes(scene: &Scene, method: &str) -> i64 {
    let status = doc! { "serverStatus": 1, "repl": 0, "metrics": 0, "locks": 0 };
    let status = scene.client.database("admin").run_command(status).await;
    let status = status.unwrap();
    let network = status.get_document("network").unwrap();
    let methods = network.get_document("compression").unwrap();
    let method = methods.get_document(method).unwrap();
    let compressor = method.get_document("compressor").unwrap();
    compressor.get_i64("bytesIn").unwrap()
}

#[tokio::test]
async fn the_server_is_asked_for_as_many_changes_as_the_setting_says() {
    let scene = Scene::new().await.with("CURSOR_BATCH_SIZE", "7");
    archive(&scene, 50).await;
    let silt = Silt::watching(&scene.settings, &["users"]);
    let stages = [
        doc! { "$currentOp": { "idleCursors": true } },
        doc! { "$match": { "appName": "silt", "ns": format!("{}.users", scene.database.name()) } },
    ];
    let admin = scene.client.database("admin");
    let operations = admin.aggregate(stages).await.unwrap();
    let operations: Vec<Document> = operations.try_collect().await.unwrap();
    let asked = operations.iter().find_map(|operation| {
        let cursor = operation.get_document("cursor").ok()?;
        let command = cursor.get_document("originatingCommand").ok()?;
        command
            .get_document("cursor")
            .ok()?
            .get("batchSize")?
            .as_i32()
    });
    assert_eq!(asked, Some(7), "{operations:?}");
    silt.drain();
}

#[tokio::test]
async fn a_higher_gzip_level_makes_smaller_files() {
    let mut lens = Vec::new();
    for level in ["1", "9"] {
        let scene = Scene::new()
            .await
            .with("COMPRESSION", "gzip")
            .with("GZIP_LEVEL", level)
            .with("BATCH_SIZE", "300");
        let mut silt = Silt::watching(&scene.settings, &["users"]);
        insert_at_once(&scene.users(), 300).await;
        silt.wait_for_flushed("users", 300);
        let silt = silt.drain();
        let flushed = silt.log.iter().filter(|it| it["message"] == "flushed");
        lens.push(flushed.map(|line| line["bytes"].as_u64().unwrap()).sum());
    }
    let [quick, small]: [u64; 2] = lens.try_into().unwrap();
    assert!(small < quick * 9 / 10, "{small} {quick}");
}

/// Inserts that come in one piece, so that they are of one hour.
async fn insert_at_once(users: &Collection<Document>, count: i32) {
    let documents = (0..count).map(|number| doc! { "number": number, "text": "a value" });
    users.insert_many(documents).await.unwrap();
}

#[tokio::test]
async fn no_more_flushes_are_on_their_way_than_the_setting_says() {
    let proxy = HttpProxy::new(&variable("SILT_TEST_AZURITE"));
    let scene = Scene::new()
        .await
        .on_azurite()
        .behind(&proxy)
        .with("MONGODB_COLLECTIONS", "users,orders")
        .with("LAKE_CONCURRENCY", "1")
        .with("BATCH_SIZE", "1")
        .with("LOG_LEVEL", "debug");
    let mut silt = Silt::watching(&scene.settings, &["users", "orders"]);
    proxy.forget();
    let held = proxy.hold(Which::next(Kind::Block(1)), Moment::Before);
    insert(&scene.users(), 0..1).await;
    let held = held.reached();
    insert(&scene.database.collection("orders"), 0..1).await;
    silt.wait_until_read("orders", 1);
    held.release();
    silt.wait_for_flushed("users", 1);
    silt.wait_for_flushed("orders", 1);
    silt.drain();
    let seen = proxy.seen();
    let commits = seen.iter().map(|it| it.kind == Kind::Commit);
    // Of each a new file's head, chunk and foot, and only then the commit.
    let expected = [false, false, false, true, false, false, false, true];
    assert_eq!(commits.collect::<Vec<_>>(), expected, "{seen:?}");
}

/// However long the file is already.
#[tokio::test]
async fn a_flush_sends_what_is_new_by_three_requests() {
    const FLUSHES: usize = 40;
    const CHANGES: usize = 100;
    let proxy = HttpProxy::new(&variable("SILT_TEST_AZURITE"));
    let scene = Scene::new()
        .await
        .on_azurite()
        .behind(&proxy)
        .with("BATCH_SIZE", &CHANGES.to_string());
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    for flush in 0..FLUSHES {
        insert_at_once(&scene.users(), CHANGES as i32).await;
        silt.wait_for_flushed("users", ((flush + 1) * CHANGES) as u64);
    }
    let silt = silt.drain();
    let seen = proxy.seen();
    let blocks = seen.iter().filter(|it| matches!(it.kind, Kind::Block(_)));
    let sent: usize = blocks.clone().map(|block| block.body_len_bytes).sum();
    let commits = seen.iter().filter(|it| it.kind == Kind::Commit).count();
    let files = scene.azurite().list("users").await.unwrap().len();
    assert_eq!(commits, silt.count("flushed"));
    // A new file's foot is one more, and the hour may turn.
    assert_eq!(blocks.count(), 2 * commits + files);
    let len_bytes = scene.len_on_azurite("users").await;
    assert!(
        (sent as f64) < 1.05 * len_bytes as f64,
        "{sent} of {len_bytes}"
    );
}
