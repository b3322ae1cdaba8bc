//! `POST /flush` and `silt flush`.

use bson::doc;
use serde_json::json;

use super::ask_running;
use crate::harness::asks::{Answer, address, ask, status_when};
use crate::harness::http::{self, Kind};
use crate::harness::http_proxy::{Fault, HttpProxy, Which};
use crate::harness::scene::{Scene, insert};
use crate::harness::silt::{Silt, run};
use crate::harness::variable;

const TOKEN: &str = "a-token-of-the-tests";

fn post(silt: &mut Silt, target: &str, token: Option<&str>) -> Answer {
    let head = token.map(|token| format!("Authorization: Bearer {token}"));
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    ask(&address(silt), "POST", target, &head)
}

async fn scene() -> Scene {
    Scene::new()
        .await
        .with("HTTP_ADDR", "127.0.0.1:0")
        .with("HTTP_TOKEN", TOKEN)
        .with("MONGODB_COLLECTIONS", "users,orders")
}

#[tokio::test]
async fn who_has_the_token_flushes_and_is_answered_when_the_lake_has_it() {
    let scene = scene().await;
    let mut silt = Silt::watching(&scene.settings, &["users", "orders"]);
    insert(&scene.users(), 0..7).await;
    insert(&scene.database.collection("orders"), 0..3).await;
    status_when(&mut silt, |status| {
        status["totals"]["buffered_changes"] == 10
    });

    for (token, status) in [(None, 401), (Some("a-token-of-the-test"), 401)] {
        let answer = post(&mut silt, "/flush", token);
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(answer.head.contains("www-authenticate: bearer"));
    }
    assert_eq!(
        post(&mut silt, "/flush?collection=user", Some(TOKEN)).status,
        404
    );
    assert!(scene.files("users").is_empty() && scene.files("orders").is_empty());

    let answer = post(&mut silt, "/flush?collection=orders", Some(TOKEN));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let database = &scene.settings["MONGODB_DATABASE"];
    let orders =
        json!({ "database": database, "collection": "orders", "changes": 3, "done": true });
    assert_eq!(
        answer.json(),
        json!({ "flushed": true, "collections": [orders] })
    );
    assert_eq!(scene.archived("orders").len(), 3);
    assert!(scene.files("users").is_empty());

    let (code, output) = ask_running(&mut silt, &scene, &["flush"]);
    assert_eq!(code, 0, "{output}");
    let said =
        format!("{database}.users: 7 changes are in the lake\n{database}.orders: nothing waited\n");
    assert_eq!(output, said);
    assert_eq!(scene.archived("users").len(), 7);
    let status = status_when(&mut silt, |_| true);
    assert_eq!(status["collections"][0]["last_flush"]["reason"], "http");

    let (code, output) = ask_running(&mut silt, &scene, &["flush", "customers"]);
    assert_eq!((code, output.as_str()), (1, "customers isn't watched\n"));
    silt.drain();
}

#[tokio::test]
async fn without_a_token_nobody_flushes() {
    let mut scene = scene().await;
    scene.settings.remove("HTTP_TOKEN");
    let mut silt = Silt::watching(&scene.settings, &["users", "orders"]);
    assert_eq!(post(&mut silt, "/flush", Some(TOKEN)).status, 403);
    assert_eq!(post(&mut silt, "/flush", None).status, 403);
    let (code, output) = ask_running(&mut silt, &scene, &["flush"]);
    assert_eq!(code, 1);
    assert!(output.starts_with("HTTP_TOKEN isn't set"), "{output}");
    silt.drain();
}

#[tokio::test]
async fn a_flush_that_fails_is_answered_with_the_reason() {
    let proxy = HttpProxy::new(&variable("SILT_TEST_AZURITE"));
    let scene = scene().await.on_azurite().behind(&proxy);
    let mut silt = Silt::watching(&scene.settings, &["users", "orders"]);
    insert(&scene.users(), 0..7).await;
    status_when(&mut silt, |status| {
        status["totals"]["buffered_changes"] == 7
    });
    let refusal = http::Answer::new(503, "ServerBusy");
    proxy.fail(Which::every(Kind::Commit), Fault::Answer(refusal));
    let answer = post(&mut silt, "/flush", Some(TOKEN));
    assert_eq!(answer.status, 503, "{}", answer.body);
    let users = &answer.json()["collections"][0];
    assert_eq!(users["done"], false);
    let why = users["why"].as_str().unwrap();
    assert!(why.starts_with("it fails and is retried: lake: "), "{why}");
    let (code, output) = ask_running(&mut silt, &scene, &["flush", "users"]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("users: not flushed: it fails"), "{output}");

    proxy.mend();
    assert_eq!(post(&mut silt, "/flush", Some(TOKEN)).status, 200);
    assert_eq!(scene.archived_on_azurite("users").await.len(), 7);
    silt.drain();
}

#[tokio::test]
async fn a_collection_that_is_not_read_is_not_called_flushed() {
    let scene = scene().await;
    Silt::watching(&scene.settings, &["users", "orders"]).drain();
    let id = format!("{}.users", scene.settings["MONGODB_DATABASE"]);
    let bad = doc! { "$set": { "position": { "after": { "_data": "82no token" } } } };
    scene
        .checkpoints()
        .update_one(doc! { "_id": id }, bad)
        .await
        .unwrap();
    let mut silt = Silt::watching(&scene.settings, &["orders"]);
    status_when(&mut silt, |status| {
        status["collections"][0]["state"] == "halted"
    });
    let answer = post(&mut silt, "/flush", Some(TOKEN));
    assert_eq!(answer.status, 503, "{}", answer.body);
    let collections = &answer.json()["collections"];
    assert_eq!(collections[0]["done"], false);
    let why = collections[0]["why"].as_str().unwrap();
    assert!(why.starts_with("it isn't read: halted: MongoDB: "), "{why}");
    assert_eq!(collections[1]["done"], true);
    silt.drain();
}

#[tokio::test]
async fn with_nobody_there_the_commands_say_so() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let mut scene = scene().await;
    scene.set("HTTP_ADDR", &address);
    for command in ["flush", "healthcheck"] {
        let (code, output) = run(&scene.settings, &[command]);
        assert_eq!(code, 1);
        let said = format!("nobody answers at {address} (HTTP_ADDR): ");
        assert!(output.starts_with(&said), "{output}");
    }
}
