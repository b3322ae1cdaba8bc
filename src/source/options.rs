//! What a stream of a feed asks of the server.

use std::fmt::Write as _;

use bson::{Bson, Document};
use mongodb::options::{FullDocumentBeforeChangeType, FullDocumentType};
use sha2::{Digest as _, Sha256};

use super::SourceError;
use silt_core::extjson::Mode;
use silt_core::file::hour_file::Separator;
use silt_core::machine::OnLargeEvent;
use silt_core::namespace::selection::Watched;

/// A longer fingerprint ends in a digest.
const HASH_MAX_BYTES: usize = 240;
/// Bytes of the digest: enough to tell the few streams apart that a feed ever had.
const DIGEST_BYTES: usize = 8;

/// What a stream asks of the server.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// Whose changes.
    pub watched: Watched,
    /// `fullDocument` of an update; `None` is the server's default, which has none.
    pub full_document: Option<FullDocumentType>,
    /// `fullDocumentBeforeChange`; `None` is the server's default, which has none.
    pub full_document_before_change: Option<FullDocumentBeforeChangeType>,
    /// Whether it has the events that the server shows only if asked: `create`, `createIndexes`, `modify`…
    pub show_expanded_events: bool,
    /// The operations that it has; all if there is none.
    pub operation_types: Vec<String>,
    /// What else the server does to each change before it sends it.
    pub pipeline: Vec<Document>,
    /// What becomes of a change that is larger than BSON allows, where the server can't split it.
    pub on_large_event: OnLargeEvent,
    /// Changes in one reply of the server, which also ends at 16 MiB.
    pub cursor_batch_changes: u32,
    /// How changes are written.
    pub mode: Mode,
    /// What stands between two changes.
    pub separator: Separator,
}

impl StreamOptions {
    /// Fingerprint of what decides which changes this stream has. Images and the size of replies
    /// do not: with others, a token means the same change.
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
    /// An error of this stream, of which the user's stages may be the cause.
    pub(super) fn explained(&self, error: SourceError) -> SourceError {
        if self.pipeline.is_empty() {
            error
        } else {
            error.in_pipeline()
        }
    }
}

/// The same, or its beginning and its digest.
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
    use silt_core::namespace::origin::{Layout, Origin};
    use silt_core::namespace::selection::{NameSet, Selection};

    /// A plain stream of what is watched.
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
        let mut options = plain(Watched::Collection(Origin::new("mydb", "users")));
        assert_eq!(options.stream_hash(), "collection stream, no pipeline");
        options.full_document = Some(FullDocumentType::Required);
        options.full_document_before_change = Some(FullDocumentBeforeChangeType::Required);
        options.on_large_event = OnLargeEvent::Record;
        options.cursor_batch_changes = 7;
        options.mode = Mode::Canonical;
        assert_eq!(options.stream_hash(), "collection stream, no pipeline");
    }

    #[test]
    fn whatever_decides_which_changes_come_changes_the_fingerprint() {
        let one = || plain(Watched::Collection(Origin::new("mydb", "users")));
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
    fn a_long_fingerprint_is_cut_and_still_tells_streams_apart() {
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
