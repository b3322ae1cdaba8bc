//! What an hour file holds, read from the file alone.
//!
//! [`HourFileScan`] does no IO: it says which bytes it needs and is given them, so one implementation serves
//! every lake.

use std::ops::Range;

use crate::file::commit::Metadata;
use crate::file::damage::{Damage, broken};
use crate::file::hour_file::{HourFile, HourFileName};
use crate::file::layout::{self, Extent};
use crate::file::tail_scan::{Step, Tail, TailScan, TailSource};
use crate::namespace::Namespace;
use crate::position::LastChange;
use crate::reading::Change;

/// Reads one hour file's state.
#[derive(Debug)]
pub struct HourFileScan {
    collection: String,
    /// The database that the file must be of; `None` accepts any.
    database: Option<String>,
    /// The database that the file states.
    found_database: Option<String>,
    name: HourFileName,
    tail: TailScan,
}

impl HourFileScan {
    /// Begins to read a file of this length. Pass the bytes of each [`Step::Read`] to [`Self::feed`].
    ///
    /// # Errors
    ///
    /// The file is too short to be silt's.
    pub fn begin(
        origin: &Namespace,
        name: HourFileName,
        len_bytes: u64,
    ) -> Result<(Self, Range<u64>), Damage> {
        let Namespace {
            database,
            collection,
            ..
        } = origin.clone();
        Self::start(Some(database), collection, name, len_bytes)
    }

    /// Like [`Self::begin`], for a collection of any database.
    ///
    /// # Errors
    ///
    /// The file is too short to be silt's.
    pub fn begin_of_any_database(
        collection: &str,
        name: HourFileName,
        len_bytes: u64,
    ) -> Result<(Self, Range<u64>), Damage> {
        Self::start(None, collection.to_owned(), name, len_bytes)
    }

    /// The database in the file, once it is read, if the file states it.
    #[must_use]
    pub fn found_database(&self) -> Option<&str> {
        self.found_database.as_deref()
    }

    fn start(
        database: Option<String>,
        collection: String,
        name: HourFileName,
        len_bytes: u64,
    ) -> Result<(Self, Range<u64>), Damage> {
        let (tail, window) = TailScan::begin(name.format, len_bytes)?;
        let scan = Self {
            collection,
            database,
            found_database: None,
            name,
            tail,
        };
        Ok((scan, window))
    }

    /// Takes the bytes of the last [`Step::Read`].
    ///
    /// # Errors
    ///
    /// The file is damaged, or belongs to another collection.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Step<HourFile>, Damage> {
        let Tail { extent, source } = match self.tail.feed(bytes)? {
            Step::Read(window) => return Ok(Step::Read(window)),
            Step::Done(tail) => tail,
        };
        let file = match source {
            TailSource::Head(text) => self.read_head(extent, &text)?,
            TailSource::Line(line, trailer) => {
                let (commits, changes) =
                    trailer.map_or((0, 0), |trailer| (trailer.commits, trailer.changes));
                self.read_line(extent, &line, commits, changes)?
            }
        };
        Ok(Step::Done(file))
    }

    fn read_head(&mut self, extent: Extent, text: &[u8]) -> Result<HourFile, Damage> {
        let metadata: Metadata = layout::read_head(text).map_err(|error| broken(&error))?;
        self.check_namespace(&metadata.database, Some(&metadata.collection))?;
        Ok(HourFile {
            name: self.name,
            len_bytes: extent.len_bytes,
            head_len_bytes: extent.head_len_bytes,
            foot_len_bytes: extent.foot_len_bytes,
            commits: metadata.commits,
            changes: metadata.count,
            first_cluster_time: Some(metadata.first_cluster_time),
            last: LastChange {
                token: metadata.last_resume_token,
                cluster_time: metadata.last_cluster_time,
            },
        })
    }

    fn read_line(
        &mut self,
        extent: Extent,
        line: &[u8],
        commits: u32,
        changes: u64,
    ) -> Result<HourFile, Damage> {
        let change = Change::parse(line).map_err(|error| broken(&error))?;
        if let Some(database) = &change.database {
            self.check_namespace(database, None)?;
        }
        let last = change.identity().map_err(|error| broken(&error))?;
        Ok(HourFile {
            name: self.name,
            len_bytes: extent.len_bytes,
            head_len_bytes: extent.head_len_bytes,
            foot_len_bytes: extent.foot_len_bytes,
            commits,
            changes,
            first_cluster_time: None,
            last,
        })
    }

    fn check_namespace(&mut self, database: &str, collection: Option<&str>) -> Result<(), Damage> {
        let collection = collection.unwrap_or(&self.collection);
        let expected = self.database.as_deref().unwrap_or(database);
        if database == expected && collection == self.collection {
            self.found_database = Some(database.to_owned());
            return Ok(());
        }
        Err(Damage::Foreign {
            found: format!("{database}.{collection}"),
            expected: format!("{expected}.{}", self.collection),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::file::commit::tests::{commit_json, file, formats, origin};
    use crate::file::format::{Compression, OutputFormat};
    use crate::file::gzip::{self, GzipLevel};

    /// Reads a file. Panics if the scan never ends.
    pub(crate) fn scan(
        origin: &Namespace,
        name: HourFileName,
        bytes: &[u8],
    ) -> Result<HourFile, Damage> {
        scan_recording_reads(origin, name, bytes, &mut Vec::new())
    }

    /// Reads a file, and records how many bytes each read asks for.
    fn scan_recording_reads(
        origin: &Namespace,
        name: HourFileName,
        bytes: &[u8],
        reads: &mut Vec<u64>,
    ) -> Result<HourFile, Damage> {
        let (mut scan, mut range) = HourFileScan::begin(origin, name, bytes.len() as u64)?;
        for _ in 0..100 {
            reads.push(range.end - range.start);
            let start = usize::try_from(range.start).unwrap();
            let end = usize::try_from(range.end).unwrap();
            match scan.feed(&bytes[start..end])? {
                Step::Read(next) => range = next,
                Step::Done(file) => return Ok(file),
            }
        }
        panic!("the scan never ends");
    }

    #[test]
    fn a_scan_returns_what_the_writer_knew() {
        for format in formats() {
            for commits in [1, 2, 50] {
                let (bytes, written) = file(format, commits);
                let read = scan(&origin(), written.name, &bytes).unwrap();
                assert_eq!(read.last, written.last);
                assert_eq!(read.len_bytes, written.len_bytes);
                assert_eq!(read.head_len_bytes, written.head_len_bytes);
                assert_eq!(read.foot_len_bytes, written.foot_len_bytes);
                if format.output == OutputFormat::Json || format.compression == Compression::Gzip {
                    assert_eq!(
                        (read.commits, read.changes),
                        (written.commits, written.changes)
                    );
                }
            }
        }
    }

    #[test]
    fn only_a_few_kilobytes_of_a_long_file_are_read() {
        for format in formats() {
            let (bytes, file) = file(format, 500);
            let mut reads = Vec::new();
            scan_recording_reads(&origin(), file.name, &bytes, &mut reads).unwrap();
            assert!(reads.len() <= 2, "{format:?} {reads:?}");
            assert!(reads.iter().sum::<u64>() < 17_000, "{format:?} {reads:?}");
        }
    }

    #[test]
    fn a_last_line_of_any_length_is_found() {
        for (len, expected_reads) in [(10_000, 1), (100_000, 3)] {
            let (bytes, file) = file(formats()[2], 2);
            let mut long = b"none of these lines is read\n".repeat(100_000);
            long.extend_from_slice(&bytes);
            let in_line = long.len() - 3;
            let field = format!(",\"fullDocument\":\"{}\"", "x".repeat(len));
            long.splice(in_line..in_line, field.bytes());
            let mut reads = Vec::new();
            let read = scan_recording_reads(&origin(), file.name, &long, &mut reads).unwrap();
            assert_eq!(read.last, file.last);
            assert_eq!(reads.len(), expected_reads, "{reads:?}");
            assert!(reads.iter().sum::<u64>() < 400_000, "{reads:?}");
        }
    }

    #[test]
    fn a_single_line_is_the_last() {
        for (format, len) in [(formats()[2], 1), (formats()[2], 100_000)] {
            let (bytes, file) = file(format, 1);
            let first_end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
            let mut line = bytes[..=first_end].to_vec();
            line.splice(..0, " ".repeat(len).bytes());
            let read = scan(&origin(), file.name, &line).unwrap();
            assert_eq!(read.last.cluster_time.increment, 1);
        }
    }

    #[test]
    fn a_head_of_any_length_is_found() {
        // A token is twice as long as its `_id`, which may have 16 MiB.
        for (len, compression) in [
            (100_000, Compression::None),
            (100_000, Compression::Gzip),
            (33 << 20, Compression::None),
            (2 << 20, Compression::Gzip),
        ] {
            let collection = "x".repeat(len);
            let origin = Namespace {
                collection: collection.clone(),
                ..origin()
            };
            let commit = commit_json(compression, &collection, None);
            let bytes = [
                commit.addition.head,
                commit.addition.chunk.to_vec(),
                commit.addition.foot,
            ]
            .concat();
            let read = scan(&origin, commit.file.name, &bytes).unwrap();
            assert_eq!(read, commit.file);
        }
    }

    #[test]
    fn a_head_that_no_reader_takes_is_not_written() {
        let limit_bytes = usize::try_from(layout::HEAD_LIMIT_BYTES).unwrap();
        let format = formats()[0];
        let totals = layout::Totals {
            commits: 1,
            lines: 1,
        };
        let frame = |metadata: &str| {
            let lines = bytes::Bytes::from_static(b",\n{}");
            layout::frame(format, None, &metadata, lines, totals, GzipLevel::default())
        };
        assert!(frame(&"x".repeat(limit_bytes - 512)).is_ok());
        let error = frame(&"x".repeat(limit_bytes)).unwrap_err();
        assert!(
            error.to_string().contains("a reader takes at most"),
            "{error}"
        );
    }

    #[test]
    fn no_head_is_searched_for_in_other_bytes() {
        for compression in [Compression::None, Compression::Gzip] {
            let name = commit_json(compression, "users", None).file.name;
            let spaces = vec![b' '; 10 << 20];
            let endless = match compression {
                Compression::None => spaces,
                Compression::Gzip => gzip::stored_member(&spaces).unwrap(),
            };
            let mut reads = Vec::new();
            scan_recording_reads(&origin(), name, &endless, &mut reads).unwrap_err();
            assert_eq!(reads.len(), 1, "{reads:?}");
        }
    }

    #[test]
    fn a_scan_of_any_database_returns_the_database() {
        for format in formats() {
            let (bytes, file) = file(format, 2);
            let collection = origin().collection;
            let len_bytes = bytes.len() as u64;
            let begun = HourFileScan::begin_of_any_database(&collection, file.name, len_bytes);
            let (mut scan, mut range) = begun.unwrap();
            let range_of = |range: &Range<u64>| {
                usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()
            };
            while let Step::Read(next) = scan.feed(&bytes[range_of(&range)]).unwrap() {
                range = next;
            }
            assert_eq!(scan.found_database(), Some(origin().database.as_str()));
        }
    }

    #[test]
    fn a_file_of_another_database_is_refused() {
        let other = Namespace {
            database: "other".into(),
            ..origin()
        };
        for format in formats() {
            let (bytes, file) = file(format, 2);
            let error = scan(&other, file.name, &bytes).unwrap_err();
            assert!(matches!(error, Damage::Foreign { .. }), "{error}");
        }
    }
}
