//! Whether the address of the health checks can be had.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::{Method, StatusCode};
use tokio::net::TcpListener;

use super::super::client;
use super::row::{Part, Row, Table};
use crate::settings::Settings;

/// silt answers at once.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
const WHAT: &str = "HTTP_ADDR";

/// Takes the address and gives it back.
pub(super) async fn check(settings: &Settings, table: &Table<'_>) {
    let row = match settings.http.address {
        Some(address) => row(address).await,
        None => Row::good(WHAT, "off"),
    };
    table.add(Part::Http, row);
    table.done(Part::Http);
}

async fn row(address: SocketAddr) -> Row {
    match TcpListener::bind(address).await {
        Ok(_) => Row::good(WHAT, format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if is_silt(address).await {
                return Row::good(WHAT, format!("{address} is taken, by a silt that runs"));
            }
            let found = format!("{address} is taken by another program");
            Row::failure(WHAT, found).fixed_by("take another port, or off")
        }
        Err(error) => {
            let found = format!("{address} can't be had: {error}");
            Row::failure(WHAT, found).fixed_by("take another address, or off")
        }
    }
}

async fn is_silt(address: SocketAddr) -> bool {
    let answer = client::ask(address, None, Method::GET, "/livez", ANSWER_LIMIT).await;
    answer.is_ok_and(|(status, body)| {
        matches!(status, StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE)
            && body.contains("\"live\":")
    })
}
