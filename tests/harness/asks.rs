//! Asks a running silt over HTTP, byte by byte: what it answers is what the tests are about.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::silt::{Silt, WAIT_LIMIT};

/// silt is asked so often, not faster.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// An answer of silt.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }
}

/// Where it answers.
pub fn address(silt: &mut Silt) -> String {
    silt.searched = 0;
    let line = silt.wait_where("its address", |line| line["address"].is_string());
    line["address"].as_str().unwrap().to_owned()
}

/// Asks by any method, with further lines of the head.
pub fn ask(address: &str, method: &str, target: &str, head: &[&str]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    let head: String = head.iter().map(|line| format!("{line}\r\n")).collect();
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nHost: silt\r\nConnection: close\r\n{head}\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

pub fn get(silt: &mut Silt, target: &str) -> Answer {
    ask(&address(silt), "GET", target, &[])
}

/// Asks until the answer is as it should be.
pub fn get_until(silt: &mut Silt, target: &str, fits: impl Fn(&Answer) -> bool) -> Answer {
    let begun = Instant::now();
    loop {
        let answer = get(silt, target);
        if fits(&answer) {
            return answer;
        }
        assert!(begun.elapsed() < WAIT_LIMIT, "{}", answer.body);
        std::thread::sleep(ASK_AGAIN);
    }
}

/// Asks for `/status` until it is as it should be.
pub fn status_when(silt: &mut Silt, fits: impl Fn(&Value) -> bool) -> Value {
    get_until(silt, "/status", |answer| fits(&answer.json())).json()
}
