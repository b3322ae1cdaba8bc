//! What the tests stand on: servers, lakes, changes.

pub mod asks;
pub mod browser;
pub mod changes;
pub mod checkpoint_watch;
pub mod fail_point;
pub mod folder;
pub mod hours;
pub mod http;
pub mod http_proxy;
pub mod lake_view;
pub mod ledger;
pub mod replica_set;
pub mod rounds;
pub mod scene;
pub mod servers;
pub mod silt;
pub mod streams;
pub mod tcp_proxy;

use std::sync::atomic::{AtomicU32, Ordering};

/// A name that no other test uses, in this run or one beside it.
pub fn unique(prefix: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{}-{number}", std::process::id())
}

/// A setting of the test run.
pub fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run the tests by `make test`"))
}

/// Plays scenes beside each other, each on threads of its own: a scene holds its thread while it waits
/// for its silt. Fails if one fails, and says which.
pub fn at_once<C: Send + std::fmt::Debug>(
    cases: impl IntoIterator<Item = C>,
    play: impl AsyncFn(C) + Sync,
) {
    let cases: Vec<C> = cases.into_iter().collect();
    let width = cases.len();
    rounds::at_once(cases.into_iter(), width, async |case| {
        let _failing = Named(format!("{case:?}"));
        play(case).await;
    });
}

/// Says a case's name if it fails.
struct Named(String);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it was the case {}", self.0);
        }
    }
}

/// Runs a program of Python with the packages that users have. Returns what it printed.
pub fn python(script: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(variable("SILT_TEST_PYTHON"))
        .arg("-c")
        .arg(script)
        .args(arguments)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}
