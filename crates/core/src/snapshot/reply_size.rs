//! How many documents to request at once.

use crate::limits::LARGE_CHANGE_BYTES;

/// Bounds the bytes of a reply by the number of its documents, because a request can only limit their number.
#[derive(Clone, Debug)]
pub struct ReplySize {
    target_bytes: u64,
    /// Mean length of a document. `None` if it isn't known yet.
    mean_bytes: Option<u64>,
}

/// Requested while the length isn't known.
const FIRST_DOCUMENTS: u32 = 16;
/// Requested at most, however short they are.
const DOCUMENTS_MAX: u32 = 50_000;

impl ReplySize {
    /// For replies of about this many bytes, of documents of about this length.
    #[must_use]
    pub fn new(target_bytes: u64, mean_bytes: Option<u64>) -> Self {
        Self {
            target_bytes,
            mean_bytes: mean_bytes.filter(|mean| *mean > 0),
        }
    }

    /// How many documents to request.
    #[must_use]
    pub fn documents(&self) -> u32 {
        let Some(mean_bytes) = self.mean_bytes else {
            return FIRST_DOCUMENTS;
        };
        let documents = u32::try_from(self.target_bytes / mean_bytes).unwrap_or(u32::MAX);
        documents.clamp(1, DOCUMENTS_MAX)
    }

    /// Whether documents are so large that the driver's copies of one matter. Then they are read one at a time.
    #[must_use]
    pub fn expects_large(&self) -> bool {
        self.mean_bytes
            .is_some_and(|mean_bytes| mean_bytes >= LARGE_CHANGE_BYTES)
    }

    /// Adjusts to a reply. Short documents may be followed by long ones, so the next request is for at most four
    /// times as many.
    pub fn note(&mut self, documents: u32, bytes: u64) {
        if documents == 0 {
            return;
        }
        let seen = (bytes / u64::from(documents)).max(1);
        let least = self.mean_bytes.map_or(0, |mean_bytes| mean_bytes / 4);
        self.mean_bytes = Some(seen.max(least));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_approach_the_target_size() {
        let mut size = ReplySize::new(1000, None);
        assert_eq!((size.documents(), size.expects_large()), (16, false));
        size.note(16, 1600);
        assert_eq!(size.documents(), 10);
        size.note(10, 10);
        assert_eq!(size.documents(), 40, "at most four times as many");
        size.note(40, 400_000);
        assert_eq!((size.documents(), size.expects_large()), (1, false));
        size.note(1, LARGE_CHANGE_BYTES);
        assert_eq!((size.documents(), size.expects_large()), (1, true));
        size.note(0, 0);
        assert_eq!(size.documents(), 1);
        assert_eq!(ReplySize::new(1 << 40, Some(1)).documents(), DOCUMENTS_MAX);
        assert_eq!(ReplySize::new(1000, Some(0)).documents(), FIRST_DOCUMENTS);
    }
}
