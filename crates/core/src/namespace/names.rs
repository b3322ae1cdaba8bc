//! Collection names as path components.
//!
//! Azure Blob Storage forbids a trailing dot or slash and treats a backslash as a slash
//! (<https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata>);
//! a file system forbids `/` and NUL, gives names of dots a meaning, and limits a component's length. A name that is
//! too long is shortened, in the same way in every lake: to its beginning and a digest.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// silt's own folder at the root of the lake. A collection of that name is encoded.
pub const OWN_FOLDER: &str = "_silt";

/// The folder of events that concern a whole database, such as its drop. A collection of that name is encoded.
pub const DATABASE_FOLDER: &str = "_database";

/// Longest path component that common file systems take.
pub const COMPONENT_MAX_BYTES: usize = 255;

/// Separates the beginning of a shortened name from the digest. [`escape`] leaves a hyphen as it is, so no name
/// that isn't shortened contains it, and it decodes to a hyphen.
const DIGEST_MARK: &str = "%2D";
/// Bytes of the SHA-256 of a name.
const DIGEST_BYTES: usize = 20;
/// The most bytes of the beginning of a shortened name.
const BEGINNING_MAX_BYTES: usize = 128;

/// The folder of a collection: its name, with the characters that a path can't contain percent-encoded. If that is
/// longer than [`COMPONENT_MAX_BYTES`], its beginning and a digest of the name.
#[must_use]
pub fn encode(collection: &str) -> String {
    encode_within(collection, COMPONENT_MAX_BYTES)
}

/// The same with another limit, for a component that isn't the name alone. Must leave room for the digest.
#[must_use]
pub fn encode_within(name: &str, max_bytes: usize) -> String {
    let whole = escape(name);
    if whole.len() > max_bytes {
        shorten(name, &whole, max_bytes)
    } else {
        whole
    }
}

fn shorten(name: &str, escaped: &str, max_bytes: usize) -> String {
    let end_len = DIGEST_MARK.len() + 2 * DIGEST_BYTES;
    let mut cut = max_bytes.saturating_sub(end_len).min(BEGINNING_MAX_BYTES);
    // Neither a character nor an escape is cut, nor the escapes of one character.
    while !is_boundary(escaped, cut) {
        cut -= 1;
    }
    let mut out = escaped[..cut].to_owned();
    out.push_str(DIGEST_MARK);
    for byte in &Sha256::digest(name)[..DIGEST_BYTES] {
        // Writing to a String can't fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn is_boundary(escaped: &str, at: usize) -> bool {
    escaped.is_char_boundary(at) && percent_decode(&escaped[..at]).is_some()
}

/// Whether a component is a shortened name, which [`decode`] can't return.
#[must_use]
pub fn is_shortened(component: &str) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    component
        .rsplit_once(DIGEST_MARK)
        .is_some_and(|(_, digest)| digest.len() == 2 * DIGEST_BYTES && digest.bytes().all(is_hex))
}

/// A name as versions of silt wrote it that didn't shorten names. `None` if it is the same.
#[must_use]
pub fn former(name: &str, max_bytes: usize) -> Option<String> {
    Some(escape(name)).filter(|whole| whole.len() > max_bytes)
}

/// A name with the characters that a path can't contain percent-encoded.
fn escape(collection: &str) -> String {
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

/// The name of which a component is the encoded form, however long. `None` if it is none, or is shortened: then
/// only the files in it know the name.
#[must_use]
pub fn decode(folder: &str) -> Option<String> {
    let name = percent_decode(folder)?;
    (escape(&name) == folder).then_some(name)
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

    #[test]
    fn long_names_are_shortened_to_their_beginning_and_a_digest() {
        // sha256sum says so.
        let name = format!("{}{}", "a".repeat(147), "/".repeat(47));
        assert_eq!(
            encode(&name),
            format!(
                "{}%2D{}",
                "a".repeat(128),
                "4dc94e1333f84f25ec3ef102540ba13cee340c9b"
            )
        );
        assert_eq!(
            former(&name, 255),
            Some(format!("{}{}", "a".repeat(147), "%2F".repeat(47)))
        );
        assert_eq!(former("a/b", 255), None);
        // What fits stays as it was.
        let longest = format!("{}/", "b".repeat(252));
        assert_eq!(encode(&longest).len(), 255);
        assert_eq!(decode(&encode(&longest)), Some(longest.clone()));
        assert!(is_shortened(&encode(&format!("b{longest}"))));
        // Neither a character nor an escape is cut.
        for width in 0..4 {
            let start = "x".repeat(width);
            for rest in ["é", "€", "😀", "/", "\u{85}"] {
                let folder = encode(&(start.clone() + &rest.repeat(255)));
                assert!(percent_decode(&folder).is_some(), "{folder}");
            }
        }
        // A collection may have such a name.
        let odd = encode(&encode(&name));
        assert!(!is_shortened(&odd));
        assert_eq!(decode(&odd), Some(encode(&name)));
    }

    /// Names that MongoDB takes: of up to 255 bytes with their database, without NUL, of any characters.
    fn legal_names() -> impl Strategy<Value = String> {
        let limited = |name: String| {
            let mut end = name.len().min(255);
            while !name.is_char_boundary(end) {
                end -= 1;
            }
            name[..end].to_owned()
        };
        "[a-z]{0,40}[/\\\\%.\\x01-\\x1f]{0,255}|[^\\x00]{1,255}|[a-b/]{250,255}"
            .prop_map(limited)
            .prop_filter("a name", |name| !name.is_empty())
    }

    proptest! {
        #[test]
        fn every_legal_name_has_a_folder_that_a_lake_can_hold(
            name in legal_names(),
            other in legal_names(),
            max_bytes in 100..=COMPONENT_MAX_BYTES,
        ) {
            let folder = encode_within(&name, max_bytes);
            prop_assert!(folder.len() <= max_bytes);
            prop_assert!(!folder.contains('/') && !folder.ends_with('.') && !folder.contains('\\'));
            prop_assert!(!folder.chars().any(char::is_control));
            let known = decode(&folder);
            prop_assert_eq!(known.is_none(), is_shortened(&folder));
            if let Some(known) = known {
                prop_assert_eq!(&known, &name);
            } else {
                let former = former(&name, max_bytes).unwrap();
                prop_assert!(former.len() > max_bytes);
                prop_assert_eq!(decode(&former), Some(name.clone()));
            }
            // Another name, and one that differs only at its end, have folders of their own.
            for other in [other, name.clone() + "x", format!("{name}%2D{}", "0".repeat(40))] {
                let of_other = encode_within(&other, max_bytes);
                prop_assert_eq!(other == name, of_other == folder);
            }
        }

        #[test]
        fn every_name_round_trips(name in "\\PC{1,40}|[./\\\\%\\x00-\\x1f]{1,10}") {
            let folder = encode(&name);
            prop_assert!(!folder.contains('/') && !folder.ends_with('.'));
            prop_assert_eq!(decode(&folder), Some(name));
        }
    }
}
