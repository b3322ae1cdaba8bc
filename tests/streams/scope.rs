//! A stream over several collections has the changes of those and no others, each with its collection.

use bson::{Document, Timestamp, doc};
use mongodb::action::Watch;
use mongodb::{Client, Database};
use serde_json::Value;

use silt::source::ServerVersion;
use silt_core::namespace::selection::{NameSet, Selection, Watched};
use silt_core::namespace::{Layout, Namespace};

use crate::harness::ledger::operation_time;
use crate::harness::scene::{Scene, canonical, token};
use crate::harness::servers::{Server, version};
use crate::harness::streams::{Stream, at, names, next, one, plain};

/// Written last, to each database but the first, which is dropped at the end.
const END: &str = "end";

/// What happens in each of the databases: collections come and go, in and out of what is watched.
async fn write(client: &Client, database: &Database) {
    let name = database.name();
    let collection = |coll: &str| database.collection::<Document>(coll);
    for coll in [
        "users",
        "orders_1",
        "orders.2",
        "orders_tmp",
        "Orders_3",
        "größe",
        "other",
    ] {
        collection(coll)
            .insert_one(doc! { "_id": 1, "a": 1 })
            .await
            .unwrap();
        let set = doc! { "$set": { "a": 2 } };
        collection(coll)
            .update_one(doc! { "_id": 1 }, set)
            .await
            .unwrap();
    }
    for (from, to) in [
        ("other", "orders_new"),
        ("orders_new", "elsewhere"),
        ("users", "orders_9"),
        ("elsewhere", "somewhere"),
        ("somewhere", "users"),
    ] {
        let rename = doc! {
            "renameCollection": format!("{name}.{from}"), "to": format!("{name}.{to}"),
        };
        client.database("admin").run_command(rename).await.unwrap();
    }
    let index = mongodb::IndexModel::builder().keys(doc! { "a": 1 }).build();
    collection("users").create_index(index).await.unwrap();
    database.create_collection("orders_empty").await.unwrap();
    collection("orders_1")
        .delete_one(doc! { "_id": 1 })
        .await
        .unwrap();
    collection("orders_1").drop().await.unwrap();
}

/// All events there are, read without silt.
async fn events(watch: Watch<'_>, since: Timestamp, expanded: bool) -> Vec<Value> {
    let mut watch = watch.start_at_operation_time(since);
    if expanded {
        // Before 6.0 a server knows no such option.
        watch = watch.show_expanded_events(true);
    }
    let mut stream = watch.await.unwrap().with_type::<bson::RawDocumentBuf>();
    let mut events = Vec::new();
    loop {
        match stream.next_if_any().await.unwrap() {
            Some(event) => events.push(canonical(&event)),
            None if !stream.is_alive() => return events,
            None => {}
        }
        let is_end =
            |event: &Value| event["ns"]["coll"] == END && event["operationType"] == "insert";
        if events.last().is_some_and(is_end) {
            return events;
        }
    }
}

/// Token and collection of the events that a stream of these collections is to have.
fn expected(events: &[Value], selection: &Selection) -> Vec<(String, Namespace)> {
    let own = selection.only_database().unwrap_or_default();
    let mut expected = Vec::new();
    for event in events {
        let name = |field: &str, part: &str| event[field][part].as_str().map(str::to_owned);
        let database = name("ns", "db").unwrap_or(own.to_owned());
        let is_watched =
            |(database, collection): &(String, String)| selection.matches(database, collection);
        let origins = match name("ns", "coll") {
            None if selection.databases.matches(&database) || database.is_empty() => {
                vec![(database, String::new())]
            }
            None => Vec::new(),
            // A rename belongs to both names.
            Some(coll) => [
                Some((database, coll)),
                name("to", "db").zip(name("to", "coll")),
            ]
            .into_iter()
            .flatten()
            .filter(is_watched)
            .collect(),
        };
        for (database, collection) in origins {
            let origin =
                Namespace::with_layout(&database, &collection, Layout::DatabaseAndCollection);
            expected.push((token(event), origin));
        }
    }
    expected
}

fn selections(first: &str, second: &str) -> Vec<(NameSet, NameSet)> {
    let numbers: Vec<String> = (0..200).map(|number| format!("many{number}")).collect();
    let mut many_names: Vec<&str> = numbers.iter().map(String::as_str).collect();
    many_names.extend(["users", "orders_1", "größe", END]);
    let mut selections = Vec::new();
    for collections in [
        names(&["users", "orders_1", "orders.2", END]),
        names(&many_names),
        names(&["orders_*", "orders.2", END]),
        names(&["*", "!*_tmp", "!users", "!o*r"]),
        names(&["*"]),
        names(&["users", "orders_1", "!users", END]),
    ] {
        selections.push((names(&[first]), collections.clone()));
        selections.push((names(&[first, second]), collections.clone()));
        selections.push((names(&["*"]), collections.clone()));
        selections.push((names(&["*", &format!("!{first}")]), collections));
    }
    selections
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_what_is_watched_and_nothing_else() {
    let mongod = Server::mongod();
    let client = Client::with_uri_str(mongod.uri()).await.unwrap();
    let since = next(operation_time(&client).await);
    let (first, second) = (client.database("first"), client.database("second"));
    write(&client, &first).await;
    write(&client, &second).await;
    first.drop().await.unwrap();
    let end = second.collection::<Document>(END);
    end.insert_one(doc! { "_id": 1 }).await.unwrap();
    let mut kinds = vec![false];
    if version(&client).await >= ServerVersion::new(6, 0, 0) {
        kinds.push(true);
    }
    for expanded in kinds {
        let of_first = events(first.watch(), since, expanded).await;
        let of_all = events(client.watch(), since, expanded).await;
        for (databases, collections) in selections("first", "second") {
            for apart in [vec![], vec![("first".to_owned(), "orders_1".to_owned())]] {
                let words = format!("{databases} {collections} but {apart:?} {expanded}");
                let selection = Selection {
                    databases: databases.clone(),
                    collections: collections.clone(),
                    apart,
                };
                let events = if selection.only_database().is_some() {
                    &of_first
                } else {
                    &of_all
                };
                let expected = expected(events, &selection);
                let watched = Watched::Many {
                    selection,
                    layout: Layout::DatabaseAndCollection,
                };
                let mut options = plain(watched);
                options.show_expanded_events = expanded;
                let mut stream = Stream::open(&mongod.uri(), options, at(since)).await;
                let is_done = |stream: &Stream| {
                    stream.end.is_some() || stream.changes.len() >= expected.len()
                };
                stream.read_until(is_done).await;
                let seen = stream.changes.iter();
                let seen: Vec<_> = seen
                    .map(|(origin, change)| (token(change), origin.clone()))
                    .collect();
                let differ = seen
                    .iter()
                    .zip(&expected)
                    .position(|(seen, expected)| seen != expected);
                let at = differ.unwrap_or(seen.len().min(expected.len()));
                let change = stream.changes.get(at);
                assert_eq!(seen.get(at), expected.get(at), "{words}: {change:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_closed_by_a_drop_says_so_whatever_is_filtered() {
    let scene = Scene::new().await;
    let since = next(operation_time(&scene.client).await);
    let users = scene.users();
    users.insert_one(doc! { "_id": 1, "a": 1 }).await.unwrap();
    users.insert_one(doc! { "_id": 2, "a": 2 }).await.unwrap();
    users.delete_one(doc! { "_id": 1 }).await.unwrap();
    users.drop().await.unwrap();
    let mut options = plain(one(scene.database.name(), "users"));
    options.operation_types = vec!["insert".to_owned()];
    options.pipeline = vec![
        doc! { "$match": { "fullDocument.a": 2 } },
        doc! { "$unset": "fullDocument.a" },
    ];
    let mut stream = Stream::open(&scene.direct_uri, options, at(since)).await;
    assert_eq!(stream.read_to_end().await, None);
    assert_eq!(stream.kinds(), ["insert", "invalidate"]);
    assert_eq!(
        stream.changes[0].1["fullDocument"],
        serde_json::json!({ "_id": 2 })
    );
}
