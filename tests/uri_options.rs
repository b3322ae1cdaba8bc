//! Options and user names in `MONGODB_URI`.

use bson::doc;
use mongodb::Client;

use crate::harness::scene::Scene;
use crate::harness::servers::{Server, client};
use crate::harness::silt::{Silt, run};

fn with_options(uri: &str, options: &str) -> String {
    let separator = if uri.contains('?') { '&' } else { '?' };
    format!("{uri}{separator}{options}")
}

/// One document before the stream and one after it: the snapshot has the one, the stream the other.
async fn archives_everything(scene: Scene) {
    let scene = scene.with("SNAPSHOT", "initial");
    let users = scene.users();
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
}

#[tokio::test]
async fn streams_and_snapshots_are_read_with_majority_whatever_the_uri_says() {
    for level in ["local", "available", "linearizable", "snapshot"] {
        let scene = Scene::new().await;
        let options = format!("readConcernLevel={level}");
        let uri = with_options(&scene.direct_uri, &options);
        archives_everything(scene.with("MONGODB_URI", &uri)).await;
    }
}

#[tokio::test]
async fn streams_and_snapshots_are_read_with_majority_whatever_the_clusters_default_is() {
    let server = Server::mongod();
    let client = client(&server.uri()).await;
    let default = doc! { "setDefaultRWConcern": 1, "defaultReadConcern": { "level": "available" } };
    client.database("admin").run_command(default).await.unwrap();
    archives_everything(Scene::on(&server.uri()).await).await;
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
