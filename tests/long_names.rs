//! Collections whose names are too long for a folder.

use bson::{Document, doc};
use serde_json::Value;

use crate::harness::scene::{Scene, insert};
use crate::harness::silt::{Silt, run};

/// Collections and their folders; `sha256sum` knows the digests. All but the last begin alike.
fn long_names() -> [(String, String); 3] {
    let beginning = "a".repeat(147);
    let folder = |digest: &str| format!("{}%2D{digest}", "a".repeat(128));
    [
        (
            beginning.clone() + &"/".repeat(47),
            folder("4dc94e1333f84f25ec3ef102540ba13cee340c9b"),
        ),
        (
            beginning + &"/".repeat(46) + "b",
            folder("2ab632c8e8bfaa05940983f9ae7321cd058ff6b7"),
        ),
        ("c".repeat(230), "c".repeat(230)),
    ]
}

/// A local lake and one in Azurite, with streams of their own and a shared one, in a format with and one without a
/// head.
async fn scenes() -> Vec<Scene> {
    let mut scenes = Vec::new();
    for (number, is_shared) in [false, true, false, true].into_iter().enumerate() {
        let scene = Scene::new().await;
        let scene = if number < 2 {
            scene
        } else {
            scene.on_azurite()
        };
        let names = long_names().map(|(name, _)| name).join(",");
        let scene = scene
            .with("MONGODB_COLLECTIONS", if is_shared { "*" } else { &names })
            .with("OUTPUT_FORMAT", if is_shared { "json" } else { "ndjson" })
            .with("CHECKPOINT_STORE", "lake");
        scenes.push(scene);
    }
    scenes
}

async fn write(scene: &Scene, numbers: std::ops::Range<i32>) {
    for (name, _) in long_names() {
        insert(&scene.database.collection(&name), numbers.clone()).await;
    }
}

#[tokio::test]
async fn every_lake_holds_them_and_says_their_true_names() {
    for scene in scenes().await {
        let is_shared = scene.settings["MONGODB_COLLECTIONS"] == "*";
        let names = long_names().map(|(name, _)| name);
        let start = || {
            let watched: Vec<&str> = names.iter().map(String::as_str).collect();
            Silt::watching(&scene.settings, if is_shared { &["*"] } else { &watched })
        };
        let mut silt = start();
        write(&scene, 0..3).await;
        for (_, folder) in long_names() {
            scene.flush_until(&mut silt, &folder, 3).await;
        }
        silt.kill();
        // It goes on from its checkpoints, in the same folders.
        let mut silt = start();
        write(&scene, 3..5).await;
        for (name, folder) in long_names() {
            scene.flush_until(&mut silt, &folder, 5).await;
            let archived = scene.archived_anywhere(&folder).await;
            let found: Vec<_> = archived.iter().map(collection_and_number).collect();
            let expected: Vec<_> = (0..5).map(|number| (name.as_str(), number)).collect();
            assert_eq!(found, expected);
        }
        silt.drain();

        let (code, output) = run(&scene.settings, &["ls", "--json"]);
        assert_eq!(code, 0, "{output}");
        assert_eq!(listed(&output), names);
        let (code, output) = run(&scene.settings, &["ls", "--json", &names[1]]);
        assert_eq!(code, 0, "{output}");
        assert_eq!(listed(&output), names[1..2]);
        let (code, output) = run(&scene.settings, &["check"]);
        assert_eq!(code, 0, "{output}");
    }
}

fn collection_and_number(change: &Value) -> (&str, i64) {
    let number = change["fullDocument"]["number"].as_i64();
    (change["ns"]["coll"].as_str().unwrap(), number.unwrap())
}

fn listed(output: &str) -> Vec<String> {
    let listing: Value = serde_json::from_str(output).unwrap();
    let collections = listing["collections"].as_array().unwrap().iter();
    collections
        .map(|collection| collection["collection"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn what_cannot_be_held_halts_and_can_be_excluded() {
    let mut scene = Scene::new()
        .await
        .with("MONGODB_COLLECTIONS", "*")
        .with("DUMP_SCHEDULE", "* * * * * *");
    // The path of an hour file of `users` fits into the 4,095 bytes of a path, that of the other doesn't.
    let mut root = scene.folder.path().to_owned();
    while root.as_os_str().len() < 3860 {
        let left = 3860 - root.as_os_str().len();
        root.push("d".repeat(left.min(200)));
    }
    std::fs::create_dir_all(root.join("lake")).unwrap();
    scene = scene.with_lake_in(&root, &root);
    let long = "x".repeat(200);
    let collection: mongodb::Collection<Document> = scene.database.collection(&long);
    collection.insert_one(doc! { "_id": 0 }).await.unwrap();

    let (code, output) = run(&scene.settings, &["check"]);
    assert_eq!(code, 1, "{output}");
    for word in [
        &long,
        "File name too long",
        "`!name` in MONGODB_COLLECTIONS",
    ] {
        assert!(output.contains(word), "{word:?} is missing in:\n{output}");
    }

    let mut silt = Silt::watching(&scene.settings, &["*"]);
    insert(&collection, 1..2).await;
    let is_halted = |line: &Value| {
        let error = line["error"].as_str().unwrap_or_default();
        let words = ["File name too long", "`!name` in MONGODB_COLLECTIONS"];
        line["message"].as_str().unwrap().starts_with("halted")
            && words.iter().all(|word| error.contains(word))
    };
    silt.wait_where("a halt", is_halted);
    silt.kill();

    scene.set("MONGODB_COLLECTIONS", &format!("*,!{long}"));
    let mut silt = Silt::watching(&scene.settings, &["*"]);
    insert(&scene.users(), 0..3).await;
    scene.flush_until(&mut silt, "users", 3).await;
    silt.drain();
}
