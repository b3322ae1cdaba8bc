//! Notices field names that don't read back: repeated ones, and those that spell a value.

use std::collections::HashSet;

use bson::RawDocument;

use super::scalar::small_number;

/// How many signatures are kept without an allocation, over all open documents.
const INLINE_NAMES: usize = 64;

/// Up to so many names, comparing each with all is faster than a table.
const FEW_NAMES: usize = 16;

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
pub(super) fn signature(name: &[u8]) -> u32 {
    let words = name.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        for (byte, of_name) in word.iter_mut().zip(chunk) {
            *byte = *of_name;
        }
        u64::from_le_bytes(word)
    });
    words.reduce(folded).map_or(0, mixed)
}

/// The same for a name of one word or two, whose unused bytes are zero.
#[inline]
pub(super) fn short_signature(low: u64, high: Option<u64>) -> u32 {
    mixed(high.map_or(low, |high| folded(low, high)))
}

#[inline]
fn folded(sum: u64, word: u64) -> u64 {
    sum.rotate_left(29) ^ word
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the upper half is meant")]
fn mixed(sum: u64) -> u32 {
    (sum.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
}

/// The length of an array's key and the zero byte after it, if `bytes` begin with the key of this position.
#[inline]
pub(super) fn array_key_len(bytes: &[u8], position: usize) -> Option<usize> {
    if let (Some((key, len)), Some(word)) = (small_number(position), bytes.first_chunk()) {
        let difference = u32::from_le_bytes(*word) ^ u32::from_le_bytes(key);
        let with_end = len + 1;
        return (difference << (32 - 8 * with_end) == 0).then_some(with_end);
    }
    other_array_key_len(bytes, position)
}

#[inline(never)]
fn other_array_key_len(bytes: &[u8], position: usize) -> Option<usize> {
    let mut buffer = itoa::Buffer::new();
    let key = buffer.format(position).as_bytes();
    match bytes.strip_prefix(key) {
        Some([0, ..]) => Some(key.len() + 1),
        _ => None,
    }
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

    /// Removes those of the document that begins at `start`, and returns whether two of them are equal. It is seldom true
    /// if none are.
    #[inline]
    pub(super) fn close(&mut self, start: usize) -> bool {
        let end = std::mem::replace(&mut self.len, start);
        match self.inline.get(start..end) {
            Some([] | [_]) => false,
            Some([one, other]) => one == other,
            Some([one, two, three]) => one == two || one == three || two == three,
            Some(few) if few.len() <= FEW_NAMES => any_repeats_in_few(few),
            Some(many) => any_repeats(many),
            None => self.close_others(start),
        }
    }

    #[cold]
    fn close_others(&mut self, start: usize) -> bool {
        match self.inline.get(start..) {
            Some(inline) if !inline.is_empty() => {
                let all = [inline, &self.others].concat();
                self.others.clear();
                any_repeats(&all)
            }
            _ => {
                let kept = start - INLINE_NAMES;
                let repeats = any_repeats(self.others.get(kept..).unwrap_or_default());
                self.others.truncate(kept);
                repeats
            }
        }
    }
}

/// Each equals itself, so more equal pairs than names mean a repetition. The compiler makes it four comparisons at a time.
#[inline]
fn any_repeats_in_few(signatures: &[u32]) -> bool {
    // Zero for places without a name, so that they equal none.
    let mut all = [0; FEW_NAMES];
    for (place, signature) in all.iter_mut().zip(signatures) {
        *place = signature | 1;
    }
    let mut equal_pairs = 0;
    for signature in signatures {
        for other in &all {
            equal_pairs += u32::from(*other == signature | 1);
        }
    }
    equal_pairs as usize != signatures.len()
}

/// A hash table with open addressing, at most half full.
#[inline(never)]
fn any_repeats(signatures: &[u32]) -> bool {
    const INLINE_PLACES: usize = 4 * INLINE_NAMES;
    /// Names that are chosen to share a place aren't worth more time here, because the caller compares them in another
    /// way.
    const MAX_STEPS: usize = 64;
    let mut inline = [0_u32; INLINE_PLACES];
    let mut large;
    let table = if signatures.len() <= INLINE_PLACES / 2 {
        &mut inline[..]
    } else {
        large = vec![0; (signatures.len() * 2).next_power_of_two()];
        &mut large[..]
    };
    let mask = table.len() - 1;
    for signature in signatures {
        // Zero is a free place.
        let signature = signature | 1;
        let start = (signature >> 1) as usize;
        let free = (start..start + MAX_STEPS).find_map(|at| match table.get_mut(at & mask) {
            Some(place) if *place == 0 => {
                *place = signature;
                Some(true)
            }
            Some(place) if *place == signature => Some(false),
            _ => None,
        });
        if free != Some(true) {
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
    use proptest::prelude::*;

    fn repeats(names: &[u32]) -> bool {
        let mut signatures = Signatures::new();
        let start = signatures.len();
        for name in names {
            signatures.push(*name);
        }
        let repeats = signatures.close(start);
        assert_eq!(signatures.len(), start);
        repeats
    }

    #[test]
    fn repeated_signatures_are_found_among_any_number() {
        for len in [2, 3, 4, 8, 15, 16, 17, 40, 64, 65, 129, 500] {
            // The lowest bit doesn't count.
            let distinct: Vec<u32> = (0..len)
                .map(|number: u32| number.wrapping_mul(0x9E37_79B9) << 1)
                .collect();
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
        signatures.push(2);
        for count in [1, 100] {
            let inner = signatures.len();
            (0..count).for_each(|number| signatures.push(2 * number));
            assert!(!signatures.close(inner));
        }
        (2..100).for_each(|number| signatures.push(2 * number));
        for count in [1, 100] {
            let inner = signatures.len();
            (0..count).for_each(|number| signatures.push(2 * number));
            assert!(!signatures.close(inner));
        }
        signatures.push(2);
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

    #[test]
    fn names_with_one_signature_end_the_search() {
        // They all begin at the same place of the table.
        let same_place: Vec<u32> = (0..10_000).map(|number| number << 17).collect();
        assert!(repeats(&same_place));
    }

    #[test]
    fn array_keys_are_positions() {
        let positions = (0..1_200).chain([9_999, 10_000, 123_456, 9_999_999, 10_000_000]);
        for position in positions {
            let key = format!("{position}\0");
            let len = Some(key.len());
            for (bytes, expected) in [
                (key.clone(), len),
                (format!("{key}\0\0\0\0"), len),
                (format!("{key}\x10abc"), len),
                (format!("{position}"), None),
                (format!("{position}0\0abc"), None),
                (format!("0{key}abc"), None),
                (format!("{}\0abc", position + 1), None),
                ("\0\0\0\0".to_owned(), None),
                (String::new(), None),
            ] {
                assert_eq!(
                    array_key_len(bytes.as_bytes(), position),
                    expected,
                    "{bytes:?}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn different_names_have_different_signatures(one in "[a-z_0-9.]{0,40}", other in "[a-z_0-9.]{0,40}") {
            prop_assert_eq!(one == other, signature(one.as_bytes()) == signature(other.as_bytes()));
        }
    }
}
