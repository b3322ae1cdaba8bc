//! What silt says of itself over HTTP: whether it lives, and whether it is ready.
//!
//! Small and bounded: requests have no bodies, a head must come within seconds, and connections are
//! counted. Nothing here can change anything, and no answer holds a secret.

mod health;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::debug;

pub use health::FeedView;

/// Connections at once. More wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// The head of a request comes within this time, the next one on a kept connection too.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// Longest wait for a flush that a request asked for.
pub const FLUSH_LIMIT: Duration = Duration::from_secs(30);
/// The head of a request is no longer than this, which is the least that hyper takes.
const HEAD_LIMIT_BYTES: usize = 8192;

/// What there is to see, as far as the start has come.
#[derive(Clone, Debug)]
pub struct Board {
    feeds: Arc<OnceLock<Vec<FeedView>>>,
    retry_attempts: u32,
}

impl Board {
    /// Nothing to see yet. A feed that fails this often in a row isn't ready.
    #[must_use]
    pub fn new(retry_attempts: u32) -> Self {
        Self {
            feeds: Arc::default(),
            retry_attempts,
        }
    }

    /// Shows the feeds, once they run.
    pub fn show(&self, feeds: Vec<FeedView>) {
        // The feeds of a process are started once.
        let _ = self.feeds.set(feeds);
    }
}

/// Takes the address. Requests are answered from now on.
///
/// # Errors
///
/// The address can't be had.
pub async fn serve(address: SocketAddr, board: Board) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    tokio::spawn(accept(listener, board));
    Ok(bound)
}

async fn accept(listener: TcpListener, board: Board) {
    const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let board = board.clone();
                tokio::spawn(async move {
                    converse(stream, board).await;
                    drop(permit);
                });
            }
            Err(error) => {
                debug!(%error, "no connection could be accepted");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, board: Board) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let answer = answer(request.method(), request.uri().path(), &board);
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_LIMIT_BYTES)
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = connection.await {
        debug!(%error, "a connection broke off");
    }
}

fn answer(method: &Method, path: &str, board: &Board) -> Response<Full<Bytes>> {
    let (status, body) = match path {
        "/livez" => (StatusCode::OK, "{\"live\":true}\n".to_owned()),
        "/readyz" => health::readiness(board.feeds.get().map(Vec::as_slice), board.retry_attempts),
        _ => (
            StatusCode::NOT_FOUND,
            "{\"error\":\"there is /livez and /readyz\"}\n".to_owned(),
        ),
    };
    let is_known = status != StatusCode::NOT_FOUND;
    if is_known && !matches!(*method, Method::GET | Method::HEAD) {
        let mut refusal = json(
            StatusCode::METHOD_NOT_ALLOWED,
            "{\"error\":\"GET or HEAD\"}\n".to_owned(),
        );
        refusal
            .headers_mut()
            .insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    json(status, body)
}

fn json(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    for (name, value) in [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ] {
        let value = hyper::header::HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reading_is_allowed_and_other_paths_are_unknown() {
        let board = Board::new(3);
        let status = |method: Method, path| answer(&method, path, &board).status();
        assert_eq!(status(Method::GET, "/livez"), StatusCode::OK);
        assert_eq!(status(Method::HEAD, "/livez"), StatusCode::OK);
        assert_eq!(
            status(Method::POST, "/livez"),
            StatusCode::METHOD_NOT_ALLOWED
        );
        assert_eq!(status(Method::GET, "/"), StatusCode::NOT_FOUND);
        assert_eq!(
            status(Method::GET, "/readyz"),
            StatusCode::SERVICE_UNAVAILABLE,
            "nothing is shown yet"
        );
    }
}
