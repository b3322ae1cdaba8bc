//! The signals that silt handles, in one stream.

use std::ffi::c_int;
use std::fs;

use futures::StreamExt as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use tracing::debug;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
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

/// The requests that arrive as signals.
pub(crate) struct Signals {
    signals: signal_hook_tokio::Signals,
}

impl Signals {
    /// Starts to listen. Signals that arrive from now on are kept until [`Signals::next`] asks for them.
    ///
    /// # Errors
    ///
    /// Signal handlers can't be installed.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let mut handled = vec![SIGTERM, SIGINT, SIGUSR1];
        // nohup starts a process with SIGHUP ignored, and a handler would undo that.
        if is_ignored(SIGHUP) {
            debug!("SIGHUP stays ignored, as the process was started");
        } else {
            handled.push(SIGHUP);
        }
        let signals = signal_hook_tokio::Signals::new(handled)?;
        Ok(Self { signals })
    }

    /// Waits for the next request.
    pub(crate) async fn next(&mut self) -> Request {
        while let Some(signal) = self.signals.next().await {
            if let Some(request) = Request::of(signal) {
                return request;
            }
        }
        // The stream only ends when its handle is closed, and nobody has that.
        std::future::pending().await
    }

    /// Waits for a request to stop and returns the signal's name. Requests to flush are dropped meanwhile: before the
    /// feeds run and while they drain, and in commands without feeds, they have no meaning.
    pub(crate) async fn stop(&mut self) -> &'static str {
        loop {
            if let Request::Stop(name) = self.next().await {
                return name;
            }
        }
    }
}

/// Whether the process was started with a signal ignored. If the system doesn't say, it wasn't.
fn is_ignored(signal: c_int) -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores(&status, signal))
}

/// The same, by the text of `/proc/PID/status`: <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>.
fn ignores(status: &str, signal: c_int) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        for (mask, is_hangup, is_interrupt) in [
            ("0000000000000001", true, false),
            ("0000000000001002", false, true),
            ("0000000000000000", false, false),
            ("what", false, false),
        ] {
            let status = format!("Name:\tsilt\nSigBlk:\tffff\nSigIgn:\t{mask}\nSigCgt:\tffff\n");
            assert_eq!(ignores(&status, SIGHUP), is_hangup, "{mask}");
            assert_eq!(ignores(&status, SIGINT), is_interrupt, "{mask}");
        }
        assert!(!ignores("Name:\tsilt\n", SIGHUP));
    }
}
