//! The flush button.

use std::fs;

use bson::doc;

use crate::harness::scene::insert;

use super::{Visit, scene, text};

const TOKEN: &str = "token-of-the-tests-own";

/// Presses a button.
fn press(visit: &mut Visit, selector: &str) {
    let pressed = format!("document.querySelector({selector:?}).click()");
    visit.browser.value(&pressed);
}

/// Types a token where it is asked for.
fn give(visit: &mut Visit, token: &str) {
    visit
        .browser
        .wait_for("document.getElementById('ask').open");
    let browser = &mut visit.browser;
    let focused = browser.value("document.activeElement.id");
    assert_eq!(focused, "token", "it can be typed at once");
    browser.call("Input.insertText", serde_json::json!({ "text": token }));
    press(visit, "#ask-form [type=submit]");
}

fn wait_for_outcome(visit: &mut Visit, beginning: &str) {
    let outcome = "document.getElementById('outcome').textContent";
    visit
        .browser
        .wait_for(&format!("{outcome}.startsWith({beginning:?})"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flush_button_asks_for_the_token_and_tells_the_outcome() {
    let scene = scene("orders,users").await.with("HTTP_TOKEN", TOKEN);
    let mut visit = Visit::to(&scene.settings);
    visit.wait_for_headline("All 2 collections are watched");
    insert(&scene.users(), 0..3).await;
    visit
        .browser
        .wait_for(&format!("{} === '3'", text("users", ".buffered")));

    press(&mut visit, "#flush-all");
    give(&mut visit, "another-token-of-some-length");
    wait_for_outcome(&mut visit, "The token was refused; nothing was flushed.");
    assert_eq!(scene.archived("users").len(), 0);

    // A refused one isn't kept, a good one is asked for once.
    press(&mut visit, "#flush-all");
    give(&mut visit, TOKEN);
    wait_for_outcome(&mut visit, "Flushed at ");
    assert_eq!(scene.archived("users").len(), 3);
    visit.browser.wait_for(&format!(
        "{}.includes('by http')",
        text("users", ".flushed")
    ));
    insert(&scene.users(), 3..5).await;
    insert(&scene.database.collection("orders"), 0..2).await;
    visit
        .browser
        .wait_for(&format!("{} === '2'", text("users", ".buffered")));
    visit
        .browser
        .wait_for(&format!("{} === '2'", text("orders", ".buffered")));
    press(&mut visit, "[aria-label='Flush users']");
    visit
        .browser
        .wait_for(&format!("{} === '5'", text("users", ".archived")));
    assert_eq!(scene.archived("users").len(), 5);
    assert_eq!(
        scene.archived("orders").len(),
        0,
        "only one was to be flushed"
    );

    // What can't be flushed is told with its reason.
    fs::write(
        scene.lake().join("orders"),
        "a file where the folder should be",
    )
    .unwrap();
    visit
        .browser
        .wait_for("!document.getElementById('flush-all').disabled");
    press(&mut visit, "#flush-all");
    wait_for_outcome(&mut visit, "1 of 2 collections could not be flushed.");
    let why = visit
        .browser
        .value("document.getElementById('outcomes').textContent");
    let collection = format!("{}.orders: ", scene.database.name());
    let why = why.as_str().unwrap();
    assert!(
        why.starts_with(&collection) && why.contains("lake: "),
        "{why}"
    );
    fs::remove_file(scene.lake().join("orders")).unwrap();

    let kept = "[localStorage.length, sessionStorage.length, location.href.includes('token'),
        document.getElementById('token').value]";
    let kept = visit.browser.value(kept);
    assert_eq!(kept, serde_json::json!([0, 0, false, ""]), "only in memory");
    let cookies = visit
        .browser
        .call("Network.getCookies", serde_json::json!({}));
    assert_eq!(cookies["cookies"], serde_json::json!([]));
    visit.assert_is_clean(&["flush"]);
    visit.silt.drain();
    assert_eq!(
        scene
            .database
            .collection::<bson::Document>("orders")
            .count_documents(doc! {})
            .await
            .unwrap(),
        2
    );
    assert_eq!(scene.archived("orders").len(), 2);
}
