//! Regular expressions that silt and the server interpret identically.
//!
//! The server uses PCRE, silt the crate `regex`. If both accepted an expression with different meanings, a collection
//! would be sent and not be recognized, or the reverse. So only common constructs are accepted: letters, `.`, classes,
//! groups, `|`, `^`, `$` and repetitions.

use std::iter::Peekable;
use std::str::Chars;

use crate::settings::problems::Fault;

/// The longest that the server takes.
/// <https://www.mongodb.com/docs/manual/reference/operator/query/regex/>
pub(in crate::settings) const LEN_MAX_BYTES: usize = 32_764;

/// Parses the text between the slashes, and replaces escapes that the two would interpret differently.
pub(in crate::settings) fn parse(body: &str) -> Result<String, Fault> {
    if body.is_empty() {
        return Err(Fault::new("it is empty"));
    }
    let mut reader = Reader {
        rest: body.chars().peekable(),
        text: String::new(),
        last: Last::Nothing,
    };
    // A flag for all of it.
    if let Some(rest) = body.strip_prefix("(?i)") {
        reader.rest = rest.chars().peekable();
        reader.text.push_str("(?i)");
    }
    while let Some(character) = reader.rest.next() {
        reader.step(character)?;
    }
    Ok(reader.text)
}

/// What was read last, which decides what may follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// Nothing that can be repeated.
    Nothing,
    /// Something that can.
    Atom,
    /// A repetition.
    Count,
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    text: String,
    last: Last,
}

impl Reader<'_> {
    fn step(&mut self, character: char) -> Result<(), Fault> {
        match character {
            '\\' => self.escape(false)?,
            '[' => self.class()?,
            '(' => return self.open(),
            '|' | '^' | '$' => {
                self.text.push(character);
                self.last = Last::Nothing;
                return Ok(());
            }
            '*' | '+' | '?' | '{' => return self.count(character),
            other => self.text.push(other),
        }
        self.last = Last::Atom;
        Ok(())
    }

    /// After a `\`.
    fn escape(&mut self, in_class: bool) -> Result<(), Fault> {
        let expanded = match self.rest.next() {
            None => return Err(Fault::new("it ends with a `\\`")),
            Some('/') => "/",
            Some('d') => "0-9",
            Some('w') => "0-9A-Za-z_",
            Some('s') => "\\t\\n\\x0B\\f\\r ",
            Some(sign) if sign.is_ascii_punctuation() && !matches!(sign, '<' | '>') => {
                self.text.extend(['\\', sign]);
                return Ok(());
            }
            Some(letter @ ('D' | 'W' | 'S')) if !in_class => {
                let of = match letter {
                    'D' => "[^0-9]",
                    'W' => "[^0-9A-Za-z_]",
                    _ => "[^\\t\\n\\x0B\\f\\r ]",
                };
                self.text.push_str(of);
                return Ok(());
            }
            Some(other) => {
                let what = format!(
                    "`\\{}` means different things to silt and the server",
                    other.escape_debug()
                );
                return Err(Fault::with_fix(what, "write it differently"));
            }
        };
        if in_class || expanded == "/" {
            self.text.push_str(expanded);
        } else {
            self.text.push('[');
            self.text.push_str(expanded);
            self.text.push(']');
        }
        Ok(())
    }

    /// After a `[`, up to its `]`.
    fn class(&mut self) -> Result<(), Fault> {
        self.text.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.text.push('^');
        }
        if self.rest.peek() == Some(&']') {
            return Err(unescaped("]"));
        }
        loop {
            match self.rest.next() {
                None => return Err(Fault::with_fix("a `[` is never closed", "add its `]`")),
                Some(']') => {
                    self.text.push(']');
                    return Ok(());
                }
                Some('[') => return Err(unescaped("[")),
                Some('\\') => self.escape(true)?,
                // Set operations on classes, which only the crate has.
                Some(sign @ ('&' | '-' | '~')) if self.rest.peek() == Some(&sign) => {
                    return Err(unescaped(&format!("{sign}{sign}")));
                }
                Some(other) => self.text.push(other),
            }
        }
    }

    /// After a `(`.
    fn open(&mut self) -> Result<(), Fault> {
        self.text.push('(');
        self.last = Last::Nothing;
        if self.rest.next_if_eq(&'?').is_none() {
            return Ok(());
        }
        let flags: String = std::iter::from_fn(|| self.rest.next_if(|c| *c == 'i')).collect();
        if flags.len() < 2 && self.rest.next_if_eq(&':').is_some() {
            self.text.push('?');
            self.text.push_str(&flags);
            self.text.push(':');
            return Ok(());
        }
        let what = "after `(?` it has a construct that silt and the server interpret differently";
        let fix = "write (…), (?:…), (?i:…), or (?i) in front of all";
        Err(Fault::with_fix(what, fix))
    }

    /// A repetition: `*`, `+`, `?`, `{2}`, `{2,}`, `{2,3}`; and a `?` after one of these.
    fn count(&mut self, first: char) -> Result<(), Fault> {
        match (self.last, first) {
            (Last::Count, '?') => {
                self.text.push('?');
                self.last = Last::Nothing;
                return Ok(());
            }
            (Last::Atom, _) => {}
            _ => {
                let what = format!("there is nothing before `{first}` to repeat");
                let fix = format!("write `\\{first}` for the sign itself");
                return Err(Fault::with_fix(what, fix));
            }
        }
        self.text.push(first);
        if first == '{' {
            let inside: String = std::iter::from_fn(|| self.rest.next_if(|c| *c != '}')).collect();
            let is_number =
                |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let is_count = match inside.split_once(',') {
                Some((least, most)) => is_number(least) && (most.is_empty() || is_number(most)),
                None => is_number(&inside),
            };
            if !is_count || self.rest.next().is_none() {
                return Err(unescaped("{"));
            }
            self.text.push_str(&inside);
            self.text.push('}');
        }
        self.last = Last::Count;
        Ok(())
    }
}

fn unescaped(sign: &str) -> Fault {
    let escaped: String = sign.chars().flat_map(|sign| ['\\', sign]).collect();
    let what = format!("`{sign}` means different things here to silt and the server");
    Fault::with_fix(what, format!("write `{escaped}` for the sign itself"))
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    #[test]
    fn common_constructs_are_unchanged() {
        for body in [
            "orders_.*",
            "^a|b$",
            "(?:a|b)+?c{2}d{2,}e{2,3}",
            "(?i)abc",
            "a(?i:b)c",
            "(a)(b)*",
            r"a\.b\*\-\]",
            "[a-z0-9_]+",
            r"[^\]\[\\]?",
            "[-a]x[a-]",
            "größe ]}",
        ] {
            assert_eq!(parse(body).as_deref(), Ok(body));
            assert!(Regex::new(body).is_ok(), "{body}");
        }
    }

    #[test]
    fn letters_and_digits_are_ascii() {
        for (body, text) in [
            (r"\d+", "[0-9]+"),
            (r"\D\W", "[^0-9][^0-9A-Za-z_]"),
            (r"\s\S", r"[\t\n\x0B\f\r ][^\t\n\x0B\f\r ]"),
            (r"[\w.-]", "[0-9A-Za-z_.-]"),
            (r"a\/b[\/]", "a/b[/]"),
        ] {
            assert_eq!(parse(body).as_deref(), Ok(text));
            assert!(Regex::new(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn constructs_that_differ_are_refused() {
        for (body, what) in [
            ("", "it is empty"),
            ("a\\", "it ends with a `\\`"),
            (r"\bx", "`\\b` means different things"),
            (r"\p{L}", "`\\p` means different things"),
            (r"(a)\1", "`\\1` means different things"),
            (r"\x41", "`\\x` means different things"),
            (r"a\<", "`\\<` means different things"),
            (r"[\D]", "`\\D` means different things"),
            (r"\Qa.b\E", "`\\Q` means different things"),
            ("\\\u{1b}", r"`\\u{1b}` means different things"),
            ("[[:alpha:]]", "`[` means different things here"),
            ("[a&&b]", "`&&` means different things"),
            ("[a--b]", "`--` means different things"),
            ("[a~~b]", "`~~` means different things"),
            ("[]a]", "`]` means different things"),
            ("[^]a]", "`]` means different things"),
            ("[abc", "a `[` is never closed"),
            ("(?=a)", "after `(?` it has a construct"),
            ("(?<n>a)", "after `(?` it has a construct"),
            ("a(?i)b", "after `(?` it has a construct"),
            ("(?s)a", "after `(?` it has a construct"),
            ("(?ii:a)", "after `(?` it has a construct"),
            ("a++", "there is nothing before `+`"),
            ("a**", "there is nothing before `*`"),
            ("a*??", "there is nothing before `?`"),
            ("*a", "there is nothing before `*`"),
            ("(|?a)", "there is nothing before `?`"),
            ("^*", "there is nothing before `*`"),
            ("a{,2}", "`{` means different things"),
            ("a{x}", "`{` means different things"),
            ("a{2", "`{` means different things"),
            ("{2}", "there is nothing before `{`"),
        ] {
            let fault = parse(body).expect_err(body);
            assert!(fault.what.contains(what), "{body}: {}", fault.what);
        }
    }
}
