//! A replica set of three real mongods, whose members can be stopped, frozen, killed and started again.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout};
use std::time::{Duration, Instant};

use bson::{Document, doc};
use mongodb::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::servers::launcher;
use super::silt::WAIT_LIMIT;

/// With these a client notices in a second or two that a server doesn't answer.
pub const QUICK: &str =
    "connectTimeoutMS=500&heartbeatFrequencyMS=500&serverSelectionTimeoutMS=2000";
/// Nobody waits longer for an answer of one member.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The servers. They end when it is dropped.
pub struct ReplicaSet {
    launcher: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    uri: String,
    members: Vec<Member>,
}

/// One of them.
struct Member {
    pid: i32,
    client: Client,
}

impl ReplicaSet {
    pub async fn start() -> Self {
        let mut launcher = launcher("mongod").args(["--members", "3"]).spawn().unwrap();
        let mut answers = BufReader::new(launcher.stdout.take().unwrap());
        let facts = facts(&mut answers);
        let mut members = Vec::new();
        for (port, pid) in numbers(&facts["ports"]).zip(numbers(&facts["pids"])) {
            let uri = format!("mongodb://127.0.0.1:{port}/?directConnection=true&{QUICK}");
            let client = Client::with_uri_str(uri).await.unwrap();
            members.push(Member {
                pid: pid as i32,
                client,
            });
        }
        Self {
            orders: launcher.stdin.take(),
            launcher,
            answers,
            uri: format!("{}&{QUICK}", facts["uri"].as_str().unwrap()),
            members,
        }
    }

    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The member that takes writes; waits until there is one.
    pub async fn primary(&self) -> usize {
        self.primary_but(None).await
    }

    /// Another primary than this member; waits until there is one.
    pub async fn next_primary(&self, old: usize) -> usize {
        self.primary_but(Some(old)).await
    }

    async fn primary_but(&self, old: Option<usize>) -> usize {
        let begun = Instant::now();
        loop {
            for number in (0..self.members.len()).filter(|number| Some(*number) != old) {
                if self.says(number, "isWritablePrimary").await {
                    return number;
                }
            }
            wait_since(begun, "a primary").await;
        }
    }

    /// Waits until every member is a primary or a secondary.
    pub async fn all_well(&self) {
        let begun = Instant::now();
        for number in 0..self.members.len() {
            while !self.says(number, "isWritablePrimary").await
                && !self.says(number, "secondary").await
            {
                wait_since(begun, "a member").await;
            }
        }
        self.primary().await;
    }

    async fn says(&self, member: usize, field: &str) -> bool {
        let hello = self.ask(member, doc! { "hello": 1 }).await;
        hello.is_some_and(|hello| hello.get_bool(field).unwrap_or(false))
    }

    async fn ask(&self, member: usize, command: Document) -> Option<Document> {
        let admin = self.members[member].client.database("admin");
        let answer = admin.run_command(command).into_future();
        tokio::time::timeout(ANSWER_LIMIT, answer).await.ok()?.ok()
    }

    /// Makes the primary hand over.
    pub async fn step_down(&self) {
        let primary = self.primary().await;
        let admin = self.members[primary].client.database("admin");
        let command = doc! { "replSetStepDown": 3, "secondaryCatchUpPeriodSecs": 2, "force": true };
        admin.run_command(command).await.unwrap();
    }

    /// Ends a member as a power cut does.
    pub fn kill(&self, member: usize) {
        self.signal(member, Signal::KILL);
    }

    /// Starts a killed member again, with its data.
    pub fn restart(&mut self, member: usize) {
        writeln!(self.orders.as_mut().unwrap(), "start {member}").unwrap();
        let facts = facts(&mut self.answers);
        self.members[member].pid = numbers(&facts["pids"]).nth(member).unwrap() as i32;
    }

    /// Stops a member's clock: its connections stay open, and it answers nothing.
    pub fn freeze(&self, member: usize) {
        self.signal(member, Signal::STOP);
    }

    pub fn thaw(&self, member: usize) {
        self.signal(member, Signal::CONT);
    }

    fn signal(&self, member: usize, signal: Signal) {
        let pid = Pid::from_raw(self.members[member].pid).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for ReplicaSet {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.launcher.wait();
    }
}

async fn wait_since(begun: Instant, what: &str) {
    assert!(begun.elapsed() < WAIT_LIMIT, "waited in vain for {what}");
    tokio::time::sleep(LOOK_AGAIN).await;
}

fn facts(answers: &mut impl BufRead) -> Value {
    let mut line = String::new();
    answers.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|_| panic!("the servers say {line:?}"))
}

fn numbers(list: &Value) -> impl Iterator<Item = i64> {
    list.as_array().unwrap().iter().flat_map(Value::as_i64)
}
