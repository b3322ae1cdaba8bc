//! Log lines on standard error: for people on a terminal, JSON otherwise.

use std::io::{self, Write};

use silt_core::json::escape_line_ends;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::time::ChronoUtc;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::settings::{LogFormat, LogSettings};

/// Passes JSON on so that each line is one line for every reader.
struct JsonLines<W>(W);

impl<W: Write> Write for JsonLines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                let text = escape_line_ends(text.to_owned());
                self.0.write_all(text.as_bytes())?;
                Ok(bytes.len())
            }
            // Not a whole line, which is text.
            Err(_) => self.0.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Starts logging, once in a process. Only silt's own lines are let through: those of the libraries
/// may show requests, and requests carry secrets.
pub fn start(settings: LogSettings, is_terminal: bool) {
    let LogSettings { level, format } = settings;
    let filter = Targets::new()
        .with_target("silt", level)
        .with_default(LevelFilter::OFF);
    let timer = ChronoUtc::new("%Y-%m-%dT%H:%M:%S%.3fZ".to_owned());
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .with_timer(timer)
        .with_target(false);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(is_terminal).boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_writer(|| JsonLines(io::stderr()))
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .init();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(
            place,
            "a bug: {}",
            panic.payload_as_str().unwrap_or("panicked")
        );
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_is_one_line_for_every_reader() {
        let mut written = JsonLines(Vec::new());
        written
            .write_all("{\"a\":\"x\u{2028}ü\u{85}\"}\n".as_bytes())
            .unwrap();
        written.write_all(b"\xFF").unwrap();
        assert_eq!(written.0, b"{\"a\":\"x\\u2028\xC3\xBC\\u0085\"}\n\xFF");
    }
}
