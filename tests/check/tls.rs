//! What `silt check` says of certificates.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{expect, row};
use crate::harness::scene::Scene;
use crate::harness::silt::run;
use crate::harness::variable;

/// A server that shakes hands under a certificate of its own; see `tls_server.py`.
struct TlsServer {
    child: Child,
    port: u64,
    certificate: String,
}

impl TlsServer {
    fn start(name: &str, days: i32) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/harness/tls_server.py");
        let mut child = Command::new(variable("SILT_TEST_PYTHON"))
            .args([script, name, &days.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let facts: Value = serde_json::from_str(&line).unwrap();
        Self {
            child,
            port: facts["port"].as_u64().unwrap(),
            certificate: facts["certificate"].as_str().unwrap().to_owned(),
        }
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn trouble_with_certificates_is_told_in_clear_words() {
    let scene = Scene::new().await;
    for (name, days, trusts, found, mend) in [
        (
            "localhost",
            30,
            false,
            "doesn't know who issued",
            "tlsCAFile=…",
        ),
        (
            "other.example",
            30,
            true,
            "for another host name",
            "name the host",
        ),
        ("localhost", -1, true, "has expired", "renew it"),
        ("localhost", 30, true, "gives no answer", "server's log"),
    ] {
        let server = TlsServer::start(name, days);
        let mut uri = format!("mongodb://localhost:{}/?tls=true", server.port);
        if trusts {
            uri += &format!("&tlsCAFile={}", server.certificate);
        }
        let mut settings = scene.settings.clone();
        settings.insert("MONGODB_URI".into(), uri);
        let (code, output) = run(&settings, &["check"]);
        assert_eq!(code, 1, "{output}");
        expect(&row(&output, "TLS"), &["FAIL", found, mend]);
    }
}

#[tokio::test]
async fn a_lake_with_an_unknown_certificate_is_told() {
    let server = TlsServer::start("localhost", 30);
    let endpoint = format!("https://localhost:{}/devstoreaccount1", server.port);
    let scene = Scene::new().await.on_azurite();
    let scene = scene.with("AZURE_STORAGE_ENDPOINT", &endpoint);
    let (code, output) = run(&scene.settings, &["check"]);
    assert_eq!(code, 1, "{output}");
    let of_lake = output.split_once("Lake\n").unwrap().1;
    expect(
        &row(of_lake, "TLS"),
        &[
            "FAIL",
            "doesn't know who issued",
            "install the issuer's certificate",
        ],
    );
}
