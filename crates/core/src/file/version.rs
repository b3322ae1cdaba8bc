//! The state of a file, as an opaque token.

use std::sync::Arc;

/// One state of a file, as an opaque token: an `ETag`, or what a lake uses in its place. Two tokens of one
/// file are equal if and only if its content is the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(Arc<str>);

impl Version {
    /// The version with this token.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self(token.into())
    }

    /// The token, for the lake that made it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
