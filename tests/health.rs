//! `/livez` and `/readyz`: one collection's trouble shows, and the others go on.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bson::doc;
use serde_json::Value;

use crate::harness::scene::{Scene, insert, tokens};
use crate::harness::silt::{Signal, Silt, WAIT_LIMIT, run};

/// Asks silt. Returns the status and the body.
fn get(silt: &mut Silt, path: &str) -> (u16, Value) {
    silt.searched = 0;
    let line = silt.wait_for("answers /livez and /readyz");
    let mut stream = TcpStream::connect(line["address"].as_str().unwrap()).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: silt\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

/// Waits until `/readyz` has this status, and returns its body.
fn wait_until_ready_is(silt: &mut Silt, status: u16) -> Value {
    let begun = Instant::now();
    loop {
        let (found, body) = get(silt, "/readyz");
        if found == status {
            return body;
        }
        assert!(begun.elapsed() < WAIT_LIMIT, "{body}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn a_halted_collection_shows_in_readiness_and_the_others_go_on() {
    let scene = Scene::new()
        .await
        .with("HTTP_ADDR", "127.0.0.1:0")
        .with("MONGODB_COLLECTIONS", "users,orders");
    Silt::watching(&scene.settings, &["users", "orders"]).drain();
    let good = scene.checkpoint().await.unwrap();
    let id = doc! { "_id": good.get_str("_id").unwrap() };
    let bad = doc! { "$set": { "position": { "after": { "_data": "82no token" } } } };
    let checkpoints = scene.checkpoints();
    checkpoints.update_one(id.clone(), bad).await.unwrap();

    let mut witness = scene.witness("users").await;
    insert(&scene.users(), 0..3).await;
    let mut silt = Silt::watching(&scene.settings, &["orders"]);
    silt.searched = 0;
    silt.wait_where("halted", |line| {
        line["message"].as_str().unwrap().starts_with("halted")
    });
    let body = wait_until_ready_is(&mut silt, 503);
    let not_ready = &body["not_ready"];
    assert_eq!(not_ready.as_array().unwrap().len(), 1, "{body}");
    assert_eq!(not_ready[0]["collection"], "users");
    let why = not_ready[0]["why"].as_str().unwrap();
    assert!(why.starts_with("halted: MongoDB: "), "{why}");
    assert_eq!(get(&mut silt, "/livez").0, 200);

    insert(&scene.database.collection("orders"), 0..3).await;
    scene.flush_until(&mut silt, "orders", 3).await;

    // Mended, it goes on at a signal.
    let mend = doc! { "$set": { "position": good.get_document("position").unwrap() } };
    checkpoints.update_one(id, mend).await.unwrap();
    silt.drain();
    let mut silt = Silt::start(&scene.settings);
    let body = wait_until_ready_is(&mut silt, 200);
    assert_eq!(body["ready"], true);
    scene.flush_until(&mut silt, "users", 3).await;
    silt.signal(Signal::TERM);
    assert_eq!(silt.wait().0, 0);
    assert_eq!(
        tokens(&scene.archived("users")),
        witness.tokens(3).await.as_slice()
    );
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_with_the_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let scene = Scene::new().await.with("HTTP_ADDR", &address);
    let (code, output) = run(&scene.settings, &[]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains(&format!("HTTP_ADDR={address}")), "{output}");
    assert!(output.contains("or off"), "{output}");
}
