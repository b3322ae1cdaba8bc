//! Changes that are larger than a document may be.

use bson::{Document, Timestamp, doc};
use mongodb::{Client, Collection};
use serde_json::{Value, json};

use silt::source::StreamOptions;
use silt_core::machine::OnLargeEvent;
use silt_core::namespace::Namespace;
use silt_core::position::{Position, ResumeToken};

use crate::harness::ledger::operation_time;
use crate::harness::scene::token;
use crate::harness::servers::Server;
use crate::harness::streams::{NO_PIECES, PIECES, Stream, at, many, names, next, one, plain};

/// Of the delta, and of the document that is looked up: together too much.
const LEN_BYTES: usize = 9 << 20;

/// A server, and a collection in it.
struct World {
    mongod: Server,
    client: Client,
    users: Collection<Document>,
    since: Timestamp,
}

impl World {
    async fn on(version: &'static [&'static str]) -> Self {
        let mongod = Server::mongod_with(version);
        let client = Client::with_uri_str(mongod.uri()).await.unwrap();
        let users = client.database("mydb").collection("users");
        users.insert_one(doc! { "_id": 1 }).await.unwrap();
        Self {
            since: next(operation_time(&client).await),
            mongod,
            client,
            users,
        }
    }

    /// An update that is too large with its document.
    async fn enlarge(&self, letter: &str) {
        let set = doc! { "$set": { "text": letter.repeat(LEN_BYTES) } };
        self.users.update_one(doc! { "_id": 1 }, set).await.unwrap();
    }

    async fn insert(&self, ids: std::ops::RangeInclusive<i32>) {
        for id in ids {
            self.users.insert_one(doc! { "_id": id }).await.unwrap();
        }
    }

    fn options(&self) -> StreamOptions {
        let mut options = plain(one("mydb", "users"));
        options.full_document = Some("updateLookup");
        options
    }

    async fn read(&self, options: StreamOptions, position: Position) -> Stream {
        Stream::open(&self.mongod.uri(), options, position).await
    }

    /// Tokens of the changes as a stream has them that never meets anything too large.
    async fn tokens(&self, count: usize) -> Vec<String> {
        let mut options = plain(one("mydb", "users"));
        options.pipeline = vec![doc! { "$unset": ["updateDescription", "fullDocument"] }];
        let mut stream = self.read(options, at(self.since)).await;
        stream.read(count).await;
        stream
            .changes
            .iter()
            .map(|(_, change)| token(change))
            .collect()
    }
}

fn position_after(token: &str) -> Position {
    Position::After(ResumeToken::from_canonical(
        &json!({ "_data": token }).to_string(),
    ))
}

fn ids(changes: &[(Namespace, Value)]) -> Vec<i64> {
    let keys = changes.iter();
    keys.map(|(_, change)| change["documentKey"]["_id"].as_i64().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_split_says_which_change_it_cannot_send() {
    let world = World::on(NO_PIECES).await;
    world.insert(2..=4).await;
    world.enlarge("a").await;
    world.enlarge("b").await;
    world.insert(5..=6).await;
    let tokens = world.tokens(7).await;
    let mut options = world.options();
    options.on_large_event = OnLargeEvent::Record;
    let mut position = at(world.since);
    let mut seen = Vec::new();
    for lost in [3, 4] {
        let mut stream = world.read(options.clone(), position).await;
        assert_eq!(stream.read_to_end().await, None);
        assert_eq!(stream.opened, Some(Ok(())));
        seen.extend(ids(&stream.changes));
        let event = stream.lost.unwrap();
        assert_eq!(event.origin, Namespace::new("mydb", "users"));
        assert_eq!(event.operation_type, "update");
        assert_eq!(
            event.document_key.as_deref(),
            Some(r#"{"_id":{"$numberInt":"1"}}"#)
        );
        assert_eq!(
            event.token.as_extended_json(),
            json!({ "_data": tokens[lost] }).to_string()
        );
        assert_eq!(event.token.cluster_time(), Some(event.cluster_time));
        position = Position::After(event.token);
    }
    let mut stream = world.read(options, position).await;
    stream.read(2).await;
    seen.extend(ids(&stream.changes));
    assert_eq!(seen, [2, 3, 4, 5, 6]);

    // Without a record it is said what can be done, once all before it was read.
    let mut stream = world.read(world.options(), at(world.since)).await;
    let failure = stream.read_to_end().await.unwrap();
    assert_eq!(ids(&stream.changes), [2, 3, 4]);
    for words in [
        "the update of {\"_id\":",
        "ON_LARGE_EVENT=record",
        "6.0.9",
        "FULL_DOCUMENT=default",
    ] {
        assert!(failure.message.contains(words), "{}", failure.message);
    }

    // Who asks for less has all of it.
    let mut stream = world
        .read(plain(one("mydb", "users")), at(world.since))
        .await;
    stream.read(7).await;
    assert_eq!(
        stream.changes[3].1["updateDescription"]["updatedFields"]["text"],
        "a".repeat(LEN_BYTES)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_stream_says_whose_change_it_cannot_send() {
    let world = World::on(NO_PIECES).await;
    world.enlarge("a").await;
    let mut options = world.options();
    options.watched = many(names(&["mydb", "other"]), names(&["us*"]));
    options.on_large_event = OnLargeEvent::Record;
    let mut stream = world.read(options, at(world.since)).await;
    stream.read_to_end().await;
    assert_eq!(stream.lost.unwrap().origin.to_string(), "mydb.users");
}

/// Two changes of one document at one time, both too large.
async fn enlarge_twice(world: &World) {
    let mut session = world.client.start_session().await.unwrap();
    // The server's small cache has room for it when it is clean.
    let clean = doc! { "fsync": 1 };
    world
        .client
        .database("admin")
        .run_command(clean)
        .await
        .unwrap();
    try_enlarge_twice(world, &mut session).await.unwrap();
}

async fn try_enlarge_twice(
    world: &World,
    session: &mut mongodb::ClientSession,
) -> mongodb::error::Result<()> {
    session.start_transaction().await?;
    for letter in ["a", "b"] {
        let set = doc! { "$set": { "text": letter.repeat(LEN_BYTES) } };
        let update = world.users.update_one(doc! { "_id": 1 }, set);
        update.session(&mut *session).await?;
    }
    session.commit_transaction().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_comes_in_pieces_is_one_with_the_token_of_the_whole() {
    let world = World::on(PIECES).await;
    world.insert(2..=4).await;
    enlarge_twice(&world).await;
    world.enlarge("c").await;
    world.insert(5..=5).await;
    world.enlarge("d").await;
    world.insert(6..=6).await;
    let tokens = world.tokens(9).await;
    let mut options = world.options();
    // It must be careful, and careless again, several times.
    options.cursor_batch_changes = 2;
    let mut stream = world.read(options, at(world.since)).await;
    stream.read(9).await;
    let seen: Vec<String> = stream
        .changes
        .iter()
        .map(|(_, change)| token(change))
        .collect();
    assert_eq!(seen, tokens);
    for (number, letter) in [(3, "a"), (4, "b"), (5, "c"), (7, "d")] {
        let change = &stream.changes[number].1;
        let text = change["updateDescription"]["updatedFields"]["text"]
            .as_str()
            .unwrap();
        assert!(
            text == letter.repeat(LEN_BYTES),
            "{number} is {}",
            &text[..9]
        );
        // What is looked up is the document as it is now.
        assert!(change["fullDocument"]["text"] == "d".repeat(LEN_BYTES));
        let mut names: Vec<&str> = change
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        names.retain(|name| !["txnNumber", "lsid"].contains(name));
        assert_eq!(names[0], "_id");
        names.sort_unstable();
        let all = [
            "_id",
            "clusterTime",
            "documentKey",
            "fullDocument",
            "ns",
            "operationType",
            "updateDescription",
            "wallTime",
        ];
        assert_eq!(names, all);
    }
    stream.read_until(|stream| !stream.idle.is_empty()).await;

    // Whatever becomes of the document, the tokens are good.
    world.users.delete_one(doc! { "_id": 1 }).await.unwrap();
    for number in [3, 4, 5, 7] {
        let mut stream = world
            .read(world.options(), position_after(&tokens[number]))
            .await;
        stream.read(9 - number).await;
        let seen: Vec<String> = stream
            .changes
            .iter()
            .map(|(_, change)| token(change))
            .collect();
        assert_eq!(seen[..8 - number], tokens[number + 1..]);
        assert_eq!(stream.kinds().last(), Some(&"delete"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_change_there_is_comes_whole() {
    const LARGEST_BYTES: usize = 16 * 1024 * 1024 - 16 * 1024;
    let world = World::on(PIECES).await;
    let images = doc! { "collMod": "users", "changeStreamPreAndPostImages": { "enabled": true } };
    world
        .client
        .database("mydb")
        .run_command(images)
        .await
        .unwrap();
    for letter in ["a", "b"] {
        let set = doc! { "$set": { "text": letter.repeat(LARGEST_BYTES) } };
        world
            .users
            .update_one(doc! { "_id": 1 }, set)
            .await
            .unwrap();
    }
    let mut options = world.options();
    options.full_document = Some("required");
    options.full_document_before_change = Some("required");
    let mut stream = world.read(options, at(world.since)).await;
    stream.read(2).await;
    let change = &stream.changes[1].1;
    let text = |field: &Value| field["text"].as_str().unwrap().to_owned();
    assert!(text(&change["fullDocumentBeforeChange"]) == "a".repeat(LARGEST_BYTES));
    assert!(text(&change["fullDocument"]) == "b".repeat(LARGEST_BYTES));
    assert!(text(&change["updateDescription"]["updatedFields"]) == "b".repeat(LARGEST_BYTES));
}
