//! Times as text.

/// A time in milliseconds since 1970 as RFC 3339, `2024-01-15T14:30:00.000Z`. The length is constant for the years 0 to 9999,
/// so a file's head keeps its length when only the time changes.
#[must_use]
pub fn rfc3339(unix_ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(unix_ms)
        .unwrap_or_default()
        .to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
