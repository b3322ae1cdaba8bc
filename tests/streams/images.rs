//! What changes carry of their documents, and the events that are shown only if asked for.

use bson::{Document, doc};
use serde_json::{Value, json};

use silt::source::{ServerVersion, StreamOptions};

use crate::harness::ledger::operation_time;
use crate::harness::scene::Scene;
use crate::harness::streams::{Stream, at, next, one, plain};

/// An update and a delete of a document, in a collection that keeps images or not; and the stream that
/// asks for so much of them.
async fn changes(
    keeps_images: bool,
    full_document: Option<&'static str>,
    before: Option<&'static str>,
) -> (Stream, StreamOptions) {
    let scene = Scene::new().await;
    if keeps_images {
        let images =
            doc! { "create": "users", "changeStreamPreAndPostImages": { "enabled": true } };
        scene.database.run_command(images).await.unwrap();
    }
    let users = scene.users();
    users.insert_one(doc! { "_id": 1, "a": 1 }).await.unwrap();
    let since = next(operation_time(&scene.client).await);
    let set = doc! { "$set": { "a": 2 } };
    users.update_one(doc! { "_id": 1 }, set).await.unwrap();
    users.delete_one(doc! { "_id": 1 }).await.unwrap();
    let mut options = plain(one(scene.database.name(), "users"));
    options.full_document = full_document;
    options.full_document_before_change = before;
    let stream = Stream::open(&scene.direct_uri, options.clone(), at(since)).await;
    (stream, options)
}

#[tokio::test]
async fn images_come_as_asked_and_the_delta_always() {
    let images = [
        (None, None),
        (Some("updateLookup"), Some("off")),
        (Some("whenAvailable"), Some("whenAvailable")),
        (Some("required"), Some("required")),
    ];
    let can_keep_images = Scene::new().await.keeps_images().await;
    for keeps_images in [true, false] {
        if keeps_images && !can_keep_images {
            continue;
        }
        for (at, (full_document, before)) in images.iter().enumerate() {
            let (mut stream, options) = changes(keeps_images, *full_document, *before).await;
            if at >= 2 && !can_keep_images {
                let failure = stream.read_to_end().await.unwrap();
                assert!(failure.message.contains("need MongoDB 6.0"));
                continue;
            }
            if at == 3 && !keeps_images {
                let failure = stream.read_to_end().await.unwrap();
                for words in [
                    "FULL_DOCUMENT_BEFORE_CHANGE=required",
                    "changeStreamPreAndPostImages",
                ] {
                    assert!(failure.message.contains(words), "{}", failure.message);
                }
                continue;
            }
            stream.read(2).await;
            let [(_, update), (_, delete)] = &stream.changes[..] else {
                panic!("{options:?}")
            };
            // The document is gone when the update is read, so that a lookup finds none.
            let (after, before) = match (at, keeps_images) {
                (0, _) => (None, None),
                (1, _) => (Some(Value::Null), None),
                (_, true) => (
                    Some(json!({ "_id": 1, "a": 2 })),
                    Some(json!({ "_id": 1, "a": 1 })),
                ),
                (_, false) => (Some(Value::Null), Some(Value::Null)),
            };
            assert_eq!(update.get("fullDocument"), after.as_ref(), "{options:?}");
            assert_eq!(
                update.get("fullDocumentBeforeChange"),
                before.as_ref(),
                "{options:?}"
            );
            assert_eq!(
                update["updateDescription"]["updatedFields"],
                json!({ "a": 2 })
            );
            let last = keeps_images && at >= 2;
            let last = last.then(|| json!({ "_id": 1, "a": 2 }));
            let expected = before.map(|_| last.unwrap_or(Value::Null));
            assert_eq!(
                delete.get("fullDocumentBeforeChange"),
                expected.as_ref(),
                "{options:?}"
            );
        }
    }
}

#[tokio::test]
async fn expanded_events_stand_in_the_stream_of_their_collection() {
    let scene = Scene::new().await;
    let since = next(operation_time(&scene.client).await);
    let users = scene.users();
    scene.database.create_collection("users").await.unwrap();
    users.insert_one(doc! { "_id": 1, "a": 1 }).await.unwrap();
    let index = mongodb::IndexModel::builder().keys(doc! { "a": 1 }).build();
    let index = users.create_index(index).await.unwrap().index_name;
    let modify = doc! { "collMod": "users", "validationLevel": "moderate" };
    scene.database.run_command(modify).await.unwrap();
    users.drop_index(index).await.unwrap();
    scene
        .database
        .collection::<Document>("orders")
        .insert_one(doc! {})
        .await
        .unwrap();
    users.delete_one(doc! { "_id": 1 }).await.unwrap();
    let all = [
        "create",
        "insert",
        "createIndexes",
        "modify",
        "dropIndexes",
        "delete",
    ];
    for (is_expanded, expected) in [(true, &all[..]), (false, &["insert", "delete"])] {
        let mut options = plain(one(scene.database.name(), "users"));
        options.show_expanded_events = is_expanded;
        let mut stream = Stream::open(&scene.direct_uri, options, at(since)).await;
        if is_expanded && scene.version().await < ServerVersion::new(6, 0, 0) {
            let failure = stream.read_to_end().await.unwrap();
            assert!(failure.message.contains("need MongoDB 6.0"));
            continue;
        }
        stream.read(expected.len()).await;
        assert_eq!(stream.kinds(), expected);
    }
}
