//! mongod's own fault: a command that waits before it is done, or before it fails.

use bson::{Document, doc};
use mongodb::Client;

/// `failCommand` of a mongod, which has just one: the server must be the test's own.
pub struct FailPoint {
    client: Client,
    entered: i64,
}

impl FailPoint {
    /// Lets the next such command on a collection (`database.collection`) wait so long. Then it is
    /// done, or it fails with this code. Its sender may be gone by then.
    pub async fn delay(
        client: &Client,
        command: &str,
        namespace: &str,
        delay_ms: u32,
        code: Option<i32>,
    ) -> Self {
        let mut data = doc! {
            "failCommands": [command],
            "namespace": namespace,
            "blockConnection": true,
            "blockTimeMS": delay_ms,
        };
        if let Some(code) = code {
            data.insert("errorCode", code);
        }
        let order =
            doc! { "configureFailPoint": "failCommand", "mode": { "times": 1 }, "data": data };
        let reply = run(client, order).await;
        let count = reply.get("count").unwrap();
        let before = count.as_i64().or(count.as_i32().map(i64::from)).unwrap();
        Self {
            client: client.clone(),
            entered: before + 1,
        }
    }

    /// Waits until the command has come and is delayed.
    pub async fn reached(&self) {
        let order = doc! {
            "waitForFailPoint": "failCommand", "timesEntered": self.entered, "maxTimeMS": 90_000,
        };
        run(&self.client, order).await;
    }
}

async fn run(client: &Client, order: Document) -> Document {
    client.database("admin").run_command(order).await.unwrap()
}
