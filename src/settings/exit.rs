//! Why silt exits without running a command.

use std::fmt;

use super::problems::Problems;

/// Why silt exits without running a command. `Display` gives the text to print.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exit {
    /// Help or version, for the standard output.
    Answer(String),
    /// The command line is wrong.
    Usage(String),
    /// Settings are wrong.
    Problems(#[from] Problems),
    /// Settings are wrong, for commands with exit status 0 or 1: `check` and `healthcheck`.
    Unfit(Problems),
}

impl Exit {
    /// The process's exit status.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Answer(_) => 0,
            Self::Unfit(_) => 1,
            Self::Usage(_) | Self::Problems(_) => 2,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(text) | Self::Usage(text) => f.write_str(text.trim_end()),
            Self::Problems(problems) | Self::Unfit(problems) => problems.fmt(f),
        }
    }
}
