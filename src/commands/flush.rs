//! `silt flush`: the running instance flushes now.

use std::time::Duration;

use hyper::Method;
use serde_json::Value;
use url::form_urlencoded;

use super::{Report, client};
use crate::http::FLUSH_LIMIT;
use crate::settings::InstanceSettings;

/// The instance says so itself before that.
const ANSWER_LIMIT: Duration = FLUSH_LIMIT.saturating_add(Duration::from_secs(5));

/// Flushes these collections, or all if there are none, and waits until the lake has what was read.
pub async fn run(instance: &InstanceSettings, collections: &[String]) -> Report {
    let Some(token) = &instance.token else {
        return Report {
            text:
                "HTTP_TOKEN isn't set: set it for the running silt and for this command. A signal \
                   does it too: kill -USR1"
                    .to_owned(),
            is_good: false,
        };
    };
    let (address, target) = (instance.address, target(collections));
    let answer = client::ask(address, Some(token), Method::POST, &target, ANSWER_LIMIT);
    match answer.await {
        Ok((status, body)) => Report {
            text: lines(&body).unwrap_or_else(|| format!("silt answered {status}: {body}")),
            is_good: status.is_success(),
        },
        Err(error) => Report {
            text: error.to_string(),
            is_good: false,
        },
    }
}

fn target(collections: &[String]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for collection in collections {
        query.append_pair("collection", collection);
    }
    format!("/flush?{}", query.finish())
}

/// What was answered, for people.
fn lines(body: &str) -> Option<String> {
    let answer: Value = serde_json::from_str(body).ok()?;
    if let Some(error) = answer["error"].as_str() {
        return Some(error.to_owned());
    }
    let lines = answer["collections"].as_array()?.iter().map(|one| {
        let part = |name: &str| one[name].as_str().unwrap_or("?");
        let (database, collection) = (part("database"), part("collection"));
        match (one["done"].as_bool(), one["changes"].as_u64()) {
            (Some(true), Some(0)) => format!("{database}.{collection}: nothing waited"),
            (Some(true), Some(changes)) => {
                format!("{database}.{collection}: {changes} changes are in the lake")
            }
            _ => format!("{database}.{collection}: not flushed: {}", part("why")),
        }
    });
    Some(lines.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_in_the_target() {
        assert_eq!(target(&[]), "/flush?");
        assert_eq!(
            target(&["a&b".to_owned(), "é".to_owned()]),
            "/flush?collection=a%26b&collection=%C3%A9"
        );
    }

    #[test]
    fn answers_become_lines() {
        let body = r#"{"flushed":false,"collections":[
            {"database":"d","collection":"a","changes":0,"done":true},
            {"database":"d","collection":"b","changes":7,"done":true},
            {"database":"d","collection":"c","changes":9,"done":false,"why":"halted"}]}"#;
        assert_eq!(
            lines(body).unwrap(),
            "d.a: nothing waited\nd.b: 7 changes are in the lake\nd.c: not flushed: halted"
        );
        assert_eq!(lines(r#"{"error":"no"}"#).unwrap(), "no");
        assert_eq!(lines("<html>"), None);
    }
}
