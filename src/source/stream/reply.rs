//! One reply of the server to a stream: its events, in the memory in which they came.

use std::fmt::Display;

use bson::RawDocument;
use mongodb::raw_batch_cursor::RawBatch;

use crate::source::{SourceError, token};
use silt_core::position::ResumeToken;

/// The element type of an embedded document ([BSON](https://bsonspec.org/spec.html)).
const DOCUMENT: u8 = 0x03;
/// Length of a BSON document's length, and of its end.
const LENGTH_BYTES: usize = 4;
const END_BYTES: usize = 1;

/// A reply of the server.
#[derive(Debug)]
pub(crate) struct Reply {
    batch: RawBatch,
    /// Where the next event's element begins in the array of events.
    next_at: usize,
    /// The server has closed its cursor.
    is_last: bool,
}

impl Reply {
    /// Takes a reply.
    ///
    /// # Errors
    ///
    /// It isn't the reply of a cursor.
    pub(crate) fn parse(batch: RawBatch) -> Result<Self, SourceError> {
        let cursor = batch.as_raw_document().get_document("cursor");
        let id = cursor.and_then(|cursor| cursor.get_i64("id"));
        let is_last = id.map_err(|error| malformed(&error))? == 0;
        Ok(Self {
            batch,
            next_at: LENGTH_BYTES,
            is_last,
        })
    }

    /// Whether no other reply follows.
    pub(crate) fn is_last(&self) -> bool {
        self.is_last
    }

    /// The token up to which the server has read the oplog. MongoDB sends it since 4.0.7.
    pub(crate) fn token(&self) -> Result<Option<ResumeToken>, SourceError> {
        let cursor = self.batch.as_raw_document().get_document("cursor");
        match cursor
            .map_err(|error| malformed(&error))?
            .get_document("postBatchResumeToken")
        {
            Ok(token) => token::from_raw(token).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// The next event.
    pub(crate) fn next_event(&mut self) -> Result<Option<&RawDocument>, SourceError> {
        let events = self.batch.doc_slices().map_err(SourceError::from)?;
        let rest = events.as_bytes().get(self.next_at..).unwrap_or_default();
        if rest.len() <= END_BYTES {
            return Ok(None);
        }
        let (event, element_bytes) =
            first_document(rest).ok_or_else(|| malformed(&"the reply is cut off"))?;
        self.next_at += element_bytes;
        RawDocument::from_bytes(event)
            .map(Some)
            .map_err(|error| malformed(&error))
    }
}

/// The document in the first element, and the element's length: its type, its key and the document.
fn first_document(elements: &[u8]) -> Option<(&[u8], usize)> {
    let (kind, rest) = elements.split_first()?;
    let key_bytes = rest.iter().position(|byte| *byte == 0)? + 1;
    let document = rest.get(key_bytes..)?;
    let length: [u8; LENGTH_BYTES] = *document.first_chunk()?;
    let length = usize::try_from(i32::from_le_bytes(length)).ok()?;
    let document = document.get(..length).filter(|_| *kind == DOCUMENT)?;
    Some((document, 1 + key_bytes + length))
}

fn malformed(reason: &dyn Display) -> SourceError {
    SourceError::MalformedEvent {
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use bson::{RawArrayBuf, rawdoc};

    use super::*;

    #[test]
    fn an_array_is_walked_element_by_element() {
        let events = [
            rawdoc! {},
            rawdoc! { "a": 1 },
            rawdoc! { "b": { "c": "text" } },
        ];
        let mut array = RawArrayBuf::new();
        for event in (0..4).flat_map(|_| events.clone()) {
            array.push(event);
        }
        let mut rest = &array.as_bytes()[LENGTH_BYTES..];
        for event in (0..4).flat_map(|_| events.clone()) {
            let (document, element_bytes) = first_document(rest).unwrap();
            assert_eq!(document, event.as_bytes());
            rest = &rest[element_bytes..];
        }
        assert_eq!(rest, [0]);
    }

    #[test]
    fn what_is_no_document_or_is_cut_off_is_none() {
        let mut array = RawArrayBuf::new();
        array.push(rawdoc! { "a": 1 });
        let bytes = &array.as_bytes()[LENGTH_BYTES..];
        // Without the array's end, the element is whole.
        for end in 0..bytes.len() - END_BYTES {
            assert!(first_document(&bytes[..end]).is_none(), "{end}");
        }
        let mut array = RawArrayBuf::new();
        array.push(5);
        assert!(first_document(&array.as_bytes()[LENGTH_BYTES..]).is_none());
    }
}
