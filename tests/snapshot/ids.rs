//! Collections whose `_id`s have all types at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{
    Binary, Bson, DateTime, Decimal128, JavaScriptCodeWithScope, RawArrayBuf, RawBsonRef,
    RawDocumentBuf, Regex, Timestamp, doc, rawdoc,
};
use futures::TryStreamExt as _;
use mongodb::options::{ClusteredIndex, Collation};
use silt::source::ServerVersion;
use silt_core::extjson::Mode;

use super::unsure::Unsure;
use super::world::World;
use crate::harness::at_once;

fn db_pointer() -> Bson {
    let json = serde_json::json!({
        "$dbPointer": { "$ref": "db.coll", "$id": { "$oid": "5f5f5f5f5f5f5f5f5f5f5f5f" } },
    });
    Bson::try_from(json).unwrap()
}

/// Values of all types that an `_id` may have, none equal to another.
fn values() -> Vec<Bson> {
    let binary = |subtype, bytes| Bson::Binary(Binary { subtype, bytes });
    let regex = Regex {
        pattern: "^a".try_into().unwrap(),
        options: "im".try_into().unwrap(),
    };
    let scope = JavaScriptCodeWithScope {
        code: "f".to_owned(),
        scope: doc! { "a": 1 },
    };
    vec![
        Bson::MinKey,
        Bson::Null,
        f64::NAN.into(),
        f64::NEG_INFINITY.into(),
        i64::MIN.into(),
        (-1.5).into(),
        0.into(),
        1_i64.into(),
        2.0.into(),
        Bson::Decimal128("2.5".parse::<Decimal128>().unwrap()),
        0.1.into(),
        5e-324.into(),
        ((1_i64 << 53) + 1).into(),
        1e300.into(),
        "".into(),
        "text with \"quotes\", \n and ü".into(),
        Bson::Symbol("symbol".to_owned()),
        doc! {}.into(),
        doc! { "b": 1, "a": { "c": [1, 2_i64, 3.5, regex] } }.into(),
        doc! { "b": 1.0, "a": 7 }.into(),
        doc! { "$ref": "coll", "$id": ObjectId::from_bytes([7; 12]) }.into(),
        doc! { "$ref": "coll", "$id": { "$numberLong": "1" } }.into(),
        binary(BinarySubtype::Generic, vec![0, 255]),
        binary(BinarySubtype::BinaryOld, vec![1, 2, 3]),
        binary(BinarySubtype::Uuid, vec![9; 16]),
        ObjectId::from_bytes([3; 12]).into(),
        false.into(),
        true.into(),
        DateTime::from_millis(-5).into(),
        DateTime::from_millis(1_705_328_123_004).into(),
        DateTime::from_millis(i64::MAX).into(),
        Timestamp {
            time: 5,
            increment: 6,
        }
        .into(),
        db_pointer(),
        Bson::JavaScriptCode("f".to_owned()),
        Bson::JavaScriptCodeWithScope(scope),
        Bson::MaxKey,
    ]
}

/// Documents with all of these, and some whose text isn't UTF-8.
fn documents() -> Vec<RawDocumentBuf> {
    let with_id = |id: Bson| {
        let document = doc! { "_id": id, "text": "a value" };
        RawDocumentBuf::try_from(&document).unwrap()
    };
    let garbled = [
        doc! { "_id": "QQQQ" },
        doc! { "_id": { "deep": "QQQQ" } },
        doc! { "_id": "good", "text": "QQQQ" },
    ];
    let garbled = garbled.map(|document| {
        let mut bytes = RawDocumentBuf::try_from(&document).unwrap().into_bytes();
        let at = bytes.windows(4).position(|text| text == b"QQQQ").unwrap();
        bytes[at + 1] = 0xFF;
        RawDocumentBuf::from_bytes(bytes).unwrap()
    });
    values().into_iter().map(with_id).chain(garbled).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Clustered,
    Collation,
}

async fn create(world: &World, kind: Kind) {
    create_empty(world, "users", kind).await;
    let mut all = documents();
    if kind == Kind::Collation {
        // The server can't index it.
        let symbol = |document: &RawDocumentBuf| {
            document
                .get("_id")
                .is_ok_and(|id| matches!(id, Some(RawBsonRef::Symbol(_))))
        };
        all.retain(|document| !symbol(document));
    }
    fastrand::shuffle(&mut all);
    insert(world, "users", &all).await;
}

async fn create_empty(world: &World, name: &str, kind: Kind) {
    let creating = world.scene.database.create_collection(name);
    match kind {
        Kind::Plain => creating.await,
        Kind::Clustered => creating.clustered_index(ClusteredIndex::default()).await,
        Kind::Collation => {
            let collation = Collation::builder()
                .locale("en")
                .strength(mongodb::options::CollationStrength::Secondary);
            creating.collation(collation.build()).await
        }
    }
    .unwrap();
}

async fn insert(world: &World, name: &str, documents: &[RawDocumentBuf]) {
    let documents: RawArrayBuf = documents.iter().cloned().collect();
    let command = rawdoc! { "insert": name, "documents": documents };
    let answer = world.scene.database.run_raw_command(command).await.unwrap();
    assert!(!answer.contains_key("writeErrors"), "{answer}");
}

/// Every document of the collection, in the server's order.
async fn in_order(world: &World) -> Vec<RawDocumentBuf> {
    let users = world.users().clone_with_type::<RawDocumentBuf>();
    let finding = users.find(doc! {}).sort(doc! { "_id": 1 }).await;
    finding.unwrap().try_collect().await.unwrap()
}

/// The bytes of documents, in any order.
fn bytes(documents: &[RawDocumentBuf]) -> BTreeSet<Vec<u8>> {
    let bytes = documents
        .iter()
        .map(|document| document.as_bytes().to_vec());
    bytes.collect()
}

/// Every other commit succeeds with an unknown outcome, starting with the first or the second.
fn forget(world: &mut World, phase: u32) {
    world.edges.lake = Arc::new(Unsure {
        lake: Arc::clone(&world.edges.lake),
        commits: AtomicU32::new(phase),
    });
}

/// Each commit has one document, and after every other commit the in-memory state is dropped: so the range resumes
/// after an `_id` of each type, in every format.
#[test]
fn a_collection_with_ids_of_all_types_is_read_completely_wherever_it_was_interrupted() {
    let kinds = [Kind::Plain, Kind::Clustered, Kind::Collation];
    let cases = kinds
        .into_iter()
        .flat_map(|kind| [0, 1].map(|phase| (kind, phase)));
    at_once(cases, async |(kind, phase)| {
        for extension in ["json", "json.gz", "ndjson", "ndjson.gz"] {
            let world = World::new().await.with_format(extension);
            if kind == Kind::Clustered && world.scene.version().await < ServerVersion::new(5, 3, 0)
            {
                return;
            }
            let mut world = world.with_small_parts(1, 20_000);
            create(&world, kind).await;
            forget(&mut world, phase);
            world.take().await;
            let snapshot = world.snapshot().await;
            let read = bytes(&snapshot.documents);
            assert_eq!(read.len(), snapshot.documents.len());
            assert_eq!(read, bytes(&in_order(&world).await), "{extension}");
        }
    });
}

/// A range ends with the `_id` that was the greatest when the plan was made, of whatever type, also if it resumes
/// after that one. Later documents aren't read.
#[test]
fn a_range_ends_with_its_last_id_of_any_type() {
    let kinds = [Kind::Plain, Kind::Clustered, Kind::Collation];
    let cases = kinds
        .into_iter()
        .flat_map(|kind| [0, 1].map(|phase| (kind, phase)));
    at_once(cases, async |(kind, phase)| {
        let mut world = World::new().await.with_small_parts(1, 20_000);
        if kind == Kind::Clustered && world.scene.version().await < ServerVersion::new(5, 3, 0) {
            return;
        }
        create(&world, kind).await;
        forget(&mut world, phase);
        for (number, three) in in_order(&world).await.windows(3).enumerate() {
            let name = format!("three{number}");
            create_empty(&world, &name, kind).await;
            insert(&world, &name, &three[..2]).await;
            world.target.origin.collection.clone_from(&name);
            world.take().await;
            world.unfinish(|_| {}).await;
            insert(&world, &name, &three[2..]).await;
            world.take().await;
            let snapshot = world.snapshot().await;
            assert_eq!(snapshot.documents, three[..2], "{:?}", three[1]);
        }
    });
}

/// Relaxed Extended JSON doesn't preserve all types, but it is enough to resume from.
#[tokio::test]
async fn a_range_resumes_from_relaxed_lines() {
    for phase in [0, 1] {
        for extension in ["ndjson", "ndjson.gz"] {
            let world = World::new().await.with_format(extension);
            let mut world = world.with_small_parts(1, 20_000);
            world.target.json_mode = Mode::Relaxed;
            create(&world, Kind::Plain).await;
            forget(&mut world, phase);
            world.take().await;
            let snapshot = world.snapshot().await;
            let keys = snapshot.sorted_keys();
            assert_eq!(keys.len(), in_order(&world).await.len());
        }
    }
}
