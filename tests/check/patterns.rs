//! What `silt check` says of a stream over several collections.

use bson::{Document, doc};
use mongodb::Client;
use silt::source::ServerVersion;

use super::{checks, expect, row};
use crate::harness::scene::{Scene, insert};
use crate::harness::servers::Server;
use crate::harness::silt::Silt;

/// A scene whose database has these collections, and a lake.
async fn scene(collections: &[&str]) -> Scene {
    let scene = Scene::new().await;
    std::fs::create_dir(scene.lake()).unwrap();
    for collection in collections {
        insert(&scene.database.collection(collection), 0..1).await;
    }
    scene
}

async fn create(scene: &Scene, commands: Vec<Document>) {
    for command in commands {
        scene.database.run_command(command).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_pattern_means_now_is_listed_and_what_has_no_changes_is_passed_over() {
    let scene = scene(&["orders_1", "orders_2", "orders_tmp", "users"]).await;
    let view = doc! { "create": "orders_view", "viewOn": "users", "pipeline": [] };
    let times = doc! { "create": "orders_times", "timeseries": { "timeField": "at" } };
    create(&scene, vec![view]).await;
    let mut passed_over = vec!["ok", "orders_view (a view, which has no changes)"];
    if scene.version().await >= ServerVersion::new(5, 0, 0) {
        create(&scene, vec![times]).await;
        passed_over.push("orders_times (a time-series collection, which has no change streams)");
    }
    let scene = scene.with("MONGODB_COLLECTIONS", "orders_*, !*_tmp, users");
    let output = checks(
        &scene,
        0,
        &["orders_*,users,!*_tmp of ", ", by 1 stream, to "],
    );
    let means = row(&output, "orders_*,users,!*_tmp");
    expect(
        &means,
        &["ok", "means 3 collections now: orders_1, orders_2, users"],
    );
    expect(&row(&output, "passed over"), &passed_over);
    assert!(
        !output.contains("orders_tmp") && !output.contains("system."),
        "{output}"
    );
    expect(&row(&output, "shared stream"), &["ok", "opened and closed"]);
    expect(
        &row(&output, "shared checkpoint"),
        &["ok", "none yet: starts with the next change"],
    );

    let scene = scene.with("MONGODB_COLLECTIONS", "x*,orders_view");
    let output = checks(&scene, 1, &[]);
    expect(
        &row(&output, "orders_view"),
        &["FAIL", "a view", "name the collections behind it"],
    );
    expect(
        &row(&output, "x*,orders_view"),
        &["warn", "means no collection now", "from its first change"],
    );
}

#[tokio::test]
async fn over_several_databases_names_stand_with_theirs() {
    let (one, other) = (
        scene(&["users", "orders"]).await,
        scene(&["users", "tmp"]).await,
    );
    let (first, second) = (
        one.database.name().to_owned(),
        other.database.name().to_owned(),
    );
    let one = one
        .with("MONGODB_DATABASE", &format!("{first},{second}*"))
        .with("MONGODB_COLLECTIONS", "!tmp");
    let output = checks(&one, 0, &[]);
    let means = row(&output, "*,!tmp");
    let mut names = [
        format!("{first}.orders"),
        format!("{first}.users"),
        format!("{second}.users"),
    ];
    names.sort();
    expect(
        &means,
        &["means 3 collections now: ", &names[0], &names[1], &names[2]],
    );
    expect(&row(&output, "shared stream"), &["opened and closed"]);
}

#[tokio::test]
async fn where_a_shared_stream_stands_is_told_with_the_ends_of_its_collections() {
    let scene = scene(&["users"]).await;
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    insert(&scene.users(), 1..2).await;
    scene.flush_until(&mut silt, "users", 1).await;
    silt.drain();
    let scene = scene.with("MONGODB_COLLECTIONS", "u*,o*");
    let output = checks(&scene, 0, &[]);
    let taken_over = row(&output, "shared checkpoint");
    expect(
        &taken_over,
        &[
            "ok",
            "takes over at ",
            " from ",
            "users, which carried these collections before",
            "the oplog holds it",
        ],
    );

    let mut silt = Silt::start(&scene.settings);
    silt.wait_for("watching");
    insert(&scene.users(), 2..3).await;
    insert(&scene.database.collection("orders"), 0..1).await;
    scene.flush_until(&mut silt, "users", 2).await;
    scene.flush_until(&mut silt, "orders", 1).await;
    silt.drain();
    let output = checks(&scene, 0, &[]);
    expect(
        &row(&output, "shared checkpoint"),
        &["ok", "revision ", "the oplog holds it"],
    );
    expect(&row(&output, "newest files"), &["ok", "2 of 2 collections"]);
    let other = scene.with("OPERATION_TYPES", "insert");
    let output = checks(&other, 0, &[]);
    expect(
        &row(&output, "shared checkpoint"),
        &["ok", "of a stream with another filter"],
    );
    expect(&row(&output, "shared stream"), &["opened and closed"]);

    let orders = format!("collections.{}:orders", other.database.name());
    let known = doc! { &orders: { "$exists": true } };
    let later = bson::Timestamp {
        time: 4_000_000_000,
        increment: 1,
    };
    let moved = doc! { "$set": {
        format!("{orders}.last_change.token"): { "_data": "8299" },
        format!("{orders}.last_change.cluster_time"): later,
    } };
    let before = other.checkpoints().find_one(known.clone()).await.unwrap();
    let before = before.unwrap();
    let updated = other.checkpoints().update_one(known.clone(), moved).await;
    assert_eq!(updated.unwrap().modified_count, 1);
    let output = checks(&other, 1, &[]);
    expect(
        &row(&output, "orders newest file"),
        &["FAIL", "its newest file"],
    );
    expect(&row(&output, "newest files"), &["1 of 2 collections"]);
    other
        .checkpoints()
        .replace_one(known, before)
        .await
        .unwrap();

    let folder = other.lake().join("orders");
    for file in std::fs::read_dir(folder).unwrap() {
        std::fs::write(file.unwrap().path(), "{}").unwrap();
    }
    let output = checks(&other, 1, &[]);
    expect(&row(&output, "orders newest file"), &["FAIL"]);
    expect(&row(&output, "newest files"), &["1 of 2 collections"]);
}

#[tokio::test]
async fn a_collection_with_a_section_is_looked_at_by_itself() {
    let scene = scene(&["users", "orders"]).await;
    let file = scene.lake().parent().unwrap().join("silt.toml");
    std::fs::write(
        &file,
        "MONGODB_COLLECTIONS = '*'\n[collections.users]\nGZIP_LEVEL = 2\n",
    )
    .unwrap();
    let mut scene = scene.with("SILT_CONFIG", file.to_str().unwrap());
    scene.settings.remove("MONGODB_COLLECTIONS");
    let output = checks(&scene, 0, &["by 2 streams"]);
    expect(&row(&output, "*"), &["means 1 collection now: orders"]);
    expect(&row(&output, "users stream"), &["ok", "opened and closed"]);
}

#[tokio::test]
async fn images_that_are_not_kept_are_told_with_their_commands() {
    let scene = scene(&["a1", "a2"])
        .await
        .with("MONGODB_COLLECTIONS", "a*")
        .with("FULL_DOCUMENT_BEFORE_CHANGE", "whenAvailable");
    if !scene.keeps_images().await {
        let version = row(&checks(&scene, 1, &[]), "version");
        let mend = "FULL_DOCUMENT_BEFORE_CHANGE=off";
        return expect(&version, &["FAIL", "keeps no pre-images", mend]);
    }
    let kept = doc! { "create": "a3", "changeStreamPreAndPostImages": { "enabled": true } };
    create(&scene, vec![kept]).await;
    let output = checks(&scene, 0, &[]);
    let images = row(&output, "images");
    expect(
        &images,
        &[
            "warn",
            "on 2 of 3, so changes come without fullDocumentBeforeChange",
            "collMod: \"a1\"",
            "collMod: \"a2\"",
        ],
    );
    let scene = scene.with("FULL_DOCUMENT_BEFORE_CHANGE", "required");
    let output = checks(&scene, 1, &[]);
    expect(
        &row(&output, "images"),
        &["FAIL", "FULL_DOCUMENT_BEFORE_CHANGE=required halts"],
    );
    for collection in ["a1", "a2"] {
        let mend =
            doc! { "collMod": collection, "changeStreamPreAndPostImages": { "enabled": true } };
        create(&scene, vec![mend]).await;
    }
    let output = checks(&scene, 0, &[]);
    expect(&row(&output, "images"), &["ok", "enabled on all 3"]);
    let scene = scene.with("MONGODB_COLLECTIONS", "a1");
    let output = checks(&scene, 0, &[]);
    expect(&row(&output, "a1 images"), &["ok"]);
}

#[tokio::test]
async fn a_role_that_is_too_small_for_all_collections_is_told_with_its_mend() {
    let server = Server::mongod_with(&["--auth"]);
    let root = Client::with_uri_str(server.uri()).await.unwrap();
    let admin = root.database("admin");
    let scene = Scene::on(&server.uri()).await;
    std::fs::create_dir(scene.lake()).unwrap();
    insert(&scene.users(), 0..1).await;
    let database = scene.database.name().to_owned();
    let privileges = vec![
        doc! { "resource": { "db": &database, "collection": "users" }, "actions": ["find", "changeStream"] },
        doc! { "resource": { "db": format!("{database}-meta"), "collection": "" }, "actions": ["find", "insert", "update", "remove"] },
    ];
    let role = doc! { "createRole": "narrow", "privileges": privileges, "roles": [] };
    admin.run_command(role).await.unwrap();
    let user = doc! { "createUser": "silt", "pwd": "canary-5e1f", "roles": ["narrow"] };
    admin.run_command(user).await.unwrap();
    let uri = server.uri().replace("root:root@", "silt:canary-5e1f@");
    let scene = scene
        .with("MONGODB_URI", &uri)
        .with("MONGODB_COLLECTIONS", "u*");
    let output = checks(&scene, 1, &[]);
    let mend = format!(
        "db.getSiblingDB(\"admin\").grantPrivilegesToRole(\"narrow\", [{{resource: {{db: \"{database}\", \
         collection: \"\"}}, actions: [\"find\", \"changeStream\"]}}])"
    );
    let missing = format!("find and changeStream on all collections of {database} are missing");
    expect(&row(&output, "shared stream"), &["FAIL", &missing, &mend]);
    expect(&row(&output, "u*"), &["means 1 collection now: users"]);
    let privilege = doc! {
        "resource": { "db": &database, "collection": "" }, "actions": ["find", "changeStream"],
    };
    let grant = doc! { "grantPrivilegesToRole": "narrow", "privileges": [privilege] };
    admin.run_command(grant).await.unwrap();
    checks(&scene, 0, &[]);
    let output = checks(&scene.with("MONGODB_DATABASE", "*"), 1, &[]);
    let missing = "find and changeStream on all collections of all databases are missing";
    expect(
        &row(&output, "shared stream"),
        &["FAIL", missing, "{db: \"\", collection: \"\"}"],
    );
}

#[tokio::test]
async fn a_shared_stream_whose_checkpoint_is_gone_from_beside_its_files_fails() {
    let scene = scene(&["users"]).await.with("MONGODB_COLLECTIONS", "u*");
    let mut silt = Silt::start(&scene.settings);
    silt.wait_for("watching");
    insert(&scene.users(), 2..3).await;
    scene.flush_until(&mut silt, "users", 1).await;
    silt.drain();
    scene.checkpoints().delete_many(doc! {}).await.unwrap();
    let output = checks(&scene, 1, &[]);
    expect(
        &row(&output, "shared checkpoint"),
        &["FAIL", "has no checkpoint", "users/20", "START_AT"],
    );
    expect(
        &row(&output, "newest files"),
        &["skip", "the feed halts before it reads them"],
    );
}
