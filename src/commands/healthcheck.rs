//! `silt healthcheck`: how the running instance is.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::Value;

use super::{Report, client};

/// silt answers at once or is stuck.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Asks whether the instance is ready, or only whether it lives.
pub async fn run(address: SocketAddr, live_only: bool) -> Report {
    let (path, good) = if live_only {
        ("/livez", "alive")
    } else {
        ("/readyz", "ready")
    };
    match client::ask(address, None, Method::GET, path, ANSWER_LIMIT).await {
        Ok((StatusCode::OK, _)) => Report {
            text: good.to_owned(),
            is_good: true,
        },
        Ok((status, body)) => Report {
            text: format!("not {good} ({}){}", status.as_u16(), reasons(&body)),
            is_good: false,
        },
        Err(error) => Report {
            text: error.to_string(),
            is_good: false,
        },
    }
}

/// A line for each collection that isn't as it should be, or what else was answered.
fn reasons(body: &str) -> String {
    let answer: Value = serde_json::from_str(body).unwrap_or_default();
    let Some(feeds) = answer["not_ready"]
        .as_array()
        .or(answer["stuck"].as_array())
    else {
        return String::new();
    };
    let line = |feed: &Value| {
        let part = |name| feed[name].as_str().unwrap_or("?");
        let (database, collection, why) = (part("database"), part("collection"), part("why"));
        format!("\n  {database}.{collection}: {why}")
    };
    feeds.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_stand_on_lines_of_their_own() {
        let body = r#"{"not_ready":[{"database":"mydb","collection":"users","why":"halted: no"}]}"#;
        assert_eq!(reasons(body), "\n  mydb.users: halted: no");
        assert_eq!(reasons("<html>"), "");
    }
}
