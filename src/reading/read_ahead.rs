//! Fetches a file's bytes in order, some ranges before they are needed.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};

use crate::lake::{FileState, Lake, LakeError, LakePath};

/// The first range is short, for callers that want only a file's beginning.
const FIRST_BYTES: u64 = 64 * 1024;
/// Length of the others.
const WINDOW_BYTES: u64 = 1024 * 1024;
/// Ranges that are fetched at once.
pub(super) const WINDOWS: usize = 4;

/// The bytes of a file in one state, from an offset on.
pub(super) struct ReadAhead<'a> {
    ranges: BoxStream<'a, Result<Vec<u8>, LakeError>>,
}

impl<'a> ReadAhead<'a> {
    pub(super) fn new(
        lake: &'a dyn Lake,
        path: &LakePath,
        state: &FileState,
        offset_bytes: u64,
    ) -> Self {
        let of_file = Arc::new((path.clone(), state.version.clone()));
        let fetch = move |range: Range<u64>| {
            let of_file = Arc::clone(&of_file);
            async move {
                let (path, version) = &*of_file;
                let len_bytes = range.end - range.start;
                let bytes = lake.read(path, version, range).await?;
                if bytes.len() as u64 == len_bytes {
                    Ok(bytes)
                } else {
                    let path = path.to_string();
                    Err(LakeError::Stale { path })
                }
            }
        };
        let len_bytes = state.len_bytes;
        let first_end = len_bytes.min(offset_bytes.saturating_add(FIRST_BYTES));
        let first = (offset_bytes < first_end).then(|| fetch(offset_bytes..first_end));
        let starts = (0..).map(move |number| first_end + number * WINDOW_BYTES);
        let starts = starts.take_while(move |start| *start < len_bytes);
        let others = starts.map(move |start| fetch(start..len_bytes.min(start + WINDOW_BYTES)));
        let first = stream::iter(first).buffered(1);
        let ranges = first.chain(stream::iter(others).buffered(WINDOWS)).boxed();
        Self { ranges }
    }

    /// The next bytes; `None` at the file's end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, LakeError> {
        let bytes = self.ranges.next().await.transpose()?;
        Ok(bytes.map(Bytes::from))
    }
}
