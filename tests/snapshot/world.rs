//! A collection, a lake, the snapshot task, and a reader of snapshots that shares no code with silt.

use std::sync::Arc;
use std::time::Duration;

use bson::{Bson, Document, RawDocumentBuf, doc};
use futures::TryStreamExt as _;
use mongodb::Collection;
use serde_json::Value;
use silt::budget::Budget;
use silt::clock::Clock;
use silt::lake::local::LocalLake;
use silt::lake::{Lake, LakePath, Walked};
use silt::processors::Processors;
use silt::snapshot::{self, Edges, Handle, Settings, State, Status, Target};
use silt::source::Deployment;
use silt_core::extjson::Mode;
use silt_core::file::format::FileFormat;
use silt_core::file::gzip::GzipLevel;
use silt_core::limits::Limits;
use silt_core::namespace::Namespace;
use silt_core::snapshot::SnapshotMode;

use crate::harness::scene::{Scene, lines_in};
use crate::harness::silt::WAIT_LIMIT;

const BUDGET_BYTES: u64 = 32 << 20;

/// A scene in which snapshots are taken of `users`.
pub struct World {
    pub scene: Scene,
    pub edges: Edges,
    /// The lake as the test reads it, whatever faults a test puts before silt's.
    pub lake: Arc<dyn Lake>,
    pub settings: Settings,
    pub target: Target,
}

impl World {
    pub async fn new() -> Self {
        Self::of(Scene::new().await).await
    }

    pub async fn of(scene: Scene) -> Self {
        let edges = edges(&scene).await;
        let lake = Arc::clone(&edges.lake);
        let settings = Settings {
            ranges: 4,
            rate_limit_bytes: None,
        };
        let target = Target {
            origin: Namespace::new(scene.database.name(), "users"),
            is_shared: false,
            change_filters: Vec::new(),
            mode: SnapshotMode::Initial,
            format: FileFormat::of_extension("json").unwrap(),
            gzip_level: GzipLevel::default(),
            json_mode: Mode::Canonical,
            limits: Limits {
                retry_delay_ms: 20,
                ..Limits::default()
            },
        };
        Self {
            scene,
            edges,
            lake,
            settings,
            target,
        }
    }

    pub fn with_format(mut self, extension: &str) -> Self {
        self.target.format = FileFormat::of_extension(extension).unwrap();
        self
    }

    /// Small commits and small parts.
    pub fn with_small_parts(mut self, chunk_bytes: u64, part_bytes: u64) -> Self {
        self.target.limits.batch_limit_bytes = chunk_bytes;
        self.target.limits.file_limit_bytes = part_bytes;
        self
    }

    pub fn users(&self) -> Collection<Document> {
        self.scene.users()
    }

    /// Inserts documents with these numbers as `_id`.
    pub async fn insert(&self, numbers: std::ops::Range<i32>) {
        let document = |number| doc! { "_id": number, "number": number, "text": "x".repeat(100) };
        let documents: Vec<Document> = numbers.map(document).collect();
        for some in documents.chunks(5_000) {
            self.users().insert_many(some).await.unwrap();
        }
    }

    /// Starts the snapshot task without a collection.
    pub fn spawn(&self) -> Handle {
        snapshot::spawn(self.edges.clone(), self.settings)
    }

    /// Starts the snapshot task for `users`.
    pub fn start(&self) -> Handle {
        let handle = self.spawn();
        handle.send(self.target.clone());
        handle
    }

    /// Takes or resumes the snapshot, to its end.
    pub async fn take(&self) {
        let handle = self.start();
        self.until(&handle, |status| status.state == State::Done)
            .await;
    }

    /// Waits until the collection's status matches.
    pub async fn until(&self, handle: &Handle, fits: impl Fn(&Status) -> bool) -> Status {
        until(handle, &self.target.origin, fits).await
    }

    /// Names of the collection's snapshots, in order.
    pub async fn folders(&self) -> Vec<String> {
        let mut folders: Vec<String> = self
            .files("")
            .await
            .into_iter()
            .map(|(folder, _)| folder)
            .collect();
        folders.retain(|folder| folder.starts_with("snapshot-"));
        folders.dedup();
        folders
    }

    /// All files below the collection's folder: folder and name.
    async fn files(&self, below: &str) -> Vec<(String, String)> {
        let folder = self.target.origin.folder() + below;
        let walked = self.lake.walk(&folder);
        let walked: Vec<Walked> = walked.try_collect().await.unwrap();
        let mut files: Vec<(String, String)> = walked
            .into_iter()
            .map(|walked| {
                let Walked::File(file) = walked else {
                    panic!("{walked:?}")
                };
                let below = file.path.folder[folder.len()..].trim_start_matches('/');
                (below.to_owned(), file.path.name)
            })
            .collect();
        files.sort();
        files
    }

    /// The path of a file of a snapshot.
    pub fn path(&self, folder: &str, name: &str) -> LakePath {
        LakePath {
            folder: format!("{}/{folder}", self.target.origin.folder()),
            name: name.to_owned(),
        }
    }

    pub async fn get(&self, folder: &str, name: &str) -> Option<Vec<u8>> {
        let path = self.path(folder, name);
        let object = self.lake.get(&path).await.unwrap();
        object.map(|object| object.bytes)
    }

    pub async fn json(&self, folder: &str, name: &str) -> Option<Value> {
        let bytes = self.get(folder, name).await?;
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    pub async fn put(&self, folder: &str, name: &str, bytes: &[u8]) {
        let folder = format!("{}/{folder}", self.target.origin.folder());
        self.put_into(folder, name, bytes).await;
    }

    pub async fn put_into(&self, folder: String, name: &str, bytes: &[u8]) {
        let name = name.to_owned();
        let path = LakePath { folder, name };
        self.lake.put(&path, None, bytes.to_vec()).await.unwrap();
    }

    /// Turns the only snapshot, in a local lake, into one that has just begun. Its plan may be edited.
    pub async fn unfinish(&self, edit: impl Fn(&mut Value)) {
        let folders = self.folders().await;
        assert_eq!(folders.len(), 1, "{folders:?}");
        let mut plan = self.json(&folders[0], "_plan.json").await.unwrap();
        edit(&mut plan);
        let folder = self.folder(&folders[0]);
        std::fs::remove_dir_all(folder).unwrap();
        let plan = plan.to_string();
        self.put(&folders[0], "_plan.json", plan.as_bytes()).await;
    }

    /// The folder of a snapshot in a local lake.
    pub fn folder(&self, name: &str) -> std::path::PathBuf {
        let lake = self.scene.lake();
        lake.join(self.target.origin.folder()).join(name)
    }

    /// The only snapshot, which must be complete.
    pub async fn snapshot(&self) -> Snapshot {
        let folders = self.folders().await;
        assert_eq!(folders.len(), 1, "{folders:?}");
        self.snapshot_in(&folders[0]).await
    }

    /// Reads a snapshot and compares it with its manifest.
    pub async fn snapshot_in(&self, folder: &str) -> Snapshot {
        let manifest = self.json(folder, "_manifest.json").await.unwrap();
        let mut snapshot = Snapshot {
            position: timestamp(&manifest["cluster_time"]),
            documents: Vec::new(),
            keys: Vec::new(),
            parts: Vec::new(),
        };
        for part in manifest["parts"].as_array().unwrap() {
            let name = part["name"].as_str().unwrap();
            let bytes = self.get(folder, name).await.unwrap();
            assert_eq!(part["bytes"], bytes.len(), "{name}");
            let lines = lines_in(name, &bytes).unwrap();
            assert_eq!(part["count"], lines.len(), "{name}");
            for line in lines {
                snapshot.add(&line["change"], &self.target.origin);
            }
            snapshot.parts.push((name.to_owned(), bytes));
        }
        let files = self.files(&format!("/{folder}")).await;
        let parts = files.iter().filter(|(_, name)| name.starts_with("part-"));
        assert_eq!(parts.count(), snapshot.parts.len());
        assert_eq!(manifest["count"], snapshot.documents.len());
        snapshot
    }
}

/// The edges of another process in this scene.
pub async fn edges(scene: &Scene) -> Edges {
    let lake: Arc<dyn Lake> = if scene.settings.contains_key("LAKE_URL") {
        Arc::new(LocalLake::new(scene.lake()))
    } else {
        Arc::new(scene.azurite())
    };
    lake.prepare().await.unwrap();
    let uri = &scene.settings["MONGODB_URI"];
    let deployment = Deployment::connect(uri, 8, WAIT_LIMIT, None).await.unwrap();
    Edges {
        deployment,
        lake,
        budget: Budget::new(BUDGET_BYTES),
        processors: Processors::all(),
        clock: Clock::start(),
    }
}

pub async fn until(handle: &Handle, origin: &Namespace, fits: impl Fn(&Status) -> bool) -> Status {
    let mut statuses = handle.statuses();
    let found = statuses.wait_for(|statuses| statuses.get(origin).is_some_and(&fits));
    let found = tokio::time::timeout(WAIT_LIMIT, found).await;
    match found {
        Ok(Ok(statuses)) => statuses[origin].clone(),
        Ok(Err(error)) => panic!("the snapshot task ended: {error}"),
        Err(_) => panic!(
            "timed out; the statuses are {:?}",
            handle.statuses().borrow()
        ),
    }
}

/// What a snapshot holds.
pub struct Snapshot {
    pub position: (i64, i64),
    pub documents: Vec<RawDocumentBuf>,
    /// The bytes of each document's key, as text.
    pub keys: Vec<String>,
    /// Names and bytes.
    pub parts: Vec<(String, Vec<u8>)>,
}

impl Snapshot {
    fn add(&mut self, change: &Value, origin: &Namespace) {
        assert_eq!(change["operationType"], "read");
        assert_eq!(timestamp(&change["clusterTime"]), self.position);
        assert_eq!(change["ns"]["db"], origin.database);
        assert_eq!(change["ns"]["coll"], origin.collection);
        let event = raw(change);
        let key = event.get_document("documentKey").unwrap();
        self.keys.push(format!("{:?}", key.as_bytes()));
        let document = event.get_document("fullDocument").unwrap();
        self.documents.push(document.to_owned());
    }

    /// Returns the keys in order. Fails if one occurs twice.
    pub fn sorted_keys(&self) -> Vec<String> {
        let mut keys = self.keys.clone();
        keys.sort();
        let count = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), count, "a document occurs twice");
        keys
    }
}

/// A change as it was, also if JSON can't express all of it.
pub fn raw(change: &Value) -> RawDocumentBuf {
    if let Some(raw) = change.get("siltRawEvent") {
        let Bson::Binary(raw) = Bson::try_from(raw.clone()).unwrap() else {
            panic!("{raw}")
        };
        return RawDocumentBuf::from_bytes(raw.bytes).unwrap();
    }
    match Bson::try_from(change.clone()).unwrap() {
        Bson::Document(change) => RawDocumentBuf::try_from(&change).unwrap(),
        other => panic!("{other}"),
    }
}

pub fn timestamp(time: &Value) -> (i64, i64) {
    let part = |name| time["$timestamp"][name].as_i64().unwrap();
    (part("t"), part("i"))
}

/// A time that no test depends on.
pub async fn moment(random: &mut fastrand::Rng, ms: std::ops::Range<u64>) {
    tokio::time::sleep(Duration::from_millis(random.u64(ms))).await;
}
