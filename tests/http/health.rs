//! `/livez`, `/readyz` and `silt healthcheck`: one collection's trouble shows, and the others go on.

use bson::doc;
use serde_json::Value;

use crate::harness::asks::{get, get_until};
use crate::harness::scene::{Scene, insert, tokens};
use crate::harness::silt::{Signal, Silt, run};

use super::ask_running;

/// Waits until `/readyz` has this status, and returns its body.
fn wait_until_ready_is(silt: &mut Silt, status: u16) -> Value {
    get_until(silt, "/readyz", |answer| answer.status == status).json()
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
    assert_eq!(get(&mut silt, "/livez").status, 200);
    let metrics = get(&mut silt, "/metrics").body;
    for part in ["state=\"halted\"} 1", "cause=\"mongodb_token_refused\"} 1"] {
        assert!(metrics.contains(part), "{part}:\n{metrics}");
    }
    let (code, output) = ask_running(&mut silt, &scene, &["healthcheck"]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("users: halted: MongoDB: "), "{output}");
    let (code, output) = ask_running(&mut silt, &scene, &["healthcheck", "--live"]);
    assert_eq!((code, output.as_str()), (0, "alive\n"));

    insert(&scene.database.collection("orders"), 0..3).await;
    scene.flush_until(&mut silt, "orders", 3).await;

    // Mended, it goes on at a signal.
    let mend = doc! { "$set": { "position": good.get_document("position").unwrap() } };
    checkpoints.update_one(id, mend).await.unwrap();
    silt.drain();
    let mut silt = Silt::start(&scene.settings);
    let body = wait_until_ready_is(&mut silt, 200);
    assert_eq!(body["ready"], true);
    let (code, output) = ask_running(&mut silt, &scene, &["healthcheck"]);
    assert_eq!((code, output.as_str()), (0, "ready\n"));
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
