//! The signals that silt handles, in one stream.

use std::ffi::c_int;

use futures::StreamExt as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Drain and exit; with the signal's name.
    Stop(&'static str),
    /// Flush all collections.
    Flush,
}

impl Request {
    fn of(signal: c_int) -> Option<Self> {
        match signal {
            SIGTERM => Some(Self::Stop("SIGTERM")),
            SIGINT => Some(Self::Stop("SIGINT")),
            SIGHUP => Some(Self::Stop("SIGHUP")),
            SIGUSR1 => Some(Self::Flush),
            _ => None,
        }
    }
}

/// Listens to signals.
#[derive(Debug)]
pub(super) struct Signals {
    signals: signal_hook_tokio::Signals,
}

impl Signals {
    /// Signals that come from now on are kept until somebody asks for the next one.
    pub fn listen() -> std::io::Result<Self> {
        let signals = signal_hook_tokio::Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
        Ok(Self { signals })
    }

    /// Waits for the next request.
    pub async fn next(&mut self) -> Request {
        loop {
            match self.signals.next().await {
                Some(signal) => {
                    if let Some(request) = Request::of(signal) {
                        return request;
                    }
                }
                // The stream only ends when its handle is closed, which nobody does.
                None => return std::future::pending().await,
            }
        }
    }

    /// Waits for a request to stop and returns the signal's name. While nothing runs that could flush, requests to
    /// flush are ignored.
    pub async fn stop(&mut self) -> &'static str {
        loop {
            if let Request::Stop(name) = self.next().await {
                return name;
            }
        }
    }
}
