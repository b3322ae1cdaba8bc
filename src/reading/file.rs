//! Reads one file.

use super::read_ahead::ReadAhead;
use crate::lake::{FileState, Lake, LakeError, LakePath};
use silt_core::file::format::FileFormat;
use silt_core::namespace::Namespace;
use silt_core::reading::{Block, FileParser, Parsed};

/// Reads one file in one state. If the file changes meanwhile, reading fails with [`LakeError::Stale`], and
/// [`FileReader::reopen`] continues in the new state.
pub struct FileReader<'a> {
    lake: &'a dyn Lake,
    path: LakePath,
    format: FileFormat,
    namespace: Option<Namespace>,
    state: FileState,
    parser: FileParser,
    bytes: ReadAhead<'a>,
}

impl<'a> FileReader<'a> {
    /// A reader of a file in this state. If `namespace` is given, the file must hold what belongs to it.
    #[must_use]
    pub fn new(
        lake: &'a dyn Lake,
        path: LakePath,
        format: FileFormat,
        namespace: Option<Namespace>,
        state: FileState,
    ) -> Self {
        let parser = FileParser::new(format);
        Self {
            bytes: ReadAhead::new(lake, &path, &state, 0),
            parser: of(parser, namespace.as_ref()),
            lake,
            path,
            format,
            namespace,
            state,
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &LakePath {
        &self.path
    }

    /// Lines that were returned so far.
    #[must_use]
    pub fn returned_lines(&self) -> u64 {
        self.parser.resume_point().returned_lines()
    }

    /// The next lines; `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// The lake's; [`LakeError::Damaged`] with line and offset if the file isn't what silt writes.
    pub async fn next(&mut self) -> Result<Option<Block>, LakeError> {
        loop {
            let parsed = self.parser.parse();
            let parsed = parsed.map_err(|damage| LakeError::Damaged {
                path: self.path.to_string(),
                damage,
            })?;
            match parsed {
                Parsed::Block(block) => return Ok(Some(block)),
                Parsed::End => return Ok(None),
                Parsed::NeedsInput => match self.bytes.next().await? {
                    Some(bytes) => self.parser.feed(bytes),
                    None => self.parser.end(),
                },
                Parsed::Seek(offset_bytes) => {
                    self.bytes = ReadAhead::new(self.lake, &self.path, &self.state, offset_bytes);
                }
            }
        }
    }

    /// Continues in the state that the file has now, after the last line that was returned. False if the file
    /// is gone.
    ///
    /// # Errors
    ///
    /// The lake's.
    pub async fn reopen(&mut self) -> Result<bool, LakeError> {
        let Some(state) = self.lake.open(&self.path).await? else {
            return Ok(false);
        };
        let parser = FileParser::resume(self.format, self.parser.resume_point());
        self.parser = of(parser, self.namespace.as_ref());
        self.bytes = ReadAhead::new(self.lake, &self.path, &state, 0);
        self.state = state;
        Ok(true)
    }

    /// Counts the lines that are left.
    ///
    /// # Errors
    ///
    /// Those of [`FileReader::next`].
    pub async fn count(mut self) -> Result<u64, LakeError> {
        while self.next().await?.is_some() {}
        Ok(self.returned_lines())
    }
}

fn of(parser: FileParser, namespace: Option<&Namespace>) -> FileParser {
    match namespace {
        Some(namespace) => parser.of(namespace.clone()),
        None => parser,
    }
}
