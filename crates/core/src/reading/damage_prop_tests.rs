//! Damaged files are refused with the place of the damage, or they read as whole lines; nothing panics.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::round_trip_prop_tests::states;
use super::{FileParser, Inspection, Parsed};
use crate::file::commit::tests::{formats, origin};
use crate::file::damage::Damage;
use crate::file::damage_prop_tests::{apply_damage, damage};
use crate::file::format::{Compression, OutputFormat};

fn inspect(format: usize, bytes: &[u8], piece: usize) -> Result<u64, Damage> {
    let (_, written) = states(formats()[format], &[1]).pop().unwrap();
    let mut inspection = Inspection::new(origin(), written.name);
    for piece in bytes.chunks(piece) {
        inspection.feed(Bytes::copy_from_slice(piece), |_, _| Ok(()))?;
    }
    Ok(inspection.finish(|_, _| Ok(()))?.changes)
}

proptest! {
    #[test]
    fn a_damaged_file_is_refused_or_read(
        format in 0_usize..4,
        counts in vec(1_u32..6, 1..4),
        damages in vec((any::<prop::sample::Index>(), damage()), 1..4),
        piece in 1_usize..2000,
    ) {
        let (mut bytes, _) = states(formats()[format], &counts).pop().unwrap();
        for (at, damage) in damages {
            apply_damage(&mut bytes, at, damage);
        }
        if let Err(error) = inspect(format, &bytes, piece) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read(
        format in 0_usize..4,
        bytes in vec(any::<u8>(), 0..600),
        piece in 1_usize..200,
    ) {
        let _refused = inspect(format, &bytes, piece);
    }

    /// A file that lost its end is refused wherever that shows in the file.
    #[test]
    fn a_file_that_was_cut_is_refused(
        format in 0_usize..4,
        kept in any::<prop::sample::Index>(),
    ) {
        let states = states(formats()[format], &[2, 1, 3]);
        let (bytes, written) = &states[2];
        let kept = kept.index(bytes.len());
        if let Ok(changes) = inspect(format, &bytes[..kept], 700) {
            prop_assert_eq!(written.head_len_bytes, 0, "only files without a frame can be cut unseen");
            prop_assert!(changes < written.changes);
            let is_plain = written.name.format.compression == Compression::None;
            let is_earlier = states[..2].iter().any(|(bytes, _)| bytes.len() == kept);
            prop_assert!(is_plain || is_earlier);
        }
    }

    /// Compressed text is protected by its checksum, so only what gzip itself ignores may change.
    #[test]
    fn a_flipped_bit_in_compressed_text_is_found(
        format in prop::sample::select(&[1_usize, 3][..]),
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let (bytes, _) = states(formats()[format], &[2, 4]).pop().unwrap();
        let mut flipped = bytes.clone();
        let at = at.index(bytes.len());
        flipped[at] ^= 1 << bit;
        if let Ok(changes) = inspect(format, &flipped, 700) {
            prop_assert_eq!(changes, 6);
            let text = |bytes: &[u8]| {
                let mut parser = FileParser::new(formats()[format]);
                parser.feed(Bytes::copy_from_slice(bytes));
                parser.end();
                let mut text = Vec::new();
                while let Parsed::Block(block) = parser.parse().unwrap() {
                    block.lines().for_each(|line| text.extend_from_slice(line.bytes));
                }
                text
            };
            prop_assert_eq!(text(&flipped), text(&bytes));
        }
    }
}

#[test]
fn damage_names_the_line_and_its_offset() {
    let (bytes, written) = states(formats()[0], &[3]).pop().unwrap();
    let head_len = usize::try_from(written.head_len_bytes).unwrap();
    let line_len = bytes[head_len..].iter().position(|byte| *byte == b'\n');
    let at = head_len + line_len.unwrap() + 1;
    let mut broken = bytes.clone();
    broken[at + 1] = b'x';
    let error = inspect(0, &broken, 100).unwrap_err();
    let Damage::InLine {
        line, offset_bytes, ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((line, offset_bytes), (3, at as u64));
}

#[test]
fn changes_in_disorder_of_another_hour_or_collection_are_found() {
    for (format, bytes) in formats().iter().enumerate().filter_map(|(index, format)| {
        let is_plain = format.compression == Compression::None;
        let bytes = states(*format, &[3]).pop().unwrap().0;
        is_plain.then_some((index, bytes))
    }) {
        let text = String::from_utf8(bytes).unwrap();
        let with = |from: &str, to: &str| inspect(format, text.replace(from, to).as_bytes(), 999);
        assert_eq!(with("x", "x").unwrap(), 3);
        let error = with("\"i\":2", "\"i\":9").unwrap_err();
        assert!(error.to_string().contains("is before"), "{error}");
        let error = with("\"t\":7200,\"i\":2", "\"t\":3599,\"i\":2").unwrap_err();
        assert!(error.to_string().contains("another hour"), "{error}");
        let error = with("\"db\":\"mydb\"", "\"db\":\"other\"").unwrap_err();
        assert!(matches!(error, Damage::Foreign { .. }), "{error}");
        if formats()[format].output == OutputFormat::Json {
            let error = with("\"count\":3", "\"count\":4").unwrap_err();
            assert!(error.to_string().contains("counts 4"), "{error}");
            let error = with("},\n{", "}\n{").unwrap_err();
            assert!(error.to_string().contains("comma"), "{error}");
        }
    }
}
