//! Collects the lines of one commit.

use bson::RawDocument;
use mongodb::raw_batch_cursor::RawBatch;

use super::id::Id;
use super::line::Liner;
use super::query::IS_BEFORE;
use super::request::unmade;
use crate::source::SourceError;
use silt_core::failure::{Disposition, Failure};

/// Encoded documents for the next commit.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Their lines.
    pub(crate) lines: Vec<u8>,
    /// Their number.
    pub(crate) documents: u32,
    /// Their length as BSON.
    pub(crate) bytes: u64,
    /// The `_id` of the last one.
    pub(crate) last: Option<Id>,
    limit_bytes: usize,
}

/// A reply of the server, with the documents that are still to be encoded.
#[derive(Debug)]
pub(crate) struct Reply {
    batch: RawBatch,
    next: usize,
    received: String,
    /// The number of documents in the whole reply.
    pub(crate) documents: u32,
    /// Their total size.
    pub(crate) bytes: u64,
}

impl Reply {
    /// A reply that was received at this time (RFC 3339).
    pub(crate) fn new(batch: RawBatch, received: String) -> Result<Self, Failure> {
        let mut reply = Self {
            batch,
            next: 0,
            received,
            documents: 0,
            bytes: 0,
        };
        let (mut documents, mut bytes) = (0, 0);
        reply.each(|document| {
            documents += 1;
            bytes += document.as_bytes().len() as u64;
            Ok(true)
        })?;
        (reply.documents, reply.bytes) = (documents, bytes);
        Ok(reply)
    }

    /// Passes the remaining documents to `take` until it returns `false`. Returns how many it took.
    fn each(
        &self,
        mut take: impl FnMut(&RawDocument) -> Result<bool, Failure>,
    ) -> Result<usize, Failure> {
        let mut taken = 0;
        for document in documents(&self.batch)?.skip(self.next) {
            if !take(document?)? {
                break;
            }
            taken += 1;
        }
        Ok(taken)
    }
}

/// The documents of a reply.
fn documents(
    batch: &RawBatch,
) -> Result<impl Iterator<Item = Result<&RawDocument, Failure>>, Failure> {
    let malformed = |error: &bson::error::Error| Failure {
        disposition: Disposition::RETRY,
        cause: "snapshot_reply",
        message: format!("MongoDB: the reply can't be read: {error}"),
    };
    let documents = batch
        .doc_slices()
        .map_err(|error| Failure::from(&SourceError::from(error)))?;
    Ok(documents.into_iter().map(move |document| {
        let document = document.map_err(|error| malformed(&error))?;
        document
            .as_document()
            .ok_or_else(|| unmade("a reply holds no documents"))
    }))
}

/// The `_id`s of a reply.
pub(crate) fn ids(batch: &RawBatch) -> Result<Vec<Id>, Failure> {
    let ids = documents(batch)?.filter_map(|document| document.map(Id::of).transpose());
    ids.collect()
}

/// The answer to [`order`](super::query::order): whether one `_id` is before another. `false` for an empty collection.
pub(crate) fn is_before(batch: &RawBatch) -> Result<bool, Failure> {
    let Some(document) = documents(batch)?.next().transpose()? else {
        return Ok(false);
    };
    document
        .get_bool(IS_BEFORE)
        .map_err(|error| unmade(&format!("their order: {error}")))
}

impl Chunk {
    /// An empty chunk with this limit, in reused memory.
    pub(crate) fn new(limit_bytes: u64, mut room: Vec<u8>) -> Self {
        let limit_bytes = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
        room.clear();
        // The memory of one very long document is not kept.
        let is_kept = room.capacity() <= limit_bytes.saturating_mul(2);
        Self {
            lines: if is_kept { room } else { Vec::new() },
            documents: 0,
            bytes: 0,
            last: None,
            limit_bytes,
        }
    }

    /// Whether there is no room for more.
    pub(crate) fn is_full(&self) -> bool {
        self.lines.len() >= self.limit_bytes
    }

    /// Its length if it exceeds the limit, as a single long document does.
    pub(crate) fn more_than_its_limit(&self) -> Option<u64> {
        (self.lines.len() > self.limit_bytes).then_some(self.lines.len() as u64)
    }

    /// Adds as many documents of a reply as have room, but at least one. Returns the reply if some are left.
    pub(crate) fn fill(
        &mut self,
        mut reply: Reply,
        liner: &Liner,
    ) -> Result<Option<Reply>, Failure> {
        if self.lines.is_empty() {
            self.lines.reserve_exact(self.limit_bytes);
        }
        let mut is_full = false;
        let taken = reply.each(|document| {
            is_full = !self.add(document, &reply.received, liner)?;
            Ok(!is_full)
        })?;
        reply.next += taken;
        Ok(is_full.then_some(reply))
    }

    /// Adds a document if there is room for its line.
    fn add(
        &mut self,
        document: &RawDocument,
        received: &str,
        liner: &Liner,
    ) -> Result<bool, Failure> {
        let id = Id::of(document).ok_or_else(|| unmade("a document has no _id"))?;
        let start = self.lines.len();
        if let Err(failure) = liner.write(&id, document, received, &mut self.lines) {
            self.lines.truncate(start);
            return Err(failure);
        }
        if self.lines.len() > self.limit_bytes && self.documents > 0 {
            self.lines.truncate(start);
            return Ok(false);
        }
        self.documents += 1;
        self.bytes += document.as_bytes().len() as u64;
        self.last = Some(id);
        Ok(true)
    }
}
