//! Start, signals, drain, restart.

use bson::{Timestamp, doc};

use crate::harness::scene::{Scene, insert, tokens};
use crate::harness::silt::{Signal, Silt};

#[tokio::test]
async fn the_start_is_saved_before_it_is_called_watching() {
    let scene = Scene::new().await;
    insert(&scene.users(), 0..3).await;
    let silt = Silt::watching(&scene.settings, &["users"]);
    let checkpoint = scene
        .checkpoint()
        .await
        .expect("a checkpoint as soon as it watches");
    assert_eq!(checkpoint.get_i64("revision").unwrap(), 1);
    // A crash before the first flush must not move the start.
    silt.kill();
    let mut witness = scene.witness("users").await;
    insert(&scene.users(), 3..6).await;
    witness.see(3).await;
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    scene.flush_until(&mut silt, "users", 3).await;
    silt.drain();
    let archived = tokens(&scene.archived("users"));
    assert_eq!(
        archived,
        witness.tokens(3).await,
        "what was there before the start is not archived"
    );
}

#[tokio::test]
async fn a_drain_archives_all_that_was_read_and_saves_the_token() {
    for signal in [Signal::TERM, Signal::INT] {
        let scene = Scene::new().await.with("LOG_LEVEL", "debug");
        let mut witness = scene.witness("users").await;
        let mut silt = Silt::watching(&scene.settings, &["users"]);
        insert(&scene.users(), 0..50).await;
        let expected = witness.tokens(50).await;
        let mut read = 0;
        while read < 50 {
            read += silt.wait_for("read")["changes"].as_u64().unwrap();
        }
        assert_eq!(silt.count("flushed"), 0, "all of it waits in a batch");
        silt.signal(signal);
        let (code, silt) = silt.wait();
        assert_eq!(code, 0, "{}", silt.text());
        let flushed = silt
            .log
            .iter()
            .find(|line| line["message"] == "flushed")
            .unwrap();
        assert_eq!(
            (&flushed["reason"], &flushed["changes"]),
            (&"drain".into(), &50.into())
        );
        assert_eq!(tokens(&scene.archived("users")), expected);
        let last = scene.last_change().await;
        let token = last.get_document("token").unwrap();
        assert_eq!(token.get_str("_data").unwrap(), expected[49]);
    }
}

/// The checkpoint in the form in which silt 0.1 stored that of a feed of one collection.
async fn store_as_schema_1(scene: &Scene) {
    let stored = scene.checkpoint().await.unwrap();
    let last = scene.last_change().await;
    let update = doc! {
        "$set": { "last_change": last, "schema": 1 },
        "$unset": { "collections": "" },
    };
    let id = doc! { "_id": stored.get("_id") };
    let result = scene.checkpoints().update_one(id, update).await.unwrap();
    assert_eq!(result.modified_count, 1);
}

#[tokio::test]
async fn a_checkpoint_of_schema_1_is_resumed_from_and_replaced() {
    let scene = Scene::new().await;
    let mut witness = scene.witness("users").await;
    let mut archived = 0;
    for round in 0..3_i32 {
        if round == 1 {
            store_as_schema_1(&scene).await;
        }
        let mut silt = Silt::watching(&scene.settings, &["users"]);
        archived += 5;
        insert(&scene.users(), round * 5..round * 5 + 5).await;
        scene.flush_until(&mut silt, "users", archived).await;
        silt.drain();
        let stored = scene.checkpoint().await.unwrap();
        assert_eq!(stored.get_i32("schema").unwrap(), 2, "{stored}");
        assert_eq!(stored.get("last_change"), None);
        let expected = witness.tokens(archived).await;
        assert_eq!(tokens(&scene.archived("users")), expected);
    }
}

#[tokio::test]
async fn a_drain_that_cannot_finish_says_what_is_left_and_exits_with_3() {
    let scene = Scene::new()
        .await
        .with("SHUTDOWN_TIMEOUT_SECONDS", "1")
        .with("BATCH_SIZE", "5");
    let mut witness = scene.witness("users").await;
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    insert(&scene.users(), 0..5).await;
    scene.flush_until(&mut silt, "users", 5).await;
    let away = scene.folder.path().join("away");
    std::fs::rename(scene.lake(), &away).unwrap();
    insert(&scene.users(), 5..10).await;
    let halted = silt.wait_where("halted", |line| {
        line["message"].as_str().unwrap().starts_with("halted")
    });
    assert!(
        halted["error"].as_str().unwrap().contains("does not exist"),
        "{halted}"
    );
    let before = scene.checkpoint().await.unwrap();
    silt.signal(Signal::TERM);
    let (code, silt) = silt.wait();
    assert_eq!(code, 3, "{}", silt.text());
    let left = silt
        .log
        .iter()
        .find(|line| line["changes"] == 5 && line["level"] == "WARN");
    assert!(
        left.is_some(),
        "it says how many changes are left: {}",
        silt.text()
    );
    let after = scene.checkpoint().await.unwrap();
    assert_eq!(
        after.get("collections"),
        before.get("collections"),
        "no token moved"
    );

    std::fs::rename(&away, scene.lake()).unwrap();
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    scene.flush_until(&mut silt, "users", 10).await;
    silt.drain();
    assert_eq!(tokens(&scene.archived("users")), witness.tokens(10).await);
}

#[tokio::test]
async fn a_second_signal_exits_at_once_without_moving_a_token() {
    let scene = Scene::new().await.with("BATCH_SIZE", "5");
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    std::fs::rename(scene.lake(), scene.folder.path().join("away")).unwrap();
    insert(&scene.users(), 0..5).await;
    silt.wait_where("halted", |line| {
        line["message"].as_str().unwrap().starts_with("halted")
    });
    silt.signal(Signal::TERM);
    silt.wait_for("draining");
    silt.signal(Signal::TERM);
    let (code, silt) = silt.wait();
    assert_eq!(code, 3, "{}", silt.text());
    assert!(silt.text().contains("a second signal"), "{}", silt.text());
    let checkpoint = scene.checkpoint().await.unwrap();
    assert!(
        checkpoint.get_document("collections").unwrap().is_empty(),
        "no token moved"
    );
    std::fs::rename(scene.folder.path().join("away"), scene.lake()).unwrap();
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    scene.flush_until(&mut silt, "users", 5).await;
    silt.drain();
}

#[tokio::test]
async fn start_at_a_time_reads_from_there() {
    let scene = Scene::new().await;
    let mut witness = scene.witness("users").await;
    insert(&scene.users(), 0..5).await;
    let seconds = witness.see(5).await[2]
        .get_timestamp("clusterTime")
        .unwrap()
        .time;
    let expected: Vec<String> = {
        let tokens = witness.tokens(5).await;
        let times: Vec<Timestamp> = witness
            .see(5)
            .await
            .iter()
            .map(|change| change.get_timestamp("clusterTime").unwrap())
            .collect();
        let from = times.iter().position(|time| time.time >= seconds).unwrap();
        tokens[from..].to_vec()
    };
    let time = chrono::DateTime::from_timestamp(i64::from(seconds), 0)
        .unwrap()
        .to_rfc3339();
    let scene = scene.with("START_AT", &time).with("BATCH_SIZE", "1");
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    scene.flush_until(&mut silt, "users", expected.len()).await;
    silt.drain();
    assert_eq!(tokens(&scene.archived("users")), expected);
}

#[tokio::test]
async fn a_lost_checkpoint_goes_on_from_the_lakes_end_and_an_old_one_doubles_nothing() {
    let scene = Scene::new().await.with("BATCH_SIZE", "5");
    let mut witness = scene.witness("users").await;
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let old = scene.checkpoint().await.unwrap();
    insert(&scene.users(), 0..10).await;
    scene.flush_until(&mut silt, "users", 10).await;
    silt.kill();
    insert(&scene.users(), 10..15).await;
    let restore = |checkpoint: Option<bson::Document>| {
        let (checkpoints, id) = (scene.checkpoints(), old.get("_id").unwrap().clone());
        async move {
            checkpoints.delete_one(doc! { "_id": id }).await.unwrap();
            if let Some(checkpoint) = checkpoint {
                checkpoints.insert_one(checkpoint).await.unwrap();
            }
        }
    };
    restore(None).await;
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    scene.flush_until(&mut silt, "users", 15).await;
    silt.kill();
    assert_eq!(tokens(&scene.archived("users")), witness.tokens(15).await);

    restore(Some(old.clone())).await;
    insert(&scene.users(), 15..20).await;
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    scene.flush_until(&mut silt, "users", 20).await;
    let silt = silt.drain();
    assert_eq!(silt.count("caught up with the lake"), 1);
    assert_eq!(tokens(&scene.archived("users")), witness.tokens(20).await);
}

#[tokio::test]
async fn a_lake_behind_its_checkpoint_is_refused_with_the_remedy() {
    let scene = Scene::new().await.with("BATCH_SIZE", "5");
    let mut witness = scene.witness("users").await;
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    insert(&scene.users(), 0..5).await;
    scene.flush_until(&mut silt, "users", 5).await;
    let path = scene.files("users").pop().unwrap();
    let older = std::fs::read(&path).unwrap();
    // The next change has another second, so the lake's end is visibly older.
    let second = witness.see(5).await[4]
        .get_timestamp("clusterTime")
        .unwrap()
        .time;
    let mut number = 5;
    while witness
        .see(number as usize)
        .await
        .last()
        .unwrap()
        .get_timestamp("clusterTime")
        .unwrap()
        .time
        <= second
    {
        insert(&scene.users(), number..number + 1).await;
        number += 1;
    }
    let silt = silt.drain();
    drop(silt);
    let newer = std::fs::read(&path).unwrap();
    std::fs::write(&path, older).unwrap();
    let mut silt = Silt::start(&scene.settings);
    let halted = silt.wait_where("halted", |line| {
        line["message"].as_str().unwrap().starts_with("halted")
    });
    let error = halted["error"].as_str().unwrap();
    assert!(
        error.contains("older than its checkpoint") && error.contains("delete"),
        "{error}"
    );
    silt.drain();
    std::fs::write(&path, newer).unwrap();
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    scene.flush_until(&mut silt, "users", number as usize).await;
    silt.drain();
    let expected = witness.tokens(number as usize).await;
    assert_eq!(tokens(&scene.archived("users")), expected);
}

#[tokio::test]
async fn an_idle_feeds_position_is_saved_at_the_drain() {
    let scene = Scene::new().await.with("LOG_LEVEL", "trace");
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let first = scene.checkpoint().await.unwrap();
    assert!(
        first
            .get_document("position")
            .unwrap()
            .get_timestamp("at")
            .is_ok()
    );
    silt.wait_for("nothing new");
    silt.drain();
    let last = scene.checkpoint().await.unwrap();
    assert_eq!(last.get_i64("revision").unwrap(), 2);
    let after = last.get_document("position").unwrap().get_document("after");
    assert!(
        after.is_ok(),
        "a token in place of the starting time: {last}"
    );
    assert!(last.get_document("collections").unwrap().is_empty());
}
