//! The formats of hour files and snapshot parts, and their file extensions.

/// What surrounds the lines of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputFormat {
    /// One JSON document: `metadata`, and `changes` with one change per line.
    Json,
    /// Only the lines.
    Ndjson,
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Uncompressed.
    None,
    /// gzip, with one member per commit.
    Gzip,
}

/// The format of a file. Its extension says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileFormat {
    /// What surrounds the lines.
    pub output: OutputFormat,
    /// How the file is compressed.
    pub compression: Compression,
}

impl FileFormat {
    /// Every format.
    pub const ALL: [Self; 4] = {
        let [json, ndjson] = [OutputFormat::Json, OutputFormat::Ndjson];
        let [plain, gzip] = [Compression::None, Compression::Gzip];
        [
            Self::new(json, plain),
            Self::new(json, gzip),
            Self::new(ndjson, plain),
            Self::new(ndjson, gzip),
        ]
    };

    const fn new(output: OutputFormat, compression: Compression) -> Self {
        Self {
            output,
            compression,
        }
    }

    /// The file name's extension, without the leading dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match (self.output, self.compression) {
            (OutputFormat::Json, Compression::None) => "json",
            (OutputFormat::Json, Compression::Gzip) => "json.gz",
            (OutputFormat::Ndjson, Compression::None) => "ndjson",
            (OutputFormat::Ndjson, Compression::Gzip) => "ndjson.gz",
        }
    }

    /// The format with this extension, if there is one.
    #[must_use]
    pub fn of_extension(extension: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|format| format.extension() == extension)
    }

    /// What separates two changes.
    #[must_use]
    pub fn separator(self) -> Separator {
        let (before, after): (&[u8], &[u8]) = match self.output {
            OutputFormat::Json => (b",\n", b""),
            OutputFormat::Ndjson => (b"", b"\n"),
        };
        Separator { before, after }
    }
}

/// What separates two changes, as parts of their lines. The lines of a batch are written to a file unchanged;
/// only the first line of a file omits what comes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Separator {
    /// Before each line.
    pub before: &'static [u8],
    /// After each line.
    pub after: &'static [u8],
}
