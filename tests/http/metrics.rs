//! `/metrics`, read by the parser of the Prometheus project's own client.

use serde_json::Value;

use crate::harness::asks::{get, status_when};
use crate::harness::python;
use crate::harness::scene::{Scene, insert};
use crate::harness::silt::{Signal, Silt};

/// The samples of a scrape, by name; labels are among them.
fn samples(text: &str) -> Value {
    let samples = python(include_str!("parse_openmetrics.py"), &[text]);
    serde_json::from_str(&samples).unwrap()
}

/// The one sample of a name with these labels.
fn sample(samples: &Value, name: &str, labels: &[(&str, &str)]) -> f64 {
    let all = samples[name].as_array();
    let all = all.unwrap_or_else(|| panic!("there is no {name}"));
    let fits = |sample: &&Value| {
        labels
            .iter()
            .all(|(label, value)| sample["labels"][label] == *value)
    };
    let found: Vec<&Value> = all.iter().filter(fits).collect();
    assert_eq!(found.len(), 1, "{name} {labels:?}: {all:?}");
    found[0]["value"].as_f64().unwrap()
}

#[tokio::test]
async fn prometheus_reads_what_was_archived() {
    let scene = Scene::new()
        .await
        .with("HTTP_ADDR", "127.0.0.1:0")
        .with("MONGODB_COLLECTIONS", "users,a\"b\\c é")
        .with("BATCH_SIZE", "10");
    let mut silt = Silt::watching(&scene.settings, &["users", "a\"b\\c é"]);
    insert(&scene.users(), 0..10).await;
    insert(&scene.database.collection("a\"b\\c é"), 0..3).await;
    status_when(&mut silt, |status| {
        status["totals"]["changes_archived"] == 10
            && status["totals"]["buffered_changes"] == 3
            && status["mongodb"]["oplog_window_seconds"].is_u64()
    });
    let answer = get(&mut silt, "/metrics");
    assert!(
        answer
            .head
            .contains("content-type: application/openmetrics-text; version=1.0.0")
    );
    let found = samples(&answer.body);
    let users = ("collection", "users");
    let other = ("collection", "a\"b\\c é");
    let database = ("database", scene.settings["MONGODB_DATABASE"].as_str());
    assert_eq!(
        sample(&found, "silt_changes_read_total", &[users, database]),
        10.0
    );
    assert_eq!(
        sample(&found, "silt_changes_archived_total", &[users]),
        10.0
    );
    assert_eq!(sample(&found, "silt_changes_archived_total", &[other]), 0.0);
    assert_eq!(sample(&found, "silt_buffered_changes", &[other]), 3.0);
    assert!(sample(&found, "silt_buffered_bytes", &[other]) > 0.0);
    let by_count = [users, ("reason", "count"), ("outcome", "committed")];
    assert_eq!(sample(&found, "silt_flushes_total", &by_count), 1.0);
    let file = std::fs::metadata(&scene.files("users")[0]).unwrap();
    let uploaded = sample(&found, "silt_uploaded_bytes_total", &[users]);
    assert_eq!(uploaded, file.len() as f64);
    assert!(sample(&found, "silt_encoded_bytes_total", &[users]) < uploaded);
    assert!(sample(&found, "silt_read_bytes_total", &[users]) > 0.0);
    for histogram in ["silt_commit_seconds", "silt_upload_seconds"] {
        assert_eq!(sample(&found, &format!("{histogram}_count"), &[users]), 1.0);
        assert!(sample(&found, &format!("{histogram}_sum"), &[users]) > 0.0);
        let all = [users, ("le", "+Inf")];
        assert_eq!(sample(&found, &format!("{histogram}_bucket"), &all), 1.0);
    }
    assert_eq!(
        sample(&found, "silt_feed_state", &[users, ("state", "watching")]),
        1.0
    );
    assert_eq!(
        sample(&found, "silt_feed_state", &[users, ("state", "halted")]),
        0.0
    );
    assert_eq!(sample(&found, "silt_feed_ready", &[users]), 1.0);
    assert!(sample(&found, "silt_last_commit_timestamp_seconds", &[users]) > 1.7e9);
    let runway = sample(&found, "silt_oplog_runway_seconds", &[users]);
    assert!(runway <= sample(&found, "silt_oplog_window_seconds", &[]));
    assert!(sample(&found, "silt_lag_seconds", &[other]) >= 0.0);
    assert!(sample(&found, "silt_buffer_used_bytes", &[]) > 0.0);
    assert!(sample(&found, "process_cpu_seconds_total", &[]) > 0.0);
    assert_eq!(sample(&found, "silt_build_info", &[]), 1.0);
    silt.signal(Signal::TERM);
    assert_eq!(silt.wait().0, 0);
}
