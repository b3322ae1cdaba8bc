//! Versions of MongoDB servers.

use super::Facts;

/// A server's version, ordered as versions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerVersion {
    /// 6 of 6.0.27.
    pub major: u32,
    /// 0 of 6.0.27.
    pub minor: u32,
    /// 27 of 6.0.27.
    pub patch: u32,
}

impl ServerVersion {
    /// The oldest version that silt supports: its tests run on it, and it is the first 4.4 with `hello`.
    pub const LEAST: Self = Self::new(4, 4, 2);

    /// Makes a version from its numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }

    /// Parses `6.0.27`, and also `6.0`, `7.1.0-rc3` and `6.0.9-7`, as other builds of MongoDB write it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
        let mut numbers = text[..end.unwrap_or(text.len())].split('.');
        let (major, minor) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
        let patch = numbers.next().map_or(Some(0), |patch| patch.parse().ok())?;
        Some(Self::new(major, minor, patch))
    }
}

impl Facts {
    /// The version in numbers; `None` if it can't be parsed.
    #[must_use]
    pub fn number(&self) -> Option<ServerVersion> {
        ServerVersion::parse(&self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_ordered() {
        for (text, number) in [
            ("6.0.27", Some((6, 0, 27))),
            ("4.4", Some((4, 4, 0))),
            ("7.1.0-rc3", Some((7, 1, 0))),
            ("6.0.9-7", Some((6, 0, 9))),
            ("8.0.0-alpha-1.2", Some((8, 0, 0))),
            ("10.0.1.4", Some((10, 0, 1))),
            ("unknown", None),
            ("6", None),
            ("6.x", None),
            ("", None),
        ] {
            let number =
                number.map(|(major, minor, patch)| ServerVersion::new(major, minor, patch));
            assert_eq!(ServerVersion::parse(text), number, "{text}");
        }
        assert!(ServerVersion::new(4, 2, 24) < ServerVersion::new(4, 4, 0));
        assert!(ServerVersion::new(10, 0, 0) > ServerVersion::new(9, 9, 9));
    }
}
