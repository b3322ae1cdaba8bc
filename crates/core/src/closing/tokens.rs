//! Finds a change that is in an hour twice.

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};

use crate::position::ClusterTime;

/// A digest that no two tokens of an hour share by chance.
type TokenDigest = [u8; 16];

/// Sees the changes of an hour in their order. Cluster times never decrease, and a token has one cluster time, so
/// only the tokens of the current one are kept: one for each change of the largest transaction, at most.
#[derive(Debug, Default)]
pub struct TokenCheck {
    time: Option<ClusterTime>,
    seen: HashSet<TokenDigest>,
}

impl TokenCheck {
    /// Takes the next change.
    ///
    /// # Errors
    ///
    /// What is wrong: it is there already, or its cluster time is earlier than that of a change before it.
    pub fn see(&mut self, token: &str, time: ClusterTime) -> Result<(), String> {
        if let Some(before) = self.time.filter(|before| time < *before) {
            return Err(format!(
                "its cluster time {time} is before {before}, that of an earlier change"
            ));
        }
        if self.time != Some(time) {
            self.time = Some(time);
            self.seen.clear();
        }
        let mut digest = TokenDigest::default();
        digest.copy_from_slice(&Sha256::digest(token)[..16]);
        if self.seen.insert(digest) {
            Ok(())
        } else {
            Err("the change is in the hour twice".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: u32) -> ClusterTime {
        ClusterTime {
            seconds,
            increment: 1,
        }
    }

    #[test]
    fn a_change_that_comes_twice_is_found() {
        let mut check = TokenCheck::default();
        for token in ["a", "b"] {
            assert_eq!(check.see(token, time(1)), Ok(()));
        }
        assert!(check.see("a", time(1)).unwrap_err().contains("twice"));
        assert_eq!(check.see("c", time(2)), Ok(()));
        assert_eq!(check.see("d", time(2)), Ok(()));
        assert!(check.see("e", time(1)).unwrap_err().contains("before"));
    }
}
