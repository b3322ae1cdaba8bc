//! Changes without a server, for tests of a lake alone.

use silt_core::batch::{Batch, Changes};
use silt_core::file::commit::{self, Commit};
use silt_core::file::format::FileFormat;
use silt_core::file::gzip::GzipLevel;
use silt_core::file::hour_file::{HourFile, HourFileName};
use silt_core::namespace::Namespace;
use silt_core::position::ClusterTime;

pub fn origin(collection: &str) -> Namespace {
    Namespace::new("mydb", collection)
}

/// A batch with these changes, all of 2024-01-15T14.
pub fn batch(numbers: std::ops::Range<u32>, format: FileFormat) -> Batch {
    let mut changes = Changes::default();
    for number in numbers {
        let write = |lines: &mut Vec<u8>, tokens: &mut String| {
            let token = format!("{{\"_data\":\"82{number:08}\"}}");
            let line = format!(
                "{{\"timestamp\":\"2024-01-15T14:00:00.000Z\",\"change\":{{\"_id\":{token},\
                 \"clusterTime\":{{\"$timestamp\":{{\"t\":1705327200,\"i\":{number}}}}},\
                 \"fullDocument\":{{\"number\":{number},\"text\":\"{}\"}}}}}}",
                "x".repeat(number as usize % 300)
            );
            lines.extend_from_slice(format.separator().before);
            lines.extend_from_slice(line.as_bytes());
            lines.extend_from_slice(format.separator().after);
            tokens.push_str(&token);
            Ok::<_, ()>(ClusterTime {
                seconds: 1_705_327_200,
                increment: number,
            })
        };
        changes.push(write).unwrap();
    }
    let mut all = changes.iter();
    let mut batch = Batch::begin(&all.next().unwrap(), 0);
    all.for_each(|change| batch.add(&change));
    batch
}

pub fn name(extension: &str) -> HourFileName {
    format!("2024-01-15-14.{extension}").parse().unwrap()
}

/// A commit of these changes.
pub fn commit(
    origin: &Namespace,
    base: Option<&HourFile>,
    name: HourFileName,
    numbers: std::ops::Range<u32>,
) -> Commit {
    commit::commit(
        origin,
        base,
        name,
        &batch(numbers, name.format).into(),
        GzipLevel::default(),
        1_705_327_200_000,
    )
    .unwrap()
}

/// The numbers of the changes in a file's bytes, in order. Panics if the file isn't valid.
pub fn numbers(bytes: &[u8], format: FileFormat) -> Vec<u32> {
    use silt_core::file::format::{Compression, OutputFormat};
    use std::io::Read;
    let mut text = String::new();
    match format.compression {
        Compression::None => text = String::from_utf8(bytes.to_vec()).unwrap(),
        Compression::Gzip => {
            flate2::read::MultiGzDecoder::new(bytes)
                .read_to_string(&mut text)
                .unwrap();
        }
    }
    let lines: Vec<serde_json::Value> = match format.output {
        OutputFormat::Json => {
            let document: serde_json::Value = serde_json::from_str(&text).unwrap();
            let changes = document["changes"].as_array().unwrap().clone();
            assert_eq!(document["metadata"]["count"], changes.len());
            changes
        }
        OutputFormat::Ndjson => text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    };
    lines
        .iter()
        .map(|line| line["change"]["fullDocument"]["number"].as_u64().unwrap() as u32)
        .collect()
}
