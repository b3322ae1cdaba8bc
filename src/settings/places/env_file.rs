//! Reads `.env` files.
//!
//! A value goes to the end of its line, so that `DUMP_SCHEDULE=0 * * * *` needs no quotes (which
//! `docker run --env-file` would take as part of the value), and a `$` in a password stays what it
//! is. Quotes around the whole value are removed, and ` #` starts a comment.

/// A line that sets something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::settings) struct Entry {
    pub(in crate::settings) key: String,
    /// Any bytes; the setting's parser validates them.
    pub(in crate::settings) value: Vec<u8>,
    /// The line, from 1.
    pub(in crate::settings) line: usize,
}

/// A line that can't be read. Its text isn't shown: it may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::settings) struct BadLine {
    pub(in crate::settings) line: usize,
    pub(in crate::settings) what: &'static str,
}

/// Reads a whole file.
pub(in crate::settings) fn parse(bytes: &[u8]) -> (Vec<Entry>, Vec<BadLine>) {
    let (mut entries, mut bad_lines) = (Vec::new(), Vec::new());
    let mut rest = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut line = 1;
    while !rest.is_empty() {
        let (statement, len) = parse_statement(rest);
        match statement {
            Ok(Some((key, value))) => entries.push(Entry { key, value, line }),
            Ok(None) => {}
            Err(what) => bad_lines.push(BadLine { line, what }),
        }
        let (done, after) = rest.split_at(len);
        line += done.split(|byte| *byte == b'\n').count() - 1;
        rest = after;
    }
    (entries, bad_lines)
}

/// A key and its value, `None` for a line without, or what is wrong with it.
type Statement = Result<Option<(String, Vec<u8>)>, &'static str>;

/// Reads the statement at the start of `rest`, and returns how many bytes it took: whole lines.
fn parse_statement(rest: &[u8]) -> (Statement, usize) {
    let line_len = line_len(rest);
    let line = &rest[..line_len];
    let trimmed = line.trim_ascii();
    if trimmed.is_empty() || trimmed.starts_with(b"#") {
        return (Ok(None), line_len);
    }
    let Some(equals) = line.iter().position(|byte| *byte == b'=') else {
        return (Err("there is no `=` in this line"), line_len);
    };
    let Some(key) = parse_key(&line[..equals]) else {
        return (
            Err("the text before the `=` is not a variable's name"),
            line_len,
        );
    };
    let value = line[equals + 1..].trim_ascii();
    match value.first() {
        Some(quote @ (b'"' | b'\'')) => {
            // The quoted text may continue on the next lines.
            let from_equals = &rest[equals + 1..];
            let blanks = from_equals.len() - from_equals.trim_ascii_start().len();
            let start = equals + 1 + blanks + 1;
            match parse_quoted(&rest[start..], *quote) {
                Ok((value, len)) => (Ok(Some((key, value))), start + len),
                Err(what) => (Err(what), line_len),
            }
        }
        _ => (Ok(Some((key, without_comment(value).to_vec()))), line_len),
    }
}

/// Length of the first line with its end.
fn line_len(bytes: &[u8]) -> usize {
    let newline = bytes.iter().position(|byte| *byte == b'\n');
    newline.map_or(bytes.len(), |at| at + 1)
}

fn parse_key(bytes: &[u8]) -> Option<String> {
    let key = bytes.trim_ascii();
    let key = match key.strip_prefix(b"export") {
        Some(after) if after.first().is_some_and(u8::is_ascii_whitespace) => after.trim_ascii(),
        _ => key,
    };
    let is_name = key.first().is_some_and(|first| !first.is_ascii_digit())
        && key
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    is_name.then(|| String::from_utf8_lossy(key).into_owned())
}

/// Removes a comment: a `#` at the start or after white space.
fn without_comment(value: &[u8]) -> &[u8] {
    let is_comment =
        |at: &usize| value[*at] == b'#' && (*at == 0 || value[*at - 1].is_ascii_whitespace());
    match (0..value.len()).find(is_comment) {
        Some(at) => value[..at].trim_ascii_end(),
        None => value,
    }
}

/// Reads from after the opening quote to the end of the closing quote's line: the value, and the
/// length of all that.
fn parse_quoted(bytes: &[u8], quote: u8) -> Result<(Vec<u8>, usize), &'static str> {
    let mut value = Vec::new();
    let mut rest = bytes.iter();
    loop {
        match *rest.next().ok_or("its quote isn't closed")? {
            byte if byte == quote => break,
            b'\\' if quote == b'"' => {
                let escaped = *rest.next().ok_or("its quote isn't closed")?;
                push_escaped(&mut value, escaped);
            }
            byte => value.push(byte),
        }
    }
    let after = rest.as_slice();
    let tail_len = line_len(after);
    let tail = after[..tail_len].trim_ascii();
    if tail.is_empty() || tail.starts_with(b"#") {
        Ok((value, bytes.len() - after.len() + tail_len))
    } else {
        Err("something follows the closing quote")
    }
}

/// What `\` and this byte mean between double quotes.
fn push_escaped(value: &mut Vec<u8>, escaped: u8) {
    match escaped {
        b'n' => value.push(b'\n'),
        b'r' => value.push(b'\r'),
        b't' => value.push(b'\t'),
        b'"' | b'\\' | b'$' => value.push(escaped),
        other => value.extend([b'\\', other]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(text: &str) -> Vec<(String, String, usize)> {
        let (entries, bad_lines) = parse(text.as_bytes());
        assert_eq!(bad_lines, [], "{text:?}");
        entries
            .into_iter()
            .map(|entry| {
                (
                    entry.key,
                    String::from_utf8(entry.value).unwrap(),
                    entry.line,
                )
            })
            .collect()
    }

    #[test]
    fn values_in_all_spellings() {
        for (line, value) in [
            ("A=", ""),
            ("A= ", ""),
            ("A=b", "b"),
            ("  A = b  ", "b"),
            ("export A=b", "b"),
            ("export\tA=b", "b"),
            ("A=b\r", "b"),
            ("A=0 * * * *", "0 * * * *"),
            ("A=b # comment", "b"),
            ("A=b\t# comment", "b"),
            ("A=b#c", "b#c"),
            ("A=# comment", ""),
            ("A=pa$word${HOME}", "pa$word${HOME}"),
            ("A=b=c", "b=c"),
            ("A=\"b c\"", "b c"),
            ("A='b c'  # comment", "b c"),
            ("A=\"b # c\"", "b # c"),
            ("A=\"b\\\"c\\\\d\\ne\\x\"", "b\"c\\d\ne\\x"),
            ("A='b\\n$c'", "b\\n$c"),
            ("A=\"\"", ""),
            ("A=b\"c\"", "b\"c\""),
            ("A=größe", "größe"),
        ] {
            assert_eq!(values(line), [("A".into(), value.into(), 1)], "{line:?}");
        }
    }

    #[test]
    fn lines_are_counted() {
        let text = "\u{feff}# comment\n\nA=1\r\n  # more\nB='two\nlines'\nexport=x\n";
        assert_eq!(
            values(text),
            [
                ("A".into(), "1".into(), 3),
                ("B".into(), "two\nlines".into(), 5),
                ("export".into(), "x".into(), 7),
            ]
        );
    }

    #[test]
    fn bad_lines_are_named_and_the_others_read() {
        let text = "A\n=b\nC D=e\n1F=g\nH=\"i\nJ='k' l\nM=n\n";
        let (entries, bad_lines) = parse(text.as_bytes());
        let bad: Vec<_> = bad_lines.iter().map(|bad| bad.line).collect();
        assert_eq!(bad, [1, 2, 3, 4, 5, 6]);
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].key.as_str(), entries[0].line), ("M", 7));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_kept() {
        let (entries, _) = parse(b"A=\xff\xfe\nB=c");
        assert_eq!(entries[0].value, b"\xff\xfe");
        assert_eq!(entries[1].value, b"c");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            parse(&bytes);
        }

        #[test]
        fn anything_like_a_file_is_read_without_panic(text in "([A-C_]{0,3}[= ]{0,2}[\"'\\\\#$\\n a]{0,6}){0,8}") {
            let lines = text.lines().count();
            let (entries, bad_lines) = parse(text.as_bytes());
            prop_assert!(entries.iter().all(|entry| entry.line <= lines));
            prop_assert!(bad_lines.iter().all(|bad| bad.line <= lines));
        }
    }
}
