//! A waiting snapshot doesn't block the streams.

use bson::{Document, doc};

use super::world::World;
use crate::harness::silt::WAIT_LIMIT;

/// Streams can take the turn to read a large change while a throttled snapshot waits, whether its documents are large
/// or only larger than what it may read per second.
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
        // The next document is due only in some minutes.
        for _ in 0..10 {
            let turn = tokio::time::timeout(WAIT_LIMIT / 2, world.edges.budget.turn()).await;
            drop(turn.expect("the snapshot holds the turn"));
            tokio::task::yield_now().await;
        }
    }
}
