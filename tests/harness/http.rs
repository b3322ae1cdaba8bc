//! As much HTTP/1.1 as the proxy needs, and what the Blob API's requests are about.

use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::net::TcpStream;

/// What a request of silt asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    CreateRoot,
    List,
    /// The block list of an hour file.
    OpenFile,
    /// A part of an hour file.
    ReadFile,
    /// The first, second or third block of a flush, as they come.
    Block(u8),
    /// The request that commits a flush.
    Commit,
    /// A small file, written whole: a record of a gap, a snapshot's plan or manifest.
    PutFile,
    ReadCheckpoint,
    SaveCheckpoint,
    /// Of what a look has made.
    Remove,
}

/// A request, ready to be passed on.
pub struct Request {
    pub method: String,
    pub target: String,
    pub body_len_bytes: usize,
    bytes: Vec<u8>,
}

impl Request {
    /// Reads one from a client. `None` if the client sends none.
    pub fn read(client: &TcpStream) -> io::Result<Option<Self>> {
        let mut reader = BufReader::new(client);
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(None);
        }
        let mut words = first.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let mut bytes = first.clone().into_bytes();
        let mut body_len_bytes: usize = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let (name, value) = line.split_once(':').unwrap_or((line.trim(), ""));
            match name.to_ascii_lowercase().as_str() {
                "" => break,
                "connection" => continue,
                "content-length" => body_len_bytes = value.trim().parse().unwrap(),
                "transfer-encoding" => panic!("silt sends lengths, not chunks: {line}"),
                _ => {}
            }
            bytes.extend_from_slice(line.as_bytes());
        }
        bytes.extend_from_slice(b"Connection: close\r\n\r\n");
        reader.take(body_len_bytes as u64).read_to_end(&mut bytes)?;
        Ok(Some(Self {
            method: method.to_owned(),
            target: target.to_owned(),
            body_len_bytes,
            bytes,
        }))
    }

    /// What it asks for. A block is the first until the proxy has counted.
    pub fn kind(&self) -> Kind {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let has = |part: &str| query.split('&').any(|pair| pair == part);
        let is_checkpoint = path.contains("/_silt%2Fcheckpoints%2F");
        match (self.method.as_str(), is_checkpoint) {
            ("GET", _) if has("comp=list") => Kind::List,
            ("PUT", _) if has("restype=container") => Kind::CreateRoot,
            ("GET", true) => Kind::ReadCheckpoint,
            ("PUT", true) => Kind::SaveCheckpoint,
            ("GET", false) if has("comp=blocklist") => Kind::OpenFile,
            ("GET", false) => Kind::ReadFile,
            ("PUT", false) if has("comp=blocklist") => Kind::Commit,
            ("PUT", false) if has("comp=block") => Kind::Block(1),
            ("PUT", false) if !query.contains("comp=") => Kind::PutFile,
            ("DELETE", _) => Kind::Remove,
            (method, _) => panic!(
                "a request that silt has no use for: {method} {}",
                self.target
            ),
        }
    }

    /// Lets the server act. Its whole reply, which ends with the connection.
    pub fn forward(&self, server: &str) -> io::Result<Vec<u8>> {
        let mut server = TcpStream::connect(server)?;
        server.set_nodelay(true)?;
        server.write_all(&self.bytes)?;
        let mut reply = Vec::new();
        server.read_to_end(&mut reply)?;
        Ok(reply)
    }
}

/// An answer in the way of Azure.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    code: &'static str,
    retry_after_seconds: Option<u32>,
}

impl Answer {
    pub fn new(status: u16, code: &'static str) -> Self {
        Self {
            status,
            code,
            retry_after_seconds: None,
        }
    }

    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let Self {
            status,
            code,
            retry_after_seconds,
        } = self;
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>What Azure \
             says of {code}.\nRequestId:0af3\nTime:2024-01-15T14:00:00.0Z</Message></Error>"
        );
        // What stands before the service (a gateway, a balancer) knows no codes.
        let (code_header, body) = match *code {
            "" => (String::new(), String::new()),
            code => (format!("x-ms-error-code: {code}\r\n"), body),
        };
        let retry_after = retry_after_seconds
            .map(|seconds| format!("Retry-After: {seconds}\r\n"))
            .unwrap_or_default();
        let date = chrono::Utc::now().format("%a, %d %b %Y %H:%M:%S GMT");
        let len_bytes = body.len();
        format!(
            "HTTP/1.1 {status} As the test wishes\r\n{code_header}{retry_after}Date: {date}\r\n\
             x-ms-request-id: 0af3\r\nContent-Type: application/xml\r\nConnection: close\r\n\
             Content-Length: {len_bytes}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}
