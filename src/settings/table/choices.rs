//! The words that settings take, and the types they stand for.

use tracing::Level;

use silt_core::file::format::{Compression, OutputFormat};
use silt_core::machine::{OnHistoryLost, OnLargeEvent};
use silt_core::snapshot::SnapshotMode;

/// The Extended JSON that changes are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JsonMode {
    /// Easy to read and query.
    Relaxed,
    /// Keeps every type exactly.
    Canonical,
}

/// What the server adds to an update besides its delta (`fullDocument`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FullDocument {
    /// Nothing.
    Default,
    /// The document as it is when the change is read.
    UpdateLookup,
    /// The document right after the change, if the server kept it.
    WhenAvailable,
    /// The document right after the change, or an error.
    Required,
}

/// Whether changes carry the document before the change (`fullDocumentBeforeChange`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FullDocumentBeforeChange {
    /// Nothing.
    Off,
    /// The document, if the server kept it.
    WhenAvailable,
    /// The document, or an error.
    Required,
}

/// Compression between MongoDB and silt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WireCompression {
    /// No compression.
    None,
    /// Fast, low ratio.
    Snappy,
    /// Slow, high ratio.
    Zlib,
    /// Fast, high ratio.
    Zstd,
}

/// Whether something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Switch {
    /// It isn't.
    Off,
    /// It is.
    On,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// For reading.
    Text,
    /// One JSON object per line.
    Json,
}

/// `LOG_FORMAT` as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::settings) enum LogFormatWord {
    Auto,
    Fixed(LogFormat),
}

/// `CHECKPOINT_STORE` as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::settings) enum StoreWord {
    MongoDb,
    Lake,
}

/// `STREAMS` as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::settings) enum Streams {
    PerCollection,
    Shared,
}

/// A type with a word for each value.
pub(in crate::settings) trait Words: Copy + PartialEq + 'static {
    /// The words, in the order of the help.
    const WORDS: &'static [(&'static str, Self)];

    /// The word of a value.
    fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, value)| *value == self);
        found.map_or("", |(word, _)| word)
    }

    /// The value of a word, in any case.
    fn of_word(text: &str) -> Option<Self> {
        let found = Self::WORDS
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text));
        found.map(|(_, value)| *value)
    }
}

/// The words of a type, for the table of settings.
pub(in crate::settings) fn words<T: Words>() -> Vec<&'static str> {
    T::WORDS.iter().map(|(word, _)| *word).collect()
}

impl Words for OutputFormat {
    const WORDS: &'static [(&'static str, Self)] =
        &[("json", Self::Json), ("ndjson", Self::Ndjson)];
}

impl Words for Compression {
    const WORDS: &'static [(&'static str, Self)] = &[("none", Self::None), ("gzip", Self::Gzip)];
}

impl Words for OnHistoryLost {
    const WORDS: &'static [(&'static str, Self)] =
        &[("halt", Self::Halt), ("restart", Self::Restart)];
}

impl Words for OnLargeEvent {
    const WORDS: &'static [(&'static str, Self)] =
        &[("halt", Self::Halt), ("record", Self::Record)];
}

impl Words for SnapshotMode {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("never", Self::Never),
        ("initial", Self::Initial),
        ("when-lost", Self::WhenLost),
    ];
}

impl Words for Streams {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("per-collection", Self::PerCollection),
        ("shared", Self::Shared),
    ];
}

impl Words for bool {
    const WORDS: &'static [(&'static str, Self)] = &[("false", false), ("true", true)];
}

impl Words for Switch {
    const WORDS: &'static [(&'static str, Self)] = &[("on", Self::On), ("off", Self::Off)];
}

impl Words for JsonMode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("relaxed", Self::Relaxed), ("canonical", Self::Canonical)];
}

impl Words for FullDocument {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("updateLookup", Self::UpdateLookup),
        ("default", Self::Default),
        ("whenAvailable", Self::WhenAvailable),
        ("required", Self::Required),
    ];
}

impl Words for FullDocumentBeforeChange {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("off", Self::Off),
        ("whenAvailable", Self::WhenAvailable),
        ("required", Self::Required),
    ];
}

impl Words for WireCompression {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("none", Self::None),
        ("snappy", Self::Snappy),
        ("zlib", Self::Zlib),
        ("zstd", Self::Zstd),
    ];
}

impl FullDocument {
    /// The word that the server's change stream takes for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.word()
    }
}

impl Words for StoreWord {
    const WORDS: &'static [(&'static str, Self)] =
        &[("mongodb", Self::MongoDb), ("lake", Self::Lake)];
}

impl Words for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

impl Words for LogFormatWord {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("text", Self::Fixed(LogFormat::Text)),
        ("json", Self::Fixed(LogFormat::Json)),
    ];
}

impl Words for Level {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("error", Self::ERROR),
        ("warn", Self::WARN),
        ("info", Self::INFO),
        ("debug", Self::DEBUG),
        ("trace", Self::TRACE),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn come_back<T: Words + std::fmt::Debug>() {
        for (word, value) in T::WORDS {
            assert_eq!(value.word(), *word);
            assert_eq!(T::of_word(&word.to_uppercase()), Some(*value));
        }
        assert_eq!(T::of_word(""), None);
        assert_eq!(T::of_word("other"), None);
    }

    #[test]
    fn every_word_comes_back() {
        come_back::<OutputFormat>();
        come_back::<Compression>();
        come_back::<JsonMode>();
        come_back::<FullDocument>();
        come_back::<FullDocumentBeforeChange>();
        come_back::<OnLargeEvent>();
        come_back::<SnapshotMode>();
        come_back::<Streams>();
        come_back::<bool>();
        come_back::<StoreWord>();
        come_back::<LogFormat>();
        come_back::<LogFormatWord>();
        come_back::<Level>();
    }
}
