//! Property tests of damaged files, and of files in the lake that silt didn't write.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::file::commit;
use crate::file::commit::tests::apply;
use crate::file::commit::tests::{batch, file, formats, origin};
use crate::file::gzip::GzipLevel;
use crate::file::hour_file::{HourFile, HourFileName};
use crate::file::hour_file_scan::tests::scan;
use crate::namespace::names;

/// One way to damage a file.
#[derive(Clone, Debug)]
pub(crate) enum Damage {
    Cut,
    Flip(u8),
    Fill(u8, usize),
    Insert(Vec<u8>),
    Remove(usize),
    Append(Vec<u8>),
    Prepend(Vec<u8>),
}

pub(crate) fn damage() -> impl Strategy<Value = Damage> {
    let bytes = || vec(any::<u8>(), 1..40);
    prop_oneof![
        2 => Just(Damage::Cut),
        4 => (1_u8..).prop_map(Damage::Flip),
        2 => (prop::sample::select(&[0_u8, 0xFF, b'9'][..]), 1_usize..12)
            .prop_map(|(value, len)| Damage::Fill(value, len)),
        1 => bytes().prop_map(Damage::Insert),
        1 => (1_usize..400).prop_map(Damage::Remove),
        1 => bytes().prop_map(Damage::Append),
        1 => bytes().prop_map(Damage::Prepend),
    ]
}

pub(crate) fn apply_damage(bytes: &mut Vec<u8>, at: prop::sample::Index, damage: Damage) {
    if bytes.is_empty() {
        return;
    }
    let at = at.index(bytes.len());
    match damage {
        Damage::Cut => bytes.truncate(at),
        Damage::Flip(bits) => bytes[at] ^= bits,
        Damage::Fill(value, len) => {
            let end = bytes.len().min(at + len);
            bytes[at..end].fill(value);
        }
        Damage::Insert(new) => drop(bytes.splice(at..at, new)),
        Damage::Remove(len) => drop(bytes.drain(at..bytes.len().min(at + len))),
        Damage::Append(new) => bytes.extend(new),
        Damage::Prepend(new) => drop(bytes.splice(..0, new)),
    }
}

/// A commit can be made on top of whatever was read from a file.
fn commit_on_top(mut bytes: Vec<u8>, read: &HourFile) -> Result<(), TestCaseError> {
    prop_assert_eq!(read.len_bytes, bytes.len() as u64);
    let head_and_foot_len_bytes = read.head_len_bytes.saturating_add(read.foot_len_bytes);
    prop_assert!(head_and_foot_len_bytes <= read.len_bytes);
    let batch = batch(90, 2, read.name.format.separator());
    let commit = commit::commit(
        &origin(),
        Some(read),
        read.name,
        &batch,
        GzipLevel::default(),
        0,
    );
    let commit = commit.map_err(|error| TestCaseError::fail(error.to_string()))?;
    apply(&mut bytes, Some(read), &commit);
    prop_assert_eq!(bytes.len() as u64, commit.file.len_bytes);
    Ok(())
}

proptest! {
    #[test]
    fn a_damaged_file_is_refused_or_can_be_continued(
        format in 0_usize..4,
        commits in 1_u32..4,
        damages in vec((any::<prop::sample::Index>(), damage()), 1..4),
    ) {
        let (mut bytes, written) = file(formats()[format], commits);
        for (at, damage) in damages {
            apply_damage(&mut bytes, at, damage);
        }
        if let Ok(read) = scan(&origin(), written.name, &bytes) {
            commit_on_top(bytes, &read)?;
        }
    }

    #[test]
    fn any_bytes_are_refused_or_can_be_continued(
        format in 0_usize..4,
        bytes in vec(any::<u8>(), 0..600),
    ) {
        let (_, written) = file(formats()[format], 1);
        if let Ok(read) = scan(&origin(), written.name, &bytes) {
            commit_on_top(bytes, &read)?;
        }
    }

    /// A truncated file is refused, or read as it was before its last commits.
    #[test]
    fn a_truncated_file_never_claims_more_than_it_holds(
        format in 0_usize..4,
        kept in any::<prop::sample::Index>(),
    ) {
        let format = formats()[format];
        let (bytes, written) = file(format, 3);
        let kept = kept.index(bytes.len());
        if let Ok(read) = scan(&origin(), written.name, &bytes[..kept]) {
            prop_assert_eq!(written.head_len_bytes, 0, "a file with head and foot can't be truncated unnoticed");
            let lines = read.last.cluster_time.increment;
            let text = last_token(lines);
            prop_assert_eq!(read.last.token.as_extended_json(), text);
            prop_assert!(lines < 9);
            let earlier = (1..3).map(|commits| file(format, commits).1.len_bytes);
            let is_plain = read.commits == 0;
            prop_assert!(is_plain || earlier.into_iter().any(|len| len == kept as u64));
        }
    }

    #[test]
    fn names_round_trip_or_are_refused(
        name in prop_oneof![
            any::<String>(),
            "[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9]{2}(\\.part[0-9]{1,11})?\\.(json|ndjson)(\\.gz)?",
        ],
    ) {
        if let Ok(parsed) = name.parse::<HourFileName>() {
            prop_assert_eq!(parsed.to_string(), name.clone());
        }
        prop_assert_eq!(names::decode(&names::encode(&name)), Some(name.clone()));
        if let Some(collection) = names::decode(&name) {
            prop_assert_eq!(names::encode(&collection), name);
        }
    }
}

/// The token of the change with this number.
fn last_token(number: u32) -> String {
    format!("{{\"_data\":\"82{number:08}\"}}")
}
