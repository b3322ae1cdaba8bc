//! Every event that the server sends is kept whole.

use bson::{Bson, Decimal128, Document, doc};

use serde_json::Value;

use crate::harness::scene::{Scene, canonical};
use crate::harness::silt::Silt;

/// A document with every type that a user meets, and the values that JSON can't say.
fn rich() -> Document {
    doc! {
        "_id": bson::oid::ObjectId::new(),
        "nan": f64::NAN, "infinity": f64::INFINITY, "negative": f64::NEG_INFINITY,
        "minus zero": -0.0, "whole": 3.0, "tiny": 5e-324, "huge": 1.797_693_134_862_315_7e308,
        "int": 7_i32, "long": i64::MAX, "small long": 5_i64,
        "decimal": "1.20E+3".parse::<Decimal128>().unwrap(),
        "today": bson::DateTime::from_millis(1_705_327_200_123),
        "before": bson::DateTime::from_millis(-62_135_596_800_001),
        "after": bson::DateTime::from_millis(i64::MAX),
        "binary": Bson::Binary(bson::Binary {
            subtype: bson::spec::BinarySubtype::UserDefined(0x81), bytes: vec![0, 1, 255],
        }),
        "uuid": bson::Uuid::new(),
        "pattern": Bson::RegularExpression(bson::Regex {
            pattern: bson::raw::cstr!("a\"b").into(), options: bson::raw::cstr!("i").into(),
        }),
        "code": Bson::JavaScriptCode("return 1".into()),
        "timestamp": bson::Timestamp { time: 1, increment: 2 },
        "least": Bson::MinKey, "most": Bson::MaxKey, "null": Bson::Null, "yes": true,
        "text": "quotes \" and \\ and \u{1} and \n and \u{2028} and 🐘",
        "nested": { "list": [1, [2, { "deep": [] }], {}], "": "empty key", "a.b": 1, "$odd": 1 },
    }
}

#[tokio::test]
async fn canonical_mode_is_lossless() {
    let scene = Scene::new().await.with("JSON_MODE", "canonical");
    let mut witness = scene.witness("users").await;
    let users = scene.users();
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let document = rich();
    let id = document.get("_id").unwrap().clone();
    users.insert_one(&document).await.unwrap();
    users
        .update_one(doc! { "_id": &id }, doc! { "$set": { "nested.list.0": 9 } })
        .await
        .unwrap();
    users
        .replace_one(doc! { "_id": &id }, doc! { "only": 1_i64 })
        .await
        .unwrap();
    users.delete_one(doc! { "_id": &id }).await.unwrap();
    let expected: Vec<Value> = witness.see(4).await.iter().map(canonical).collect();
    scene.flush_until(&mut silt, "users", 4).await;
    silt.drain();
    let archived = scene.archived("users");
    let kinds: Vec<_> = archived
        .iter()
        .map(|change| change["operationType"].clone())
        .collect();
    assert_eq!(kinds, ["insert", "update", "replace", "delete"]);
    for (ours, theirs) in archived.iter().zip(&expected) {
        // `wallTime` and all else is there too; the lookup may differ from the witness' own.
        for (key, value) in theirs.as_object().unwrap() {
            if key != "fullDocument" || ours["operationType"] == "insert" {
                assert_eq!(same_doubles(&ours[key]), same_doubles(value), "{key}");
            }
        }
    }
    let document = &archived[0]["fullDocument"];
    assert_eq!(document["tiny"]["$numberDouble"], "5e-324");
    assert_eq!(document["minus zero"]["$numberDouble"], "-0.0");
}

/// The bson crate spells large and tiny doubles its own way, so doubles are compared by value.
fn same_doubles(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => double(number.as_f64().unwrap()),
        Value::Object(object) => match object.get("$numberDouble").and_then(Value::as_str) {
            Some(text) => double(text.parse().unwrap()),
            None => {
                let fields = object.iter();
                Value::Object(
                    fields
                        .map(|(key, value)| (key.clone(), same_doubles(value)))
                        .collect(),
                )
            }
        },
        Value::Array(values) => values.iter().map(same_doubles).collect(),
        other => other.clone(),
    }
}

fn double(value: f64) -> Value {
    // Bits tell -0.0 from 0.0; a NaN is a NaN.
    if value.is_nan() {
        "NaN".into()
    } else {
        format!("{:016x}", value.to_bits()).into()
    }
}

#[tokio::test]
async fn drop_rename_and_invalidate_are_archived_and_the_feed_goes_on() {
    let scene = Scene::new().await.with("BATCH_SIZE", "1");
    let users = scene.users();
    users.insert_one(doc! { "before": 1 }).await.unwrap();
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    users.insert_one(doc! { "number": 1 }).await.unwrap();
    users.drop().await.unwrap();
    silt.wait_for_flushed("users", 3);
    users.insert_one(doc! { "number": 2 }).await.unwrap();
    let name = scene.database.name().to_owned();
    let rename = doc! {
        "renameCollection": format!("{name}.users"), "to": format!("{name}.people"),
    };
    scene
        .client
        .database("admin")
        .run_command(rename)
        .await
        .unwrap();
    silt.wait_for_flushed("users", 6);
    users.insert_one(doc! { "number": 3 }).await.unwrap();
    silt.wait_for_flushed("users", 7);
    // The token of an invalidate can be started after as well.
    silt.drain();
    Silt::watching(&scene.settings, &["users"]).drain();
    let archived = scene.archived("users");
    let kinds: Vec<&str> = archived
        .iter()
        .map(|change| change["operationType"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "insert",
            "drop",
            "invalidate",
            "insert",
            "rename",
            "invalidate",
            "insert"
        ]
    );
}

#[tokio::test]
async fn a_restart_right_behind_an_invalidate_goes_on() {
    let scene = Scene::new().await.with("BATCH_SIZE", "1");
    let users = scene.users();
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    users.insert_one(doc! { "number": 1 }).await.unwrap();
    users.drop().await.unwrap();
    silt.wait_for_flushed("users", 3);
    silt.kill();
    users.insert_one(doc! { "number": 2 }).await.unwrap();
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    silt.wait_for_flushed("users", 1);
    silt.drain();
    let archived = scene.archived("users");
    assert_eq!(archived.last().unwrap()["fullDocument"]["number"], 2);
    assert_eq!(archived.len(), 4);
}

/// MongoDB stores what it is given, and some drivers give text that is no UTF-8.
#[tokio::test]
async fn text_that_is_no_utf8_is_kept_and_stops_nothing() {
    let scene = Scene::new().await.with("BATCH_SIZE", "1");
    let mut witness = scene.witness("users").await;
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let document = doc! { "_id": 1, "text": "QQQQ" };
    let mut bytes = bson::RawDocumentBuf::try_from(&document)
        .unwrap()
        .into_bytes();
    let at = bytes.windows(4).position(|text| text == b"QQQQ").unwrap();
    bytes[at + 1] = 0xFF;
    let raw = scene.database.collection::<bson::RawDocumentBuf>("users");
    raw.insert_one(bson::RawDocumentBuf::from_bytes(bytes).unwrap())
        .await
        .unwrap();
    scene.users().insert_one(doc! { "_id": 2 }).await.unwrap();
    scene.flush_until(&mut silt, "users", 2).await;
    silt.drain();
    let archived = scene.archived("users");
    assert_eq!(archived[0]["documentKey"]["_id"], 1);
    let kept = Bson::try_from(archived[0]["siltRawEvent"].clone()).unwrap();
    let Bson::Binary(kept) = kept else {
        panic!("{kept}")
    };
    assert_eq!(kept.bytes, witness.see(2).await[0].as_bytes());
    assert_eq!(archived[1]["fullDocument"]["_id"], 2);
}
