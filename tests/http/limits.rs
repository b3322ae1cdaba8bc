//! Who asks badly harms nobody.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::harness::asks::{address, ask, get};
use crate::harness::scene::Scene;
use crate::harness::silt::Silt;

/// What silt takes at once.
const CONNECTIONS_MAX: usize = 64;

#[tokio::test]
async fn a_long_head_is_refused_and_a_body_is_not_read() {
    let scene = Scene::new().await.with("HTTP_ADDR", "127.0.0.1:0");
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let address = address(&mut silt);
    let long = format!("X-Long: {}", "x".repeat(10_000));
    assert_eq!(ask(&address, "GET", "/status", &[&long]).status, 431);

    // A body of a gigabyte is announced, and the answer comes all the same.
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(
        stream,
        "POST /flush HTTP/1.1\r\nHost: silt\r\nContent-Length: 1073741824\r\n\r\nbegin"
    )
    .unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 403");
    let mut rest = Vec::new();
    // It ends the connection, politely or not.
    let _ = stream.read_to_end(&mut rest);

    assert_eq!(get(&mut silt, "/livez").status, 200);
    silt.drain();
}

#[tokio::test]
async fn who_connects_and_says_nothing_is_shown_the_door() {
    let scene = Scene::new().await.with("HTTP_ADDR", "127.0.0.1:0");
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let address = address(&mut silt);
    let silent: Vec<TcpStream> = (0..CONNECTIONS_MAX)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();
    // It waits until silt has closed one of them.
    assert_eq!(ask(&address, "GET", "/livez", &[]).status, 200);
    for mut stream in silent {
        let mut end = Vec::new();
        let _ = stream.read_to_end(&mut end);
    }
    silt.drain();
}
