//! JSON text that no reader splits into more lines than were written.

use serde::Serialize;

/// Characters that JSON needn't escape but that end a line for some readers of text, such as `str.splitlines()` in Python
/// (<https://docs.python.org/3/library/stdtypes.html#str.splitlines>). The others at which it splits are control
/// characters, which JSON escapes.
pub(crate) const LINE_ENDS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

/// Escapes [`LINE_ENDS`] in JSON. They stand only in strings there.
#[must_use]
pub fn escape_line_ends(text: String) -> String {
    if !text.contains(LINE_ENDS) {
        return text;
    }
    LINE_ENDS
        .into_iter()
        .fold(text, |text, end| text.replace(end, &escape(end)))
}

/// The escape of one of [`LINE_ENDS`].
pub(crate) fn escape(line_end: char) -> String {
    format!("\\u{:04x}", u32::from(line_end))
}

/// A value as one line.
///
/// # Errors
///
/// It can't be represented as JSON.
pub fn to_line(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string(value).map(escape_line_ends)
}

/// A value as a document of several lines, which ends with a line feed.
///
/// # Errors
///
/// It can't be represented as JSON.
pub fn to_document(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut text = serde_json::to_string_pretty(value).map(escape_line_ends)?;
    text.push('\n');
    Ok(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_end_is_escaped_and_reads_back() {
        let all: String = (0..0x3000).filter_map(char::from_u32).collect();
        let text = to_line(&all).unwrap();
        assert_eq!(text.matches("\\u2028").count(), 1);
        for end in "\n\r\x0B\x0C\x1C\x1D\x1E\u{85}\u{2028}\u{2029}".chars() {
            assert!(!text.contains(end), "{end:?}");
        }
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), all);
        let document = to_document(&[&all]).unwrap();
        assert_eq!(document.split(|byte| *byte == b'\n').count(), 4);
        assert_eq!(
            serde_json::from_slice::<[String; 1]>(&document).unwrap(),
            [all]
        );
    }
}
