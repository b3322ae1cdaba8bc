//! Collections full of orders, written before anything is measured.

use std::time::Duration;

use bson::Timestamp;
use mongodb::{Client, Database};

use crate::documents::order;
use crate::harness::ledger::operation_time;
use crate::harness::scene::Scene;
use crate::harness::silt::{Signal, Silt};
use crate::harness::unique;

/// The default of `BATCH_SIZE`: fewer changes wait for something else to flush them.
const BATCH_CHANGES: u64 = 1000;
const INSERTED_AT_ONCE: u32 = 1000;

/// Collections whose changes lie in the oplog.
pub struct Load {
    pub client: Client,
    pub database: Database,
    pub uri: String,
    pub collections: Vec<String>,
    /// In each collection.
    pub changes: u32,
    /// Before the first change, to the second.
    begun_at: Timestamp,
}

impl Load {
    pub async fn write(collections: u32, changes: u32) -> Self {
        let uri = crate::harness::variable("SILT_TEST_MONGODB_URI");
        let client = Client::with_uri_str(&uri).await.unwrap();
        let database = client.database(&unique("goals"));
        let collections: Vec<String> = (0..collections).map(|it| format!("orders{it}")).collect();
        for name in &collections {
            database.create_collection(name).await.unwrap();
        }
        // START_AT is told in whole seconds: the load begins with the next one.
        let before = operation_time(&client).await;
        let mut begun_at = before;
        while begun_at.time == before.time {
            tokio::time::sleep(Duration::from_millis(20)).await;
            begun_at = operation_time(&client).await;
        }
        begun_at.increment = 0;
        for first in (0..changes).step_by(INSERTED_AT_ONCE as usize) {
            for name in &collections {
                let last = changes.min(first + INSERTED_AT_ONCE);
                let orders = (first..last).map(order);
                let target = database.collection::<bson::Document>(name);
                target.insert_many(orders).ordered(false).await.unwrap();
            }
        }
        Self {
            client,
            database,
            uri,
            collections,
            changes,
            begun_at,
        }
    }

    pub fn begun_at(&self) -> Timestamp {
        self.begun_at
    }

    /// A silt that is to archive all of it into a fresh local lake.
    pub async fn scene(&self) -> Scene {
        let time = chrono::DateTime::from_timestamp(i64::from(self.begun_at.time), 0).unwrap();
        let start_at = time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        as_asked(Scene::new().await)
            .with("MONGODB_DATABASE", self.database.name())
            .with("MONGODB_COLLECTIONS", &self.collections.join(","))
            .with("START_AT", &start_at)
    }
}

/// A scene with the settings that were given as `NAME=VALUE`.
pub fn as_asked(mut scene: Scene) -> Scene {
    for word in std::env::args() {
        if let Some((name, value)) = word.split_once('=') {
            scene.set(name, value);
        }
    }
    scene
}

/// What a silt's log says that the lake has of a load.
#[derive(Default)]
pub struct Archived {
    lines: usize,
    changes: u64,
}

impl Archived {
    /// Whether that is all. What is left of less than a batch of each collection is asked for.
    pub fn is_all(&mut self, silt: &mut Silt, load: &Load) -> bool {
        silt.hear();
        for line in &silt.log[self.lines..] {
            if line["message"] == "flushed" {
                self.changes += line["changes"].as_u64().unwrap();
            }
        }
        self.lines = silt.log.len();
        let collections = load.collections.len() as u64;
        let all = collections * u64::from(load.changes);
        if self.changes < all && self.changes + collections * BATCH_CHANGES > all {
            silt.signal(Signal::USR1);
        }
        self.changes == all
    }
}
