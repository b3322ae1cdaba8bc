//! What `silt check` says of MongoDB.

use bson::{Document, doc};
use mongodb::Client;
use mongodb::options::ClientOptions;
use silt::checkpoint::{Checkpoints as _, FeedId, MongoCheckpoints};
use silt::source::ServerVersion;
use silt_core::position::{Checkpoint, ClusterTime, Position};

use super::{checks, expect, row};
use crate::harness::scene::{Scene, insert};
use crate::harness::servers::{Server, deployment};
use crate::harness::silt::{Signal, Silt, run};
use crate::harness::tcp_proxy::TcpProxy;

/// A user of a server with logins: what it may do, and its connection string.
async fn user(server: &Server, name: &str, privileges: Vec<Document>) -> String {
    let client = Client::with_uri_str(server.uri()).await.unwrap();
    let admin = client.database("admin");
    let role = format!("role-{name}");
    admin
        .run_command(doc! { "createRole": &role, "privileges": privileges, "roles": [] })
        .await
        .unwrap();
    admin
        .run_command(doc! { "createUser": name, "pwd": "canary-5e1f", "roles": [role] })
        .await
        .unwrap();
    server
        .uri()
        .replace("root:root@", &format!("{name}:canary-5e1f@"))
}

fn may(database: &str, actions: &[&str]) -> Document {
    doc! { "resource": { "db": database, "collection": "" }, "actions": actions }
}

#[tokio::test]
async fn a_privilege_that_is_missing_is_named_and_its_mend_mends() {
    let server = Server::mongod_with(&["--auth"]);
    let root = Client::with_uri_str(server.uri()).await.unwrap();
    let write = &["find", "insert", "update", "remove"];
    for (name, on_data, on_meta, what, missing, actions) in [
        (
            "no-stream",
            &["find"][..],
            &write[..],
            "users stream",
            "changeStream on DB.users is missing",
            &["changeStream"][..],
        ),
        (
            "no-find",
            &["changeStream"],
            write,
            "users stream",
            "find on DB.users is missing",
            &["find"],
        ),
        (
            "neither",
            &["insert"],
            write,
            "users stream",
            "find and changeStream on DB.users are missing",
            &["find", "changeStream"],
        ),
        (
            "no-write",
            &["find", "changeStream"],
            &["find"],
            "store",
            "may not use the checkpoint collection",
            &["insert", "update"],
        ),
    ] {
        let scene = Scene::on(&server.uri()).await;
        std::fs::create_dir(scene.lake()).unwrap();
        let database = scene.database.name().to_owned();
        let meta = format!("{database}-meta");
        let uri = user(
            &server,
            name,
            vec![may(&database, on_data), may(&meta, on_meta)],
        )
        .await;
        let scene = scene.with("MONGODB_URI", &uri);
        let output = checks(&scene, 1, &["silt can't run"]);
        let row = row(&output, what);
        expect(&row, &["FAIL", &missing.replace("DB", &database)]);
        assert_eq!(output.matches("FAIL").count(), 1, "{output}");
        let (on, collection) = match what {
            "store" => (&meta, "change_stream_state"),
            _ => (&database, "users"),
        };
        let resource = format!("{{resource: {{db: \"{on}\", collection: \"{collection}\"}}");
        let listed = format!("\"{}\"", actions.join("\", \""));
        let mend = format!(
            "db.getSiblingDB(\"admin\").grantPrivilegesToRole(\"role-{name}\", [{resource}, actions: [{listed}]}}])"
        );
        expect(&row, &[&mend]);
        assert!(!row.contains("execute command"), "{row}");
        assert!(!output.contains("canary-5e1f"), "{output}");
        let privilege = doc! {
            "resource": { "db": on, "collection": collection }, "actions": actions.to_vec(),
        };
        root.database("admin")
            .run_command(doc! {
                "grantPrivilegesToRole": format!("role-{name}"), "privileges": [privilege],
            })
            .await
            .unwrap();
        let output = checks(&scene, 0, &[]);
        expect(
            &super::row(&output, "oplog"),
            &["warn", "find on local.oplog.rs"],
        );
    }
    let scene = Scene::on(&server.uri()).await;
    for (login, found, mend) in [
        (
            "root:canary-5e1f@",
            "Authentication failed",
            "authSource=DATABASE",
        ),
        ("", "requires authentication", "asks for a login"),
    ] {
        let uri = server.uri().replace("root:root@", login);
        let mut settings = scene.settings.clone();
        settings.insert("MONGODB_URI".into(), uri);
        let (code, output) = run(&settings, &["check"]);
        assert_eq!(code, 1, "{output}");
        let row = row(&output, "login");
        expect(&row, &["FAIL", found, mend]);
        assert!(!row.contains("Grant"), "{row}");
        assert!(!output.contains("canary-5e1f"), "{output}");
    }
    let uri = user(
        &server,
        "no-remove",
        vec![
            may("x", &["find", "changeStream"]),
            may("x-meta", &write[..3]),
        ],
    );
    let uri = uri.await;
    let scene = scene
        .with("MONGODB_URI", &uri)
        .with("MONGODB_DATABASE", "x")
        .with("CHECKPOINT_DATABASE", "x-meta");
    let output = checks(&scene, 0, &[]);
    expect(
        &row(&output, "store"),
        &["warn", "stays: x-meta.change_stream_state"],
    );
    checks(&scene, 0, &[]);
    let left = root
        .database("x-meta")
        .collection::<Document>("change_stream_state");
    assert_eq!(
        left.count_documents(doc! {}).await.unwrap(),
        1,
        "they don't pile up"
    );
}

#[tokio::test]
async fn with_the_least_role_what_cannot_be_seen_is_told_and_nothing_else() {
    let server = Server::mongod_with(&["--auth"]);
    let root = Client::with_uri_str(server.uri()).await.unwrap();
    let scene = Scene::on(&server.uri()).await;
    std::fs::create_dir(scene.lake()).unwrap();
    let database = scene.database.name().to_owned();
    insert(&scene.users(), 0..1).await;
    let view = doc! { "create": "seen", "viewOn": "users", "pipeline": [] };
    scene.database.run_command(view).await.unwrap();
    let on = |database: &str, collection: &str, actions: &[&str]| {
        doc! { "resource": { "db": database, "collection": collection }, "actions": actions }
    };
    let meta = format!("{database}-meta");
    let state = ["find", "insert", "update", "remove"];
    let role = vec![
        on(&database, "users", &["find", "changeStream"]),
        on(&database, "seen", &["find", "changeStream"]),
        on(&meta, "change_stream_state", &state),
        on("local", "oplog.rs", &["find"]),
    ];
    let uri = user(&server, "least", role).await;
    let scene = scene.with("MONGODB_URI", &uri);
    let output = checks(&scene, 0, &[]);
    assert!(!output.contains("listCollections"), "{output}");
    let scene = scene.with("MONGODB_COLLECTIONS", "seen");
    expect(&row(&checks(&scene, 1, &[]), "seen"), &["FAIL", "a view"]);

    let scene = scene
        .with("MONGODB_COLLECTIONS", "users")
        .with("FULL_DOCUMENT", "required");
    if !scene.keeps_images().await {
        return refuses_images(&scene);
    }
    let output = checks(&scene, 0, &["as far as could be checked"]);
    let mend = format!(
        "db.getSiblingDB(\"admin\").grantPrivilegesToRole(\"role-least\", [{{resource: {{db: \"{database}\", \
         collection: \"\"}}, actions: [\"listCollections\"]}}])"
    );
    let missing = format!("without listCollections on {database}");
    expect(&row(&output, "users images"), &["skip", &missing, &mend]);
    let privilege = on(&database, "", &["listCollections"]);
    root.database("admin")
        .run_command(doc! { "grantPrivilegesToRole": "role-least", "privileges": [privilege] })
        .await
        .unwrap();
    let output = checks(&scene, 1, &[]);
    expect(
        &row(&output, "users images"),
        &["FAIL", "halts at the first update"],
    );
}

/// A server without post-images is the one thing to mend where they are asked for.
fn refuses_images(scene: &Scene) {
    let output = checks(scene, 1, &[]);
    expect(
        &row(&output, "version"),
        &["FAIL", "keeps no post-images", "FULL_DOCUMENT=updateLookup"],
    );
    expect(
        &row(&output, "users stream"),
        &["FAIL", "doesn't take the stream's options"],
    );
    assert!(!output.contains("changeStreamPreAndPostImages"), "{output}");
}

#[tokio::test]
async fn what_is_no_collection_with_a_stream_is_refused_by_name() {
    let scene = Scene::new().await;
    let database = &scene.database;
    insert(&scene.users(), 0..1).await;
    let view = doc! { "create": "seen", "viewOn": "users", "pipeline": [] };
    database.run_command(view).await.unwrap();
    let series = doc! { "create": "times", "timeseries": { "timeField": "at" } };
    let has_series = scene.version().await >= ServerVersion::new(5, 0, 0);
    assert_eq!(database.run_command(series).await.is_ok(), has_series);
    let scene = scene.with("MONGODB_COLLECTIONS", "seen,times,users");
    let output = checks(&scene, 1, &[]);
    expect(&row(&output, "seen"), &["FAIL", "a view"]);
    let times = if has_series {
        ["FAIL", "time-series"]
    } else {
        ["ok", "not there yet"]
    };
    expect(&row(&output, "times"), &times);
    expect(&row(&output, "users"), &["ok", "there"]);
}

#[tokio::test]
async fn post_images_are_wanted_where_full_document_asks_for_them() {
    let scene = Scene::new().await;
    insert(&scene.users(), 0..1).await;
    let scene = scene.with("FULL_DOCUMENT", "required");
    if !scene.keeps_images().await {
        refuses_images(&scene);
        return refuses_images(&scene.with("FULL_DOCUMENT", "whenAvailable"));
    }
    let kept = doc! { "create": "kept", "changeStreamPreAndPostImages": { "enabled": true } };
    scene.database.run_command(kept).await.unwrap();
    let scene = scene.with("MONGODB_COLLECTIONS", "users,kept");
    let output = checks(&scene, 1, &[]);
    expect(
        &row(&output, "users images"),
        &["FAIL", "collMod: \"users\""],
    );
    expect(&row(&output, "kept images"), &["ok", "is enabled"]);
    let scene = scene
        .with("FULL_DOCUMENT", "whenAvailable")
        .with("MONGODB_COLLECTIONS", "users");
    let output = checks(&scene, 0, &[]);
    expect(
        &row(&output, "users images"),
        &["warn", "without fullDocument"],
    );
}

#[tokio::test]
async fn a_position_that_the_oplog_has_lost_fails_unless_that_is_foreseen() {
    let scene = Scene::new().await;
    let database = &scene.settings["CHECKPOINT_DATABASE"];
    let store = MongoCheckpoints::new(&deployment().await, database, "change_stream_state");
    let feed = FeedId {
        database: scene.database.name().to_owned(),
        collection: "users".to_owned(),
    };
    let position = Position::At(ClusterTime {
        seconds: 1_705_327_200,
        increment: 1,
    });
    let checkpoint = Checkpoint::new(position, "collection stream, no pipeline");
    store.save(&feed, &checkpoint, 0).await.unwrap();
    let output = checks(&scene, 1, &[]);
    let lost = row(&output, "users checkpoint");
    expect(
        &lost,
        &[
            "FAIL",
            "revision 1, of 2024-01-15T14:00:00Z/1",
            "ON_HISTORY_LOST=restart",
        ],
    );
    let scene = scene.with("ON_HISTORY_LOST", "restart");
    let output = checks(&scene, 0, &[]);
    expect(
        &row(&output, "users checkpoint"),
        &["warn", "records the gap"],
    );

    scene.checkpoints().delete_many(doc! {}).await.unwrap();
    let scene = scene
        .with("START_AT", "2024-01-15T14:00:00Z")
        .with("ON_HISTORY_LOST", "halt");
    let output = checks(&scene, 1, &[]);
    expect(&row(&output, "users checkpoint"), &["FAIL", "(START_AT)"]);
    scene
        .checkpoints()
        .insert_one(doc! { "_id": feed.to_string(), "schema": 99 })
        .await
        .unwrap();
    let output = checks(&scene, 1, &[]);
    expect(
        &row(&output, "users checkpoint"),
        &["FAIL", "a newer silt wrote it"],
    );
}

#[tokio::test]
async fn a_server_without_change_streams_is_told_how_to_get_them() {
    let scene = Scene::new().await;
    for (options, found) in [
        (
            &["--lone", "standalone"],
            "standalone, which has no change streams",
        ),
        (
            &["--lone", "uninitiated"],
            "a replica set that nobody has initiated",
        ),
    ] {
        let server = Server::mongod_with(options);
        let mut settings = scene.settings.clone();
        settings.insert("MONGODB_URI".into(), server.uri());
        let (code, output) = run(&settings, &["check"]);
        assert_eq!(code, 1, "{output}");
        expect(&row(&output, "kind"), &["FAIL", found, "rs.initiate()"]);
        expect(&output, &["  skip users"]);
        if options.contains(&"uninitiated") {
            // Somebody may be about to: a start waits.
            let mut silt = Silt::start(&settings);
            let told = silt.wait_for("can't start yet, retrying");
            expect(told["error"].as_str().unwrap(), &["RsGhost"]);
            silt.signal(Signal::TERM);
            silt.wait();
            continue;
        }
        let (code, output) = run(&settings, &["run"]);
        assert_eq!(code, 1, "{output}");
        expect(
            &output,
            &["can't start", "the server is standalone", "rs.initiate()"],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_too_old_is_refused_with_its_version() {
    let scene = Scene::new().await;
    let host = ClientOptions::parse(&scene.direct_uri).await.unwrap().hosts[0].to_string();
    let admin = scene.client.database("admin");
    let greeting = admin.run_command(doc! { "hello": 1 }).await.unwrap();
    let wire_version = greeting.get_i32("maxWireVersion").unwrap();
    let build = admin.run_command(doc! { "buildInfo": 1 }).await.unwrap();
    let version = build.get_str("version").unwrap();
    let old_version = format!("3{}", &version[1..]);
    let wire = |version: i32| field("maxWireVersion", &version.to_le_bytes());
    for (genuine, forged, found) in [
        // The driver won't speak with it.
        (wire(wire_version), wire(8), "4.2"),
        // The driver would.
        (
            field("version", &text(version)),
            field("version", &text(&old_version)),
            &old_version,
        ),
    ] {
        let proxy = TcpProxy::before(host.parse().unwrap()).await;
        proxy.forge(&genuine, &forged);
        let uri = format!("mongodb://{}/?directConnection=true", proxy.address());
        let mut settings = scene.settings.clone();
        settings.insert("MONGODB_URI".into(), uri);
        let (code, output) = run(&settings, &["check"]);
        assert_eq!(code, 1, "{output}");
        let words = [
            "FAIL",
            &format!("{found} is too old"),
            "upgrade MongoDB: 4.4.2",
        ];
        expect(&row(&output, "version"), &words);
        expect(&row(&output, "TLS"), &["ok", "off"]);
        expect(&output, &["  skip oplog", "  skip users"]);
        let (code, output) = run(&settings, &["run"]);
        assert_eq!(code, 1, "{output}");
        let refusal = format!("MongoDB {found} is too old: silt needs 4.4.2 or newer");
        expect(&output, &["can't start", &refusal]);
    }
}

/// A field of BSON as it is on the wire, without the byte of its type.
fn field(name: &str, value: &[u8]) -> Vec<u8> {
    [name.as_bytes(), b"\0", value].concat()
}

/// A string of BSON.
fn text(text: &str) -> Vec<u8> {
    let len = text.len() as i32 + 1;
    [&len.to_le_bytes(), text.as_bytes(), b"\0"].concat()
}

#[tokio::test]
async fn a_server_that_is_not_there_or_another_is_told_apart() {
    let scene = Scene::new().await;
    let uri = scene.settings["MONGODB_URI"].clone();
    for (uri, what, words) in [
        (
            "mongodb://127.0.0.1:1/".to_owned(),
            "TCP",
            ["Connection refused", "start the servers"],
        ),
        (
            "mongodb://nowhere.invalid/".to_owned(),
            "DNS",
            ["nowhere.invalid:27017", "this machine's DNS"],
        ),
        (
            uri.replace("=rs0", "=other"),
            "kind",
            ["replica set rs0, but", "replicaSet=rs0"],
        ),
        (
            format!("{uri}&tls=true"),
            "TLS",
            ["doesn't speak TLS", "switch TLS off"],
        ),
    ] {
        let mut settings = scene.settings.clone();
        settings.insert("MONGODB_URI".into(), uri);
        let (code, output) = run(&settings, &["check"]);
        assert_eq!(code, 1, "{output}");
        let row = row(&output, what);
        expect(&row, &["FAIL"]);
        expect(&row, &words);
        expect(&output, &["  skip users"]);
        if what == "kind" {
            let skipped = super::row(&output, "login");
            expect(&skipped, &["skip", "names another replica set"]);
        }
    }
}
