//! What a snapshot leaves to the streams while it waits.

use bson::{Document, doc};

use super::world::World;
use crate::harness::silt::WAIT_LIMIT;

/// The one turn to read a large change is free for streams while a throttled snapshot waits, whether its documents
/// are large or only longer than what it may read in a second.
#[tokio::test]
async fn a_throttled_snapshot_holds_no_turn() {
    for text_bytes in [200, 3 << 20] {
        let mut world = World::new().await.with_small_parts(1, 1 << 30);
        world.settings.rate_limit_bytes = Some(1);
        let document = |id| doc! { "_id": id, "text": "x".repeat(text_bytes) };
        let documents: Vec<Document> = (0..3).map(document).collect();
        world.users().insert_many(documents).await.unwrap();
        let handle = world.start();
        world
            .until(&handle, |status| status.progress.documents > 0)
            .await;
        // The next document would be read in minutes at the soonest.
        for _ in 0..10 {
            let turn = tokio::time::timeout(WAIT_LIMIT / 2, world.edges.budget.turn()).await;
            drop(turn.expect("the snapshot holds the turn"));
            tokio::task::yield_now().await;
        }
    }
}
