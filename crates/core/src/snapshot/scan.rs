//! What a part holds, read from the part alone.

use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::key::Key;
use super::part::{Metadata, Part, PartName};
use crate::file::addition;
use crate::file::ending::{EndScan, Ending, Says, Wants, broken};
use crate::file::tail::{Damage, Step};
use crate::position::ClusterTime;

/// A part, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The part.
    pub part: Part,
    /// The database of its documents.
    pub database: String,
    /// Their collection.
    pub collection: String,
    /// The position of its snapshot.
    pub cluster_time: ClusterTime,
}

/// Reads one part's state. Does no IO: it says which bytes it needs and is fed with them.
#[derive(Debug)]
pub struct PartScan {
    name: PartName,
    end: EndScan,
}

/// What is read of a line.
#[derive(Deserialize)]
struct Line {
    change: Read,
}

#[derive(Deserialize)]
struct Read {
    #[serde(rename = "clusterTime")]
    cluster_time: ClusterTime,
    ns: Namespace,
    #[serde(rename = "documentKey")]
    document_key: Option<Key>,
    #[serde(rename = "siltRawEvent")]
    raw_event: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Namespace {
    db: String,
    coll: String,
}

impl PartScan {
    /// Begins to read a part of this length. Feed it the bytes of each [`Step::Read`].
    ///
    /// # Errors
    ///
    /// The file is too short to be one of ours.
    pub fn begin(name: PartName, len_bytes: u64) -> Result<(Self, Range<u64>), Damage> {
        let (end, window) = EndScan::begin(name.format, len_bytes)?;
        Ok((Self { name, end }, window))
    }

    /// Takes the bytes that were asked for.
    ///
    /// # Errors
    ///
    /// The file is damaged.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Step<Seen>, Damage> {
        let Ending { extent, says } = match self.end.feed(bytes)? {
            Wants::Read(window) => return Ok(Step::Read(window)),
            Wants::Done(ending) => ending,
        };
        let name = self.name;
        let seen = match says {
            Says::Head(text) => {
                let head: Metadata = addition::read_head(&text).map_err(|error| broken(&error))?;
                Seen {
                    part: Part {
                        name,
                        extent,
                        commits: head.commits,
                        documents: Some(head.count),
                        last: head.last_document_key,
                    },
                    database: head.database,
                    collection: head.collection,
                    cluster_time: head.cluster_time,
                }
            }
            Says::Line(line, trailer) => {
                let Line { change } =
                    serde_json::from_slice(&line).map_err(|error| broken(&error))?;
                let last = key(change.document_key, change.raw_event.as_deref());
                Seen {
                    part: Part {
                        name,
                        extent,
                        commits: trailer.map_or(0, |trailer| trailer.commits),
                        documents: trailer.map(|trailer| trailer.changes),
                        last: last.ok_or_else(|| broken("its last line has no documentKey"))?,
                    },
                    database: change.ns.db,
                    collection: change.ns.coll,
                    cluster_time: change.cluster_time,
                }
            }
        };
        Ok(Step::Done(seen))
    }
}

/// Bytes go before text: where they are, the text doesn't say it all.
fn key(document_key: Option<Key>, raw_event: Option<&RawValue>) -> Option<Key> {
    raw_event.map(|raw| Key::raw(raw.get())).or(document_key)
}
