//! When a snapshot is taken, resumed or abandoned.

use bson::doc;
use mongodb::options::TimeseriesOptions;
use silt::snapshot::{State, collections};
use silt::source::ServerVersion;
use silt_core::namespace::selection::{Matcher, NameSet, Selection};
use silt_core::namespace::{Layout, Namespace};
use silt_core::snapshot::SnapshotMode;

use super::world::{World, timestamp, until};
use crate::harness::scene::Scene;
use crate::harness::servers::Server;
use crate::harness::{at_once, unique};

/// Writes a gap record as a feed does.
async fn lose(world: &World, until: (i64, i64)) {
    lose_in(world, world.target.origin.folder(), until).await;
}

/// Writes a gap record in the folder of these changes.
async fn lose_in(world: &World, folder: String, until: (i64, i64)) {
    let record = serde_json::json!({
        "reason": "historyLost",
        "until_cluster_time": { "$timestamp": { "t": until.0, "i": until.1 } },
    });
    let name = format!("{}.json", unique("gap"));
    let record = record.to_string();
    world
        .put_into(folder + "/_gaps", &name, record.as_bytes())
        .await;
}

#[tokio::test]
async fn another_is_taken_only_after_changes_after_it_were_lost() {
    let mut world = World::new().await;
    world.insert(0..10).await;
    world.take().await;
    let first = world.snapshot().await;
    assert_eq!(first.documents.len(), 10);
    world.insert(10..20).await;
    for mode in [
        SnapshotMode::Initial,
        SnapshotMode::WhenLost,
        SnapshotMode::Never,
    ] {
        world.target.mode = mode;
        world.take().await;
        assert_eq!(world.folders().await.len(), 1, "{mode:?}");
    }
    lose(&world, first.position).await;
    world.target.mode = SnapshotMode::WhenLost;
    world.take().await;
    assert_eq!(
        world.folders().await.len(),
        1,
        "the gap ends where the snapshot begins"
    );
    lose(&world, (first.position.0, first.position.1 + 1)).await;
    world.target.mode = SnapshotMode::Initial;
    world.take().await;
    assert_eq!(world.folders().await.len(), 1);
    world.target.mode = SnapshotMode::WhenLost;
    world.take().await;
    let folders = world.folders().await;
    assert_eq!(folders.len(), 2);
    assert_eq!(world.snapshot_in(&folders[1]).await.documents.len(), 20);
    world.take().await;
    assert_eq!(world.folders().await.len(), 2);
}

/// Begins a snapshot and interrupts it.
pub(super) async fn begin(world: &mut World) -> String {
    let usual = world.settings;
    world.settings.rate_limit_bytes = Some(1000);
    let handle = world.start();
    let begun = world
        .until(&handle, |status| status.progress.documents > 0)
        .await;
    drop(handle);
    world.settings = usual;
    let folder = begun.folder.unwrap();
    assert!(world.json(&folder, "_manifest.json").await.is_none());
    folder
}

#[tokio::test]
async fn an_unfinished_one_is_resumed() {
    let mut world = World::new().await.with_small_parts(2_000, 20_000);
    world.insert(0..2_000).await;
    let folder = begin(&mut world).await;
    let begun = world.get(&folder, "part-00001.json").await.unwrap();
    // A resumed snapshot keeps to its plan, whatever the settings are now.
    let mut world = world
        .with_format("ndjson.gz")
        .with_small_parts(1 << 20, 1 << 30);
    world.settings.ranges = 1;
    world.take().await;
    let snapshot = world.snapshot().await;
    assert_eq!(world.folders().await, [folder]);
    assert_eq!(snapshot.sorted_keys().len(), 2_000);
    assert!(snapshot.parts.len() > 10);
    let line = |bytes: &[u8]| {
        bytes
            .split(|byte| *byte == b'\n')
            .nth(1)
            .map(<[u8]>::to_vec)
    };
    let (first, bytes) = &snapshot.parts[0];
    assert_eq!(
        (first.as_str(), line(bytes)),
        ("part-00001.json", line(&begun))
    );
}

#[tokio::test]
async fn an_unfinished_one_whose_changes_were_lost_is_abandoned() {
    let mut world = World::new().await.with_small_parts(2_000, 20_000);
    world.insert(0..2_000).await;
    let folder = begin(&mut world).await;
    let plan = world.json(&folder, "_plan.json").await.unwrap();
    let (seconds, increment) = timestamp(&plan["cluster_time"]);
    lose(&world, (seconds, increment)).await;
    let again = begin(&mut world).await;
    assert_eq!(again, folder);
    world.insert(2_000..2_001).await;
    lose(&world, (seconds, increment + 1)).await;
    world.take().await;
    let folders = world.folders().await;
    assert_eq!((folders.len(), &folders[0]), (2, &folder));
    assert!(world.json(&folder, "_manifest.json").await.is_none());
    let snapshot = world.snapshot_in(&folders[1]).await;
    assert_eq!(snapshot.documents.len(), 2_001);
}

/// A shared stream doesn't know collections without changes yet: it records what it lost of them in the folder of all
/// databases.
#[tokio::test]
async fn a_gap_of_a_shared_stream_concerns_collections_that_it_does_not_know_yet() {
    let deep = Layout::DatabaseAndCollection;
    for (layout, is_of_one_database) in [(Layout::Collection, true), (deep, true), (deep, false)] {
        let mut world = World::new().await.with_small_parts(2_000, 20_000);
        world.insert(0..1_000).await;
        world.target.mode = SnapshotMode::WhenLost;
        world.target.origin.layout = layout;
        let database = if is_of_one_database {
            world.scene.database.name()
        } else {
            ""
        };
        let all = Namespace::with_layout(database, "", layout).folder();
        let other = Namespace::with_layout("other", "", deep).folder();
        world.take().await;
        let (seconds, increment) = world.snapshot().await.position;
        world.insert(1_000..1_001).await;
        let later = (seconds, increment + 1);
        lose_in(&world, other, later).await;
        lose_in(&world, all.clone(), later).await;
        world.take().await;
        assert_eq!(world.folders().await.len(), 1, "its stream is its own");
        world.target.is_shared = true;
        // Again while the new one is read, which makes it useless.
        world.settings.rate_limit_bytes = Some(100_000);
        let handle = world.start();
        let begun = world
            .until(&handle, |status| status.progress.documents > 0)
            .await;
        let position = begun.position.unwrap();
        world.insert(1_001..1_002).await;
        let later = (position.seconds.into(), i64::from(position.increment) + 1);
        lose_in(&world, all, later).await;
        world
            .until(&handle, |status| status.state == State::Done)
            .await;
        let folders = world.folders().await;
        assert_eq!(folders.len(), 3, "{layout:?}");
        assert!(world.json(&folders[1], "_manifest.json").await.is_none());
        let snapshot = world.snapshot_in(&folders[2]).await;
        assert_eq!(snapshot.sorted_keys().len(), 1_002);
    }
}

/// What makes a running snapshot useless.
#[derive(Clone, Copy, Debug)]
enum Meanwhile {
    ChangesAreLost,
    AnotherCollectionTakesTheName,
}

#[test]
fn one_that_becomes_useless_while_it_is_read_is_not_finished() {
    let cases = [
        Meanwhile::ChangesAreLost,
        Meanwhile::AnotherCollectionTakesTheName,
    ];
    at_once(cases, async |case| {
        let mut world = World::new().await.with_small_parts(2_000, 20_000);
        world.insert(0..1_000).await;
        world.settings.rate_limit_bytes = Some(100_000);
        let handle = world.start();
        let begun = world
            .until(&handle, |status| status.progress.documents > 0)
            .await;
        match case {
            Meanwhile::ChangesAreLost => {
                world.insert(1_000..1_500).await;
                let position = begun.position.unwrap();
                let (seconds, increment) = (position.seconds, position.increment + 1);
                lose(&world, (seconds.into(), increment.into())).await;
            }
            Meanwhile::AnotherCollectionTakesTheName => {
                let other = world.scene.database.collection::<bson::Document>("other");
                other
                    .insert_many((0..1_500).map(|n| doc! { "_id": n, "new": true }))
                    .await
                    .unwrap();
                let rename = doc! {
                    "renameCollection": format!("{}.other", world.scene.database.name()),
                    "to": format!("{}.users", world.scene.database.name()),
                    "dropTarget": true,
                };
                world
                    .scene
                    .client
                    .database("admin")
                    .run_command(rename)
                    .await
                    .unwrap();
            }
        }
        world
            .until(&handle, |status| status.state == State::Done)
            .await;
        let folders = world.folders().await;
        assert_eq!(folders.len(), 2);
        assert_eq!(Some(&folders[0]), begun.folder.as_ref());
        assert!(world.json(&folders[0], "_manifest.json").await.is_none());
        assert_eq!(world.snapshot_in(&folders[1]).await.documents.len(), 1_500);
    });
}

#[tokio::test]
async fn a_collection_that_does_not_exist_has_an_empty_snapshot() {
    for is_there in [true, false] {
        let world = World::new().await;
        if is_there {
            world
                .scene
                .database
                .create_collection("users")
                .await
                .unwrap();
        }
        world.take().await;
        let snapshot = world.snapshot().await;
        assert_eq!((snapshot.documents.len(), snapshot.parts.len()), (0, 0));
        world.insert(0..3).await;
        world.take().await;
        assert_eq!(
            world.snapshot().await.documents.len(),
            0,
            "the changes have the rest"
        );
    }
}

#[tokio::test]
async fn a_view_is_rejected_and_does_not_block_the_others() {
    let world = World::new().await;
    world.insert(0..10).await;
    let database = &world.scene.database;
    database
        .create_collection("view")
        .view_on("users")
        .await
        .unwrap();
    let mut view = world.target.clone();
    view.origin.collection = "view".to_owned();
    let handle = world.spawn();
    handle.send(view.clone());
    handle.send(world.target.clone());
    world
        .until(&handle, |status| status.state == State::Done)
        .await;
    let halted = until(&handle, &view.origin, |status| {
        status.state == State::Halted
    })
    .await;
    let trouble = halted.trouble.unwrap();
    assert!(
        trouble.contains("it is a view") && trouble.contains("SNAPSHOT=never"),
        "{trouble}"
    );
    // Sent again, it is retried at once.
    let view_of = database.collection::<bson::Document>("view");
    view_of.drop().await.unwrap();
    view_of.insert_one(doc! { "_id": 1 }).await.unwrap();
    handle.send(view.clone());
    until(&handle, &view.origin, |status| status.state == State::Done).await;
}

#[tokio::test]
async fn the_listed_collections_are_those_of_the_selection() {
    let world = World::new().await;
    let database = &world.scene.database;
    for name in ["users", "orders_a", "orders_b", "orders_tmp", "apart"] {
        database.create_collection(name).await.unwrap();
    }
    database
        .create_collection("orders_view")
        .view_on("users")
        .await
        .unwrap();
    if world.scene.version().await >= ServerVersion::new(5, 0, 0) {
        let series = TimeseriesOptions::builder().time_field("t").build();
        let creating = database.create_collection("orders_series");
        creating.timeseries(series).await.unwrap();
    }
    let pattern = |written: &str, regex: &str| Matcher::Pattern {
        written: written.to_owned(),
        regex: regex::Regex::new(regex).unwrap(),
    };
    let selection = |databases| Selection {
        databases,
        collections: NameSet {
            includes: vec![
                Matcher::Name("users".to_owned()),
                Matcher::Name("apart".to_owned()),
                pattern("orders_*", "^orders_.*$"),
                pattern("/system.*/", "^system.*$"),
            ],
            excludes: vec![pattern("*_tmp", "^.*_tmp$")],
        },
        apart: vec![(database.name().to_owned(), "apart".to_owned())],
    };
    let named = NameSet::of_names(&[database.name()]);
    let by_pattern = NameSet {
        includes: vec![pattern(
            "*",
            &format!("^{}$", regex::escape(database.name())),
        )],
        excludes: Vec::new(),
    };
    let layout = Layout::DatabaseAndCollection;
    for databases in [named, by_pattern] {
        let found = collections(&world.edges.deployment, &selection(databases), layout).await;
        let found: Vec<String> = found.unwrap().iter().map(ToString::to_string).collect();
        let expected = ["orders_a", "orders_b", "users"];
        let expected = expected.map(|name| format!("{}.{name}", database.name()));
        assert_eq!(found, expected);
    }
    let internal = NameSet {
        includes: vec![pattern("*", "^.*$")],
        excludes: Vec::new(),
    };
    let found = collections(&world.edges.deployment, &selection(internal), layout).await;
    let databases: Vec<String> = found
        .unwrap()
        .into_iter()
        .map(|origin| origin.database)
        .collect();
    assert!(
        !databases
            .iter()
            .any(|name| ["admin", "config", "local"].contains(&name.as_str()))
    );
}

/// What docs/permissions.md asks for: the role `read`, or `find` and `changeStream` alone.
#[tokio::test]
async fn a_role_that_may_only_read_is_enough() {
    let server = Server::mongod_with(&["--auth"]);
    let scene = Scene::on(&server.uri()).await;
    let database = scene.database.name().to_owned();
    let admin = scene.client.database("admin");
    let privilege = doc! {
        "resource": { "db": &database, "collection": "" }, "actions": ["find", "changeStream"],
    };
    let role = doc! { "createRole": "little", "privileges": [privilege], "roles": [] };
    admin.run_command(role).await.unwrap();
    for (name, role) in [
        ("reader", doc! { "role": "read", "db": &database }),
        ("little", doc! { "role": "little", "db": "admin" }),
    ] {
        let user = doc! { "createUser": name, "pwd": "canary-5e1f", "roles": [role] };
        admin.run_command(user).await.unwrap();
        let uri = server
            .uri()
            .replace("root:root@", &format!("{name}:canary-5e1f@"));
        let mut scene = Scene::on(&server.uri()).await;
        scene.database = scene.client.database(&database);
        let world = World::of(scene.with("MONGODB_URI", &uri)).await;
        if name == "reader" {
            world.insert(0..5_000).await;
        }
        world.take().await;
        let snapshot = world.snapshot().await;
        assert_eq!(snapshot.sorted_keys().len(), 5_000);
        let folders = world.folders().await;
        let plan = world.json(&folders[0], "_plan.json").await.unwrap();
        assert_eq!(plan["boundaries"].as_array().unwrap().len(), 3);
        assert_eq!(plan["uuid"].is_string(), name == "reader");
        assert_eq!(plan["estimated_bytes"].is_u64(), name == "reader");
        assert_eq!(plan["estimated_documents"], 5_000);
    }
}
