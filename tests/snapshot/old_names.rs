//! Snapshots whose plan and manifest have the names that older versions wrote.

use serde_json::Value;
use silt::snapshot::State;

use super::needs::begin;
use super::world::World;
use crate::harness::scene::Scene;
use crate::harness::silt::run;
use crate::harness::{at_once, python, variable};

const NAMES: [(&str, &str); 2] = [
    ("_plan.json", "plan.json"),
    ("_manifest.json", "manifest.json"),
];

async fn world(is_on_azurite: bool) -> World {
    let scene = Scene::new().await;
    let scene = if is_on_azurite {
        scene.on_azurite()
    } else {
        scene
    };
    World::of(scene).await.with_small_parts(2_000, 20_000)
}

/// Gives a snapshot's plan and manifest, if there is one, their old names.
async fn age(world: &World, folder: &str) {
    for (now, then) in NAMES {
        let Some(bytes) = world.get(folder, now).await else {
            continue;
        };
        world.put(folder, then, &bytes).await;
        if world.scene.settings.contains_key("LAKE_URL") {
            std::fs::remove_file(world.folder(folder).join(now)).unwrap();
        } else {
            let blob = format!("{}/{folder}/{now}", world.target.origin.folder());
            let script = include_str!("delete_blob.py");
            let endpoint = variable("SILT_TEST_AZURITE");
            python(script, &[&endpoint, world.scene.filesystem(), &blob]);
        }
        assert!(world.get(folder, now).await.is_none());
    }
}

#[test]
fn an_unfinished_one_with_an_old_plan_is_resumed() {
    at_once([false, true], async |is_on_azurite| {
        let mut world = world(is_on_azurite).await;
        world.insert(0..2_000).await;
        let folder = begin(&mut world).await;
        age(&world, &folder).await;
        let plan = world.get(&folder, "plan.json").await;
        // Without its plan it would be another snapshot, in this format.
        let world = world.with_format("ndjson.gz");
        world.take().await;
        assert_eq!(world.folders().await, std::slice::from_ref(&folder));
        let snapshot = world.snapshot().await;
        assert_eq!(snapshot.sorted_keys().len(), 2_000);
        let is_json = |(name, _): &(String, Vec<u8>)| name.ends_with(".json");
        assert!(snapshot.parts.iter().all(is_json));
        assert_eq!(world.get(&folder, "plan.json").await, plan);
        assert!(world.get(&folder, "_plan.json").await.is_none());
    });
}

#[test]
fn a_finished_one_with_an_old_manifest_is_done() {
    at_once([false, true], async |is_on_azurite| {
        let world = world(is_on_azurite).await;
        world.insert(0..500).await;
        world.take().await;
        let folder = world.folders().await.pop().unwrap();
        age(&world, &folder).await;
        let manifest = world.get(&folder, "manifest.json").await.unwrap();
        world.insert(500..600).await;
        world.take().await;
        assert_eq!(world.folders().await, std::slice::from_ref(&folder));
        let now = world.get(&folder, "manifest.json").await.unwrap();
        assert!(now == manifest, "it was rewritten");
        for (name, _) in NAMES {
            assert!(world.get(&folder, name).await.is_none(), "{name}");
        }
        let (code, listing) = run(&world.scene.settings, &["ls", "--json"]);
        assert_eq!(code, 0, "{listing}");
        let listing: Value = serde_json::from_str(&listing).unwrap();
        assert_eq!(listing["others"], 0);
        let found = &listing["collections"][0]["snapshots"][0];
        assert_eq!(
            (&found["documents"], &found["is_finished"]),
            (&500.into(), &true.into())
        );
    });
}

/// Another instance may have added a part after the manifest was written: it is counted again.
#[test]
fn an_old_manifest_that_is_rewritten_keeps_its_name() {
    at_once([false, true], async |is_on_azurite| {
        let world = world(is_on_azurite).await;
        world.insert(0..500).await;
        world.take().await;
        let folder = world.folders().await.pop().unwrap();
        let whole = world.json(&folder, "_manifest.json").await.unwrap();
        let mut fewer = whole.clone();
        fewer["parts"].as_array_mut().unwrap().pop().unwrap();
        age(&world, &folder).await;
        let path = world.path(&folder, "manifest.json");
        let lake = &world.edges.lake;
        let there = lake.get(&path).await.unwrap().unwrap();
        let bytes = fewer.to_string().into_bytes();
        lake.put(&path, Some(&there.version), bytes).await.unwrap();
        let handle = world.start();
        let status = world.until(&handle, |status| status.state == State::Done);
        assert_eq!(status.await.trouble, None);
        let now = world.json(&folder, "manifest.json").await.unwrap();
        assert_eq!(now["parts"], whole["parts"]);
        assert!(world.get(&folder, "_manifest.json").await.is_none());
    });
}
