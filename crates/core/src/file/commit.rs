//! A commit of a batch to an hour file, and what identifies a change in its line.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::file::gzip::GzipLevel;
use crate::file::hour_file::{HourFile, HourFileName};
use crate::file::layout::{self, Extent, Totals};
use crate::namespace::Namespace;
use crate::position::{ClusterTime, ResumeToken};
use crate::time::rfc3339;

/// The `metadata` of a `json` hour file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Metadata {
    pub collection: String,
    pub database: String,
    /// When the last commit was made, RFC 3339.
    pub timestamp: String,
    /// Changes in the file.
    pub count: u64,
    pub dumper_version: String,
    pub commits: u32,
    pub first_cluster_time: ClusterTime,
    pub last_cluster_time: ClusterTime,
    pub last_resume_token: ResumeToken,
}

/// One commit to an hour file.
pub type Commit = layout::Commit<HourFile>;

/// Encodes the commit of `batch` to the file `name`. `base` is the file as it is now; `None` if there is none.
///
/// # Errors
///
/// The compressor failed.
pub fn commit(
    origin: &Namespace,
    base: Option<&HourFile>,
    name: HourFileName,
    batch: &Arc<Batch>,
    gzip_level: GzipLevel,
    now_unix_ms: i64,
) -> io::Result<Commit> {
    // A damaged file can claim any number.
    let commits = base.map_or(0, |base| base.commits).saturating_add(1);
    let changes = base
        .map_or(0, |base| base.changes)
        .saturating_add(u64::from(batch.changes));
    let first_cluster_time = base
        .and_then(|base| base.first_cluster_time)
        .unwrap_or(batch.first_cluster_time);
    let metadata = Metadata {
        collection: origin.collection.clone(),
        database: origin.database.clone(),
        timestamp: rfc3339(now_unix_ms),
        count: changes,
        dumper_version: env!("CARGO_PKG_VERSION").to_owned(),
        commits,
        first_cluster_time,
        last_cluster_time: batch.last.cluster_time,
        last_resume_token: batch.last.token.clone(),
    };
    let totals = Totals {
        commits,
        lines: changes,
    };
    let lines = Bytes::from_owner(Lines(Arc::clone(batch)));
    let base = base.map(HourFile::extent);
    let (addition, extent) =
        layout::frame(name.format, base, &metadata, lines, totals, gzip_level)?;
    let Extent {
        len_bytes,
        head_len_bytes,
        foot_len_bytes,
    } = extent;
    let file = HourFile {
        name,
        len_bytes,
        head_len_bytes,
        foot_len_bytes,
        commits,
        changes,
        first_cluster_time: Some(first_cluster_time),
        last: batch.last.clone(),
    };
    Ok(Commit { addition, file })
}

/// The lines of a batch, whose memory the commit shares.
struct Lines(Arc<Batch>);

impl AsRef<[u8]> for Lines {
    fn as_ref(&self) -> &[u8] {
        &self.0.lines
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Read;

    use super::*;
    use crate::batch::Changes;
    use crate::file::format::{Compression, FileFormat, OutputFormat, Separator};
    use crate::file::hour_file::Hour;
    use crate::file::layout::HEAD_STEP_BYTES;

    pub(crate) fn origin() -> Namespace {
        Namespace::new("mydb", "users")
    }

    /// A batch of changes as the source writes them, numbered from `first`.
    pub(crate) fn batch(first: u32, count: u32, separator: Separator) -> Arc<Batch> {
        let mut changes = Changes::default();
        for number in first..first + count {
            let write = |lines: &mut Vec<u8>, tokens: &mut String| {
                let token = format!("{{\"_data\":\"82{number:08}\"}}");
                let time = format!("{{\"$timestamp\":{{\"t\":7200,\"i\":{number}}}}}");
                let line = format!(
                    "{{\"timestamp\":\"1970-01-01T02:00:00.000Z\",\"change\":{{\"_id\":{token},\
                     \"clusterTime\":{time},\"ns\":{{\"db\":\"mydb\",\"coll\":\"users\"}}}}}}"
                );
                lines.extend_from_slice(separator.before);
                lines.extend_from_slice(line.as_bytes());
                lines.extend_from_slice(separator.after);
                tokens.push_str(&token);
                Ok::<_, ()>(ClusterTime {
                    seconds: 7200,
                    increment: number,
                })
            };
            changes.push(write).unwrap();
        }
        let mut made: Option<Batch> = None;
        for change in changes.iter() {
            match &mut made {
                None => made = Some(Batch::begin(&change, 0)),
                Some(batch) => batch.add(&change),
            }
        }
        made.unwrap().into()
    }

    /// What a lake does with a commit.
    pub(crate) fn apply(bytes: &mut Vec<u8>, base: Option<&HourFile>, commit: &Commit) {
        if let Some(base) = base {
            bytes.truncate(bytes.len() - usize::try_from(base.foot_len_bytes).unwrap());
            bytes.drain(..usize::try_from(base.head_len_bytes).unwrap());
        }
        bytes.splice(..0, commit.addition.head.iter().copied());
        bytes.extend_from_slice(&commit.addition.chunk);
        bytes.extend_from_slice(&commit.addition.foot);
    }

    pub(crate) fn formats() -> [FileFormat; 4] {
        ["json", "json.gz", "ndjson", "ndjson.gz"].map(|extension| {
            format!("2024-01-01-00.{extension}")
                .parse::<HourFileName>()
                .unwrap()
                .format
        })
    }

    /// A file of `commits` commits with three changes each.
    pub(crate) fn file(format: FileFormat, commits: u32) -> (Vec<u8>, HourFile) {
        let hour = Hour::of(ClusterTime {
            seconds: 7200,
            increment: 0,
        });
        let name = HourFileName {
            hour,
            part: 1,
            format,
        };
        let mut bytes = Vec::new();
        let mut base: Option<HourFile> = None;
        for number in 0..commits {
            let batch = batch(number * 3 + 1, 3, format.separator());
            let commit = commit(
                &origin(),
                base.as_ref(),
                name,
                &batch,
                GzipLevel::default(),
                7_200_000,
            )
            .unwrap();
            apply(&mut bytes, base.as_ref(), &commit);
            assert_eq!(bytes.len() as u64, commit.file.len_bytes);
            base = Some(commit.file);
        }
        (bytes, base.unwrap())
    }

    fn text(bytes: &[u8], format: FileFormat) -> String {
        let mut text = String::new();
        match format.compression {
            Compression::None => text.push_str(std::str::from_utf8(bytes).unwrap()),
            Compression::Gzip => {
                flate2::read::MultiGzDecoder::new(bytes)
                    .read_to_string(&mut text)
                    .unwrap();
            }
        }
        text
    }

    #[test]
    fn every_commit_leaves_a_valid_file_with_every_change_once() {
        for format in formats() {
            for commits in 1..5 {
                let (bytes, file) = file(format, commits);
                let text = text(&bytes, format);
                let lines: Vec<serde_json::Value> = match format.output {
                    OutputFormat::Ndjson => text
                        .lines()
                        .map(|line| serde_json::from_str(line).unwrap())
                        .collect(),
                    OutputFormat::Json => {
                        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
                        assert_eq!(document["metadata"]["count"], commits * 3);
                        assert_eq!(document["metadata"]["collection"], "users");
                        let written = &document["metadata"]["timestamp"];
                        assert_eq!(written, "1970-01-01T02:00:00.000Z");
                        assert_eq!(text.lines().count(), commits as usize * 3 + 2);
                        document["changes"].as_array().unwrap().clone()
                    }
                };
                let numbers: Vec<u64> = lines
                    .iter()
                    .map(|line| {
                        line["change"]["clusterTime"]["$timestamp"]["i"]
                            .as_u64()
                            .unwrap()
                    })
                    .collect();
                assert_eq!(numbers, (1..=u64::from(commits) * 3).collect::<Vec<_>>());
                assert_eq!(
                    (file.commits, file.changes),
                    (commits, u64::from(commits) * 3)
                );
            }
        }
    }

    #[test]
    fn heads_keep_their_length_from_commit_to_commit() {
        for format in formats() {
            let lens: Vec<u64> = [1, 2, 40]
                .map(|commits| file(format, commits).1.head_len_bytes)
                .to_vec();
            assert!(
                lens.iter().all(|len| *len == lens[0]),
                "{format:?} {lens:?}"
            );
        }
    }

    /// One commit to a new `json` file.
    pub(crate) fn commit_json(
        compression: Compression,
        collection: &str,
        base: Option<&HourFile>,
    ) -> Commit {
        let format = FileFormat {
            output: OutputFormat::Json,
            compression,
        };
        let batch = batch(1, 1, format.separator());
        let name = HourFileName {
            hour: batch.hour,
            part: 1,
            format,
        };
        let origin = Namespace {
            collection: collection.to_owned(),
            ..origin()
        };
        commit(&origin, base, name, &batch, GzipLevel::default(), 0).unwrap()
    }

    #[test]
    fn heads_are_whole_steps_long_whatever_they_hold() {
        let lens: Vec<usize> = (1..=HEAD_STEP_BYTES)
            .map(|len| {
                let head = commit_json(Compression::None, &"x".repeat(len), None)
                    .addition
                    .head;
                let metadata: Metadata = layout::read_head(&head).unwrap();
                assert_eq!(metadata.collection.len(), len);
                head.len()
            })
            .collect();
        assert!(
            lens.iter().all(|len| len % HEAD_STEP_BYTES == 0),
            "{lens:?}"
        );
        assert_eq!(lens[HEAD_STEP_BYTES - 1] - lens[0], HEAD_STEP_BYTES);
    }

    #[test]
    fn a_head_never_gets_shorter() {
        for compression in [Compression::None, Compression::Gzip] {
            let long = commit_json(compression, &"x".repeat(3000), None).file;
            let short = commit_json(compression, "x", None).file;
            assert!(short.head_len_bytes < long.head_len_bytes);
            let next = commit_json(compression, "x", Some(&long)).file;
            assert_eq!(next.head_len_bytes, long.head_len_bytes);
        }
    }

    #[test]
    fn a_chunk_is_never_longer_than_its_limit() {
        let mut random = fastrand::Rng::with_seed(7);
        // Bytes that a level can't compress.
        let least = [0, 144];
        for ((format, least), level) in formats()
            .into_iter()
            .flat_map(|format| least.map(|least| (format, least)))
            .flat_map(|case| [1, 2, 6, 9].map(|level| (case, GzipLevel::new(level))))
        {
            for len in [1, 100, 10_000, 1_000_000] {
                let Separator { before, after } = format.separator();
                let noise = std::iter::repeat_with(|| random.u8(least..));
                let noise: Vec<u8> = noise.take(len).collect();
                let mut batch = Batch::clone(&batch(1, 1, format.separator()));
                batch.lines = [before, &noise, after].concat();
                let batch = Arc::new(batch);
                let name = HourFileName {
                    hour: batch.hour,
                    part: 1,
                    format,
                };
                let base = commit(&origin(), None, name, &batch, level, 0).unwrap();
                let next = commit(&origin(), Some(&base.file), name, &batch, level, 0).unwrap();
                assert!(
                    next.addition.chunk.len() as u64
                        <= layout::chunk_limit_bytes(batch.len_bytes(), format.compression),
                    "{format:?} {level:?} {len}"
                );
            }
        }
    }
}
