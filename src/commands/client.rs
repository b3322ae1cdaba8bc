//! Asks the silt that runs on this machine.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::settings::Secret;

/// No answer of silt is longer.
const ANSWER_MAX_BYTES: usize = 16 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("nobody answers at {address} (HTTP_ADDR): {source}; is silt running there?")]
    Unreachable {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("no answer from {address} (HTTP_ADDR) within {limit_seconds} s")]
    Silent {
        address: SocketAddr,
        limit_seconds: u64,
    },
    #[error("what answers at {address} (HTTP_ADDR) doesn't speak like silt: {reason}")]
    Strange { address: SocketAddr, reason: String },
}

/// Sends a request without a body, and the token if there is one; the answer's status and text.
pub(super) async fn ask(
    address: SocketAddr,
    token: Option<&Secret>,
    method: Method,
    path_and_query: &str,
    limit: Duration,
) -> Result<(StatusCode, String), ClientError> {
    let address = of_this_machine(address);
    let exchange = exchange(address, token, method, path_and_query);
    tokio::time::timeout(limit, exchange)
        .await
        .unwrap_or(Err(ClientError::Silent {
            address,
            limit_seconds: limit.as_secs(),
        }))
}

/// Where who listens on every address is reached from the same machine.
fn of_this_machine(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

async fn exchange(
    address: SocketAddr,
    token: Option<&Secret>,
    method: Method,
    path_and_query: &str,
) -> Result<(StatusCode, String), ClientError> {
    let strange = |error: &dyn std::error::Error| ClientError::Strange {
        address,
        reason: error.to_string(),
    };
    let stream = TcpStream::connect(address)
        .await
        .map_err(|source| ClientError::Unreachable { address, source })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| strange(&error))?;
    let mut request = Request::builder()
        .method(method)
        .uri(path_and_query)
        .header(HOST, address.to_string());
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {}", token.reveal()));
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| strange(&error))?;
    let talk = async {
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| strange(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_MAX_BYTES)
            .collect()
            .await;
        let body = body.map_err(|error| strange(error.as_ref()))?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    // The connection moves on only while it is polled; its own errors are the request's too.
    tokio::select! {
        answer = talk => answer,
        never = async {
            let _ = connection.await;
            std::future::pending().await
        } => never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_asked_at_home() {
        for (listens, asked) in [
            ("0.0.0.0:99", "127.0.0.1:99"),
            ("[::]:99", "[::1]:99"),
            ("10.0.0.5:99", "10.0.0.5:99"),
        ] {
            let address = of_this_machine(listens.parse().unwrap());
            assert_eq!(address.to_string(), asked);
        }
    }
}
