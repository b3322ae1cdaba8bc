//! What an hour file holds, read from the file alone.
//!
//! [`Scan`] does no IO: it says which bytes it needs and is fed with them, so one implementation
//! serves every lake. It reads a few kilobytes however long the file is.

use std::ops::Range;

use crate::file::addition::{self, Extent};
use crate::file::ending::{EndScan, Ending, Says, Wants, broken};
use crate::file::frame::{self, Metadata};
use crate::file::hour_file::{HourFile, HourFileName};
use crate::namespace::origin::Origin;
use crate::position::LastChange;

/// A file that isn't what silt writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Something is missing or wrong in it.
    #[error("the file is damaged: {0}; restore it, or move it out of the lake")]
    Broken(String),
    /// It belongs to someone else.
    #[error(
        "the file holds changes of {found}, not of {expected}; give each database a lake or a \
         prefix (LAKE_URL) of its own"
    )]
    Foreign {
        /// Whose changes are in the file.
        found: String,
        /// Whose should be.
        expected: String,
    },
}

/// What a scan wants next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<F = HourFile> {
    /// These bytes of the file.
    Read(Range<u64>),
    /// Nothing more.
    Done(F),
}

/// Reads one hour file's state.
#[derive(Debug)]
pub struct Scan {
    collection: String,
    /// The database that it must be; `None` takes any.
    database: Option<String>,
    /// The database that the file names.
    found_database: Option<String>,
    name: HourFileName,
    end: EndScan,
}

impl Scan {
    /// Begins to read a file of this length. Feed it the bytes of each [`Step::Read`].
    ///
    /// # Errors
    ///
    /// The file is too short to be one of ours.
    pub fn begin(
        origin: &Origin,
        name: HourFileName,
        len_bytes: u64,
    ) -> Result<(Self, Range<u64>), Damage> {
        let Origin {
            database,
            collection,
            ..
        } = origin.clone();
        Self::start(Some(database), collection, name, len_bytes)
    }

    /// The same for a file of a collection of whatever database.
    ///
    /// # Errors
    ///
    /// The file is too short to be one of ours.
    pub fn begin_of_any_database(
        collection: &str,
        name: HourFileName,
        len_bytes: u64,
    ) -> Result<(Self, Range<u64>), Damage> {
        Self::start(None, collection.to_owned(), name, len_bytes)
    }

    /// The database whose changes the file holds, if it says so and was read.
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
        let (end, window) = EndScan::begin(name.format, len_bytes)?;
        let scan = Self {
            collection,
            database,
            found_database: None,
            name,
            end,
        };
        Ok((scan, window))
    }

    /// Takes the bytes that were asked for.
    ///
    /// # Errors
    ///
    /// The file is damaged or another collection's.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Step, Damage> {
        let Ending { extent, says } = match self.end.feed(bytes)? {
            Wants::Read(window) => return Ok(Step::Read(window)),
            Wants::Done(ending) => ending,
        };
        let file = match says {
            Says::Head(text) => self.of_head(extent, &text)?,
            Says::Line(line, trailer) => {
                let (commits, changes) =
                    trailer.map_or((0, 0), |trailer| (trailer.commits, trailer.changes));
                self.of_line(extent, &line, commits, changes)?
            }
        };
        Ok(Step::Done(file))
    }

    fn of_head(&mut self, extent: Extent, text: &[u8]) -> Result<HourFile, Damage> {
        let metadata: Metadata = addition::read_head(text).map_err(|error| broken(&error))?;
        self.check_origin(&metadata.database, Some(&metadata.collection))?;
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

    fn of_line(
        &mut self,
        extent: Extent,
        line: &[u8],
        commits: u32,
        changes: u64,
    ) -> Result<HourFile, Damage> {
        let (last, database) = frame::read_line(line).map_err(|error| broken(&error))?;
        if let Some(database) = database {
            self.check_origin(&database, None)?;
        }
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

    fn check_origin(&mut self, database: &str, collection: Option<&str>) -> Result<(), Damage> {
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
    use crate::file::frame::tests::{commit_json, file, formats, origin};
    use crate::file::hour_file::{Compression, OutputFormat};
    use crate::file::zip;

    /// Reads a file, and panics if that has no end.
    pub(crate) fn scan(
        origin: &Origin,
        name: HourFileName,
        bytes: &[u8],
    ) -> Result<HourFile, Damage> {
        noting_reads(origin, name, bytes, &mut Vec::new())
    }

    /// Scans, and notes how many bytes each read asks for.
    fn noting_reads(
        origin: &Origin,
        name: HourFileName,
        bytes: &[u8],
        reads: &mut Vec<u64>,
    ) -> Result<HourFile, Damage> {
        let (mut scan, mut range) = Scan::begin(origin, name, bytes.len() as u64)?;
        for _ in 0..100 {
            reads.push(range.end - range.start);
            let start = usize::try_from(range.start).unwrap();
            let end = usize::try_from(range.end).unwrap();
            match scan.feed(&bytes[start..end])? {
                Step::Read(next) => range = next,
                Step::Done(file) => return Ok(file),
            }
        }
        panic!("no end");
    }

    #[test]
    fn the_file_tells_what_the_writer_knew() {
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
    fn a_few_kilobytes_of_a_long_file_are_read() {
        for format in formats() {
            let (bytes, file) = file(format, 500);
            let mut reads = Vec::new();
            noting_reads(&origin(), file.name, &bytes, &mut reads).unwrap();
            assert!(reads.len() <= 2, "{format:?} {reads:?}");
            assert!(reads.iter().sum::<u64>() < 17_000, "{format:?} {reads:?}");
        }
    }

    #[test]
    fn a_last_line_is_found_however_long() {
        for (len, expected_reads) in [(10_000, 1), (100_000, 3)] {
            let (bytes, file) = file(formats()[2], 2);
            let mut long = b"no line of these is looked at\n".repeat(100_000);
            long.extend_from_slice(&bytes);
            let in_line = long.len() - 3;
            let field = format!(",\"fullDocument\":\"{}\"", "x".repeat(len));
            long.splice(in_line..in_line, field.bytes());
            let mut reads = Vec::new();
            let read = noting_reads(&origin(), file.name, &long, &mut reads).unwrap();
            assert_eq!(read.last, file.last);
            assert_eq!(reads.len(), expected_reads, "{reads:?}");
            assert!(reads.iter().sum::<u64>() < 400_000, "{reads:?}");
        }
    }

    #[test]
    fn the_only_line_is_the_last() {
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
    fn a_head_is_found_however_long_and_not_sought_for_ever() {
        let collection = "x".repeat(100_000);
        let origin = Origin {
            collection: collection.clone(),
            ..origin()
        };
        for compression in [Compression::None, Compression::Gzip] {
            let commit = commit_json(compression, &collection, None);
            let bytes = [
                commit.addition.head,
                commit.addition.chunk.to_vec(),
                commit.addition.foot,
            ]
            .concat();
            let read = scan(&origin, commit.file.name, &bytes).unwrap();
            assert_eq!(read, commit.file);

            let spaces = vec![b' '; 10 << 20];
            let endless = match compression {
                Compression::None => spaces,
                Compression::Gzip => zip::stored_member(&spaces).unwrap(),
            };
            let mut reads = Vec::new();
            noting_reads(&origin, commit.file.name, &endless, &mut reads).unwrap_err();
            assert!(reads.iter().sum::<u64>() < 2 << 20, "{reads:?}");
        }
    }

    #[test]
    fn a_file_of_any_database_says_whose_it_is() {
        for format in formats() {
            let (bytes, file) = file(format, 2);
            let collection = origin().collection;
            let len_bytes = bytes.len() as u64;
            let begun = Scan::begin_of_any_database(&collection, file.name, len_bytes);
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
        let other = Origin {
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
