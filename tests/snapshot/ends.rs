//! Where a range ends, and how much the server reads to find its end.

use bson::{Document, doc};
use futures::TryStreamExt as _;
use serde_json::{Value, json};

use super::world::World;

const DOCUMENTS: i32 = 10;

/// Keys and documents that the server examined, in all finds in `users` since profiling began.
async fn examined(world: &World) -> (i64, i64) {
    let profile = world
        .scene
        .database
        .collection::<Document>("system.profile");
    let namespace = format!("{}.users", world.scene.database.name());
    let filter = doc! { "ns": namespace, "command.find": "users" };
    let finds = profile.find(filter).await.unwrap();
    let finds: Vec<Document> = finds.try_collect().await.unwrap();
    assert!(!finds.is_empty());
    let sum = |name| -> i64 {
        let counts = finds.iter().filter_map(|find| find.get(name));
        let counts = counts.map(|count| {
            let count = count.as_i64().or_else(|| count.as_i32().map(i64::from));
            count.unwrap()
        });
        counts.sum()
    };
    (sum("keysExamined"), sum("docsExamined"))
}

/// Documents inserted after the snapshot's last `_id` don't make it read more.
#[tokio::test]
async fn documents_inserted_after_the_last_id_are_not_read_by_the_server() {
    let world = World::new().await;
    world.insert(0..DOCUMENTS).await;
    world.take().await;
    world.unfinish(|_| {}).await;
    world.insert(DOCUMENTS..20_000).await;
    let notes = doc! { "profile": 2 };
    world.scene.database.run_command(notes).await.unwrap();
    world.take().await;
    let quiet = doc! { "profile": 0 };
    world.scene.database.run_command(quiet).await.unwrap();
    let snapshot = world.snapshot().await;
    assert_eq!(snapshot.sorted_keys().len(), DOCUMENTS as usize);
    let (keys, documents) = examined(&world).await;
    let little = i64::from(DOCUMENTS) + 5;
    assert!(keys <= little && documents <= little, "{keys} {documents}");
}

/// A commit has room for one, two or three documents, or for all of them. The last document goes into a commit
/// that has room for it.
#[tokio::test]
async fn the_last_document_is_committed_whatever_room_the_commits_have() {
    for chunk_bytes in (300..4_500).step_by(300) {
        let world = World::new().await.with_small_parts(chunk_bytes, 1 << 20);
        world.insert(0..DOCUMENTS).await;
        world.take().await;
        let read = world.snapshot().await.sorted_keys().len();
        assert_eq!(read, DOCUMENTS as usize, "{chunk_bytes}");
    }
}

/// Documents may be deleted between the sampling of boundaries and the query for the greatest `_id`.
#[tokio::test]
async fn a_boundary_may_be_the_last_id_or_after_it() {
    for boundaries in [&[9][..], &[10], &[3, 9], &[9, 11], &[3, 10, 12]] {
        for (number_type, fraction) in [("$numberInt", ""), ("$numberDouble", ".0")] {
            let mut world = World::new().await;
            world.insert(0..DOCUMENTS).await;
            world.take().await;
            world.target.limits.batch_limit_bytes = 1;
            let key =
                |number: &i32| json!({ "_id": { number_type: format!("{number}{fraction}") } });
            let keys: Vec<Value> = boundaries.iter().map(key).collect();
            let edit = |plan: &mut Value| plan["boundaries"] = keys.clone().into();
            world.unfinish(edit).await;
            world.insert(DOCUMENTS..20).await;
            world.take().await;
            let snapshot = world.snapshot().await;
            // All but the last range end with a boundary.
            let expected = DOCUMENTS.max(boundaries[boundaries.len() - 1]);
            let read = snapshot.sorted_keys().len();
            assert_eq!(read, expected as usize, "{boundaries:?} {number_type}");
        }
    }
}
