//! Each line reads back as the same BSON, or carries it. Decoders that silt doesn't have say so: the bson crate's and
//! pymongo's.

use bson::spec::BinarySubtype;
use bson::{Binary, Bson, Document, RawDocument, RawDocumentBuf, doc};
use serde_json::Value;
use silt::source::ServerVersion;

use crate::extjson_corpus::stored_documents;
use crate::harness::python;
use crate::harness::scene::{Scene, lines_in};
use crate::harness::silt::{Silt, run};

const DOLLARS_SINCE: ServerVersion = ServerVersion {
    major: 5,
    minor: 0,
    patch: 0,
};

/// Documents that Extended JSON has no text for.
fn spelled_like_values() -> Vec<Document> {
    vec![
        doc! { "$numberLong": "5" },
        doc! { "$numberInt": "5" },
        doc! { "$numberDouble": "5" },
        doc! { "$numberDecimal": "5" },
        doc! { "$oid": "5f5f5f5f5f5f5f5f5f5f5f5f" },
        doc! { "$date": "2024-01-15T14:15:23Z" },
        doc! { "$date": { "$numberLong": "5" } },
        doc! { "$undefined": true },
        doc! { "$code": "f" },
        doc! { "$code": "f", "$scope": {} },
        doc! { "$regularExpression": { "pattern": "a", "options": "" } },
        doc! { "$regex": "a", "$options": "" },
        doc! { "$binary": { "base64": "AAAA", "subType": "00" } },
        doc! { "$binary": "AAAA", "$type": "00" },
        doc! { "$uuid": "c8edabc3-f738-4ca3-b68d-ab92a91478a3" },
        doc! { "$dbPointer": { "$ref": "a", "$id": { "$oid": "5f5f5f5f5f5f5f5f5f5f5f5f" } } },
        doc! { "$symbol": "a" },
        doc! { "$minKey": 1 },
        doc! { "$maxKey": 1 },
        doc! { "$timestamp": { "t": 1, "i": 2 } },
    ]
}

/// A document of one element: its type, its name and its bytes.
fn element(element_type: u8, name: &str, value: &[u8]) -> Vec<u8> {
    [&[element_type], name.as_bytes(), b"\0", value].concat()
}

fn framed(elements: &[u8]) -> Vec<u8> {
    let len = i32::try_from(elements.len() + 5).unwrap().to_le_bytes();
    [&len, elements, b"\0"].concat()
}

/// Elements that no driver makes and that MongoDB stores, and whether the JSON is enough.
fn unusual() -> Vec<(bool, Vec<u8>)> {
    let null = |name| element(0x0A, name, b"");
    let double = |bits: u64| element(0x01, "d", &bits.to_le_bytes());
    let decimal = |bits: u128| element(0x13, "d", &bits.to_le_bytes());
    let binary = |bytes: &[u8]| element(0x05, "b", bytes);
    vec![
        (false, [null("a"), null("a")].concat()),
        (
            false,
            element(0x03, "a", &framed(&[null("b"), null("b")].concat())),
        ),
        (
            true,
            element(0x04, "a", &framed(&[null("0"), null("1")].concat())),
        ),
        (
            false,
            element(0x04, "a", &framed(&[null("1"), null("0")].concat())),
        ),
        (false, element(0x04, "a", &framed(&null("")))),
        (true, double(0x7FF8 << 48)),
        (false, double(0xFFF8 << 48)),
        (false, double((0x7FF8 << 48) | 1)),
        (true, double(1 << 63)),
        (true, decimal(0x1F << 122)),
        (false, decimal((0x1F << 122) | 1)),
        (false, decimal(0x3F << 122)),
        (true, decimal((6176 << 113) | 5)),
        (false, decimal((6176 << 113) | 10_u128.pow(34))),
        (false, decimal(0x6C << 120)),
        (true, binary(b"\x07\0\0\0\x02\x03\0\0\0abc")),
        (false, binary(b"\x07\0\0\0\x02\x02\0\0\0abc")),
        (true, element(0x0B, "r", b"a\0imx\0")),
        (false, element(0x0B, "r", b"a\0xi\0")),
        (false, element(0x0B, "r", b"a\0z\0")),
        (true, element(0x09, "d", &i64::MIN.to_le_bytes())),
        (true, element(0x09, "d", &i64::MAX.to_le_bytes())),
        (false, element(0x02, "s", b"\x02\0\0\0\xFF\0")),
    ]
}

/// A document with this `_id`, then these elements.
fn with_id(id: i32, elements: &[u8]) -> RawDocumentBuf {
    let bytes = framed(&[element(0x10, "_id", &id.to_le_bytes()), elements.to_vec()].concat());
    RawDocumentBuf::from_bytes(bytes).unwrap()
}

/// The BSON of a line's change, as the bson crate reads it, and whether it is that of `siltRawEvent`.
fn read_back(change: &Value) -> (bool, Vec<u8>) {
    if let Some(raw) = change.get("siltRawEvent") {
        let Bson::Binary(Binary {
            subtype: BinarySubtype::Generic,
            bytes,
        }) = Bson::try_from(raw.clone()).unwrap()
        else {
            panic!("{raw}");
        };
        return (true, bytes);
    }
    let event = Bson::try_from(change.clone()).unwrap();
    (false, event.as_document().unwrap().to_vec().unwrap())
}

#[tokio::test]
async fn every_line_reads_back_or_carries_its_event() {
    let scene = Scene::new()
        .await
        .with("JSON_MODE", "canonical")
        .with("OUTPUT_FORMAT", "ndjson")
        .with("SNAPSHOT", "initial");
    let users = scene.database.collection::<RawDocumentBuf>("users");
    let mut documents: Vec<(Option<bool>, RawDocumentBuf)> = Vec::new();
    for (is_exact, elements) in unusual() {
        let document = with_id(documents.len() as i32, &elements);
        documents.push((Some(is_exact), document));
    }
    if scene.version().await >= DOLLARS_SINCE {
        for spelled in spelled_like_values() {
            let value = RawDocumentBuf::try_from(&spelled).unwrap();
            let elements = element(0x03, "q", value.as_bytes());
            documents.push((Some(false), with_id(documents.len() as i32, &elements)));
            let elements = element(0x04, "q", &framed(&element(0x03, "0", value.as_bytes())));
            documents.push((Some(false), with_id(documents.len() as i32, &elements)));
        }
        for document in stored_documents() {
            let elements = element(0x03, "q", &document);
            documents.push((None, with_id(documents.len() as i32, &elements)));
        }
    }
    // Large enough for the server to send what an update changes and not the whole document.
    let padded = with_id(
        documents.len() as i32,
        &element(
            0x02,
            "padding",
            &[&1001_i32.to_le_bytes()[..], &[b'x'; 1000], b"\0"].concat(),
        ),
    );
    let padded_id = documents.len() as i32;
    documents.push((Some(true), padded));
    // A key that doesn't read back.
    let nan = element(0x01, "_id", &0xFFF8_0000_0000_0001_u64.to_le_bytes());
    documents.push((
        Some(false),
        RawDocumentBuf::from_bytes(framed(&nan)).unwrap(),
    ));
    let mut stored = Vec::new();
    for (is_exact, document) in documents {
        match users.insert_one(&document).await {
            Ok(_) => stored.push((is_exact, document)),
            // Newer servers refuse some malformed values of the corpus.
            Err(error) => {
                let is_refused = error.to_string().contains("NonConformantBSON");
                assert!(is_exact.is_none() && is_refused, "{error}");
            }
        }
    }
    let documents = stored;
    // The snapshot has all documents; then come changes of each.
    let mut witness = scene.witness("users").await;
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    silt.wait_where("the snapshot's end", |line| {
        let message = line["message"].as_str();
        message.is_some_and(|message| message.starts_with("snapshot finished"))
    });
    for (_, document) in &documents {
        let id: Bson = document.get("_id").unwrap().unwrap().try_into().unwrap();
        users.delete_one(doc! { "_id": id }).await.unwrap();
        users.insert_one(document).await.unwrap();
    }
    let mut count = 2 * documents.len();
    if scene.version().await >= DOLLARS_SINCE {
        for (number, value) in spelled_like_values().into_iter().enumerate() {
            // Nothing but a pipeline may set such a document.
            let name = format!("delta{number}");
            let update = vec![doc! { "$set": { name: { "$literal": value } } }];
            users
                .update_one(doc! { "_id": padded_id }, update)
                .await
                .unwrap();
            count += 1;
        }
    }
    scene.flush_until(&mut silt, "users", count).await;
    silt.drain();

    let events = witness.see(count).await;
    let archived = scene.archived("users");
    assert_eq!(archived.len(), count);
    let (documents_events, delta_events) = events.split_at(2 * documents.len());
    for (change, event) in archived.iter().zip(documents_events) {
        let (_, bytes) = read_back(change);
        assert!(bytes == event.as_bytes(), "{change}");
    }
    for (pair, (is_exact, _)) in archived.chunks(2).zip(&documents) {
        let (has_raw_event, _) = read_back(&pair[1]);
        if let Some(is_exact) = is_exact {
            assert_eq!(has_raw_event, !is_exact, "{}", pair[1]);
        }
    }
    for (delta, event) in archived[2 * documents.len()..].iter().zip(delta_events) {
        let fields = delta["updateDescription"]["updatedFields"].as_object();
        assert!(fields.unwrap().values().all(Value::is_object), "{delta}");
        let (has_raw_event, bytes) = read_back(delta);
        assert!(has_raw_event, "{delta}");
        // The documents may have been looked up at different times.
        let read = RawDocument::from_bytes(&bytes).unwrap();
        let [read, event] = [read, event].map(|it| it.get_document("updateDescription").unwrap());
        assert_eq!(read, event);
    }
    let mut read: Vec<Vec<u8>> = Vec::new();
    for path in snapshot_parts(&scene) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        for line in lines_in(&name, &std::fs::read(&path).unwrap()).unwrap() {
            let (_, bytes) = read_back(&line["change"]);
            let event = RawDocument::from_bytes(&bytes).unwrap();
            read.push(
                event
                    .get_document("fullDocument")
                    .unwrap()
                    .as_bytes()
                    .to_vec(),
            );
        }
    }
    let mut stored: Vec<Vec<u8>> = documents
        .iter()
        .map(|(_, document)| document.as_bytes().to_vec())
        .collect();
    read.sort();
    stored.sort();
    assert!(read == stored);
    assert_pymongo_agrees(&scene, documents_events);
}

fn snapshot_parts(scene: &Scene) -> Vec<std::path::PathBuf> {
    let folders = std::fs::read_dir(scene.lake().join("users")).unwrap();
    let folders = folders.map(|entry| entry.unwrap().path());
    let snapshots = folders.filter(|path| {
        path.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("snapshot-")
    });
    let parts = snapshots.flat_map(|folder| {
        std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
    });
    parts
        .filter(|path| path.to_str().unwrap().ends_with(".ndjson"))
        .collect()
}

/// pymongo reads each line as the same value as the event's own bytes.
fn assert_pymongo_agrees(scene: &Scene, events: &[RawDocumentBuf]) {
    let raw = scene.folder.path().join("events.bson");
    let bytes: Vec<u8> = events
        .iter()
        .flat_map(|event| event.as_bytes().to_vec())
        .collect();
    std::fs::write(&raw, bytes).unwrap();
    let files = scene.files("users");
    let mut arguments = vec![raw.to_str().unwrap()];
    arguments.extend(files.iter().map(|path| path.to_str().unwrap()));
    let output = python(include_str!("readers/read_back.py"), &arguments);
    assert_eq!(output.trim(), format!("{} lines", events.len()));
}

/// Characters at which some readers of text split, wherever names and texts come from the user.
#[tokio::test]
async fn a_line_is_a_line_for_python() {
    const ALL: &str = "\n\r\x0B\x0C\x1C\x1D\x1E\u{85}\u{2028}\u{2029}";
    // It is part of the metadata, too.
    const COLLECTION: &str = "us\u{2028}\u{2029}ers";
    for format in ["ndjson", "json"] {
        let scene = Scene::new()
            .await
            .with("MONGODB_COLLECTIONS", COLLECTION)
            .with("OUTPUT_FORMAT", format);
        let mut silt = Silt::watching(&scene.settings, &[COLLECTION]);
        let collection = scene.database.collection::<Document>(COLLECTION);
        for number in 0..3 {
            let document = doc! { "_id": format!("{number}{ALL}"), ALL: ALL, "a": { ALL: [ALL] } };
            collection.insert_one(document).await.unwrap();
        }
        scene.flush_until(&mut silt, COLLECTION, 3).await;
        silt.drain();
        let file = scene.files(COLLECTION).pop().unwrap();
        let script = "import sys; print(len(open(sys.argv[1], encoding='utf-8', newline='').read().splitlines()))";
        let lines = python(script, &[file.to_str().unwrap()]);
        // A `json` file has a line before and a line after its changes.
        let frame = if format == "json" { 2 } else { 0 };
        assert_eq!(lines.trim(), (3 + frame).to_string());
        assert_eq!(scene.archived(COLLECTION)[0]["fullDocument"][ALL], ALL);
        let (status, listed) = run(&scene.settings, &["ls", "--json"]);
        assert_eq!(status, 0, "{listed}");
        assert!(!listed.contains(['\u{2028}', '\u{2029}']), "{listed}");
        assert!(listed.contains("us\\u2028\\u2029ers"), "{listed}");
    }
}
