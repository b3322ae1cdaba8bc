//! The progress of a snapshot.

use std::collections::VecDeque;
use std::fmt::Write as _;

/// The rate is measured over this time.
const WINDOW_MS: u64 = 30_000;
const BAR_LEN: usize = 20;

/// The counts of one snapshot, and their rate.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// The estimated number of documents.
    pub estimated_documents: u64,
    /// Documents in the lake.
    pub documents: u64,
    /// Their length as BSON. For documents that were there before this process, an estimate.
    pub bytes: u64,
    /// Time, documents and bytes at each tick of the last half minute.
    samples: VecDeque<(u64, u64, u64)>,
}

/// Progress per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Documents.
    pub documents: f64,
    /// Bytes of BSON.
    pub bytes: f64,
}

impl Progress {
    /// A snapshot with this many documents and bytes in the lake already.
    #[must_use]
    pub fn new(estimated_documents: u64, documents: u64, bytes: u64) -> Self {
        Self {
            estimated_documents,
            documents,
            bytes,
            samples: VecDeque::new(),
        }
    }

    /// Adds documents and bytes that were committed.
    pub fn add(&mut self, documents: u64, bytes: u64) {
        self.documents += documents;
        self.bytes += bytes;
    }

    /// Records the current counts, at this time of a monotonic clock.
    pub fn tick(&mut self, now_ms: u64) {
        self.samples.push_back((now_ms, self.documents, self.bytes));
        let is_old = |sample: &(u64, u64, u64)| sample.0 + WINDOW_MS < now_ms;
        while self.samples.len() > 2 && self.samples.front().is_some_and(is_old) {
            self.samples.pop_front();
        }
    }

    /// From 0 to 0.99: the estimate may be wrong, so the figure never says that the snapshot is finished.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
    pub fn fraction(&self) -> f64 {
        let all = self.estimated_documents.max(self.documents).max(1);
        (self.documents as f64 / all as f64).min(0.99)
    }

    /// The rate of the last half minute.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
    pub fn rate(&self) -> Option<Rate> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let seconds = last.0.checked_sub(first.0).filter(|ms| *ms > 0)? as f64 / 1000.0;
        Some(Rate {
            documents: (last.1 - first.1) as f64 / seconds,
            bytes: (last.2 - first.2) as f64 / seconds,
        })
    }

    /// How long the rest takes at this rate. `None` if there is no progress, or there are more documents than
    /// estimated.
    #[must_use]
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the time left is an estimate"
    )]
    pub fn seconds_left(&self) -> Option<u64> {
        let left = self.estimated_documents.checked_sub(self.documents)?;
        let rate = self.rate().filter(|rate| rate.documents > 0.0)?;
        Some((left as f64 / rate.documents).ceil() as u64)
    }

    /// `[#########-----------] 45 % · 120,000 of 266,000 documents · 38 MiB/s · 2 min left`
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a fraction of twenty or a hundred"
    )]
    pub fn line(&self) -> String {
        let fraction = self.fraction();
        let full = (fraction * BAR_LEN as f64) as usize;
        let mut line = format!(
            "[{}{}] {} % · {} of {} documents",
            "#".repeat(full),
            "-".repeat(BAR_LEN - full),
            (fraction * 100.0) as u64,
            grouped(self.documents),
            grouped(self.estimated_documents.max(self.documents)),
        );
        if let Some(rate) = self.rate() {
            // Writing to a String can't fail.
            let _ = write!(line, " · {}/s", size(rate.bytes as u64));
        }
        if let Some(seconds) = self.seconds_left() {
            let _ = write!(line, " · {} left", time(seconds));
        }
        line
    }
}

/// `266,000`
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

fn time(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_shows_fraction_counts_rate_and_time_left() {
        let mut progress = Progress::new(266_000, 20_000, 10 << 20);
        let start = "[#-------------------] 7 % · 20,000 of 266,000 documents";
        assert_eq!(progress.line(), start);
        progress.tick(1000);
        assert_eq!(progress.line(), start, "one sample gives no rate");
        progress.add(100_000, 380 << 20);
        progress.tick(11_000);
        assert_eq!(
            progress.line(),
            "[#########-----------] 45 % · 120,000 of 266,000 documents · 38 MiB/s · 15 s left"
        );
        assert_eq!(progress.seconds_left(), Some(15));
    }

    #[test]
    fn the_rate_is_measured_over_the_last_half_minute() {
        let mut progress = Progress::new(1_000_000, 0, 0);
        for second in 0..=100 {
            progress.tick(second * 1000);
            let rate = progress.rate();
            match second {
                0 => assert_eq!(rate, None),
                1..50 => assert!((rate.unwrap().documents - 10.0).abs() < 1e-9),
                90.. => assert!((rate.unwrap().documents - 1000.0).abs() < 1e-9),
                _ => {}
            }
            progress.add(if second < 50 { 10 } else { 1000 }, 1);
        }
        for second in 101..200 {
            progress.tick(second * 1000);
        }
        assert_eq!(progress.seconds_left(), None, "no progress");
    }

    #[test]
    fn a_wrong_estimate_never_shows_the_end() {
        let mut progress = Progress::new(10, 0, 0);
        progress.tick(0);
        progress.add(20, 4096);
        progress.tick(2000);
        assert_eq!(
            progress.line(),
            "[###################-] 99 % · 20 of 20 documents · 2 KiB/s"
        );
        assert_eq!(
            Progress::default().line(),
            "[--------------------] 0 % · 0 of 0 documents"
        );
    }

    #[test]
    fn numbers_times_and_sizes_are_readable() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
        for (seconds, text) in [
            (59, "59 s"),
            (61, "2 min"),
            (3600, "1 h 0 min"),
            (12_060, "3 h 21 min"),
        ] {
            assert_eq!(time(seconds), text);
        }
        for (bytes, text) in [(1023, "1023 B"), (2048, "2 KiB"), (3 << 20, "3 MiB")] {
            assert_eq!(size(bytes), text);
        }
    }
}
