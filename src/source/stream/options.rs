//! What a feed's stream asks of the server.

use std::fmt::Write as _;

use bson::{Bson, Document};
use sha2::{Digest as _, Sha256};

use crate::source::SourceError;
use silt_core::extjson::Mode;
use silt_core::file::format::Separator;
use silt_core::machine::OnLargeEvent;
use silt_core::namespace::selection::Watched;

/// Fingerprints that are longer are cut and end in a digest.
const HASH_MAX_BYTES: usize = 240;
/// Bytes of the digest: enough for the few streams that one feed ever has.
const DIGEST_BYTES: usize = 8;

/// What a stream asks of the server, and how its changes are written.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// The collections.
    pub watched: Watched,
    /// `fullDocument` for updates; `None` is the server's default, which omits it.
    pub full_document: Option<&'static str>,
    /// `fullDocumentBeforeChange`; `None` is the server's default, which omits it.
    pub full_document_before_change: Option<&'static str>,
    /// Whether to include events that are off by default: `create`, `createIndexes`, `modify`…
    pub show_expanded_events: bool,
    /// The operation types to include; all if empty.
    pub operation_types: Vec<String>,
    /// The user's stages (`PIPELINE`).
    pub pipeline: Vec<Document>,
    /// What to do about a change that is larger than BSON allows if the server can't split it.
    pub on_large_event: OnLargeEvent,
    /// Changes in one reply of the server, at most. A reply also ends at 16 MiB.
    pub cursor_batch_changes: u32,
    /// The form of Extended JSON.
    pub mode: Mode,
    /// The bytes between two changes.
    pub separator: Separator,
}

impl StreamOptions {
    /// Fingerprint of the options that decide which changes the stream has. Images and the size of replies aren't
    /// part of it: whatever they are, a token means the same change.
    #[must_use]
    pub fn stream_hash(&self) -> String {
        let mut text = match &self.watched {
            Watched::Collection(_) => "collection stream".to_owned(),
            Watched::Many { selection, .. } => {
                let mut text = format!(
                    "stream of databases {}, collections {}",
                    selection.databases, selection.collections
                );
                for (database, collection) in &selection.apart {
                    let _ = write!(text, ",!{database}.{collection}");
                }
                text
            }
        };
        if !self.operation_types.is_empty() {
            let _ = write!(text, ", operations {}", self.operation_types.join(","));
        }
        if self.show_expanded_events {
            text.push_str(", expanded events");
        }
        if self.pipeline.is_empty() {
            text.push_str(", no pipeline");
        } else {
            let stages = self.pipeline.iter().cloned().map(Bson::Document).collect();
            let stages = Bson::Array(stages).into_canonical_extjson();
            let _ = write!(text, ", pipeline {stages}");
        }
        shortened(text)
    }
}

impl StreamOptions {
    /// An error of this stream, attributed to `PIPELINE` if that may be the cause.
    pub(in crate::source) fn explained(&self, error: SourceError) -> SourceError {
        if self.pipeline.is_empty() {
            error
        } else {
            error.in_pipeline()
        }
    }
}

/// The text, or its beginning and its digest if it is long.
fn shortened(text: String) -> String {
    if text.len() <= HASH_MAX_BYTES {
        return text;
    }
    let mut short = text
        .get(..text.floor_char_boundary(HASH_MAX_BYTES))
        .unwrap_or_default()
        .to_owned();
    short.push_str("… sha256 ");
    for byte in Sha256::digest(&text).iter().take(DIGEST_BYTES) {
        let _ = write!(short, "{byte:02x}");
    }
    short
}

#[cfg(test)]
pub(super) mod tests {
    use bson::doc;

    use super::*;
    use silt_core::namespace::selection::{NameSet, Selection};
    use silt_core::namespace::{Layout, Namespace};

    /// Options without filters and images.
    pub(in crate::source) fn plain(watched: Watched) -> StreamOptions {
        StreamOptions {
            watched,
            full_document: None,
            full_document_before_change: None,
            show_expanded_events: false,
            operation_types: Vec::new(),
            pipeline: Vec::new(),
            on_large_event: OnLargeEvent::Halt,
            cursor_batch_changes: 1000,
            mode: Mode::Relaxed,
            separator: Separator {
                before: b"",
                after: b"\n",
            },
        }
    }

    fn many(collections: &[&str], apart: &[(&str, &str)]) -> Watched {
        let apart = apart
            .iter()
            .map(|(database, name)| ((*database).to_owned(), (*name).to_owned()));
        Watched::Many {
            selection: Selection {
                databases: NameSet::of_names(&["mydb"]),
                collections: NameSet::of_names(collections),
                apart: apart.collect(),
            },
            layout: Layout::Collection,
        }
    }

    #[test]
    fn the_fingerprint_of_a_plain_collection_never_changes() {
        let mut options = plain(Watched::Collection(Namespace::new("mydb", "users")));
        assert_eq!(options.stream_hash(), "collection stream, no pipeline");
        options.full_document = Some("required");
        options.full_document_before_change = Some("required");
        options.on_large_event = OnLargeEvent::Record;
        options.cursor_batch_changes = 7;
        options.mode = Mode::Canonical;
        assert_eq!(options.stream_hash(), "collection stream, no pipeline");
    }

    #[test]
    fn every_option_that_decides_which_changes_come_changes_the_fingerprint() {
        let one = || plain(Watched::Collection(Namespace::new("mydb", "users")));
        let with = |change: fn(&mut StreamOptions)| {
            let mut options = one();
            change(&mut options);
            options.stream_hash()
        };
        let hashes = [
            one().stream_hash(),
            with(|options| options.show_expanded_events = true),
            with(|options| options.operation_types = vec!["insert".to_owned()]),
            with(|options| {
                options.operation_types = vec!["insert".to_owned(), "delete".to_owned()];
            }),
            with(|options| options.pipeline = vec![doc! { "$match": { "ns.coll": "a" } }]),
            with(|options| options.pipeline = vec![doc! { "$match": { "ns.coll": 1_i32 } }]),
            with(|options| options.pipeline = vec![doc! { "$match": { "ns.coll": 1_i64 } }]),
            plain(many(&["users", "orders"], &[])).stream_hash(),
            plain(many(&["users"], &[])).stream_hash(),
            plain(many(&["users"], &[("mydb", "orders")])).stream_hash(),
        ];
        for (at, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..at].contains(hash), "{hash}");
        }
        assert_eq!(
            hashes[7],
            "stream of databases mydb, collections users,orders, no pipeline"
        );
    }

    #[test]
    fn a_long_fingerprint_is_cut_and_still_differs_between_streams() {
        let names: Vec<String> = (0..500).map(|number| format!("größe{number}")).collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        let long = plain(many(&names, &[])).stream_hash();
        names.pop();
        let other = plain(many(&names, &[])).stream_hash();
        assert!(long.len() < 300, "{long}");
        assert!(long.starts_with("stream of databases mydb, collections größe0,"));
        assert_ne!(long, other);
    }
}
