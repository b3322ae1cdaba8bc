//! A change for people: indented, and coloured on a terminal.
//!
//! It lays out the text of the encoder and reads no values from it, so that numbers stay as they are written, however
//! deep they are.

const INDENT: &[u8] = b"  ";
const KEY: &str = "\x1b[34;1m";
const STRING: &str = "\x1b[32m";
const LITERAL: &str = "\x1b[36m";
const PLAIN: &str = "\x1b[0m";

/// Appends a change's line of compact JSON, laid out, with an end of line.
pub(super) fn write(line: &[u8], has_colour: bool, out: &mut Vec<u8>) {
    let mut depth = 0;
    let mut rest = line.trim_ascii();
    while let Some(byte) = rest.first() {
        let len = match byte {
            b'{' | b'[' if matches!(rest.get(1), Some(b'}' | b']')) => {
                out.extend(rest.iter().take(2));
                2
            }
            b'{' | b'[' => {
                depth += 1;
                out.push(*byte);
                break_line(depth, out);
                1
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                break_line(depth, out);
                out.push(*byte);
                1
            }
            b',' => {
                out.push(*byte);
                break_line(depth, out);
                1
            }
            b':' => {
                out.extend_from_slice(b": ");
                1
            }
            b'"' => {
                let len = string_len(rest);
                let is_key = rest.get(len) == Some(&b':');
                let colour = if is_key { KEY } else { STRING };
                paint(rest.get(..len), colour, has_colour, out);
                len
            }
            _ => {
                let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']');
                let len = rest.iter().position(is_end).unwrap_or(rest.len());
                paint(rest.get(..len), LITERAL, has_colour, out);
                len
            }
        };
        rest = rest.get(len..).unwrap_or_default();
    }
    out.push(b'\n');
}

fn break_line(depth: usize, out: &mut Vec<u8>) {
    out.push(b'\n');
    for _ in 0..depth {
        out.extend_from_slice(INDENT);
    }
}

fn paint(text: Option<&[u8]>, colour: &str, has_colour: bool, out: &mut Vec<u8>) {
    let text = text.unwrap_or_default();
    if has_colour {
        out.extend_from_slice(colour.as_bytes());
        out.extend_from_slice(text);
        out.extend_from_slice(PLAIN.as_bytes());
    } else {
        out.extend_from_slice(text);
    }
}

/// The length of the string that this text begins with, quotes included.
fn string_len(text: &[u8]) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.iter().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn pretty(line: &str, has_colour: bool) -> String {
        let mut out = Vec::new();
        write(line.as_bytes(), has_colour, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn it_is_laid_out_as_usual() {
        let line = r#"{"a":{"b":[1,-2.5e300,true,null,{}]},"c\"}":"x,[\\","d":[]}"#;
        let value: Value = serde_json::from_str(line).unwrap();
        let expected = format!("{value:#}\n").replace("2.5e+300", "2.5e300");
        assert_eq!(pretty(&format!("{line}\n"), false), expected);
    }

    #[test]
    fn keys_strings_and_others_are_coloured_apart() {
        assert_eq!(
            pretty(r#"{"a":"b","c":1}"#, true),
            "{\n  \x1b[34;1m\"a\"\x1b[0m: \x1b[32m\"b\"\x1b[0m,\n  \x1b[34;1m\"c\"\x1b[0m: \x1b[36m1\x1b[0m\n}\n"
        );
    }

    #[test]
    fn depth_and_broken_text_are_no_trouble() {
        let deep = "[".repeat(5000) + &"]".repeat(5000);
        assert_eq!(pretty(&deep, false).matches('[').count(), 5000);
        for text in ["", "{", "\"", "\"\\", "}}}", "[1"] {
            pretty(text, true);
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 30, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_is_laid_out_as_serde_json_does(value in json()) {
            prop_assert_eq!(pretty(&value.to_string(), false), format!("{value:#}\n"));
        }
    }
}
