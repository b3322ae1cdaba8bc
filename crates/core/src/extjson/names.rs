//! Notices field names that don't read back: repeated ones, and those that spell a value.

use std::collections::HashSet;

use bson::RawDocument;

/// How many signatures are kept without an allocation, over all open documents.
const INLINE_NAMES: usize = 64;

/// Up to so many names, comparing each pair is faster than a bitmap.
const PAIRWISE_NAMES: usize = 12;

/// Field names that make a document look like a value of another type: to readers of Extended JSON v2, and to those that
/// still accept its older forms (`$regex`, `$uuid`).
const TYPE_NAMES: [&[u8]; 18] = [
    b"$oid",
    b"$symbol",
    b"$numberInt",
    b"$numberLong",
    b"$numberDouble",
    b"$numberDecimal",
    b"$binary",
    b"$uuid",
    b"$code",
    b"$scope",
    b"$timestamp",
    b"$regularExpression",
    b"$regex",
    b"$dbPointer",
    b"$date",
    b"$minKey",
    b"$maxKey",
    b"$undefined",
];

/// Whether a reader of Extended JSON takes a document with this field for a value of another type.
#[cold]
pub(super) fn is_type_name(name: &[u8]) -> bool {
    TYPE_NAMES.contains(&name)
}

/// A number that equal names share, and different names hardly ever do.
#[inline]
pub(super) fn signature(name: &[u8]) -> u32 {
    if name.len() > 16 {
        return long_signature(name);
    }
    let mut block = [0; 16];
    if let Some(end) = block.get_mut(16 - name.len()..) {
        end.copy_from_slice(name);
    }
    mixed(u128::from_le_bytes(block))
}

/// The same for a name at the start of a block, without its bytes being counted one by one.
#[inline]
pub(super) fn signature_in_block(block: [u8; 16], len: usize) -> u32 {
    // The name moves to the end of the block, and what follows it out of the block.
    let shift = 128_u32.wrapping_sub(8 * len as u32);
    mixed(u128::from_le_bytes(block).checked_shl(shift).unwrap_or(0))
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "halves are meant")]
fn mixed(block: u128) -> u32 {
    let (low, high) = (block as u64, (block >> 64) as u64);
    let mixed = (low.rotate_left(23) ^ high).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 32) as u32
}

#[cold]
fn long_signature(name: &[u8]) -> u32 {
    name.chunks(16)
        .fold(0, |sum, chunk| sum.rotate_left(5) ^ signature(chunk))
}

/// The signatures of the names in all open documents, those of the innermost last.
#[derive(Debug)]
pub(super) struct Signatures {
    inline: [u32; INLINE_NAMES],
    len: usize,
    /// Those after the inline ones.
    others: Vec<u32>,
}

impl Signatures {
    #[inline]
    pub(super) fn new() -> Self {
        Self {
            inline: [0; INLINE_NAMES],
            len: 0,
            others: Vec::new(),
        }
    }

    /// How many there are: where those of the next document begin.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn push(&mut self, signature: u32) {
        match self.inline.get_mut(self.len) {
            Some(place) => *place = signature,
            None => self.others.push(signature),
        }
        self.len += 1;
    }

    /// Removes those of the document that begins at `start`, and says whether two of them are equal.
    #[inline]
    pub(super) fn close(&mut self, start: usize) -> bool {
        let end = std::mem::replace(&mut self.len, start);
        match self.inline.get(start..end) {
            Some([] | [_]) => false,
            Some([one, other]) => one == other,
            Some(few) if few.len() <= PAIRWISE_NAMES => any_pair_is_equal(few),
            Some(many) => any_repeats(many),
            None => self.close_many(start),
        }
    }

    #[cold]
    fn close_many(&mut self, start: usize) -> bool {
        let mut all = self.inline.get(start..).unwrap_or_default().to_vec();
        let kept = start.saturating_sub(INLINE_NAMES);
        all.extend(self.others.drain(kept..));
        any_repeats(&all)
    }
}

#[inline]
fn any_pair_is_equal(signatures: &[u32]) -> bool {
    let mut is_equal = false;
    for (at, one) in signatures.iter().enumerate() {
        for other in signatures.get(..at).unwrap_or_default() {
            is_equal |= one == other;
        }
    }
    is_equal
}

/// Marks signatures in a bitmap that is large enough for two different ones to seldom share a bit.
#[inline(never)]
fn any_repeats(signatures: &[u32]) -> bool {
    const INLINE_WORDS: usize = 64;
    let mut inline = [0_u64; INLINE_WORDS];
    let mut large;
    let bitmap = if signatures.len() <= INLINE_NAMES {
        &mut inline[..]
    } else {
        large = vec![0; signatures.len().next_power_of_two()];
        &mut large[..]
    };
    let mask = bitmap.len() - 1;
    for (at, signature) in signatures.iter().enumerate() {
        let bit = 1 << (signature & 63);
        let Some(word) = bitmap.get_mut((*signature >> 6) as usize & mask) else {
            return true;
        };
        let is_marked = *word & bit != 0;
        *word |= bit;
        if is_marked && signatures.get(..at).unwrap_or_default().contains(signature) {
            return true;
        }
    }
    false
}

/// Whether two fields of a document have the same name.
#[cold]
pub(super) fn has_repeated_names(document: &[u8]) -> bool {
    let Ok(document) = RawDocument::from_bytes(document) else {
        return true;
    };
    let mut names = HashSet::new();
    document
        .iter_elements()
        .any(|element| element.map_or(true, |element| !names.insert(element.key())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::rawdoc;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn repeats(names: &[u32]) -> bool {
        let mut signatures = Signatures::new();
        let start = signatures.len();
        names.iter().for_each(|name| signatures.push(*name));
        let repeats = signatures.close(start);
        assert_eq!(signatures.len(), start);
        repeats
    }

    #[test]
    fn repeated_signatures_are_found_among_any_number() {
        for len in [2, 3, 8, 12, 13, 40, 64, 65, 500] {
            let distinct: Vec<u32> = (0..len).map(|number| number * 0x9E37_79B9).collect();
            assert!(!repeats(&distinct), "{len}");
            for at in [0, distinct.len() / 2, distinct.len() - 1] {
                let mut repeated = distinct.clone();
                repeated.push(distinct[at]);
                assert!(repeats(&repeated), "{len} {at}");
            }
        }
    }

    #[test]
    fn an_inner_documents_names_leave_the_outer_ones_alone() {
        let mut signatures = Signatures::new();
        signatures.push(1);
        for count in [1, 100] {
            let inner = signatures.len();
            (0..count).for_each(|number| signatures.push(number));
            assert!(!signatures.close(inner));
        }
        (2..100).for_each(|number| signatures.push(number));
        let inner = signatures.len();
        signatures.push(1);
        assert!(!signatures.close(inner));
        signatures.push(1);
        assert!(signatures.close(0));
    }

    #[test]
    fn names_are_compared_where_signatures_are_equal() {
        let repeated = rawdoc! { "a": 1, "b": 2, "a": 3 };
        assert!(has_repeated_names(repeated.as_bytes()));
        assert!(!has_repeated_names(
            rawdoc! { "a": 1, "b": { "a": 1 } }.as_bytes()
        ));
    }

    proptest! {
        #[test]
        fn a_block_gives_the_same_signature(name in "[a-z]{0,16}", rest in vec(any::<u8>(), 16)) {
            let bytes = [name.as_bytes(), &[0], &rest].concat();
            let block = *bytes.first_chunk().unwrap();
            prop_assert_eq!(signature_in_block(block, name.len()), signature(name.as_bytes()));
        }
    }
}
