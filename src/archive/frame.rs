//! The bytes of an hour file: head, chunks, foot.
//!
//! A commit replaces the head, adds one chunk behind the others and moves the foot on, so the file
//! is valid at every instant. The head is padded, so that its length hardly ever changes and a
//! lake that can overwrite in place needn't move the body.

use std::io;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::hour_file::{Compression, FileFormat, HourFile, HourFileName, OutputFormat};
use super::origin::Origin;
use super::position::{ClusterTime, LastChange, ResumeToken};
pub use super::zip::GzipLevel;
use super::zip::{self, Trailer};

/// Heads are padded with spaces to a multiple of this.
const HEAD_STEP_BYTES: usize = 512;
const HEAD_END: &str = "\"changes\":[\n";
const FOOT: &[u8] = b"\n]}\n";

/// `metadata` of a `json` hour file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Metadata {
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

/// One commit, ready for a lake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The file's new beginning, in place of the old one. May be empty.
    pub head: Vec<u8>,
    /// What goes behind the file's chunks. Uncompressed it is the batch's own memory.
    pub chunk: Bytes,
    /// The file's end, the same in every commit of a file. May be empty.
    pub foot: Vec<u8>,
    /// What the file is when the commit is made.
    pub file: HourFile,
}

/// Encodes the commit of `batch` to the file `name`, which is `base` now, or not there.
///
/// # Errors
///
/// The compressor's.
pub fn commit(
    origin: &Origin,
    base: Option<&HourFile>,
    name: HourFileName,
    batch: &Arc<Batch>,
    gzip_level: GzipLevel,
    now_unix_ms: i64,
) -> io::Result<Commit> {
    let mut file = HourFile {
        name,
        len_bytes: 0,
        head_len_bytes: 0,
        foot_len_bytes: 0,
        // What a damaged file says of itself may be any number.
        commits: base.map_or(0, |base| base.commits).saturating_add(1),
        changes: base
            .map_or(0, |base| base.changes)
            .saturating_add(u64::from(batch.changes)),
        first_cluster_time: Some(
            base.and_then(|base| base.first_cluster_time)
                .unwrap_or(batch.first_cluster_time),
        ),
        last: batch.last.clone(),
    };
    let least_head_len_bytes = base.map_or(0, |base| base.head_len_bytes);
    let head = head(origin, &file, least_head_len_bytes, now_unix_ms)?;
    let chunk = chunk(&file, base.is_none(), batch, gzip_level)?;
    let foot = foot(name.format)?;
    let body_len_bytes = base.map_or(0, |base| {
        base.len_bytes - base.head_len_bytes - base.foot_len_bytes
    });
    file.head_len_bytes = head.len() as u64;
    file.foot_len_bytes = foot.len() as u64;
    file.len_bytes =
        file.head_len_bytes + body_len_bytes + chunk.len() as u64 + file.foot_len_bytes;
    Ok(Commit {
        head,
        chunk,
        foot,
        file,
    })
}

/// The most bytes that a commit of a batch of this length can add to a file.
#[must_use]
pub fn chunk_limit_bytes(batch_len_bytes: u64, compression: Compression) -> u64 {
    match compression {
        // With a little for the head, which may grow.
        Compression::None => batch_len_bytes + batch_len_bytes / 1024 + 256,
        // The quickest level takes nine bits for a byte that it knows no better word for; besides the frames
        // of a member and a trailer.
        Compression::Gzip => batch_len_bytes + batch_len_bytes / 8 + 256,
    }
}

fn head(
    origin: &Origin,
    file: &HourFile,
    least_len_bytes: u64,
    now_unix_ms: i64,
) -> io::Result<Vec<u8>> {
    if file.name.format.output == OutputFormat::Ndjson {
        return Ok(Vec::new());
    }
    let metadata = Metadata {
        collection: origin.collection.clone(),
        database: origin.database.clone(),
        timestamp: rfc3339(now_unix_ms),
        count: file.changes,
        dumper_version: env!("CARGO_PKG_VERSION").to_owned(),
        commits: file.commits,
        first_cluster_time: file.first_cluster_time.unwrap_or(file.last.cluster_time),
        last_cluster_time: file.last.cluster_time,
        last_resume_token: file.last.token.clone(),
    };
    let mut text = String::from("{\"metadata\":");
    text += &serde_json::to_string(&metadata)?;
    text.push(',');
    // A gzip member's frame is shorter than a step, so rounding down gives the old text's length.
    let least = usize::try_from(least_len_bytes).unwrap_or(0) / HEAD_STEP_BYTES * HEAD_STEP_BYTES;
    pad(&mut text, least);
    match file.name.format.compression {
        Compression::None => Ok(text.into_bytes()),
        Compression::Gzip => zip::stored_member(text.as_bytes()),
    }
}

/// Pads to at least `least_len_bytes` and a multiple of the step, the head's end included.
fn pad(text: &mut String, least_len_bytes: usize) {
    let len = (text.len() + HEAD_END.len()).max(least_len_bytes);
    let padded = len.next_multiple_of(HEAD_STEP_BYTES);
    text.extend(std::iter::repeat_n(
        ' ',
        padded - text.len() - HEAD_END.len(),
    ));
    text.push_str(HEAD_END);
}

/// The lines of a batch that a commit shares.
struct Lines(Arc<Batch>);

impl AsRef<[u8]> for Lines {
    fn as_ref(&self) -> &[u8] {
        &self.0.lines
    }
}

fn chunk(
    file: &HourFile,
    is_first: bool,
    batch: &Arc<Batch>,
    gzip_level: GzipLevel,
) -> io::Result<Bytes> {
    let FileFormat {
        output,
        compression,
    } = file.name.format;
    let mut text = Bytes::from_owner(Lines(Arc::clone(batch)));
    if is_first {
        let before = file.name.format.separator().before;
        text.advance(before.len());
    }
    if compression == Compression::None {
        return Ok(text);
    }
    let mut member = zip::member(&text, gzip_level)?;
    if output == OutputFormat::Ndjson {
        let trailer = Trailer {
            member_len_bytes: member.len() as u64,
            changes: file.changes,
            commits: file.commits,
        };
        member.extend(trailer.write()?);
    }
    Ok(member.into())
}

/// The end of every file of this format.
pub(super) fn foot(format: FileFormat) -> io::Result<Vec<u8>> {
    match (format.output, format.compression) {
        (OutputFormat::Ndjson, _) => Ok(Vec::new()),
        (OutputFormat::Json, Compression::None) => Ok(FOOT.to_vec()),
        (OutputFormat::Json, Compression::Gzip) => zip::stored_member(FOOT),
    }
}

/// Reads the text of a head, which ends with [`HEAD_END`].
pub(super) fn read_head(text: &[u8]) -> Result<Metadata, serde_json::Error> {
    #[derive(Deserialize)]
    struct Head {
        metadata: Metadata,
    }
    let mut document = text.to_vec();
    document.extend_from_slice(FOOT);
    serde_json::from_slice(&document).map(|head: Head| head.metadata)
}

/// Reads what identifies a change from its line.
pub(super) fn read_line(line: &[u8]) -> Result<(LastChange, Option<String>), serde_json::Error> {
    #[derive(Deserialize)]
    struct Line {
        change: Change,
    }
    #[derive(Deserialize)]
    struct Change {
        #[serde(rename = "_id")]
        token: ResumeToken,
        #[serde(rename = "clusterTime")]
        cluster_time: ClusterTime,
        ns: Option<Namespace>,
    }
    #[derive(Deserialize)]
    struct Namespace {
        db: Option<String>,
    }
    let Line { change } = serde_json::from_slice(line)?;
    let last = LastChange {
        token: change.token,
        cluster_time: change.cluster_time,
    };
    Ok((last, change.ns.and_then(|ns| ns.db)))
}

/// `2024-01-15T14:30:00.000Z`, of constant length.
#[must_use]
pub fn rfc3339(unix_ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(unix_ms)
        .unwrap_or_default()
        .to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Read;

    use super::super::batch::Changes;
    use super::super::hour_file::{Hour, Separator};
    use super::*;

    pub(crate) fn origin() -> Origin {
        Origin::new("mydb", "users")
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
        bytes.splice(..0, commit.head.iter().copied());
        bytes.extend_from_slice(&commit.chunk);
        bytes.extend_from_slice(&commit.foot);
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
        let origin = Origin {
            collection: collection.to_owned(),
            ..origin()
        };
        commit(&origin, base, name, &batch, GzipLevel::default(), 0).unwrap()
    }

    #[test]
    fn heads_are_whole_steps_long_whatever_they_hold() {
        let lens: Vec<usize> = (1..=HEAD_STEP_BYTES)
            .map(|len| {
                let Commit { head, .. } = commit_json(Compression::None, &"x".repeat(len), None);
                assert_eq!(read_head(&head).unwrap().collection.len(), len);
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
        // What a level finds no short word for.
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
                    next.chunk.len() as u64
                        <= chunk_limit_bytes(batch.len_bytes(), format.compression),
                    "{format:?} {level:?} {len}"
                );
            }
        }
    }
}
