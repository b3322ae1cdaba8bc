//! What a part of a snapshot holds, read from the file alone.

use std::ops::Range;

use super::key::Key;
use super::part::{Metadata, Part, PartName};
use crate::file::damage::{Damage, broken};
use crate::file::layout;
use crate::file::tail_scan::{Step, Tail, TailScan, TailSource};
use crate::position::ClusterTime;
use crate::reading::Change;

/// A part as it was read, and the snapshot that it says it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundPart {
    /// The part.
    pub part: Part,
    /// The database of its documents.
    pub database: String,
    /// The collection of its documents.
    pub collection: String,
    /// The position of its snapshot.
    pub cluster_time: ClusterTime,
}

/// Reads one part's state. It does no IO: it says which bytes it needs and is given them.
#[derive(Debug)]
pub struct PartScan {
    name: PartName,
    tail: TailScan,
}

impl PartScan {
    /// Begins to read a part of this length. Pass the bytes of each [`Step::Read`] to [`Self::feed`].
    ///
    /// # Errors
    ///
    /// The file is too short to be silt's.
    pub fn begin(name: PartName, len_bytes: u64) -> Result<(Self, Range<u64>), Damage> {
        let (tail, window) = TailScan::begin(name.format, len_bytes)?;
        Ok((Self { name, tail }, window))
    }

    /// Takes the bytes of the last [`Step::Read`].
    ///
    /// # Errors
    ///
    /// The file is damaged.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Step<FoundPart>, Damage> {
        let Tail { extent, source } = match self.tail.feed(bytes)? {
            Step::Read(window) => return Ok(Step::Read(window)),
            Step::Done(tail) => tail,
        };
        let name = self.name;
        let seen = match source {
            TailSource::Head(text) => {
                let head: Metadata = layout::read_head(&text).map_err(|error| broken(&error))?;
                FoundPart {
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
            TailSource::Line(line, trailer) => {
                let change = Change::parse(&line).map_err(|error| broken(&error))?;
                let (Some(database), Some(collection)) = (&change.database, &change.collection)
                else {
                    return Err(broken("its last line has no ns"));
                };
                let last = key(&change);
                FoundPart {
                    part: Part {
                        name,
                        extent,
                        commits: trailer.map_or(0, |trailer| trailer.commits),
                        documents: trailer.map(|trailer| trailer.changes),
                        last: last.ok_or_else(|| broken("its last line has no documentKey"))?,
                    },
                    database: database.to_string(),
                    collection: collection.to_string(),
                    cluster_time: change.cluster_time,
                }
            }
        };
        Ok(Step::Done(seen))
    }
}

/// The raw event takes precedence: where it is there, Extended JSON doesn't represent the document exactly.
fn key(change: &Change<'_>) -> Option<Key> {
    let raw_event = change.raw_event.map(Key::raw);
    raw_event.or_else(|| change.document_key.map(|key| Key::new(key.to_owned())))
}
