//! Collection names as path components.
//!
//! Azure Blob Storage forbids a trailing dot or slash and treats a backslash as a slash
//! (<https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata>);
//! a file system forbids `/` and NUL, and gives names of dots a meaning.

use std::fmt::Write as _;

/// silt's own folder at the root of the lake. A collection of that name is encoded.
pub const OWN_FOLDER: &str = "_silt";

/// The folder of events that concern a whole database, such as its drop. A collection of that name is encoded.
pub const DATABASE_FOLDER: &str = "_database";

/// Longest path component that common file systems take.
pub const COMPONENT_MAX_BYTES: usize = 255;

/// The folder of a collection: its name, with the characters that a path can't contain percent-encoded.
#[must_use]
pub fn encode(collection: &str) -> String {
    let mut out = String::with_capacity(collection.len());
    let last = collection.len().saturating_sub(1);
    let only_dots = !collection.is_empty() && collection.bytes().all(|byte| byte == b'.');
    for (at, character) in collection.char_indices() {
        let ends_in_dot = character == '.' && (only_dots || at == last);
        let begins_reserved = at == 0 && matches!(collection, OWN_FOLDER | DATABASE_FOLDER);
        if matches!(character, '/' | '\\' | '%')
            || character.is_control()
            || ends_in_dot
            || begins_reserved
        {
            let mut utf8 = [0; 4];
            for byte in character.encode_utf8(&mut utf8).bytes() {
                // Writing to a String can't fail.
                let _ = write!(out, "%{byte:02X}");
            }
        } else {
            out.push(character);
        }
    }
    out
}

/// The collection of a folder. `None` if [`encode`] never returns such a folder.
#[must_use]
pub fn decode(folder: &str) -> Option<String> {
    let name = percent_decode(folder)?;
    (encode(&name) == folder).then_some(name)
}

/// Decodes the percent escapes (RFC 3986) in a text. `None` if one doesn't have two hexadecimal digits, or if the
/// result isn't UTF-8.
#[must_use]
pub fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn unusual_names_become_valid_folders() {
        for (name, folder) in [
            ("users", "users"),
            ("a.b", "a.b"),
            ("a/b\\c%d", "a%2Fb%5Cc%25d"),
            (".", "%2E"),
            ("..", "%2E%2E"),
            ("end.", "end%2E"),
            ("tab\there", "tab%09here"),
            ("_silt", "%5Fsilt"),
            ("_silty", "_silty"),
            ("größe", "größe"),
        ] {
            assert_eq!(encode(name), folder);
            assert_eq!(decode(folder).as_deref(), Some(name));
        }
        assert_eq!(decode("%zz"), None);
        assert_eq!(decode("%41"), None, "a folder that encode never returns");
    }

    proptest! {
        #[test]
        fn every_name_round_trips(name in "\\PC{1,40}|[./\\\\%\\x00-\\x1f]{1,10}") {
            let folder = encode(&name);
            prop_assert!(!folder.contains('/') && !folder.ends_with('.'));
            prop_assert_eq!(decode(&folder), Some(name));
        }
    }
}
