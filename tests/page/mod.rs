//! The page, in a real browser, before a real silt: what it shows as things happen, and what it asks for.

mod flush;
mod looks;
mod pictures;
mod shows;

use serde_json::Value;

use crate::harness::asks::address;
use crate::harness::browser::Browser;
use crate::harness::scene::Scene;
use crate::harness::silt::{Settings, Silt};

/// A silt, and a browser that has its page open.
struct Visit {
    silt: Silt,
    browser: Browser,
    /// Where silt answers.
    address: String,
}

/// A scene whose silt answers over HTTP.
async fn scene(collections: &str) -> Scene {
    Scene::new()
        .await
        .with("HTTP_ADDR", "127.0.0.1:0")
        .with("MONGODB_COLLECTIONS", collections)
}

impl Visit {
    fn to(settings: &Settings) -> Self {
        let mut silt = Silt::start(settings);
        let address = address(&mut silt);
        let mut browser = Browser::start();
        browser.open(&format!("http://{address}/"));
        Self {
            silt,
            browser,
            address,
        }
    }

    fn wait_for_headline(&mut self, text: &str) {
        self.browser.wait_for(&format!("{HEADLINE} === {text:?}"));
    }

    /// Nothing was asked of anybody else, nothing was against the policy, and nothing went wrong, but
    /// for requests that were to fail.
    fn assert_is_clean(&self, failed_requests: &[&str]) {
        let base = format!("http://{}/", self.address);
        for event in self.browser.events("Network.requestWillBeSent") {
            let url = event["request"]["url"].as_str().unwrap();
            assert!(url.starts_with(&base) || url.starts_with("data:"), "{url}");
        }
        for event in self.browser.events("Log.entryAdded") {
            let entry = &event["entry"];
            let path = entry["url"].as_str().unwrap_or("").strip_prefix(&base);
            let path = path.map(|path| path.split('?').next().unwrap());
            let is_expected = entry["source"] == "network"
                && path.is_some_and(|path| failed_requests.contains(&path));
            assert!(is_expected, "{entry}");
        }
        for name in [
            "Audits.issueAdded",
            "Page.javascriptDialogOpening",
            "Runtime.consoleAPICalled",
            "Runtime.exceptionThrown",
        ] {
            assert_eq!(self.browser.events(name), [Value::Null; 0], "{name}");
        }
    }
}

/// What the page says of silt as a whole.
const HEADLINE: &str = "document.getElementById('headline').textContent";

/// The part of a collection's row that fits a selector, as an expression.
fn part(collection: &str, selector: &str) -> String {
    format!(
        "[...document.querySelectorAll('.row')]
            .find(row => row.querySelector('.collection').textContent === {collection:?})
            ?.querySelector({selector:?})"
    )
}

/// The text of such a part.
fn text(collection: &str, selector: &str) -> String {
    format!("({}?.textContent ?? '')", part(collection, selector))
}
