//! Whether the address of the health checks can be had.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hyper::{Method, StatusCode};
use tokio::net::TcpListener;

use super::super::client;
use super::row::{Part, Row, Table};
use crate::settings::{InstanceSettings, Settings};

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
            Row::failure(WHAT, found).mended_by("take another port, or off")
        }
        Err(error) => {
            let found = format!("{address} can't be had: {error}");
            Row::failure(WHAT, found).mended_by("take another address, or off")
        }
    }
}

async fn is_silt(mut address: SocketAddr) -> bool {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    let instance = InstanceSettings {
        address,
        token: None,
    };
    let answer = client::ask(&instance, Method::GET, "/livez", ANSWER_LIMIT).await;
    answer.is_ok_and(|(status, body)| {
        matches!(status, StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE)
            && body.contains("\"live\":")
    })
}
