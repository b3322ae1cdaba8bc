//! The real binary as a child process, and its log.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

pub use rustix::process::{Pid, Signal};

/// Nothing that a test waits for takes longer, on the slowest machine.
pub const WAIT_LIMIT: Duration = Duration::from_secs(90);

/// Settings by name.
pub type Settings = BTreeMap<String, String>;

/// Whether a log line is about a collection: the field has the database in front.
pub fn is_of(line: &Value, collection: &str) -> bool {
    let logged = line["collection"].as_str().unwrap_or_default();
    let name = logged.split_once('.').map(|(_, name)| name);
    logged == collection || name == Some(collection)
}

pub fn settings<const N: usize>(pairs: [(&str, &str); N]) -> Settings {
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// A running silt.
pub struct Silt {
    child: Child,
    lines: Receiver<String>,
    /// The log so far.
    pub log: Vec<Value>,
    pub searched: usize,
}

impl Silt {
    /// Starts silt with these settings alone.
    pub fn start(settings: &Settings) -> Self {
        Self::spawn(command(settings), Stdio::null())
    }

    /// Starts silt with these arguments, and with its output there.
    pub fn with_output(settings: &Settings, arguments: &[&str], output: impl Into<Stdio>) -> Self {
        let mut command = command(settings);
        command.args(arguments);
        Self::spawn(command, output.into())
    }

    /// The output, if it goes into a pipe.
    pub fn output(&mut self) -> ChildStdout {
        self.child.stdout.take().unwrap()
    }

    /// Starts silt with less than a process has otherwise; see `confined.py`.
    pub fn confined(confinement: &[String], settings: &Settings) -> Self {
        Self::spawn(confined(confinement, settings), Stdio::null())
    }

    /// Starts silt as nohup does: with SIGHUP ignored.
    pub fn under_nohup(settings: &Settings) -> Self {
        let mut nohup = Command::new("nohup");
        nohup.arg(env!("CARGO_BIN_EXE_silt"));
        Self::spawn(around(nohup, settings), Stdio::null())
    }

    fn spawn(mut command: Command, output: Stdio) -> Self {
        let mut child = command
            .env("LOG_FORMAT", "json")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            lines,
            log: Vec::new(),
            searched: 0,
        }
    }

    /// Starts silt and waits until it watches these collections.
    pub fn watching(settings: &Settings, collections: &[&str]) -> Self {
        Self::start(settings).once_watching(collections)
    }

    /// Waits until it watches these collections.
    pub fn once_watching(mut self, collections: &[&str]) -> Self {
        for _ in collections {
            self.wait_for("watching");
        }
        self
    }

    /// Waits for the next log line with this message.
    pub fn wait_for(&mut self, message: &str) -> Value {
        self.wait_where(message, |line| line["message"] == message)
    }

    /// Waits for the next log line that fits.
    pub fn wait_where(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            while self.searched < self.log.len() {
                self.searched += 1;
                if fits(&self.log[self.searched - 1]) {
                    return self.log[self.searched - 1].clone();
                }
            }
            let left = WAIT_LIMIT.saturating_sub(begun.elapsed());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.take(&line),
                Err(_) => panic!("waited in vain for {what:?}; the log:\n{}", self.text()),
            }
        }
    }

    /// Takes the lines that are there.
    pub fn hear(&mut self) {
        while let Ok(line) = self.lines.try_recv() {
            self.take(&line);
        }
    }

    /// Looks for nothing more in the lines so far.
    pub fn skip(&mut self) {
        self.hear();
        self.searched = self.log.len();
    }

    fn take(&mut self, line: &str) {
        let line = serde_json::from_str(line)
            .unwrap_or_else(|_| panic!("a log line that is no JSON: {line}"));
        self.log.push(line);
    }

    /// Waits until so many changes of a collection were flushed since the start.
    pub fn wait_for_flushed(&mut self, collection: &str, changes: u64) {
        self.searched = 0;
        let mut flushed = 0;
        while flushed < changes {
            let line = self.wait_where("flushed", |line| {
                line["message"] == "flushed" && is_of(line, collection)
            });
            flushed += line["changes"].as_u64().unwrap();
        }
    }

    /// Waits until so many changes of a collection were read since the start, flushed or not. Needs the
    /// log level `debug`.
    pub fn wait_until_read(&mut self, collection: &str, changes: u64) {
        self.searched = 0;
        let mut read = 0;
        while read < changes {
            let line = self.wait_where("read", |line| {
                line["message"] == "read" && is_of(line, collection)
            });
            read += line["changes"].as_u64().unwrap();
        }
    }

    pub fn text(&self) -> String {
        self.log.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Lines with this message so far.
    pub fn count(&self, message: &str) -> usize {
        self.log
            .iter()
            .filter(|line| line["message"] == message)
            .count()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// Its own memory, without the pages of its program that the system may drop at any time.
    pub fn memory_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
        kilobytes.parse::<u64>().unwrap() * 1024
    }

    /// Waits for its end and returns the exit status and the log.
    pub fn wait(mut self) -> (i32, Self) {
        let begun = Instant::now();
        loop {
            match self
                .lines
                .recv_timeout(WAIT_LIMIT.saturating_sub(begun.elapsed()))
            {
                Ok(line) => self.take(&line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(_) => panic!("silt doesn't end; the log:\n{}", self.text()),
            }
        }
        let status = self.child.wait().unwrap();
        (status.code().unwrap_or(-1), self)
    }

    /// Drains it and expects that to go well.
    pub fn drain(self) -> Self {
        self.signal(Signal::TERM);
        let (code, silt) = self.wait();
        assert_eq!(code, 0, "the log:\n{}", silt.text());
        silt
    }

    /// Kills it at once and starts it again.
    pub fn restart(&mut self, settings: &Settings) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        *self = Self::start(settings);
    }

    /// Kills it at once.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Silt {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(settings: &Settings) -> Command {
    around(Command::new(env!("CARGO_BIN_EXE_silt")), settings)
}

fn confined(confinement: &[String], settings: &Settings) -> Command {
    let inner = command(settings);
    let mut outer = Command::new(super::variable("SILT_TEST_PYTHON"));
    outer
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/harness/confined.py"
        ))
        .args(confinement)
        .arg("--")
        .arg(inner.get_program());
    around(outer, settings)
}

/// The command in an environment of these settings alone.
fn around(mut command: Command, settings: &Settings) -> Command {
    // A folder without .env.
    command
        .env_clear()
        .env("HTTP_ADDR", "off")
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        // So that servers.py finds it if the test is killed.
        .envs(std::env::var("SILT_DEV_RUN").map(|run| ("SILT_DEV_RUN", run)))
        .envs(settings);
    command
}

/// Runs silt to its end, with these settings and arguments. Returns exit status and output.
pub fn run(settings: &Settings, arguments: &[&str]) -> (i32, String) {
    run_to_end(command(settings), arguments)
}

/// The same for one that is bound by the modes of files, also where the tests are root's.
pub fn run_bound_by_modes(settings: &Settings, arguments: &[&str]) -> (i32, String) {
    run_to_end(
        confined(&["--bound-by-modes".to_owned()], settings),
        arguments,
    )
}

/// What silt shows on a terminal, with these settings and arguments.
pub fn run_on_terminal(settings: &Settings, arguments: &[&str]) -> String {
    const SCRIPT: &str = "import json, os, pty, sys\n\
        os.environ.clear()\n\
        os.environ.update(json.loads(sys.argv[1]))\n\
        pty.spawn(sys.argv[2:])";
    let settings = serde_json::to_string(settings).unwrap();
    let mut all = vec![settings.as_str(), env!("CARGO_BIN_EXE_silt")];
    all.extend(arguments);
    super::python(SCRIPT, &all)
}

/// The same, with standard output and standard error apart.
pub fn run_apart(settings: &Settings, arguments: &[&str]) -> (i32, String, String) {
    ended(command(settings), arguments)
}

/// Runs silt to its end with this file or pipe as its standard output. Returns exit status and standard error.
pub fn run_into(
    output: impl Into<Stdio>,
    settings: &Settings,
    arguments: &[&str],
) -> (i32, String) {
    let mut command = command(settings);
    let child = command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let ended = child.wait_with_output().unwrap();
    let errors = String::from_utf8(ended.stderr).unwrap();
    (ended.status.code().unwrap_or(-1), errors)
}

fn run_to_end(command: Command, arguments: &[&str]) -> (i32, String) {
    let (code, output, errors) = ended(command, arguments);
    (code, output + &errors)
}

fn ended(mut command: Command, arguments: &[&str]) -> (i32, String, String) {
    let output = command
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap_or(-1);
    (code, text(output.stdout), text(output.stderr))
}
