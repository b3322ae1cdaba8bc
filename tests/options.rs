//! Settings that change what is asked of the servers.

use bson::{Document, doc};

use crate::harness::python;
use crate::harness::scene::{Scene, insert, tokens};
use crate::harness::servers::{AZURITE_ACCOUNT, AZURITE_KEY};
use crate::harness::silt::{Silt, is_of};

/// An update as it comes with this setting.
async fn update_with(full_document: &str, scene: Scene) -> serde_json::Value {
    let scene = scene.with("FULL_DOCUMENT", full_document);
    if scene.keeps_images().await {
        let images =
            doc! { "create": "users", "changeStreamPreAndPostImages": { "enabled": true } };
        scene.database.run_command(images).await.unwrap();
    }
    scene
        .users()
        .insert_one(doc! { "_id": 1, "a": 1 })
        .await
        .unwrap();
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    scene
        .users()
        .update_one(doc! { "_id": 1 }, doc! { "$set": { "a": 2 } })
        .await
        .unwrap();
    scene.flush_until(&mut silt, "users", 1).await;
    silt.drain();
    scene.archived("users").remove(0)
}

#[tokio::test]
async fn full_documents_come_as_asked_and_the_delta_always() {
    for (full_document, is_there, is_image) in [
        ("default", false, false),
        ("updateLookup", true, false),
        ("whenAvailable", true, true),
        ("required", true, true),
    ] {
        let scene = Scene::new().await;
        if is_image && !scene.keeps_images().await {
            let error = halted(scene.with("FULL_DOCUMENT", full_document)).await;
            assert!(error.contains("need MongoDB 6.0"), "{error}");
            continue;
        }
        let change = update_with(full_document, scene).await;
        let document = change.get("fullDocument");
        assert_eq!(document.is_some(), is_there, "{full_document}: {change}");
        assert!(
            document.is_none_or(|document| document["a"] == 2),
            "{change}"
        );
        assert_eq!(change["updateDescription"]["updatedFields"]["a"], 2);
    }
}

#[tokio::test]
async fn a_required_image_that_is_not_there_halts_with_the_remedy() {
    let scene = Scene::new().await.with("FULL_DOCUMENT", "required");
    let remedy = if scene.keeps_images().await {
        "changeStreamPreAndPostImages"
    } else {
        "FULL_DOCUMENT=updateLookup"
    };
    let error = halted(scene).await;
    assert!(error.contains(remedy), "{error}");
}

/// Why silt halts at an update, at the latest.
async fn halted(scene: Scene) -> String {
    let users = scene.users();
    users.insert_one(doc! { "_id": 1, "a": 1 }).await.unwrap();
    let mut silt = Silt::start(&scene.settings);
    let is_halted =
        |line: &serde_json::Value| line["message"].as_str().unwrap().starts_with("halted");
    let line = silt.wait_where("it watches or has halted", |line| {
        line["message"] == "watching" || is_halted(line)
    });
    if is_halted(&line) {
        return line["error"].as_str().unwrap().to_owned();
    }
    let update = users.update_one(doc! { "_id": 1 }, doc! { "$set": { "a": 2 } });
    update.await.unwrap();
    let line = silt.wait_where("halted", is_halted);
    line["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_section_of_the_settings_file_is_its_collections_own() {
    let mut scene = Scene::new().await;
    let file = scene.lake().parent().unwrap().join("silt.toml");
    let text = "MONGODB_COLLECTIONS = ['users', 'orders']\nFULL_DOCUMENT = 'default'\n\
                [collections.users]\nOUTPUT_FORMAT = 'ndjson'\nFULL_DOCUMENT = 'updateLookup'\n\
                BATCH_SIZE = 2\n";
    std::fs::write(&file, text).unwrap();
    scene.settings.remove("MONGODB_COLLECTIONS");
    let scene = scene.with("SILT_CONFIG", file.to_str().unwrap());
    let mut silt = Silt::watching(&scene.settings, &["users", "orders"]);
    for name in ["users", "orders"] {
        let collection = scene.database.collection::<Document>(name);
        collection.insert_one(doc! { "_id": 1 }).await.unwrap();
        let update = doc! { "$set": { "a": 2 } };
        collection
            .update_one(doc! { "_id": 1 }, update)
            .await
            .unwrap();
    }
    // Two changes make a flush of the one, and are far from enough for the other.
    let flushed = silt.wait_for("flushed");
    assert!(is_of(&flushed, "users") && flushed["reason"] == "count");
    scene.flush_until(&mut silt, "orders", 2).await;
    silt.drain();
    for (name, extension, is_looked_up) in [("users", ".ndjson", true), ("orders", ".json", false)]
    {
        let files = scene.contents(name).await;
        assert!(
            files.iter().all(|(file, _)| file.ends_with(extension)),
            "{name}"
        );
        let update = &scene.archived(name)[1];
        assert_eq!(
            update.get("fullDocument").is_some(),
            is_looked_up,
            "{update}"
        );
    }
}

#[tokio::test]
async fn signature_and_connection_string_open_the_lake_like_the_key() {
    let sas = python(include_str!("readers/azure_sas.py"), &[]);
    let endpoint = crate::harness::variable("SILT_TEST_AZURITE");
    let string = format!(
        "DefaultEndpointsProtocol=http;AccountName={AZURITE_ACCOUNT};AccountKey={AZURITE_KEY};\
         BlobEndpoint={endpoint};"
    );
    for (name, value) in [
        ("AZURE_STORAGE_SAS_TOKEN", sas.trim()),
        ("AZURE_STORAGE_CONNECTION_STRING", string.as_str()),
    ] {
        let mut scene = Scene::new().await.on_azurite().with(name, value);
        scene.settings.remove("AZURE_STORAGE_ACCOUNT_KEY");
        let mut witness = scene.witness("users").await;
        let mut silt = Silt::watching(&scene.settings, &["users"]);
        insert(&scene.users(), 0..10).await;
        scene.flush_until(&mut silt, "users", 10).await;
        let silt = silt.drain();
        assert_eq!(
            tokens(&scene.archived_on_azurite("users").await),
            witness.tokens(10).await
        );
        let secret = value.split("sig=").last().unwrap();
        assert!(!silt.text().contains(secret) && !silt.text().contains(AZURITE_KEY));
    }
}

#[tokio::test]
async fn a_flush_is_one_line_that_says_all_of_it() {
    let scene = Scene::new().await.with("LOG_LEVEL", "info");
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    insert(&scene.users(), 0..40).await;
    scene.flush_until(&mut silt, "users", 40).await;
    let silt = silt.drain();
    let flushed: Vec<_> = silt
        .log
        .iter()
        .filter(|line| line["message"] == "flushed")
        .collect();
    let sum: u64 = flushed
        .iter()
        .map(|line| line["changes"].as_u64().unwrap())
        .sum();
    assert_eq!(sum, 40);
    for (number, line) in flushed.iter().enumerate() {
        let file = scene.files("users")[0]
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(line["file"], format!("users/{file}"));
        assert_eq!(line["commit"], number as u64 + 1);
        assert!(line["bytes"].as_u64().unwrap() > 0 && line["duration_ms"].is_u64());
        assert!(line["reason"].is_string());
        let database = scene.database.name();
        assert_eq!(line["collection"], format!("{database}.users"));
    }
    let others = silt.log.len() - flushed.len() - silt.count("flushing all collections on SIGUSR1");
    assert!(others < 10, "no line per change:\n{}", silt.text());
}
