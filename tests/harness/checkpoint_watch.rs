//! Watches a feed's checkpoint from outside: never ahead of the lake, never backwards.
//!
//! In MongoDB a change stream shows every save. In the lake the file is read again and again, so saves
//! may be missed; those that are seen must fit.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bson::{Document, RawDocumentBuf, doc};
use mongodb::Collection;
use mongodb::change_stream::ChangeStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::lake_view::LakeView;
use super::ledger::tokens_of;
use super::scene::Scene;
use super::silt::WAIT_LIMIT;

/// Id of a document that ends the watch of a checkpoint collection.
const END: &str = "end";
/// Between two looks at a file.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Where checkpoints are seen.
enum Source {
    Collection {
        stream: ChangeStream<Document>,
        last: Document,
    },
    File {
        name: String,
        last: Option<Document>,
        stop: Arc<AtomicBool>,
    },
}

impl Source {
    /// The next one; none when the watch is over.
    async fn next(&mut self, lake: &LakeView) -> Option<Document> {
        match self {
            Self::Collection { stream, last } => loop {
                if let Some(event) = stream.next_if_any().await.unwrap() {
                    match event.get_document("fullDocument") {
                        Ok(whole) => last.clone_from(whole),
                        Err(_) => apply(event.get_document("updateDescription").unwrap(), last),
                    }
                    let is_end = last.get_str("_id").unwrap() == END;
                    return (!is_end).then(|| last.clone());
                }
            },
            Self::File { name, last, stop } => loop {
                let is_over = stop.load(Ordering::Relaxed);
                let there = lake.checkpoint(name).await;
                if there.is_some() && there != *last {
                    last.clone_from(&there);
                    return there;
                }
                if is_over {
                    return None;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            },
        }
    }
}

/// A checkpoint as it was seen.
#[derive(Debug)]
struct Seen {
    checkpoint: Document,
    revision: i64,
    /// Changes that the lake held then.
    archived: usize,
}

/// A watch that goes on until it is ended.
pub struct CheckpointWatch {
    scene_checkpoints: Option<Collection<Document>>,
    stop: Arc<AtomicBool>,
    revision: watch::Receiver<i64>,
    task: JoinHandle<Vec<Seen>>,
}

impl CheckpointWatch {
    /// Watches the checkpoint of `users` where the scene's settings keep it. To be begun before silt is.
    pub async fn of(scene: &Scene) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let is_in_lake = scene.settings.get("CHECKPOINT_STORE").map(String::as_str) == Some("lake");
        let source = if is_in_lake {
            Source::File {
                name: format!("{}.users.json", scene.database.name()),
                last: None,
                stop: Arc::clone(&stop),
            }
        } else {
            Source::Collection {
                stream: scene.checkpoints().watch().await.unwrap().with_type(),
                last: Document::new(),
            }
        };
        let (sender, revision) = watch::channel(0);
        let lake = LakeView::of(scene, "users");
        Self {
            scene_checkpoints: (!is_in_lake).then(|| scene.checkpoints()),
            stop,
            revision,
            task: tokio::spawn(observe(source, lake, sender)),
        }
    }

    /// Waits until so many more revisions were seen: the store takes saves.
    pub async fn wait_for_more(&self, revisions: i64) {
        let mut revision = self.revision.clone();
        let wanted = *revision.borrow() + revisions;
        let more = revision.wait_for(|revision| *revision >= wanted);
        let more = tokio::time::timeout(WAIT_LIMIT, more).await;
        assert!(matches!(more, Ok(Ok(_))), "nothing more is saved");
    }

    /// Ends the watch, and judges what was seen by the collection's changes. silt must have ended.
    pub async fn end(self, scene: &Scene, changes: &[RawDocumentBuf]) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(checkpoints) = &self.scene_checkpoints {
            checkpoints.insert_one(doc! { "_id": END }).await.unwrap();
        }
        let all = self.task.await.unwrap();
        assert!(!all.is_empty(), "no checkpoint was seen");
        let sees_all = self.scene_checkpoints.is_some();
        let mut order = Order::of(scene, changes).await;
        let (mut revision, mut last_change, mut position) = (0, 0, 0);
        for seen in &all {
            let step = seen.revision - revision;
            assert!(
                step == 1 || (step > 1 && !sees_all),
                "behind {revision}: {seen:?}"
            );
            let archived = order.of_last_change(seen);
            let read = order.of_position(seen).await;
            assert!(
                archived >= last_change && read >= position,
                "backwards: {seen:?}"
            );
            assert!(
                read >= archived || seen.is_ahead(),
                "before its own last change: {seen:?}"
            );
            assert!(
                read <= seen.archived,
                "ahead of the lake by {}: {seen:?}",
                read - seen.archived
            );
            (revision, last_change, position) = (seen.revision, archived, read);
        }
    }
}

/// Makes of a checkpoint what an update makes of it. The whole of it, as it was then, is told only by
/// servers that keep post-images.
fn apply(update: &Document, checkpoint: &mut Document) {
    for (path, value) in update.get_document("updatedFields").unwrap() {
        let (within, name) = place(checkpoint, path);
        within.insert(name, value.clone());
    }
    for path in update.get_array("removedFields").unwrap() {
        let (within, name) = place(checkpoint, path.as_str().unwrap());
        within.remove(name);
    }
}

/// The document that has the field of a path with dots, and the field's name.
fn place<'a>(document: &'a mut Document, path: &'a str) -> (&'a mut Document, &'a str) {
    match path.split_once('.') {
        Some((name, path)) => place(document.get_document_mut(name).unwrap(), path),
        None => (document, path),
    }
}

impl Seen {
    /// That of the collection, if a change of it is known.
    fn watermark(&self) -> Option<&Document> {
        let all = self.checkpoint.get_document("collections").unwrap();
        all.values().next().map(|it| it.as_document().unwrap())
    }

    /// Whether the last change is after the position.
    fn is_ahead(&self) -> bool {
        let watermark = self.watermark();
        watermark.is_some_and(|it| it.get_bool("is_ahead").unwrap_or(false))
    }
}

async fn observe(mut source: Source, lake: LakeView, revisions: watch::Sender<i64>) -> Vec<Seen> {
    let mut all = Vec::new();
    while let Some(checkpoint) = source.next(&lake).await {
        let revision = checkpoint.get("revision").unwrap();
        let revision = revision
            .as_i64()
            .or(revision.as_i32().map(i64::from))
            .unwrap();
        let archived = lake.count().await;
        revisions.send_replace(revision);
        all.push(Seen {
            checkpoint,
            revision,
            archived,
        });
    }
    all
}

/// The order of the collection's changes.
struct Order<'a> {
    users: Collection<Document>,
    changes: &'a [RawDocumentBuf],
    /// How many changes there are up to and including the one with this token.
    up_to: HashMap<String, usize>,
}

impl<'a> Order<'a> {
    async fn of(scene: &Scene, changes: &'a [RawDocumentBuf]) -> Self {
        let tokens = tokens_of(changes).into_iter();
        // Something must stand behind every position.
        scene.users().insert_one(doc! {}).await.unwrap();
        Self {
            users: scene.users(),
            changes,
            up_to: tokens.zip(1..).collect(),
        }
    }

    fn of_last_change(&self, seen: &Seen) -> usize {
        let last = seen.watermark();
        let last = last.map(|it| it.get_document("last_change").unwrap());
        last.map_or(0, |last| {
            self.up_to[token(last.get_document("token").unwrap())]
        })
    }

    /// How many changes lie before a position.
    async fn of_position(&mut self, seen: &Seen) -> usize {
        let position = seen.checkpoint.get_document("position").unwrap();
        if let Ok(time) = position.get_timestamp("at") {
            let is_before =
                |change: &&RawDocumentBuf| change.get_timestamp("clusterTime").unwrap() < time;
            return self.changes.iter().filter(is_before).count();
        }
        let after = position.get_document("after").unwrap();
        if let Some(count) = self.up_to.get(token(after)) {
            return *count;
        }
        // A token of the server's own: what comes behind it?
        let resume = bson::deserialize_from_document(after.clone()).unwrap();
        let mut stream = self.users.watch().start_after(resume).await.unwrap();
        let next = loop {
            if let Some(next) = stream.next_if_any().await.unwrap() {
                break bson::serialize_to_document(&next.id).unwrap();
            }
        };
        let next = self.up_to.get(token(&next));
        let count = next.map_or(self.changes.len(), |next| next - 1);
        self.up_to.insert(token(after).to_owned(), count);
        count
    }
}

fn token(document: &Document) -> &str {
    document.get_str("_data").unwrap()
}
