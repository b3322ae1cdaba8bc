//! What silt says of itself over HTTP: whether it lives and is ready, its status, its figures, its page.
//!
//! Small and bounded: nothing reads a request's body, a head must come within seconds, and
//! connections are counted and end. Nothing but a flush can be asked for, by whoever has the token, and no
//! answer holds a secret.

mod answer;
mod board;
mod connections;
mod flush;
mod health;
mod metrics;
mod page;
mod process;
mod status;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tracing::debug;

use answer::{Answer, refusal};
pub use board::{About, Board, FeedView};
use connections::{Connections, Place};
pub use flush::FLUSH_LIMIT;

/// Connections at once. For another one, that which waits longest for a request makes room.
pub const CONNECTIONS_MAX: usize = 64;
/// The head of a request comes within this time, the next one on a kept connection too.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// The head of a request is no longer than this, which is the least that hyper takes.
pub const HEAD_LIMIT_BYTES: usize = 8192;
/// A connection takes no more requests after this time.
const CONNECTION_LIMIT: Duration = Duration::from_mins(5);
/// The last answer is sent within this time; a flush is the longest.
const LAST_ANSWER_LIMIT: Duration = FLUSH_LIMIT.saturating_add(Duration::from_secs(10));

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
    let connections = Connections::new(CONNECTIONS_MAX);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let place = Arc::new(connections.place().await);
                tokio::spawn(converse(stream, board.clone(), place));
            }
            Err(error) => {
                debug!(%error, "no connection could be accepted");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, board: Board, place: Arc<Place>) {
    let asked = Arc::clone(&place);
    let answer = service_fn(move |request: Request<Incoming>| {
        let (board, place) = (board.clone(), Arc::clone(&asked));
        async move {
            place.is_busy();
            let answer = answer(&request, &board).await;
            place.waits();
            Ok::<_, Infallible>(answer.into_response())
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_LIMIT_BYTES)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection);
    let mut end = tokio::select! {
        end = tokio::time::timeout(CONNECTION_LIMIT, connection.as_mut()) => end,
        () = place.shown_the_door() => return,
    };
    if end.is_err() {
        connection.as_mut().graceful_shutdown();
        end = tokio::time::timeout(LAST_ANSWER_LIMIT, connection).await;
    }
    match end {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a connection broke off"),
        Err(error) => debug!(%error, "a connection was too slow"),
    }
}

async fn answer<B>(request: &Request<B>, board: &Board) -> Answer {
    let path = request.uri().path();
    if path == "/flush" {
        if request.method() != Method::POST {
            return not_allowed("POST");
        }
        let authorization = request.headers().get(AUTHORIZATION);
        let query = request.uri().query().unwrap_or_default();
        return flush::flush(board, authorization, query).await;
    }
    if !matches!(path, "/" | "/livez" | "/readyz" | "/status" | "/metrics") {
        let why = "there is /, /status, /metrics, /livez, /readyz and POST /flush";
        return refusal(StatusCode::NOT_FOUND, why);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return not_allowed("GET, HEAD");
    }
    match path {
        "/livez" => health::liveness(board).await,
        "/readyz" => health::readiness(board),
        "/status" => status::status(board),
        "/metrics" => metrics::metrics(board),
        _ => page::page(),
    }
}

fn not_allowed(allowed: &'static str) -> Answer {
    let why = format!("this path takes {allowed}");
    refusal(StatusCode::METHOD_NOT_ALLOWED, &why).with(ALLOW, allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn paths_take_their_methods_alone() {
        let board = board::tests::board(Vec::new(), None);
        for (method, path, status) in [
            (Method::GET, "/livez", 200),
            (Method::HEAD, "/livez", 200),
            (Method::GET, "/readyz", 200),
            (Method::GET, "/status", 200),
            (Method::GET, "/metrics", 200),
            (Method::GET, "/", 200),
            (Method::POST, "/livez", 405),
            (Method::DELETE, "/", 405),
            (Method::GET, "/flush", 405),
            (Method::POST, "/flush", 403),
            (Method::GET, "/favicon.ico", 404),
            (Method::POST, "/nowhere", 404),
        ] {
            let request = Request::builder().method(&method).uri(path).body(());
            let answer = answer(&request.unwrap(), &board).await;
            assert_eq!(answer.status().as_u16(), status, "{method} {path}");
        }
    }
}
