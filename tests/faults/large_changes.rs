//! A change that is larger than 16 MB: whole where the server splits it; else the feed halts and says what
//! mends that, or puts it on record and goes on, as it is set.

use bson::doc;
use serde_json::Value;

use crate::harness::scene::{Scene, insert};
use crate::harness::servers::Server;
use crate::harness::silt::Silt;

/// Of the delta, and of the document that is looked up: together too much.
const LEN_BYTES: usize = 9 << 20;

async fn enlarged(scene: &Scene) {
    let users = scene.users();
    insert(&users, 0..5).await;
    let set = doc! { "$set": { "text": "x".repeat(LEN_BYTES) } };
    let one = doc! { "number": 3 };
    users.update_one(one, set).await.unwrap();
    insert(&users, 5..9).await;
}

fn kinds(scene: &Scene) -> Vec<String> {
    let kind = |change: &Value| change["operationType"].as_str().unwrap().to_owned();
    scene.archived("users").iter().map(kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_server_cannot_send_it_the_feed_halts_or_records_it() {
    let server = Server::mongod_with(&["--version", "6.0.5", "--cache-mb", "1024"]);
    let scene = Scene::on(&server.uri()).await;
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    enlarged(&scene).await;
    let halt = silt.wait_for("halted: needs a person, tried again every minute");
    let told = halt["error"].as_str().unwrap();
    for mend in ["6.0.9", "FULL_DOCUMENT=default", "ON_LARGE_EVENT=record"] {
        assert!(told.contains(mend), "{told}");
    }
    silt.drain();
    assert_eq!(
        kinds(&scene),
        ["insert"; 5],
        "what came before is in the lake"
    );

    let scene = scene.with("ON_LARGE_EVENT", "record");
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    scene.flush_until(&mut silt, "users", 9).await;
    silt.drain();
    assert_eq!(kinds(&scene), ["insert"; 9], "and what came behind");
    let records = scene.lake().join("users/_gaps");
    let records = std::fs::read_dir(records).unwrap();
    let records = records.map(|record| record.unwrap());
    let is_shown = |name: &std::ffi::OsStr| !name.to_string_lossy().starts_with('.');
    let records: Vec<_> = records
        .filter(|record| is_shown(&record.file_name()))
        .collect();
    let [record] = &records[..] else {
        panic!("{records:?}");
    };
    let record: Value = serde_json::from_slice(&std::fs::read(record.path()).unwrap()).unwrap();
    assert_eq!(record["reason"], "tooLarge");
    assert_eq!(record["operation_type"], "update");
    assert_eq!(record["collection"], "users");
    assert!(record["document_key"]["_id"].is_object(), "{record}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_server_splits_it_it_is_archived_whole() {
    let server = Server::mongod_with(&["--version", "6.0.27", "--cache-mb", "1024"]);
    for collections in ["users", "*"] {
        let scene = Scene::on(&server.uri())
            .await
            .with("MONGODB_COLLECTIONS", collections);
        let mut silt = Silt::watching(&scene.settings, &[collections]);
        enlarged(&scene).await;
        scene.flush_until(&mut silt, "users", 10).await;
        silt.drain();
        let archived = scene.archived("users");
        assert_eq!(archived.len(), 10);
        let update = &archived[5];
        assert!(update.get("splitEvent").is_none());
        let delta = &update["updateDescription"]["updatedFields"]["text"];
        for text in [delta, &update["fullDocument"]["text"]] {
            assert_eq!(text.as_str().map(str::len), Some(LEN_BYTES));
        }
    }
}
