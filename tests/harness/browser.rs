//! A headless Chromium, spoken to by the DevTools protocol.
//!
//! The protocol goes over a pair of pipes, messages of JSON with a NUL behind each. What a page asks for,
//! logs and throws is written down, so that a test can look at all of it in the end.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

use super::silt::WAIT_LIMIT;
use super::variable;

/// A browser with one page. It ends when it is dropped.
pub struct Browser {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<Value>,
    events: Arc<Mutex<Vec<Value>>>,
    session: Option<String>,
    last_id: u64,
    /// Its profile.
    _folder: tempfile::TempDir,
}

/// The page's sizes, as a person has them in front of them.
pub const DESKTOP: (u32, u32) = (1200, 1000);
pub const PHONE: (u32, u32) = (360, 1400);

impl Browser {
    /// Starts a browser with an empty page.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The browser has the pipes as its files 3 and 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh"])
            .arg(variable("SILT_TEST_CHROMIUM"))
            .args(["--headless", "--remote-debugging-pipe"])
            // The one page that it sees is silt's. The sandbox needs rights that a test may not have.
            .args(["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking"])
            .args(["--force-color-profile=srgb", "--lang=en-GB"])
            .arg(format!("--user-data-dir={}", folder.path().display()))
            .arg("about:blank")
            // So that its helpers end with it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let events = Arc::new(Mutex::new(Vec::new()));
        let (sender, answers) = channel();
        let pipe = BufReader::new(child.stdout.take().unwrap());
        let heard = Arc::clone(&events);
        std::thread::spawn(move || {
            for message in pipe.split(0).map_while(Result::ok) {
                let message: Value = serde_json::from_slice(&message).unwrap();
                if message["id"].is_null() {
                    heard.lock().unwrap().push(message);
                } else if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            requests: child.stdin.take().unwrap(),
            child,
            answers,
            events,
            session: None,
            last_id: 0,
            _folder: folder,
        };
        browser.attach();
        browser
    }

    fn attach(&mut self) {
        let target = self.call("Target.createTarget", json!({ "url": "about:blank" }));
        let target = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.call("Target.attachToTarget", target);
        self.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network", "Audits"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
        self.show_as(DESKTOP, "light");
    }

    /// Performs a command of the protocol.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        let answer = self.ask(method, parameters, WAIT_LIMIT);
        answer.unwrap_or_else(|| panic!("the browser does not answer {method}"))
    }

    fn ask(&mut self, method: &str, parameters: Value, limit: Duration) -> Option<Value> {
        self.last_id += 1;
        let mut request = json!({ "id": self.last_id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&request).unwrap();
        bytes.push(0);
        self.requests.write_all(&bytes).unwrap();
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut answer = match self.answers.recv_timeout(left) {
                Ok(answer) => answer,
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => panic!("the browser ended at {method}"),
            };
            // Another one is late: of something that wasn't waited for to its end.
            if answer["id"] == self.last_id {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return Some(answer["result"].take());
            }
        }
    }

    /// Opens a page and waits until it is there.
    pub fn open(&mut self, url: &str) {
        let answer = self.call("Page.navigate", json!({ "url": url }));
        assert!(answer["errorText"].is_null(), "{url}: {answer}");
        self.wait_for("document.readyState === 'complete'");
    }

    /// The value of an expression in the page. A promise is awaited.
    pub fn value(&mut self, expression: &str) -> Value {
        let answer = self.evaluate(expression, WAIT_LIMIT);
        answer.unwrap_or_else(|| panic!("no value of {expression}"))
    }

    fn evaluate(&mut self, expression: &str, limit: Duration) -> Option<Value> {
        let parameters = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
        });
        let mut answer = self.ask("Runtime.evaluate", parameters, limit)?;
        let thrown = &answer["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}: {thrown}");
        Some(answer["result"]["value"].take())
    }

    /// Waits until an expression is true of the page, which is looked at when it changes. Its value.
    pub fn wait_for(&mut self, expression: &str) -> Value {
        let observed = format!(
            "new Promise(resolve => {{
                const observer = new MutationObserver(look);
                function look() {{
                    const value = ({expression});
                    if (value) {{ observer.disconnect(); resolve(value); }}
                }}
                observer.observe(document, {{
                    subtree: true, childList: true, characterData: true, attributes: true,
                }});
                document.addEventListener('readystatechange', look);
                look();
            }})"
        );
        match self.evaluate(&observed, WAIT_LIMIT) {
            Some(value) => value,
            None => {
                let shown = self
                    .value("document.body.innerText + '\\n' + document.activeElement.outerHTML");
                panic!(
                    "the page never has {expression}; it shows:\n{}",
                    shown.as_str().unwrap()
                )
            }
        }
    }

    /// Shows the page in this size and colour scheme.
    pub fn show_as(&mut self, (width, height): (u32, u32), scheme: &str) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.call("Emulation.setDeviceMetricsOverride", size);
        self.call("Emulation.setScrollbarsHidden", json!({ "hidden": true }));
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", scheme);
        // Laid out and painted anew.
        self.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))");
    }

    /// Writes what is seen of the page to a PNG.
    pub fn photograph(&mut self, path: &Path) {
        let image = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let engine = base64::engine::general_purpose::STANDARD;
        std::fs::write(
            path,
            engine.decode(image["data"].as_str().unwrap()).unwrap(),
        )
        .unwrap();
    }

    /// The events with this name so far: their parameters.
    pub fn events(&self, name: &str) -> Vec<Value> {
        let events = self.events.lock().unwrap();
        let named = events.iter().filter(|event| event["method"] == name);
        named.map(|event| event["params"].clone()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}
