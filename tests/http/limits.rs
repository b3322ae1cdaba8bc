//! Who asks badly harms nobody.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use silt::http::{CONNECTIONS_MAX, HEAD_LIMIT_BYTES};

use crate::harness::asks::{address, ask, get};
use crate::harness::scene::Scene;
use crate::harness::silt::Silt;

/// What comes back until silt closes the connection.
fn answer_to(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test]
async fn a_long_head_is_refused_and_a_body_is_not_read() {
    let scene = Scene::new().await.with("HTTP_ADDR", "127.0.0.1:0");
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let address = address(&mut silt);
    // As much as it reads at once, and no end: nothing is left on the way when it closes the connection.
    let begin = "GET /status HTTP/1.1\r\nX-Long: ";
    let head = format!("{begin}{}", "x".repeat(HEAD_LIMIT_BYTES - begin.len()));
    assert!(answer_to(&address, &head).starts_with("HTTP/1.1 431"));

    // A gigabyte is announced, and the answer comes without it.
    let head = "POST /flush HTTP/1.1\r\nHost: silt\r\nContent-Length: 1073741824\r\n\r\n";
    assert!(answer_to(&address, head).starts_with("HTTP/1.1 403"));

    assert_eq!(get(&mut silt, "/livez").status, 200);
    silt.drain();
}

#[tokio::test]
async fn who_connects_and_says_nothing_makes_room_and_is_shown_the_door() {
    let scene = Scene::new().await.with("HTTP_ADDR", "127.0.0.1:0");
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let address = address(&mut silt);
    let silent: Vec<TcpStream> = (0..CONNECTIONS_MAX)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();
    assert_eq!(ask(&address, "GET", "/livez", &[]).status, 200);
    // Had it waited for the limit of a head, all of them would be closed by now.
    let is_open = |stream: &&TcpStream| {
        stream.set_nonblocking(true).unwrap();
        stream.peek(&mut [0]).is_err()
    };
    let open = silent.iter().filter(is_open).count();
    assert!(open > CONNECTIONS_MAX / 2, "{open} are left");
    for mut stream in silent {
        stream.set_nonblocking(false).unwrap();
        let mut end = Vec::new();
        let _ = stream.read_to_end(&mut end);
    }
    silt.drain();
}
