//! What holds for every file that was damaged, and for whatever lies in the lake beside silt's own.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::file::frame::tests::{batch, file, formats, origin};
use crate::file::frame::{self, tests::apply};
use crate::file::hour_file::{HourFile, HourFileName};
use crate::file::tail::tests::scan;
use crate::namespace::names;

/// Something that happens to a file.
#[derive(Clone, Debug)]
enum Harm {
    Cut,
    Flip(u8),
    Fill(u8, usize),
    Insert(Vec<u8>),
    Remove(usize),
    Append(Vec<u8>),
    Prepend(Vec<u8>),
}

fn harm() -> impl Strategy<Value = Harm> {
    let bytes = || vec(any::<u8>(), 1..40);
    prop_oneof![
        2 => Just(Harm::Cut),
        4 => (1_u8..).prop_map(Harm::Flip),
        2 => (prop::sample::select(&[0_u8, 0xFF, b'9'][..]), 1_usize..12)
            .prop_map(|(value, len)| Harm::Fill(value, len)),
        1 => bytes().prop_map(Harm::Insert),
        1 => (1_usize..400).prop_map(Harm::Remove),
        1 => bytes().prop_map(Harm::Append),
        1 => bytes().prop_map(Harm::Prepend),
    ]
}

fn do_harm(bytes: &mut Vec<u8>, at: prop::sample::Index, harm: Harm) {
    if bytes.is_empty() {
        return;
    }
    let at = at.index(bytes.len());
    match harm {
        Harm::Cut => bytes.truncate(at),
        Harm::Flip(bits) => bytes[at] ^= bits,
        Harm::Fill(value, len) => {
            let end = bytes.len().min(at + len);
            bytes[at..end].fill(value);
        }
        Harm::Insert(new) => drop(bytes.splice(at..at, new)),
        Harm::Remove(len) => drop(bytes.drain(at..bytes.len().min(at + len))),
        Harm::Append(new) => bytes.extend(new),
        Harm::Prepend(new) => drop(bytes.splice(..0, new)),
    }
}

/// Whatever was read from a file, a commit can be framed that builds on it.
fn go_on(mut bytes: Vec<u8>, read: &HourFile) -> Result<(), TestCaseError> {
    prop_assert_eq!(read.len_bytes, bytes.len() as u64);
    let frame_len_bytes = read.head_len_bytes.saturating_add(read.foot_len_bytes);
    prop_assert!(frame_len_bytes <= read.len_bytes);
    let batch = batch(90, 2, read.name.format.separator());
    let commit = frame::commit(
        &origin(),
        Some(read),
        read.name,
        &batch,
        frame::GzipLevel::default(),
        0,
    );
    let commit = commit.map_err(|error| TestCaseError::fail(error.to_string()))?;
    apply(&mut bytes, Some(read), &commit);
    prop_assert_eq!(bytes.len() as u64, commit.file.len_bytes);
    Ok(())
}

proptest! {
    #[test]
    fn a_damaged_file_is_refused_or_gone_on_with(
        format in 0_usize..4,
        commits in 1_u32..4,
        harms in vec((any::<prop::sample::Index>(), harm()), 1..4),
    ) {
        let (mut bytes, written) = file(formats()[format], commits);
        for (at, harm) in harms {
            do_harm(&mut bytes, at, harm);
        }
        if let Ok(read) = scan(&origin(), written.name, &bytes) {
            go_on(bytes, &read)?;
        }
    }

    #[test]
    fn any_bytes_are_refused_or_gone_on_with(
        format in 0_usize..4,
        bytes in vec(any::<u8>(), 0..600),
    ) {
        let (_, written) = file(formats()[format], 1);
        if let Ok(read) = scan(&origin(), written.name, &bytes) {
            go_on(bytes, &read)?;
        }
    }

    /// A file that lost its end is refused, or it is what it was before the last commits.
    #[test]
    fn a_file_that_was_cut_never_says_more_than_it_holds(
        format in 0_usize..4,
        kept in any::<prop::sample::Index>(),
    ) {
        let format = formats()[format];
        let (bytes, written) = file(format, 3);
        let kept = kept.index(bytes.len());
        if let Ok(read) = scan(&origin(), written.name, &bytes[..kept]) {
            prop_assert_eq!(written.head_len_bytes, 0, "only lines without a frame can be cut");
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
    fn names_are_read_as_they_are_written_or_not_at_all(
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

/// The token of a change that the tests wrote.
fn last_token(number: u32) -> String {
    format!("{{\"_data\":\"82{number:08}\"}}")
}
