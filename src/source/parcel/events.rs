//! Events on their way from the reader to the encoder.

use bson::{RawDocument, RawDocumentBuf};

use crate::source::SourceError;

/// Events one after another in one buffer. With a buffer for each, a different thread would free them than
/// allocated them, which is slow in most allocators and fragments memory.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// Each event begins with its length, as BSON documents do.
    bytes: Vec<u8>,
    count: usize,
    last_begins_at: usize,
}

impl Events {
    /// Adds an event. The first one's buffer is reused, the others are copied into it.
    pub(crate) fn push(&mut self, event: RawDocumentBuf) {
        self.last_begins_at = self.bytes.len();
        self.count += 1;
        if self.bytes.is_empty() {
            self.bytes = event.into_bytes();
        } else {
            self.bytes.extend_from_slice(event.as_bytes());
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Total length of the events.
    pub(crate) fn len_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The last event.
    pub(crate) fn last(&self) -> Option<&RawDocument> {
        let bytes = self.bytes.get(self.last_begins_at..)?;
        RawDocument::from_bytes(bytes).ok()
    }

    /// The events, in the stream's order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Result<&RawDocument, SourceError>> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let len: [u8; 4] = *rest.first_chunk()?;
            let len = usize::try_from(i32::from_le_bytes(len)).unwrap_or(0);
            // Only documents were pushed, so an error here is a bug.
            let (event, others) = rest.split_at_checked(len).unwrap_or((rest, &[]));
            rest = if event.is_empty() { &[] } else { others };
            Some(
                RawDocument::from_bytes(event).map_err(|error| SourceError::MalformedEvent {
                    reason: error.to_string(),
                }),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;

    #[test]
    fn events_come_out_as_they_went_in() {
        let mut events = Events::default();
        assert!(events.is_empty() && events.last().is_none());
        let all = [
            rawdoc! {},
            rawdoc! { "a": 1 },
            rawdoc! { "b": "text" },
            rawdoc! {},
        ];
        for (number, event) in all.iter().enumerate() {
            events.push(event.clone());
            assert_eq!(events.last(), Some(event.as_ref()));
            assert_eq!(events.len(), number + 1);
        }
        let out: Vec<_> = events
            .iter()
            .map(|event| event.unwrap().to_owned())
            .collect();
        assert_eq!(out, all);
        let len_bytes: usize = all.iter().map(|event| event.as_bytes().len()).sum();
        assert_eq!(events.len_bytes(), len_bytes as u64);
    }
}
