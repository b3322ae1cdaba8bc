//! The time of an hour file's first change, read from the beginning of the file.

use std::io::{BufRead as _, BufReader};

use flate2::read::MultiGzDecoder;

use crate::file::commit;
use crate::file::format::{Compression, FileFormat, OutputFormat};
use crate::position::ClusterTime;

/// The cluster time of the first line, if these first bytes of an `ndjson` file contain the whole line.
#[must_use]
pub fn cluster_time(format: FileFormat, beginning: &[u8]) -> Option<ClusterTime> {
    if format.output == OutputFormat::Json {
        return None;
    }
    let line = match format.compression {
        Compression::None => first_line(beginning)?,
        Compression::Gzip => first_line(MultiGzDecoder::new(beginning))?,
    };
    let (first, _) = commit::read_line(&line).ok()?;
    Some(first.cluster_time)
}

fn first_line(bytes: impl std::io::Read) -> Option<Vec<u8>> {
    // Bounds what a few compressed bytes can expand to. An event has at most 16 MiB, and its Extended JSON is a few
    // times as long.
    const LINE_LIMIT_BYTES: u64 = 256 << 20;
    let mut line = Vec::new();
    // A member that is cut off after the first line ends in an error, which is irrelevant here.
    let _ =
        BufReader::new(std::io::Read::take(bytes, LINE_LIMIT_BYTES)).read_until(b'\n', &mut line);
    (line.pop()? == b'\n').then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::commit::tests::{file, formats};

    #[test]
    fn the_time_is_known_once_the_first_line_is_complete() {
        for format in formats() {
            let (bytes, written) = file(format, 5);
            let found = cluster_time(format, &bytes);
            if format.output == OutputFormat::Json {
                assert_eq!(found, None);
                continue;
            }
            assert_eq!(found, written.first_cluster_time, "{format:?}");
            assert_eq!(cluster_time(format, &bytes[..30]), None, "{format:?}");
        }
    }
}
