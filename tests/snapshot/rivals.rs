//! Two instances that take a snapshot of one collection at the same time.

use silt::snapshot::{self, State};

use super::world::{World, edges};
use crate::harness::rounds::{at_once, rounds};
use crate::harness::scene::Scene;

#[test]
fn two_at_once_leave_one_snapshot_with_every_document_once() {
    at_once(rounds("snapshots of two", 4, 60), 2, async |round| {
        let world = if round.number.is_multiple_of(2) {
            World::of(Scene::new().await.on_azurite()).await
        } else {
            World::new().await
        };
        let formats = ["json", "ndjson", "json.gz", "ndjson.gz"];
        let format = formats[round.number as usize / 2 % 4];
        let world = world.with_format(format).with_small_parts(20_000, 100_000);
        world.insert(0..4_000).await;
        let rival = snapshot::spawn(edges(&world.scene).await, world.settings);
        rival.send(world.target.clone());
        let handles = [world.start(), rival];
        for handle in &handles {
            world
                .until(handle, |status| status.state == State::Done)
                .await;
        }
        drop(handles);
        let folders = world.folders().await;
        let mut finished = 0;
        for folder in &folders {
            if world.json(folder, "_manifest.json").await.is_some() {
                let snapshot = world.snapshot_in(folder).await;
                assert_eq!(snapshot.sorted_keys().len(), 4_000);
                finished += 1;
            }
        }
        assert_eq!(finished, 1, "{folders:?}");
    });
}
