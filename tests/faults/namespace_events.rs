//! A collection that is dropped, renamed, replaced or created anew is archived through all of it: the
//! event, the invalidate behind it, and the changes of the collection that has the name later.

use std::time::{Duration, Instant};

use bson::{Document, RawDocumentBuf, Timestamp, doc};
use mongodb::change_stream::event::ResumeToken;
use mongodb::{Client, Collection};

use crate::harness::at_once;
use crate::harness::ledger::{compare, operation_time, tokens_of};
use crate::harness::rounds::{Round, rounds};
use crate::harness::scene::{Scene, insert, token};
use crate::harness::silt::{Signal, Silt, WAIT_LIMIT};

/// What happens to the name.
#[derive(Clone, Copy, Debug)]
enum Event {
    Drop,
    /// Renamed to a name that is free.
    RenameAway,
    /// Renamed over a collection that was there.
    RenameOver,
    /// Another collection is renamed over it. The server sends no drop for that.
    ReplacedByRename,
    /// Another database's collection is renamed over it, which the server does by a copy.
    ReplacedFromAfar,
    DropDatabase,
}

const EVENTS: [Event; 6] = [
    Event::Drop,
    Event::RenameAway,
    Event::RenameOver,
    Event::ReplacedByRename,
    Event::ReplacedFromAfar,
    Event::DropDatabase,
];

/// What silt is at when it happens.
#[derive(Clone, Copy, Debug)]
enum State {
    /// All that was read is flushed.
    Flushed,
    /// Something was read and waits.
    Waiting,
    /// It was drained.
    Drained,
    /// It was killed while something that it had read waited.
    Killed,
}

const STATES: [State; 4] = [
    State::Flushed,
    State::Waiting,
    State::Drained,
    State::Killed,
];

/// Scenes beside each other.
const AT_ONCE: usize = 6;
/// The change that ends a scene.
const END: i32 = -1;

#[test]
fn a_collection_is_archived_through_all_that_happens_to_its_name() {
    for round in rounds("namespace events", 1, 20) {
        let cases: Vec<(Event, State)> = EVENTS
            .into_iter()
            .flat_map(|event| STATES.map(|state| (event, state)))
            .collect();
        for some in cases.chunks(AT_ONCE) {
            at_once(some, async |(event, state)| {
                goes_on_behind(&round, *event, *state).await;
            });
        }
    }
}

async fn goes_on_behind(round: &Round, event: Event, state: State) {
    let mut random = round.random();
    // With small batches a flush comes between the event and its invalidate.
    let batch_size = random.u32(1..4).to_string();
    let scene = Scene::new()
        .await
        .with("LOG_LEVEL", "debug")
        .with("CHECKPOINT_STORE", ["mongodb", "lake"][random.usize(..2)]);
    let begun_at = operation_time(&scene.client).await;
    let silt = arrive_at(&scene, state).await;
    happen(&scene, event).await;
    // There again at once, or only behind the next event.
    insert(&scene.users(), 20..20 + random.i32(0..5)).await;
    let silt = silt.unwrap_or_else(|| {
        let small = scene.settings.clone().into_iter();
        let small = small.chain([("BATCH_SIZE".to_owned(), batch_size)]);
        let mut silt = Silt::start(&small.collect());
        // Before it listens to signals, the first one ends it.
        silt.wait_for("connected");
        silt
    });
    happen(&scene, EVENTS[random.usize(..EVENTS.len())]).await;
    insert(&scene.users(), 30..33).await;
    insert(&scene.users(), END..END + 1).await;
    verify(&scene, silt, begun_at, event).await;
}

/// A silt in this state, if it still runs.
async fn arrive_at(scene: &Scene, state: State) -> Option<Silt> {
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    insert(&scene.users(), 0..5).await;
    scene.flush_until(&mut silt, "users", 5).await;
    if matches!(state, State::Waiting | State::Killed) {
        insert(&scene.users(), 5..10).await;
        silt.wait_until_read("users", 10);
        assert_eq!(scene.archived("users").len(), 5, "the others wait");
    }
    match state {
        State::Flushed | State::Waiting => Some(silt),
        State::Drained => {
            silt.drain();
            None
        }
        State::Killed => {
            silt.kill();
            None
        }
    }
}

async fn happen(scene: &Scene, event: Event) {
    let (here, far) = (
        scene.database.name(),
        format!("{}-far", scene.database.name()),
    );
    let (users, people) = (format!("{here}.users"), format!("{here}.people"));
    let people_are_there = async |database: &str| {
        let people: Collection<Document> = scene.client.database(database).collection("people");
        people.insert_one(doc! { "of": database }).await.unwrap();
        // So that the renamed one is there, too.
        insert(&scene.users(), 15..16).await;
    };
    match event {
        Event::Drop => scene.users().drop().await.unwrap(),
        Event::DropDatabase => scene.database.drop().await.unwrap(),
        Event::RenameAway => {
            let free = format!("{here}.{}", crate::harness::unique("away"));
            insert(&scene.users(), 15..16).await;
            rename(scene, &users, &free).await;
        }
        Event::RenameOver => {
            people_are_there(here).await;
            rename(scene, &users, &people).await;
        }
        Event::ReplacedByRename => {
            people_are_there(here).await;
            rename(scene, &people, &users).await;
        }
        Event::ReplacedFromAfar => {
            people_are_there(&far).await;
            rename(scene, &format!("{far}.people"), &users).await;
        }
    }
}

async fn rename(scene: &Scene, from: &str, to: &str) {
    let rename = doc! { "renameCollection": from, "to": to, "dropTarget": true };
    let admin = scene.client.database("admin");
    admin.run_command(rename).await.unwrap();
}

/// Waits until silt has archived everything, and compares the lake with the stream.
async fn verify(scene: &Scene, mut silt: Silt, begun_at: Timestamp, event: Event) {
    let changes = changes(scene, begun_at).await;
    let expected = tokens_of(&changes);
    let begun = Instant::now();
    while scene.archived("users").last().map(token).as_ref() != expected.last() {
        assert!(begun.elapsed() < WAIT_LIMIT, "{event:?}:\n{}", silt.text());
        silt.signal(Signal::USR1);
        silt.wait_for("flushing all collections on SIGUSR1");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    silt.drain();
    let archived = scene.archived("users");
    compare(&expected, &archived);
    let kind_of = |change: &RawDocumentBuf| change.get_str("operationType").unwrap().to_owned();
    let kinds: Vec<String> = changes.iter().map(kind_of).collect();
    assert!(
        archived
            .iter()
            .map(|change| &change["operationType"])
            .eq(&kinds),
        "{kinds:?}"
    );
    let is_drop = matches!(event, Event::Drop | Event::DropDatabase);
    let kind = if is_drop { "drop" } else { "rename" };
    for kind in [kind, "invalidate"] {
        assert!(
            kinds.iter().any(|other| other == kind),
            "{event:?}: {kinds:?}"
        );
    }
}

/// Everything that happened to the collection since then, as a fresh client sees it who opens the stream
/// anew behind each invalidate.
async fn changes(scene: &Scene, begun_at: Timestamp) -> Vec<RawDocumentBuf> {
    let client = Client::with_uri_str(&scene.direct_uri).await.unwrap();
    let users: Collection<Document> = client.database(scene.database.name()).collection("users");
    let mut changes: Vec<RawDocumentBuf> = Vec::new();
    loop {
        let watch = match changes.last() {
            None => users.watch().start_at_operation_time(Timestamp {
                time: begun_at.time,
                increment: begun_at.increment + 1,
            }),
            Some(last) => users.watch().start_after(driver_token(last)),
        };
        let mut stream = watch.await.unwrap().with_type::<RawDocumentBuf>();
        loop {
            let Some(change) = stream.next_if_any().await.unwrap() else {
                // It ends behind an invalidate, once that was taken.
                if stream.is_alive() {
                    continue;
                }
                break;
            };
            let document = change.get_document("fullDocument").ok();
            let number = document.and_then(|document| document.get_i32("number").ok());
            changes.push(change);
            if number == Some(END) {
                return changes;
            }
        }
    }
}

fn driver_token(change: &RawDocumentBuf) -> ResumeToken {
    let change: Document = change.try_into().unwrap();
    bson::deserialize_from_bson(change.get("_id").unwrap().clone()).unwrap()
}
