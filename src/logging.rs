//! Log lines on standard error: for people on a terminal, JSON otherwise.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::time::ChronoUtc;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::settings::{LogFormat, LogSettings};

/// Starts logging, once in a process. Only silt's own lines are let through: those of the libraries
/// may show requests, and requests carry secrets.
pub fn start(settings: LogSettings, is_terminal: bool) {
    let LogSettings { level, format } = settings;
    let filter = Targets::new()
        .with_target("silt", level)
        .with_default(LevelFilter::OFF);
    let timer = ChronoUtc::new("%Y-%m-%dT%H:%M:%S%.3fZ".to_owned());
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_timer(timer)
        .with_target(false);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(is_terminal).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
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
