//! `failCommand`: a real server refuses one client's commands, and says how often it did.

use bson::{Bson, Document, doc};
use mongodb::Client;

use super::silt::WAIT_LIMIT;

/// A server that refuses commands. It has one failpoint of this kind, for all its clients.
pub struct FailPoint {
    client: Client,
    /// How often it had struck before it was armed.
    before: i64,
}

/// How often it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strikes {
    Times(i32),
    Always,
}

impl FailPoint {
    /// Lets the commands of the client with this name fail: `failure` is of the failpoint's own words.
    pub async fn arm(
        client: &Client,
        app_name: &str,
        commands: &[&str],
        strikes: Strikes,
        failure: &Document,
    ) -> Self {
        let mut data = doc! { "failCommands": commands, "appName": app_name };
        data.extend(failure.clone());
        let mode = match strikes {
            Strikes::Times(times) => Bson::Document(doc! { "times": times }),
            Strikes::Always => "alwaysOn".into(),
        };
        let before = configure(client, doc! { "mode": mode, "data": data }).await;
        Self {
            client: client.clone(),
            before,
        }
    }

    /// Waits until it has struck so many times.
    pub async fn struck(&self, times: i64) {
        let wait = doc! {
            "waitForFailPoint": "failCommand",
            "timesEntered": self.before + times,
            "maxTimeMS": WAIT_LIMIT.as_millis() as i64,
        };
        self.client
            .database("admin")
            .run_command(wait)
            .await
            .unwrap();
    }

    pub async fn disarm(&self) {
        configure(&self.client, doc! { "mode": "off" }).await;
    }
}

/// Returns how often it has struck.
async fn configure(client: &Client, how: Document) -> i64 {
    let mut command = doc! { "configureFailPoint": "failCommand" };
    command.extend(how);
    let answer = client.database("admin").run_command(command).await.unwrap();
    let count = answer.get("count").unwrap();
    count.as_i64().or(count.as_i32().map(i64::from)).unwrap()
}
