//! What of a collection is archived: operations, pipelines, images, large changes, snapshots.

use super::*;

fn feed(environment: &[(&str, &str)]) -> FeedSettings {
    let settings = Given::of(&LOCAL).and(environment).settings();
    assert_eq!(settings.feeds.len(), 2);
    settings.feeds[1].clone()
}

fn problem(environment: &[(&str, &str)]) -> String {
    Given::of(&LOCAL).and(environment).problem()
}

#[test]
fn by_default_all_is_archived_as_it_comes() {
    let feed = feed(&[]);
    assert_eq!(
        feed.stream.full_document_before_change,
        FullDocumentBeforeChange::Off
    );
    assert!(!feed.stream.show_expanded_events);
    assert!(feed.stream.operation_types.is_empty() && feed.stream.pipeline.is_empty());
    assert_eq!(feed.on_large_event, OnLargeEvent::Halt);
    assert_eq!(feed.snapshot, SnapshotMode::Never);
    let snapshot = Given::of(&LOCAL).settings().snapshot;
    let expected = SnapshotSettings {
        ranges: 4,
        rate_limit_bytes_per_second: None,
    };
    assert_eq!(snapshot, expected);
}

#[test]
fn all_of_it_can_be_set() {
    let feed = feed(&[
        ("FULL_DOCUMENT_BEFORE_CHANGE", "whenavailable"),
        ("SHOW_EXPANDED_EVENTS", "TRUE"),
        ("OPERATION_TYPES", "insert, create"),
        (
            "PIPELINE",
            r#"[{"$match": {"documentKey._id": {"$gt": 5}}}]"#,
        ),
        ("ON_LARGE_EVENT", "record"),
        ("SNAPSHOT", "when-lost"),
        ("ON_HISTORY_LOST", "restart"),
    ]);
    assert_eq!(
        feed.stream.full_document_before_change,
        FullDocumentBeforeChange::WhenAvailable
    );
    assert!(feed.stream.show_expanded_events);
    assert_eq!(feed.stream.operation_types, ["insert", "create"]);
    let stage = bson::doc! { "$match": { "documentKey._id": { "$gt": 5 } } };
    assert_eq!(feed.stream.pipeline, [stage]);
    assert_eq!(feed.on_large_event, OnLargeEvent::Record);
    assert_eq!(feed.snapshot, SnapshotMode::WhenLost);
}

#[test]
fn operations_are_those_that_the_stream_has() {
    assert_eq!(
        problem(&[("OPERATION_TYPES", "insert,updates")]),
        "OPERATION_TYPES=insert,updates: `updates` is not an operation; did you mean update?"
    );
    assert_eq!(
        problem(&[("OPERATION_TYPES", "createIndexes")]),
        "OPERATION_TYPES=createIndexes: the server sends `createIndexes` only with SHOW_EXPANDED_EVENTS=true; set \
         SHOW_EXPANDED_EVENTS=true, or remove it"
    );
}

#[test]
fn a_pipeline_is_judged_by_what_the_stream_looks_up() {
    let pipeline = (
        "PIPELINE",
        r#"[{"$match": {"fullDocument.a": 1}}, {"$unset": "_id"}]"#,
    );
    let (problems, text) = Given::of(&LOCAL).and(&[pipeline]).problems();
    assert_eq!(problems.len(), 2);
    assert!(text.starts_with("silt: 1 setting is wrong"), "{text}");
    assert!(text.contains(
        "stage 1, $match: it depends on `fullDocument.a`, which FULL_DOCUMENT=updateLookup"
    ));
    assert!(text.contains("stage 2, $unset: it removes `_id`"), "{text}");
    let problem = problem(&[pipeline, ("FULL_DOCUMENT", "required")]);
    assert!(
        problem.contains("stage 2, $unset: it removes `_id`"),
        "{problem}"
    );
    let start = "PIPELINE={}: not an array of stages; set it to a JSON array of stages such as [";
    assert!(super::filters::problem(&[("PIPELINE", "{}")]).starts_with(start));
}

/// Whoever takes a password out of changes doesn't want it in the lake.
#[test]
fn a_snapshot_is_refused_if_a_pipeline_removes_fields() {
    let pipeline = ("PIPELINE", r#"[{"$unset": "fullDocument.password"}]"#);
    let problem = problem(&[pipeline, ("SNAPSHOT", "initial")]);
    let start =
        "SNAPSHOT=initial: a snapshot reads whole documents, including what PIPELINE removes";
    assert!(problem.starts_with(start), "{problem}");
    assert_eq!(feed(&[pipeline]).snapshot, SnapshotMode::Never);
}

#[test]
fn a_snapshot_after_a_gap_needs_feeds_that_continue_after_it() {
    let problem = problem(&[("SNAPSHOT", "when-lost")]);
    assert!(
        problem.starts_with(
            "SNAPSHOT=when-lost: with ON_HISTORY_LOST=halt no feed continues after a gap"
        ),
        "{problem}"
    );
    assert!(
        problem.ends_with("set ON_HISTORY_LOST=restart, or SNAPSHOT=initial"),
        "{problem}"
    );
    assert_eq!(
        feed(&[("SNAPSHOT", "initial")]).snapshot,
        SnapshotMode::Initial
    );
}

#[test]
fn the_rate_of_snapshots_is_a_size_or_off() {
    let limit = |text: &str| {
        let given = Given::of(&LOCAL).and(&[("SNAPSHOT_RATE_LIMIT", text)]);
        given.settings().snapshot.rate_limit_bytes_per_second
    };
    assert_eq!(limit("OFF"), None);
    assert_eq!(limit("64KiB"), Some(64 << 10));
    assert_eq!(limit("20 MiB"), Some(20 << 20));
    for (text, what) in [
        ("20MB", "not a size"),
        ("0", "less than 64 KiB"),
        ("fast", "not a size"),
        ("-1", "negative"),
    ] {
        let problem = problem(&[("SNAPSHOT_RATE_LIMIT", text)]);
        assert_eq!(
            problem,
            format!(
                "SNAPSHOT_RATE_LIMIT={text}: {what}; set it to bytes per second, such as 20MiB, or off (default off)"
            )
        );
    }
}

#[test]
fn a_snapshot_with_filtered_changes_is_warned_of() {
    let matching = (
        "PIPELINE",
        r#"[{"$match": {"documentKey._id": {"$gt": 5}}}]"#,
    );
    let types = ("OPERATION_TYPES", "insert,update");
    let snapshot = ("SNAPSHOT", "initial");
    for (environment, names) in [
        (&[snapshot, types][..], "OPERATION_TYPES leaves"),
        (&[snapshot, matching], "PIPELINE leaves"),
        (
            &[snapshot, types, matching],
            "OPERATION_TYPES and PIPELINE leave",
        ),
    ] {
        let warnings = Given::of(&LOCAL).and(environment).load().unwrap().warnings;
        let [warning] = warnings.as_slice() else {
            panic!("{warnings:?}");
        };
        let start = format!("SNAPSHOT=initial: {names} changes out");
        assert!(warning.starts_with(&start), "{warning}");
        assert!(warning.contains("don't give the collection"), "{warning}");
    }
    for environment in [&[snapshot][..], &[types, matching]] {
        let warnings = Given::of(&LOCAL).and(environment).load().unwrap().warnings;
        assert_eq!(warnings, [""; 0]);
    }
    let filters = feed(&[types, matching]).stream.change_filters();
    let expected = [
        "OPERATION_TYPES=insert,update",
        r#"PIPELINE=[{"$match":{"documentKey._id":{"$gt":5}}}]"#,
    ];
    assert_eq!(filters, expected);
    assert_eq!(feed(&[]).stream.change_filters(), [""; 0]);
}
