//! What every checkpoint store promises, held against MongoDB and both lakes.

use std::sync::Arc;

use silt::checkpoint::{
    CheckpointError, Checkpoints, FeedId, LakeCheckpoints, MongoCheckpoints, Probed,
};
use silt::lake::LakePath;
use silt_core::limits::{CHECKPOINT_LIMIT_BYTES, WATERMARKS_LIMIT_BYTES};
use silt_core::position::{
    Checkpoint, ClusterTime, LastChange, Position, ResumeToken, Stored, Watermark,
};

use crate::harness::servers::{Place, client, deployment};
use crate::harness::{unique, variable};

/// A store that can be opened by several writers.
enum Store {
    MongoDb { database: String },
    Lake(Place),
}

impl Store {
    fn all() -> Vec<Self> {
        let lakes = Place::all().map(Self::Lake);
        std::iter::once(Self::MongoDb {
            database: unique("metadata"),
        })
        .chain(lakes)
        .collect()
    }

    async fn open(&self) -> Arc<dyn Checkpoints> {
        match self {
            Self::MongoDb { database } => Arc::new(MongoCheckpoints::new(
                &deployment().await,
                database,
                "change_stream_state",
            )),
            Self::Lake(place) => Arc::new(LakeCheckpoints::new(place.prepared().await)),
        }
    }
}

fn feed(collection: &str) -> FeedId {
    FeedId {
        database: "mydb".into(),
        collection: collection.into(),
    }
}

fn token(number: u32) -> ResumeToken {
    let bits = r#""_typeBits":{"$binary":{"base64":"gkA=","subType":"00"}}"#;
    ResumeToken::from_extended_json(&format!("{{\"_data\":\"82{number:06}\",{bits}}}")).unwrap()
}

fn checkpoint(number: u32) -> Checkpoint {
    let cluster_time = ClusterTime {
        seconds: 4_000_000_000,
        increment: number,
    };
    Checkpoint {
        collections: vec![Watermark {
            database: "mydb".to_owned(),
            collection: "users".to_owned(),
            last_change: LastChange {
                token: token(number),
                cluster_time,
            },
            is_after_position: false,
        }],
        ..Checkpoint::new(Position::After(token(number)), "hash")
    }
}

#[tokio::test]
async fn what_is_saved_comes_back() {
    for store in Store::all() {
        let (writer, reader) = (store.open().await, store.open().await);
        let feed = feed("odd name/with.$things");
        assert_eq!(reader.load(&feed).await.unwrap(), None);
        let at = ClusterTime {
            seconds: 1_705_327_200,
            increment: 7,
        };
        let start = Checkpoint {
            position: Position::At(at),
            collections: Vec::new(),
            restarted_at: Some(at),
            ..checkpoint(0)
        };
        writer.save(&feed, &start, 0).await.unwrap();
        let stored = Some(Stored {
            checkpoint: start,
            revision: 1,
            lake: None,
        });
        assert_eq!(reader.load(&feed).await.unwrap(), stored);
        for revision in 1..5_u32 {
            writer
                .save(&feed, &checkpoint(revision), u64::from(revision))
                .await
                .unwrap();
            let revision_now = u64::from(revision) + 1;
            let stored = Some(Stored {
                checkpoint: checkpoint(revision),
                revision: revision_now,
                lake: None,
            });
            assert_eq!(reader.load(&feed).await.unwrap(), stored);
        }
        assert_eq!(reader.load(&self::feed("other")).await.unwrap(), None);
    }
}

/// As large as a feed makes it, first inserted and then with another value in every field. MongoDB is the store with a
/// limit.
#[tokio::test]
async fn the_largest_checkpoint_is_saved_and_comes_back() {
    let database = unique("metadata");
    let store = Store::MongoDb { database };
    let (writer, reader) = (store.open().await, store.open().await);
    let feed = feed("users");
    for number in 0..2 {
        let largest = largest_checkpoint(number);
        writer.save(&feed, &largest, number.into()).await.unwrap();
        let stored = reader.load(&feed).await.unwrap().unwrap();
        assert!(stored.checkpoint == largest, "{number}");
    }
}

/// A checkpoint with a long token as its position, and many collections with long names.
fn largest_checkpoint(number: u32) -> Checkpoint {
    let token = |len: usize| {
        let digits = char::from_digit(number, 10).unwrap().to_string();
        ResumeToken::from_canonical(&format!(r#"{{"_data":"{}"}}"#, digits.repeat(len)))
    };
    let position_bytes = CHECKPOINT_LIMIT_BYTES - WATERMARKS_LIMIT_BYTES;
    let mut largest = checkpoint(number);
    largest.position = Position::After(token(position_bytes));
    // The dots are escaped in the names of fields.
    let name = |number: usize| format!("{}{number:04}", ".".repeat(200));
    // Four times the names, the token, and what is around them.
    let watermark_bytes = 4 * (4 + 204) + 100 + 150;
    largest.collections = (0..WATERMARKS_LIMIT_BYTES / watermark_bytes)
        .map(|each| Watermark {
            collection: name(each),
            last_change: LastChange {
                token: token(100),
                ..largest.collections[0].last_change.clone()
            },
            ..largest.collections[0].clone()
        })
        .collect();
    largest
}

/// The name of a file has room for fewer bytes than MongoDB has for a namespace.
#[tokio::test]
async fn feeds_with_long_names_are_kept_apart() {
    for store in Store::all() {
        let store = store.open().await;
        let feeds = ["a", "b"].map(|end| feed(&("x/".repeat(110) + end)));
        for (number, feed) in (1..).zip(&feeds) {
            store.save(feed, &checkpoint(number), 0).await.unwrap();
            store.save(feed, &checkpoint(number), 1).await.unwrap();
        }
        let mut listed: Vec<_> = store.list().await.unwrap();
        listed.sort_by_key(|(feed, _)| feed.to_string());
        assert_eq!(listed.len(), 2);
        for ((number, feed), (listed_feed, listed)) in (1..).zip(&feeds).zip(listed) {
            let stored = store.load(feed).await.unwrap().unwrap();
            assert_eq!((&listed_feed, &listed), (feed, &stored));
            assert_eq!(
                (&stored.checkpoint, stored.revision),
                (&checkpoint(number), 2)
            );
        }
    }
}

/// Earlier versions wrote any name in full, for which Azure has room.
#[tokio::test]
async fn a_checkpoint_under_a_long_name_is_continued() {
    let place = Place::all()
        .into_iter()
        .find(|place| matches!(place, Place::Azurite { .. }));
    let lake = place.unwrap().prepared().await;
    let store = LakeCheckpoints::new(Arc::clone(&lake));
    let (short, long) = (feed("users"), feed(&"x".repeat(240)));
    store.save(&short, &checkpoint(7), 0).await.unwrap();
    let path = |feed: &FeedId| LakePath {
        folder: "_silt/checkpoints".to_owned(),
        name: format!("{feed}.json"),
    };
    let record = lake.get(&path(&short)).await.unwrap().unwrap();
    lake.put(&path(&long), None, record.bytes).await.unwrap();
    store.save(&long, &checkpoint(8), 1).await.unwrap();
    let stored = store.load(&long).await.unwrap().unwrap();
    assert_eq!((stored.checkpoint, stored.revision), (checkpoint(8), 2));
    assert_eq!(lake.list("_silt/checkpoints").await.unwrap().len(), 2);
    assert_eq!(store.list().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_probe_writes_and_leaves_nothing() {
    for store in Store::all() {
        let store = store.open().await;
        store.save(&feed("users"), &checkpoint(1), 0).await.unwrap();
        assert_eq!(store.probe().await.unwrap(), Probed::Removed);
        assert_eq!(store.probe().await.unwrap(), Probed::Removed);
        let stored = store.load(&feed("users")).await.unwrap().unwrap();
        assert_eq!(stored.revision, 1);
        assert_eq!(stored.checkpoint, checkpoint(1));
    }
}

#[tokio::test]
async fn a_stale_writer_is_refused() {
    for store in Store::all() {
        let (first, second) = (store.open().await, store.open().await);
        let feed = feed("users");
        first.save(&feed, &checkpoint(1), 0).await.unwrap();
        for replaces in [0, 2, 7] {
            let error = second
                .save(&feed, &checkpoint(9), replaces)
                .await
                .unwrap_err();
            assert!(
                matches!(error, CheckpointError::Conflict { .. }),
                "{replaces}: {error}"
            );
        }
        second.save(&feed, &checkpoint(2), 1).await.unwrap();
        let error = first.save(&feed, &checkpoint(3), 1).await.unwrap_err();
        assert!(matches!(error, CheckpointError::Conflict { .. }), "{error}");
        let stored = first.load(&feed).await.unwrap().unwrap();
        assert_eq!(
            stored,
            Stored {
                checkpoint: checkpoint(2),
                revision: 2,
                lake: None
            }
        );
    }
}

#[tokio::test]
async fn a_save_without_an_answer_can_be_said_again_as_it_was() {
    for store in Store::all() {
        let writer = store.open().await;
        let feed = feed("users");
        for replaces in [0, 1] {
            let said = checkpoint(u32::try_from(replaces).unwrap());
            // The first try took effect but its answer was lost.
            writer.save(&feed, &said, replaces).await.unwrap();
            writer.save(&feed, &said, replaces).await.unwrap();
            let stored = writer.load(&feed).await.unwrap().unwrap();
            assert_eq!(
                stored,
                Stored {
                    checkpoint: said,
                    revision: replaces + 1,
                    lake: None
                }
            );
        }
        // A late try with another content must not replace what somebody may read from by now.
        let error = writer.save(&feed, &checkpoint(9), 1).await.unwrap_err();
        assert!(matches!(error, CheckpointError::Conflict { .. }), "{error}");
    }
}

#[tokio::test]
async fn of_many_writers_at_once_one_wins() {
    for store in Store::all() {
        let feed = feed("users");
        store
            .open()
            .await
            .save(&feed, &checkpoint(0), 0)
            .await
            .unwrap();
        let mut writers = Vec::new();
        for number in 1..9 {
            let (store, feed) = (store.open().await, feed.clone());
            writers.push(tokio::spawn(async move {
                store
                    .save(&feed, &checkpoint(number), 1)
                    .await
                    .map(|()| number)
            }));
        }
        let mut winners = Vec::new();
        for writer in writers {
            match writer.await.unwrap() {
                Ok(number) => winners.push(number),
                Err(CheckpointError::Conflict { .. } | CheckpointError::Lake(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(winners.len(), 1);
        let stored = store.open().await.load(&feed).await.unwrap().unwrap();
        assert_eq!(
            stored,
            Stored {
                checkpoint: checkpoint(winners[0]),
                revision: 2,
                lake: None
            }
        );
    }
}

#[tokio::test]
async fn what_is_no_checkpoint_is_an_error_that_names_it() {
    use bson::doc;
    let database = unique("metadata");
    let store = Store::MongoDb {
        database: database.clone(),
    }
    .open()
    .await;
    let client = client(&variable("SILT_TEST_MONGODB_URI")).await;
    let collection = client.database(&database).collection("change_stream_state");
    collection
        .insert_one(doc! { "_id": "mydb.users", "revision": "x" })
        .await
        .unwrap();
    collection
        .insert_one(doc! { "_id": "mydb.newer", "schema": 99 })
        .await
        .unwrap();
    for name in ["users", "newer"] {
        let error = store.load(&feed(name)).await.unwrap_err();
        assert!(
            matches!(error, CheckpointError::Unreadable { .. }),
            "{error}"
        );
        assert!(
            error.to_string().contains(&format!("mydb.{name}")),
            "{error}"
        );
    }
}
