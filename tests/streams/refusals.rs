//! What a server doesn't do for a stream is told with the setting and the mend.

use bson::{Document, doc};

use silt::source::StreamOptions;
use silt_core::failure::{Disposition, Failure};
use silt_core::namespace::selection::{Matcher, NameSet};

use crate::harness::ledger::operation_time;
use crate::harness::servers::Server;
use crate::harness::streams::{Stream, at, many, names, next, one, plain};

/// What becomes of streams with these options, over a collection with an insert, an update and a delete.
async fn failures(mongod: &Server, cases: Vec<StreamOptions>) -> Vec<Failure> {
    let client = mongodb::Client::with_uri_str(mongod.uri()).await.unwrap();
    let users = client.database("mydb").collection::<Document>("users");
    let since = next(operation_time(&client).await);
    users
        .insert_one(doc! { "_id": 1, "a": "text" })
        .await
        .unwrap();
    let set = doc! { "$set": { "a": "other" } };
    users.update_one(doc! { "_id": 1 }, set).await.unwrap();
    users.delete_one(doc! { "_id": 1 }).await.unwrap();
    let mut failures = Vec::new();
    for options in cases {
        let words = format!("{options:?}");
        let mut stream = Stream::open(&mongod.uri(), options, at(since)).await;
        failures.push(stream.read_to_end().await.expect(&words));
    }
    failures
}

fn with(change: impl FnOnce(&mut StreamOptions)) -> StreamOptions {
    let mut options = plain(one("mydb", "users"));
    change(&mut options);
    options
}

fn is_halt(failure: &Failure, words: &[&str]) {
    assert_eq!(
        failure.disposition,
        Disposition::Halt,
        "{}",
        failure.message
    );
    for word in words {
        assert!(
            failure.message.contains(word),
            "{word}: {}",
            failure.message
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_an_old_server_does_not_know_are_named_with_the_version_that_does() {
    for version in [&["--version", "4.4.2"][..], &["--version", "5.0.4"]] {
        let version: &'static [&'static str] = version;
        let mongod = Server::mongod_with(version);
        let cases = vec![
            with(|options| options.show_expanded_events = true),
            with(|options| options.full_document = Some("whenAvailable")),
            with(|options| options.full_document = Some("required")),
        ];
        for failure in failures(&mongod, cases).await {
            is_halt(
                &failure,
                &[
                    "SHOW_EXPANDED_EVENTS",
                    "FULL_DOCUMENT=whenAvailable",
                    "MongoDB 6.0",
                ],
            );
        }
        // These servers know the option, and keep images another way.
        let before = Some("required");
        let cases = vec![with(|options| options.full_document_before_change = before)];
        for failure in failures(&mongod, cases).await {
            is_halt(&failure, &["FULL_DOCUMENT_BEFORE_CHANGE=required"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_the_server_cannot_do_is_named() {
    let mongod = Server::mongod();
    let stages = [
        // Refused when the stream is opened.
        (doc! { "$nonsense": {} }, "$nonsense"),
        (doc! { "$group": { "_id": 1 } }, "$group is not permitted"),
        (
            doc! { "$match": { "a": { "$foo": 1 } } },
            "unknown operator: $foo",
        ),
        (
            doc! { "$match": { "a": { "$regex": "(" } } },
            "Regular expression is invalid",
        ),
        (
            doc! { "$addFields": { "a": { "$foo": 1 } } },
            "Unrecognized expression",
        ),
        (
            doc! { "$addFields": { "a": { "$divide": [1] } } },
            "takes exactly 2",
        ),
        (
            doc! { "$addFields": { "a": "$$foo" } },
            "undefined variable",
        ),
        (doc! { "$project": { "a": 1, "b": 0 } }, "exclusion"),
        (doc! { "$match": {}, "$unset": "a" }, "exactly one field"),
        // Fails on a change.
        (
            doc! { "$addFields": { "a": { "$divide": ["$fullDocument.a", 2] } } },
            "$divide",
        ),
        (
            doc! { "$addFields": { "a": { "$toInt": "$operationType" } } },
            "Failed to parse number",
        ),
        (doc! { "$unset": "_id" }, "modified by the pipeline"),
    ];
    let cases = stages
        .iter()
        .map(|(stage, _)| with(|options| options.pipeline = vec![stage.clone()]));
    let failures = failures(&mongod, cases.collect()).await;
    for (failure, (_, words)) in failures.iter().zip(&stages) {
        is_halt(failure, &["Fix PIPELINE", words]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_pipeline_is_not_at_fault_for_is_told_as_ever() {
    let mongod = Server::mongod_with(&["--version", "5.0.4"]);
    let cases = vec![with(|options| {
        options.pipeline = vec![doc! { "$match": { "fullDocument.a": 1 } }];
        options.full_document = Some("whenAvailable");
    })];
    is_halt(
        &failures(&mongod, cases).await[0],
        &["FULL_DOCUMENT=whenAvailable", "MongoDB 6.0"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_that_the_server_cannot_read_is_named() {
    let pattern = Matcher::Pattern {
        written: "/(?u)orders/".to_owned(),
        regex: regex::Regex::new("^(?:(?u)orders)$").unwrap(),
    };
    let patterns = NameSet {
        includes: vec![pattern],
        excludes: Vec::new(),
    };
    let options = with(|options| options.watched = many(names(&["mydb"]), patterns));
    let failures = failures(&Server::mongod(), vec![options]).await;
    is_halt(
        &failures[0],
        &[
            "a pattern of MONGODB_DATABASE or MONGODB_COLLECTIONS",
            "PCRE",
        ],
    );
}
