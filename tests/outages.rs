//! What happens when one of the two servers goes away.

use bson::doc;

use crate::harness::scene::{Scene, insert, tokens};
use crate::harness::servers::Server;
use crate::harness::silt::{Signal, Silt, run};

fn halted(line: &serde_json::Value) -> bool {
    line["message"].as_str().unwrap().starts_with("halted")
}

#[tokio::test]
async fn a_file_system_that_vanishes_is_named_and_the_changes_are_held() {
    let scene = Scene::new().await.on_azurite().with("BATCH_SIZE", "5");
    let mut witness = scene.witness("users").await;
    let mut silt = Silt::start(&scene.settings);
    silt.wait_for("created the lake");
    silt.wait_for("watching");
    delete_container(scene.filesystem());
    insert(&scene.users(), 0..5).await;
    let line = silt.wait_where("halted", halted);
    assert!(
        line["error"].as_str().unwrap().contains(scene.filesystem()),
        "{line}"
    );
    create_container(scene.filesystem());
    silt.signal(Signal::USR1);
    scene.flush_until(&mut silt, "users", 5).await;
    silt.drain();
    assert_eq!(
        tokens(&scene.archived_on_azurite("users").await),
        witness.tokens(5).await
    );
}

#[tokio::test]
async fn a_lake_that_is_away_is_waited_for() {
    let azurite = Server::azurite();
    let scene = Scene::new()
        .await
        .with_lake_at(&azurite.endpoint())
        .with("BATCH_SIZE", "5");
    let mut witness = scene.witness("users").await;
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    insert(&scene.users(), 0..5).await;
    scene.flush_until(&mut silt, "users", 5).await;
    let azurite = azurite.stop();
    insert(&scene.users(), 5..20).await;
    silt.wait_where("failing", |line| {
        line["message"]
            .as_str()
            .unwrap()
            .starts_with("flushes fail")
    });
    let azurite = azurite.start();
    scene.flush_until(&mut silt, "users", 20).await;
    silt.drain();
    let script = include_str!("readers/azure_tokens.py");
    let listed =
        crate::harness::python(script, &[&azurite.endpoint(), scene.filesystem(), "users"]);
    let listed: Vec<String> = listed.lines().map(str::to_owned).collect();
    assert_eq!(listed, witness.tokens(20).await);
}

/// DESIGN: one collection's trouble is its own.
#[tokio::test]
async fn a_collection_that_cannot_be_written_does_not_stop_another() {
    let scene = Scene::new()
        .await
        .with("MONGODB_COLLECTIONS", "users,orders")
        .with("BUFFER_LIMIT_BYTES", "1MiB")
        .with("BATCH_BYTES", "64KiB")
        .with("BATCH_SIZE", "10");
    let mut silt = Silt::watching(&scene.settings, &["users", "orders"]);
    let in_the_way = scene.lake().join("users");
    std::fs::write(&in_the_way, "a file where the folder should be").unwrap();
    let large = doc! { "text": "x".repeat(1000) };
    scene.users().insert_many(vec![large; 3000]).await.unwrap();
    silt.wait_where("failing", |line| {
        line["message"]
            .as_str()
            .unwrap()
            .starts_with("flushes fail")
    });
    insert(&scene.database.collection("orders"), 0..200).await;
    scene.flush_until(&mut silt, "orders", 200).await;
    std::fs::remove_file(&in_the_way).unwrap();
    scene.flush_until(&mut silt, "users", 3000).await;
    silt.drain();
}

#[tokio::test]
async fn a_restarted_mongod_is_resumed() {
    let mongod = Server::mongod();
    let scene = Scene::on(&mongod.uri()).await.with("BATCH_SIZE", "5");
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    insert(&scene.users(), 0..5).await;
    scene.flush_until(&mut silt, "users", 5).await;
    let mongod = mongod.stop();
    silt.wait_for("failed, retrying");
    let mongod = mongod.start();
    insert(&scene.users(), 5..10).await;
    scene.flush_until(&mut silt, "users", 10).await;
    silt.drain();
    let archived = scene.archived("users");
    let numbers: Vec<i64> = archived
        .iter()
        .map(|change| change["fullDocument"]["number"].as_i64().unwrap())
        .collect();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    drop(mongod);
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_waited_for() {
    let mongod = Server::mongod();
    let scene = Scene::on(&mongod.uri()).await;
    let mongod = mongod.stop();
    let mut silt = Silt::start(&scene.settings);
    let line = silt.wait_for("can't start yet, retrying");
    assert!(
        line["error"].as_str().unwrap().starts_with("MongoDB: "),
        "{line}"
    );
    let mongod = mongod.start();
    silt.wait_for("watching");
    silt.drain();
    drop(mongod);
}

#[tokio::test]
async fn a_wrong_password_is_told_at_once_and_never_shown() {
    let scene = Scene::new().await;
    let uri = scene.settings["MONGODB_URI"].replace("mongodb://", "mongodb://silt:canary-7f3a@");
    let scene = scene.with("MONGODB_URI", &uri);
    let (code, output) = run(&scene.settings, &[]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("refuses the credential"), "{output}");
    assert!(!output.contains("canary-7f3a"), "{output}");
}

#[tokio::test]
async fn a_wrong_azure_key_is_told_at_once_and_never_shown() {
    let scene = Scene::new()
        .await
        .on_azurite()
        .with("AZURE_STORAGE_ACCOUNT_KEY", "Y2FuYXJ5LTdmM2E=");
    let (code, output) = run(&scene.settings, &[]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("AZURE_STORAGE_ACCOUNT_KEY"), "{output}");
    assert!(!output.contains("Y2FuYXJ5LTdmM2E="), "{output}");
}

fn delete_container(name: &str) {
    crate::harness::python(
        include_str!("readers/azure_container.py"),
        &["delete", name],
    );
}

fn create_container(name: &str) {
    crate::harness::python(
        include_str!("readers/azure_container.py"),
        &["create", name],
    );
}
