//! Settings and ways that change what archiving costs, and never what is archived.

use bson::{Document, doc};
use futures::TryStreamExt as _;
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
    archive(&scene, 50).await;
    assert!(compressed_bytes(&scene, "zlib").await > before + 1000);
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
    for level in ["1", "2", "9"] {
        let scene = Scene::new().await;
        let scene = scene.with("COMPRESSION", "gzip").with("GZIP_LEVEL", level);
        archive(&scene, 300).await;
        let paths = scene.files("users");
        let files = paths.iter().map(|path| path.metadata().unwrap().len());
        lens.push(files.sum::<u64>());
    }
    assert!(lens[0] > lens[1] && lens[1] > lens[2], "{lens:?}");
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
    let held = proxy.hold(Which::next(Kind::Commit), Moment::Before);
    insert(&scene.users(), 0..1).await;
    let held = held.reached();
    insert(&scene.database.collection("orders"), 0..1).await;
    silt.wait_until_read("orders", 1);
    let blocks = |seen: &[crate::harness::http_proxy::Seen]| {
        let blocks = seen.iter().filter(|it| matches!(it.kind, Kind::Block(_)));
        blocks.count()
    };
    // A new file's head, chunk and foot, all of the first collection.
    assert_eq!(blocks(&proxy.seen()), 3);
    held.release();
    silt.wait_for_flushed("users", 1);
    silt.wait_for_flushed("orders", 1);
    silt.drain();
    assert_eq!(blocks(&proxy.seen()), 6);
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
        insert(&scene.users(), 0..CHANGES as i32).await;
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
