//! Whatever the writer wrote, the reader returns, once and in order.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{Block, Change, FileParser, Inspection, Parsed, Place};
use crate::file::commit::commit;
use crate::file::commit::tests::{apply, batch, formats, origin};
use crate::file::damage::Damage;
use crate::file::format::FileFormat;
use crate::file::gzip::GzipLevel;
use crate::file::hour_file::{HourFile, HourFileName};

/// A file made by commits of so many changes each, and its states.
pub(super) fn states(format: FileFormat, counts: &[u32]) -> Vec<(Vec<u8>, HourFile)> {
    let (mut bytes, mut base, mut first) = (Vec::new(), None::<HourFile>, 1);
    let mut states = Vec::new();
    for count in counts {
        let batch = batch(first, *count, format.separator());
        let name = HourFileName {
            hour: batch.hour,
            part: 1,
            format,
        };
        let commit = commit(
            &origin(),
            base.as_ref(),
            name,
            &batch,
            GzipLevel::default(),
            7_200_000,
        );
        let commit = commit.unwrap();
        apply(&mut bytes, base.as_ref(), &commit);
        states.push((bytes.clone(), commit.file.clone()));
        base = Some(commit.file);
        first += count;
    }
    states
}

pub(super) fn numbers(block: &Block) -> Vec<(u32, Place)> {
    let number = |line: super::Line<'_>| {
        let change = Change::parse(line.bytes).unwrap();
        (change.cluster_time.increment, line.place)
    };
    block.lines().map(number).collect()
}

/// Feeds a file from `at` on in pieces, until `blocks_max` blocks were returned.
fn read(
    parser: &mut FileParser,
    bytes: &[u8],
    piece: usize,
    blocks_max: usize,
) -> Result<Vec<(u32, Place)>, Damage> {
    let (mut at, mut read, mut blocks) = (0, Vec::new(), 0);
    while blocks < blocks_max {
        match parser.parse()? {
            Parsed::Block(block) => {
                read.extend(numbers(&block));
                blocks += 1;
            }
            Parsed::NeedsInput if at == bytes.len() => parser.end(),
            Parsed::NeedsInput => {
                let end = bytes.len().min(at + piece);
                parser.feed(Bytes::copy_from_slice(&bytes[at..end]));
                at = end;
            }
            Parsed::Seek(offset) => at = usize::try_from(offset).unwrap(),
            Parsed::End => break,
        }
    }
    Ok(read)
}

proptest! {
    #[test]
    fn a_file_is_returned_however_it_is_cut(
        format in 0_usize..4,
        counts in vec(1_u32..30, 1..8),
        piece in 1_usize..3000,
    ) {
        let format = formats()[format];
        let (bytes, written) = states(format, &counts).pop().unwrap();
        let mut parser = FileParser::new(format);
        let read = read(&mut parser, &bytes, piece, usize::MAX).unwrap();
        let numbers: Vec<u32> = read.iter().map(|(number, _)| *number).collect();
        prop_assert_eq!(numbers, (1..=counts.iter().sum()).collect::<Vec<_>>());
        let head_lines = u64::from(written.head_len_bytes > 0);
        for (index, (_, place)) in read.iter().enumerate() {
            prop_assert_eq!(place.line, index as u64 + 1 + head_lines);
            prop_assert!(place.offset_bytes < written.len_bytes);
        }
        let mut inspection = Inspection::new(origin(), written.name);
        let mut seen = 0;
        for piece in bytes.chunks(piece) {
            let each = |_: &Change<'_>, _: &super::Line<'_>| { seen += 1; Ok(()) };
            inspection.feed(Bytes::copy_from_slice(piece), each).unwrap();
        }
        let summary = inspection.finish(|_, _| { seen += 1; Ok(()) }).unwrap();
        prop_assert_eq!(summary.changes, written.changes);
        prop_assert_eq!(seen, written.changes);
        prop_assert_eq!(summary.last, written.last);
        prop_assert_eq!(Some(summary.first.cluster_time), written.first_cluster_time);
        prop_assert_eq!(summary.len_bytes, written.len_bytes);
    }

    /// A reader that begins anew in a later state, wherever it stopped in the one before.
    #[test]
    fn reading_resumes_in_a_later_state_with_the_next_change(
        format in 0_usize..4,
        counts in vec(1_u32..20, 2..8),
        piece in 1_usize..2000,
        stops in vec(0_usize..4, 8),
    ) {
        let format = formats()[format];
        let states = states(format, &counts);
        let mut parser = FileParser::new(format);
        let mut returned = Vec::new();
        let last = states.len() - 1;
        for (index, (bytes, _)) in states.iter().enumerate() {
            parser = FileParser::resume(format, parser.resume_point());
            let blocks_max = if index == last { usize::MAX } else { stops[index] };
            returned.extend(read(&mut parser, bytes, piece, blocks_max).unwrap());
        }
        let numbers: Vec<u32> = returned.iter().map(|(number, _)| *number).collect();
        prop_assert_eq!(&numbers, &(1..=counts.iter().sum()).collect::<Vec<_>>());
        prop_assert_eq!(parser.resume_point().returned_lines(), numbers.len() as u64);
        let head_lines = u64::from(states[0].1.head_len_bytes > 0);
        for (index, (_, place)) in returned.iter().enumerate() {
            prop_assert_eq!(place.line, index as u64 + 1 + head_lines);
        }
    }
}

#[test]
fn a_line_is_named_by_its_offset() {
    for format in formats() {
        let (bytes, _) = states(format, &[3, 2]).pop().unwrap();
        let mut parser = FileParser::new(format);
        for (number, place) in read(&mut parser, &bytes, 500, usize::MAX).unwrap() {
            let at = usize::try_from(place.offset_bytes).unwrap();
            if format.compression == crate::file::format::Compression::None {
                let line = bytes[at..].split(|byte| *byte == b'\n').next().unwrap();
                let line = line.strip_suffix(b",").unwrap_or(line);
                let change = Change::parse(line).unwrap();
                assert_eq!(change.cluster_time.increment, number);
            } else {
                let (text, _) = crate::file::gzip::first_member(&bytes[at..])
                    .unwrap()
                    .unwrap();
                let text = String::from_utf8(text).unwrap();
                assert!(text.contains(&format!("\"i\":{number}}}")), "{text}");
            }
        }
    }
}

#[test]
fn another_file_in_the_same_place_is_not_resumed() {
    for format in formats() {
        let (bytes, _) = states(format, &[3]).pop().unwrap();
        let mut parser = FileParser::new(format);
        read(&mut parser, &bytes, 10_000, usize::MAX).unwrap();
        let mut parser = FileParser::resume(format, parser.resume_point());
        let (mut other, written) = states(format, &[2]).pop().unwrap();
        if format.compression == crate::file::format::Compression::None {
            let at = usize::try_from(written.head_len_bytes).unwrap();
            other = bytes.clone();
            let text = String::from_utf8(other.split_off(at)).unwrap();
            other.extend(text.replace("00000003", "00000007").into_bytes());
        }
        read(&mut parser, &other, 10_000, usize::MAX).unwrap_err();
    }
}

#[test]
fn a_long_line_is_returned_in_one_piece() {
    let format = formats()[2];
    let (mut bytes, _) = states(format, &[1]).pop().unwrap();
    let at = bytes.len() - 3;
    let field = format!(",\"fullDocument\":\"{}\"", "x".repeat(20 << 20));
    bytes.splice(at..at, field.bytes());
    let mut parser = FileParser::new(format);
    let read = read(&mut parser, &bytes, 64 << 10, usize::MAX).unwrap();
    assert_eq!(read.len(), 1);
}
