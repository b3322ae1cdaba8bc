//! A database, a lake and a second pair of eyes.
//!
//! What silt archived is judged by a change stream of the test's own, and the files are read
//! without silt's code.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::change_stream::ChangeStream;
use mongodb::{Client, Collection, Database};
use serde_json::Value;

use silt::lake::azure::AzureLake;
use silt::lake::local::LocalLake;
use silt::lake::{Lake, LakePath};
use silt::source::ServerVersion;

use super::http_proxy::HttpProxy;
use super::servers::{AZURITE_ACCOUNT, AZURITE_KEY, azurite_at, client, version};
use super::silt::{Settings, Signal, Silt, WAIT_LIMIT, settings};
use super::{unique, variable};

/// The lake is looked at so often, not faster: silt and the servers need the machine too.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// One test's world with a local lake.
pub struct Scene {
    pub client: Client,
    pub database: Database,
    /// Reaches the servers themselves, whatever stands between them and silt.
    pub direct_uri: String,
    /// Reaches Azurite itself, likewise.
    pub direct_lake: String,
    pub folder: tempfile::TempDir,
    /// Where the test finds the local lake, which may be elsewhere than silt does.
    lake: PathBuf,
    pub settings: Settings,
}

impl Scene {
    /// A fresh database on the shared replica set and an empty local lake.
    pub async fn new() -> Self {
        Self::on(&variable("SILT_TEST_MONGODB_URI")).await
    }

    pub async fn on(uri: &str) -> Self {
        let client = client(uri).await;
        let name = unique("db");
        let folder = tempfile::tempdir().unwrap();
        let lake = format!("file://{}", folder.path().join("lake").display());
        let settings = settings([
            ("MONGODB_URI", uri),
            ("MONGODB_DATABASE", &name),
            ("MONGODB_COLLECTIONS", "users"),
            ("LAKE_URL", &lake),
            ("CHECKPOINT_DATABASE", &format!("{name}-meta")),
            // Far away: a test that wants the schedule sets it.
            ("DUMP_SCHEDULE", "0 0 1 1 *"),
            ("RETRY_DELAY_MS", "50"),
        ]);
        Self {
            database: client.database(&name),
            direct_uri: uri.to_owned(),
            direct_lake: String::new(),
            client,
            lake: folder.path().join("lake"),
            folder,
            settings,
        }
    }

    /// The same with this setting.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    /// The same with a lake in Azurite.
    pub fn on_azurite(self) -> Self {
        let endpoint = variable("SILT_TEST_AZURITE");
        self.with_lake_at(&endpoint)
    }

    /// The same with a lake at a Blob endpoint in the style of Azurite.
    pub fn with_lake_at(mut self, endpoint: &str) -> Self {
        self.settings.remove("LAKE_URL");
        endpoint.clone_into(&mut self.direct_lake);
        self.with("AZURE_STORAGE_ACCOUNT_NAME", AZURITE_ACCOUNT)
            .with("AZURE_STORAGE_ACCOUNT_KEY", AZURITE_KEY)
            .with("AZURE_STORAGE_ENDPOINT", endpoint)
            .with("AZURE_ADLS_FILESYSTEM", &unique("scene"))
    }

    /// The same with this proxy between silt and Azurite. No hours are closed: the requests of the feeds are what is
    /// counted, and what meets the faults.
    pub fn behind(mut self, proxy: &HttpProxy) -> Self {
        self.settings = self.settings_behind(proxy);
        self
    }

    /// The settings of one silt that is alone behind this proxy.
    pub fn settings_behind(&self, proxy: &HttpProxy) -> Settings {
        let mut settings = self.settings.clone();
        settings.insert("AZURE_STORAGE_ENDPOINT".to_owned(), proxy.endpoint());
        settings.insert("CLOSE_HOURS".to_owned(), "off".to_owned());
        settings
    }

    pub fn filesystem(&self) -> &str {
        &self.settings["AZURE_ADLS_FILESYSTEM"]
    }

    pub fn azurite(&self) -> AzureLake {
        azurite_at(&self.direct_lake, self.filesystem(), "")
    }

    /// The scene's lake, past every proxy.
    pub fn any_lake(&self) -> Box<dyn Lake> {
        if self.settings.contains_key("LAKE_URL") {
            Box::new(LocalLake::new(self.lake()))
        } else {
            Box::new(self.azurite())
        }
    }

    /// The changes of a collection in Azurite, in order.
    pub async fn archived_on_azurite(&self, collection: &str) -> Vec<Value> {
        let contents = self.contents_on_azurite(collection).await;
        let changes = |(name, bytes): &(String, Vec<u8>)| changes_in(name, bytes).unwrap();
        contents.iter().flat_map(changes).collect()
    }

    async fn contents_on_azurite(&self, collection: &str) -> Vec<(String, Vec<u8>)> {
        let lake = self.azurite();
        let mut files = lake.list(collection).await.unwrap();
        files.sort_by_key(|file| age(&file.path.name));
        let mut contents = Vec::new();
        for file in files {
            let path = LakePath {
                folder: collection.to_owned(),
                name: file.path.name.clone(),
            };
            // Azurite may list what has blocks and was never committed.
            let Some(object) = lake.get(&path).await.unwrap() else {
                continue;
            };
            contents.push((file.path.name, object.bytes));
        }
        contents
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.to_owned());
    }

    /// The version of the scene's servers.
    pub async fn version(&self) -> ServerVersion {
        version(&self.client).await
    }

    /// Whether the scene's servers keep post-images.
    pub async fn keeps_images(&self) -> bool {
        self.version().await >= ServerVersion::new(6, 0, 0)
    }

    pub fn users(&self) -> Collection<Document> {
        self.database.collection("users")
    }

    pub fn checkpoints(&self) -> Collection<Document> {
        let name = &self.settings["CHECKPOINT_DATABASE"];
        self.client.database(name).collection("change_stream_state")
    }

    pub async fn checkpoint(&self) -> Option<Document> {
        let id = format!("{}.users", self.database.name());
        self.checkpoints()
            .find_one(doc! { "_id": id })
            .await
            .unwrap()
    }

    /// The last change of the collection that the checkpoint in MongoDB knows of.
    pub async fn last_change(&self) -> Document {
        let checkpoint = self.checkpoint().await.unwrap();
        let watermarks = checkpoint.get_document("collections").unwrap();
        let watermark = watermarks.get_document(self.watermark_name()).unwrap();
        watermark.get_document("last_change").unwrap().clone()
    }

    /// The field of the collection's watermark.
    pub fn watermark_name(&self) -> String {
        format!("{}:users", self.database.name())
    }

    /// The length of a collection's files in Azurite.
    pub async fn len_on_azurite(&self, collection: &str) -> u64 {
        let files = self.azurite().list(collection).await.unwrap();
        files.iter().map(|file| file.len_bytes).sum()
    }

    /// The checkpoint that is kept in Azurite.
    pub async fn checkpoint_on_azurite(&self) -> Option<Value> {
        let path = LakePath {
            folder: "_silt/checkpoints".to_owned(),
            name: format!("{}.users.json", self.database.name()),
        };
        let object = self.azurite().get(&path).await.unwrap()?;
        Some(serde_json::from_slice(&object.bytes).unwrap())
    }

    /// The last change that the checkpoint in Azurite knows of.
    pub async fn checkpointed_on_azurite(&self) -> Option<String> {
        let checkpoint = self.checkpoint_on_azurite().await?;
        let watermark = checkpoint["collections"].as_object()?.values().next()?;
        let token = watermark["last_change"]["token"]["_data"].as_str();
        token.map(str::to_owned)
    }

    /// Flushes until the checkpoint in Azurite knows of all that the lake holds.
    pub async fn save_until_all_is_known(&self, silt: &mut Silt) {
        loop {
            let archived = self.archived_on_azurite("users").await;
            if self.checkpointed_on_azurite().await == archived.last().map(token) {
                return;
            }
            silt.signal(Signal::USR1);
            silt.wait_for("flushing all collections on SIGUSR1");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    pub fn lake(&self) -> PathBuf {
        self.lake.clone()
    }

    /// The same with a local lake in another folder, which the test finds by another path.
    pub fn with_lake_in(mut self, folder: &Path, seen: &Path) -> Self {
        self.lake = seen.join("lake");
        self.with("LAKE_URL", &format!("file://{}/lake", folder.display()))
    }

    /// A stream of the test's own over a collection, from now on.
    pub async fn witness(&self, collection: &str) -> Witness {
        let collection: Collection<Document> = self.database.collection(collection);
        let watch = collection
            .watch()
            .full_document(mongodb::options::FullDocumentType::UpdateLookup);
        let stream = watch
            .max_await_time(Duration::from_millis(200))
            .await
            .unwrap();
        Witness {
            stream: stream.with_type(),
            seen: Vec::new(),
        }
    }

    /// Flushes until so many changes of a collection are in the lake.
    pub async fn flush_until(&self, silt: &mut Silt, collection: &str, count: usize) {
        let has_them = |changes: &[Value]| changes.len() >= count;
        self.flush_until_it(silt, collection, has_them).await;
    }

    /// Flushes until the changes of a collection in the lake are as they should be.
    pub async fn flush_until_it(
        &self,
        silt: &mut Silt,
        collection: &str,
        is_it: impl Fn(&[Value]) -> bool,
    ) {
        let begun = std::time::Instant::now();
        while !is_it(&self.archived_anywhere(collection).await) {
            assert!(
                begun.elapsed() < WAIT_LIMIT,
                "not all is flushed; the log:\n{}",
                silt.text()
            );
            silt.signal(Signal::USR1);
            silt.wait_for("flushing all collections on SIGUSR1");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// The changes of a collection in the scene's lake, in order.
    pub async fn archived_anywhere(&self, collection: &str) -> Vec<Value> {
        match self.settings.get("LAKE_URL") {
            Some(_) => self.archived(collection),
            None => self.archived_on_azurite(collection).await,
        }
    }

    /// The hour files of a collection in the scene's lake, in order: names and bytes.
    pub async fn contents(&self, collection: &str) -> Vec<(String, Vec<u8>)> {
        if !self.settings.contains_key("LAKE_URL") {
            return self.contents_on_azurite(collection).await;
        }
        let files = self.files(collection);
        files
            .iter()
            .map(|path| (name_of(path), std::fs::read(path).unwrap()))
            .collect()
    }

    /// The collection's hour files in order.
    pub fn files(&self, collection: &str) -> Vec<PathBuf> {
        hour_files(&self.lake().join(collection))
    }

    /// The changes of a collection in the lake, in order.
    pub fn archived(&self, collection: &str) -> Vec<Value> {
        self.files(collection)
            .iter()
            .flat_map(|path| changes_of(path))
            .collect()
    }
}

/// Orders hour files: by hour, then by part, of which the tenth comes behind the ninth.
pub fn age(name: &str) -> (String, u32) {
    let (hour, rest) = name.split_once('.').unwrap();
    let part = rest.strip_prefix("part").map_or(1, |rest| {
        let (part, _) = rest.split_once('.').unwrap();
        part.parse().unwrap()
    });
    (hour.to_owned(), part)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// The visible files of a folder, in order.
pub fn hour_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && !name_of(path).starts_with('.'))
        .collect();
    paths.sort_by_key(|path| age(&name_of(path)));
    paths
}

/// The changes of a file; panics unless it is valid and of one hour.
pub fn changes_of(path: &Path) -> Vec<Value> {
    let bytes = std::fs::read(path).unwrap();
    changes_in(&name_of(path), &bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of a file's bytes, whatever its format.
pub fn lines_in(name: &str, bytes: &[u8]) -> Result<Vec<Value>, String> {
    let mut text = String::new();
    if name.ends_with(".gz") {
        let mut decoder = flate2::read::MultiGzDecoder::new(bytes);
        decoder
            .read_to_string(&mut text)
            .map_err(|error| error.to_string())?;
    } else {
        text = String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string())?;
    }
    let lines: Vec<Value> = if name.contains(".ndjson") {
        let lines = text
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>();
        lines.map_err(|error| error.to_string())?
    } else {
        let document: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let changes = document["changes"].as_array().ok_or("no changes")?.clone();
        if document["metadata"]["count"] != changes.len() {
            return Err(format!(
                "{} of {} changes",
                document["metadata"]["count"],
                changes.len()
            ));
        }
        changes
    };
    Ok(lines)
}

/// The changes of a file's bytes.
pub fn changes_in(name: &str, bytes: &[u8]) -> Result<Vec<Value>, String> {
    let lines = lines_in(name, bytes)?;
    for line in &lines {
        let seconds = line["change"]["clusterTime"]["$timestamp"]["t"]
            .as_i64()
            .ok_or("no time")?;
        let time = chrono::DateTime::from_timestamp(seconds, 0).ok_or("no time")?;
        if !name.starts_with(&time.format("%Y-%m-%d-%H").to_string()) {
            return Err(format!("a change of {time} in {name}"));
        }
    }
    Ok(lines
        .into_iter()
        .map(|mut line| line["change"].take())
        .collect())
}

/// The token of a change.
pub fn token(change: &Value) -> String {
    change["_id"]["_data"].as_str().unwrap().to_owned()
}

pub fn tokens(changes: &[Value]) -> Vec<String> {
    changes.iter().map(token).collect()
}

/// A second stream over the same collection.
pub struct Witness {
    stream: ChangeStream<RawDocumentBuf>,
    seen: Vec<RawDocumentBuf>,
}

impl Witness {
    /// Reads on until so many changes were seen since the beginning.
    pub async fn see(&mut self, count: usize) -> &[RawDocumentBuf] {
        while self.seen.len() < count {
            match self.stream.next_if_any().await.unwrap() {
                Some(change) => self.seen.push(change),
                None => assert!(self.stream.is_alive(), "the witness' stream ended"),
            }
        }
        &self.seen
    }

    pub async fn tokens(&mut self, count: usize) -> Vec<String> {
        let seen = self.see(count).await;
        seen.iter()
            .map(|change| {
                change
                    .get_document("_id")
                    .unwrap()
                    .get_str("_data")
                    .unwrap()
                    .to_owned()
            })
            .collect()
    }
}

/// A change as the bson crate writes it in canonical Extended JSON.
pub fn canonical(change: &RawDocumentBuf) -> Value {
    let document: Document = change.try_into().unwrap();
    Bson::Document(document).into_canonical_extjson()
}

/// Inserts documents with these numbers, one by one, so that each is a change of its own time.
pub async fn insert(collection: &Collection<Document>, numbers: std::ops::Range<i32>) {
    for number in numbers {
        collection
            .insert_one(doc! { "number": number, "text": "a value" })
            .await
            .unwrap();
    }
}
