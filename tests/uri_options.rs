//! Options and user names in `MONGODB_URI`.

use bson::{Document, doc};
use futures::TryStreamExt as _;
use mongodb::Client;

use crate::harness::fail_point::{FailPoint, Strikes};
use crate::harness::scene::Scene;
use crate::harness::servers::{Server, client};
use crate::harness::silt::{Silt, run};
use crate::harness::unique;

fn with_options(uri: &str, options: &str) -> String {
    let separator = if uri.contains('?') { '&' } else { '?' };
    format!("{uri}{separator}{options}")
}

/// One document before the stream and one after it: the snapshot has the one, the stream the other.
async fn archives_everything(scene: Scene) -> Vec<Document> {
    let scene = scene.with("SNAPSHOT", "initial");
    let users = scene.users();
    let profile = doc! { "profile": 2 };
    scene.database.run_command(profile).await.unwrap();
    users.insert_one(doc! { "_id": 1 }).await.unwrap();
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    silt.wait_where("the snapshot is finished", |line| {
        let message = line["message"].as_str().unwrap();
        message.contains("snapshot") && message.contains("finished")
    });
    users.insert_one(doc! { "_id": 2 }).await.unwrap();
    scene.flush_until(&mut silt, "users", 1).await;
    silt.drain();
    assert_eq!(scene.archived("users")[0]["documentKey"]["_id"], 2);
    reads(&scene).await
}

/// The reads of the collection that the server has profiled, of silt alone: the tests only write to it.
async fn reads(scene: &Scene) -> Vec<Document> {
    let profile = scene.database.collection::<Document>("system.profile");
    let namespace = format!("{}.users", scene.database.name());
    let reads = doc! { "ns": namespace, "op": { "$in": ["query", "command", "getmore"] } };
    let cursor = profile.find(reads).await.unwrap();
    cursor.try_collect().await.unwrap()
}

/// Checks what the server itself says of the reads: the stream's and the snapshot's.
fn are_read_with_majority(reads: &[Document]) {
    let (mut streams, mut finds) = (0, 0);
    for read in reads {
        let command = read.get_document("command").unwrap();
        let begun = match command.keys().next().unwrap().as_str() {
            "find" => {
                finds += 1;
                command
            }
            // The profile shows a stream by its getMores, with the aggregation that opened it.
            "getMore" => {
                streams += 1;
                read.get_document("originatingCommand").unwrap()
            }
            // Estimates, for the snapshot's ranges and its progress, and the end of a cursor.
            "count" | "aggregate" | "killCursors" => continue,
            _ => panic!("a read of another kind: {read}"),
        };
        let concern = begun.get_document("readConcern");
        let concern = concern.unwrap_or_else(|_| panic!("no read concern: {read}"));
        assert_eq!(concern.get_str("level").unwrap(), "majority", "{read}");
    }
    assert!(streams > 0 && finds > 0, "{reads:?}");
}

#[tokio::test]
async fn streams_and_snapshots_are_read_with_majority_whatever_the_uri_says() {
    for level in ["local", "available", "linearizable", "snapshot"] {
        let scene = Scene::new().await;
        let options = format!("readConcernLevel={level}");
        let uri = with_options(&scene.direct_uri, &options);
        are_read_with_majority(&archives_everything(scene.with("MONGODB_URI", &uri)).await);
    }
}

#[tokio::test]
async fn streams_and_snapshots_are_read_with_majority_whatever_the_clusters_default_is() {
    let server = Server::mongod();
    let client = client(&server.uri()).await;
    let default = doc! { "setDefaultRWConcern": 1, "defaultReadConcern": { "level": "available" } };
    client.database("admin").run_command(default).await.unwrap();
    are_read_with_majority(&archives_everything(Scene::on(&server.uri()).await).await);
}

#[tokio::test]
async fn options_of_other_drivers_do_no_harm() {
    let scene = Scene::new().await;
    let options = "w=0&timeoutMS=1&socketTimeoutMS=1&wtimeoutMS=1&uuidRepresentation=standard\
                   &retryReads=false&retryWrites=false&readPreference=secondaryPreferred\
                   &readPreferenceTags=dc:nowhere&readPreferenceTags=&appName=silt%20test";
    let uri = with_options(&scene.direct_uri, options);
    archives_everything(scene.with("MONGODB_URI", &uri)).await;
}

#[tokio::test]
async fn a_user_name_may_hold_commas_and_equals_signs() {
    let server = Server::mongod_with(&["--auth"]);
    let root = Client::with_uri_str(server.uri()).await.unwrap();
    let admin = root.database("admin");
    let name = "cn=silt,ou=data=2C";
    let create = doc! { "createUser": name, "pwd": "p,=w", "roles": ["root"] };
    admin.run_command(create).await.unwrap();
    let scene = Scene::on(&server.uri()).await;
    for written in ["cn%3Dsilt%2cou%3ddata%3D2C", "cn=silt,ou=data=2C"] {
        for mechanism in ["", "authMechanism=SCRAM-SHA-256", "authMechanism=DEFAULT"] {
            let user = format!("{written}:p%2C%3Dw@");
            let uri = server.uri().replace("root:root@", &user);
            let uri = with_options(&uri, mechanism);
            let mut settings = scene.settings.clone();
            settings.insert("MONGODB_URI".to_owned(), uri);
            let (status, output) = run(&settings, &["check"]);
            assert_eq!(status, 0, "{written} {mechanism}: {output}");
        }
    }
}

#[tokio::test]
async fn a_login_that_a_stopping_server_refuses_is_tried_again() {
    let server = Server::mongod_with(&["--auth"]);
    let app_name = unique("silt");
    let scene = Scene::on(&server.uri()).await;
    let uri = with_options(&server.uri(), &format!("appName={app_name}"));
    let scene = scene.with("MONGODB_URI", &uri);
    // ShutdownInProgress, then a wrong password's code: the one passes, the other ends the process.
    for (code, passes) in [(91, true), (18, false)] {
        let failure = doc! { "errorCode": code };
        let commands = ["saslStart", "saslContinue"];
        let strikes = Strikes::Always;
        let failing = FailPoint::arm(&scene.client, &app_name, &commands, strikes, &failure).await;
        let mut silt = Silt::start(&scene.settings);
        failing.struck(1).await;
        if passes {
            failing.disarm().await;
            silt.wait_for("watching");
            silt.drain();
        } else {
            let (status, silt) = silt.wait();
            assert_eq!(status, 1, "{}", silt.text());
            assert!(silt.text().contains("authSource"), "{}", silt.text());
            failing.disarm().await;
        }
    }
}
