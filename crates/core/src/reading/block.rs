//! Whole lines of a file, as the parser returns them.

use std::ops::Range;

use crate::file::damage::Damage;

/// Where in a file a line begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the line in the uncompressed text, from 1.
    pub line: u64,
    /// Offset in the file: of the line itself, or of the compressed chunk that it begins in.
    pub offset_bytes: u64,
}

impl Place {
    /// Damage that was found here.
    #[must_use]
    pub fn damage(self, what: &(impl ToString + ?Sized)) -> Damage {
        Damage::InLine {
            line: self.line,
            offset_bytes: self.offset_bytes,
            what: what.to_string(),
        }
    }
}

/// One line, without what separates it from the next.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Its text: a JSON object, unless the file is damaged.
    pub bytes: &'a [u8],
    /// Where it begins.
    pub place: Place,
}

/// Some whole lines of a file, in its order.
#[derive(Debug)]
pub struct Block {
    pub(super) text: Vec<u8>,
    pub(super) spans: Vec<Range<usize>>,
    /// Number of the first line.
    pub(super) first_line: u64,
    pub(super) offsets: Offsets,
}

/// Where the lines of a block begin in the file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Offsets {
    /// The text is that of the file from this offset on.
    Text(u64),
    /// The text was compressed. A line that a chunk ends in begins in an earlier one.
    Chunks { first_line: u64, others: u64 },
}

impl Block {
    /// How many lines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none. The parser returns no such block.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Length of its memory.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.text.len() as u64
    }

    /// Leaves out the lines before the first and after the last that `is_wanted`. Cluster times never decrease, so
    /// those of a range of them are together.
    ///
    /// # Errors
    ///
    /// Those of `is_wanted`.
    pub fn trim<E>(
        &mut self,
        mut is_wanted: impl FnMut(&Line<'_>) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mut wanted = None::<Range<usize>>;
        for (index, line) in self.lines().enumerate() {
            if is_wanted(&line)? {
                let start = wanted.map_or(index, |wanted| wanted.start);
                wanted = Some(start..index + 1);
            }
        }
        let wanted = wanted.unwrap_or_default();
        self.spans.truncate(wanted.end);
        self.spans.drain(..wanted.start);
        self.first_line += wanted.start as u64;
        Ok(())
    }

    /// The lines.
    #[must_use]
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = Line<'_>> + ExactSizeIterator {
        self.spans.iter().enumerate().map(|(index, span)| Line {
            bytes: &self.text[span.clone()],
            place: Place {
                line: self.first_line + index as u64,
                offset_bytes: self.offsets.of(span.start),
            },
        })
    }
}

impl Offsets {
    /// Where the line that begins at this index of the text begins in the file.
    pub(super) fn of(self, start: usize) -> u64 {
        match self {
            Self::Text(offset_bytes) => offset_bytes + start as u64,
            Self::Chunks { first_line, .. } if start == 0 => first_line,
            Self::Chunks { others, .. } => others,
        }
    }
}
