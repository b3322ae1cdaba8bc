//! Where reading resumes in a file that has grown since it was opened.

use std::hash::{DefaultHasher, Hasher as _};

use super::block::{Block, Offsets};

/// How much of a file was returned. A live file only grows: in each later state, the chunks of an earlier
/// one come first. So reading resumes with the last line that was returned, which must still be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResumePoint {
    /// Lines of changes that were returned.
    pub(super) returned_lines: u64,
    /// Where to resume: a line, or a compressed chunk, counted from the end of the head.
    pub(super) offset_bytes: u64,
    /// The lines from there on that were returned. 0 if none was.
    pub(super) skipped_lines: u64,
    /// Hash of the last of them.
    pub(super) last_line_hash: u64,
}

impl ResumePoint {
    /// How many lines were returned.
    #[must_use]
    pub fn returned_lines(&self) -> u64 {
        self.returned_lines
    }

    /// The point after this block of a file whose head has this length.
    pub(super) fn advance(&mut self, block: &Block, head_len_bytes: u64) {
        let Some(last) = block.lines().next_back() else {
            return;
        };
        let offset_bytes = last.place.offset_bytes.saturating_sub(head_len_bytes);
        let from_there = block.lines().rev();
        let from_there =
            from_there.take_while(|line| line.place.offset_bytes == last.place.offset_bytes);
        let skipped_lines = from_there.count() as u64;
        let is_same_chunk = matches!(block.offsets, Offsets::Chunks { .. })
            && self.skipped_lines > 0
            && self.offset_bytes == offset_bytes;
        let earlier = if is_same_chunk { self.skipped_lines } else { 0 };
        *self = Self {
            returned_lines: self.returned_lines + block.len() as u64,
            offset_bytes,
            skipped_lines: earlier + skipped_lines,
            last_line_hash: hash(last.bytes),
        };
    }
}

pub(super) fn hash(line: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(line);
    hasher.finish()
}
