//! Text that must not reach logs or messages.

use std::fmt;

/// A password, key, token or connection string. It prints as `***` and can't be serialized.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the call that needs it. It must not reach a log or a message.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Whether a text looks like it holds a key, a signature or a password: for values of settings that
/// aren't secret, in which a secret was put by mistake.
pub(super) fn looks_secret(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let marks = ["accountkey", "sharedaccesssignature", "sig=", "password="];
    marks.iter().any(|mark| lower.contains(mark))
        || holds_user_and_password(text)
        || holds_long_base64(text)
}

fn holds_user_and_password(text: &str) -> bool {
    let Some((_, after_scheme)) = text.split_once("://") else {
        return false;
    };
    after_scheme
        .rsplit_once('@')
        .is_some_and(|(user, _)| user.contains(':'))
}

/// An account key is 88 characters of base64. Names and paths are shorter, or don't mix cases and digits.
fn holds_long_base64(text: &str) -> bool {
    const KEY_LEAST_CHARS: usize = 40;
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    text.split(|c| !is_base64(c)).any(|run| {
        run.len() >= KEY_LEAST_CHARS
            && run.contains(|c: char| c.is_ascii_uppercase())
            && run.contains(|c: char| c.is_ascii_lowercase())
            && run.contains(|c: char| c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints() {
        let secret = Secret::new("canary");
        let nested = Some(vec![(&secret, secret.clone())]);
        for text in [
            format!("{secret}"),
            format!("{secret:?}"),
            format!("{secret:#?}"),
            format!("{secret:>40}"),
            format!("{nested:#?}"),
        ] {
            assert!(text.contains("***") && !text.contains("canary"), "{text}");
        }
        assert_eq!(secret.reveal(), "canary");
    }

    #[test]
    fn misplaced_secrets_are_recognised() {
        for text in [
            "AccountName=a;AccountKey=b",
            "https://a.blob.core.windows.net/?sv=1&sig=abc",
            "mongodb://user:pass@host",
            "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
        ] {
            assert!(looks_secret(text), "{text}");
        }
        for text in [
            "abfss://changes@account.dfs.core.windows.net/archive/mongodb",
            "file:///var/lib/lake/of/a/rather/long/name/that/goes/on",
            "99999999999999999999999999999999999999999999999999999999999999",
            "users,orders",
            "mongodb://host:27017",
        ] {
            assert!(!looks_secret(text), "{text}");
        }
    }
}
