//! Regular expressions that silt and the server read alike.
//!
//! The server has PCRE, silt the crate `regex`. What both take and read differently would let a collection
//! be sent and not be known, or the other way round. So only what they share is taken: letters, `.`, classes,
//! groups, `|`, `^`, `$`, and how often something comes.

use std::iter::Peekable;
use std::str::Chars;

use crate::settings::problems::Fault;

/// The longest that the server takes.
/// <https://www.mongodb.com/docs/manual/reference/operator/query/regex/>
pub(in crate::settings) const LEN_MAX_BYTES: usize = 32_764;

/// Reads what stands between the slashes, and spells out what the two would read differently.
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

/// What was read last, as far as it matters to what may follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// Nothing that could come several times.
    Nothing,
    /// Something that could.
    Atom,
    /// How often it comes.
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

    /// Behind a `\`.
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
                    "`\\{}` isn't read alike by silt and the server",
                    other.escape_debug()
                );
                return Err(Fault::mended_by(what, "write it in another way"));
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

    /// Behind a `[`, up to its `]`.
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
                None => return Err(Fault::mended_by("a `[` is never closed", "add its `]`")),
                Some(']') => {
                    self.text.push(']');
                    return Ok(());
                }
                Some('[') => return Err(unescaped("[")),
                Some('\\') => self.escape(true)?,
                // Classes can be subtracted and met so, in the crate alone.
                Some(sign @ ('&' | '-' | '~')) if self.rest.peek() == Some(&sign) => {
                    return Err(unescaped(&format!("{sign}{sign}")));
                }
                Some(other) => self.text.push(other),
            }
        }
    }

    /// Behind a `(`.
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
        let what = "after `(?` it has more than silt and the server read alike";
        let mend = "write (…), (?:…), (?i:…), or (?i) in front of all";
        Err(Fault::mended_by(what, mend))
    }

    /// How often the last comes: `*`, `+`, `?`, `{2}`, `{2,}`, `{2,3}`; and a `?` behind one of these.
    fn count(&mut self, first: char) -> Result<(), Fault> {
        match (self.last, first) {
            (Last::Count, '?') => {
                self.text.push('?');
                self.last = Last::Nothing;
                return Ok(());
            }
            (Last::Atom, _) => {}
            _ => {
                let what = format!("there is nothing before `{first}` that could come so often");
                let mend = format!("write `\\{first}` for the sign itself");
                return Err(Fault::mended_by(what, mend));
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
    let what = format!("`{sign}` isn't read alike here by silt and the server");
    Fault::mended_by(what, format!("write `{escaped}` for the sign itself"))
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    #[test]
    fn what_both_share_stays_as_it_is() {
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
    fn letters_and_digits_are_those_of_ascii_for_both() {
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
    fn what_they_read_differently_is_refused() {
        for (body, what) in [
            ("", "it is empty"),
            ("a\\", "it ends with a `\\`"),
            (r"\bx", "`\\b` isn't read alike"),
            (r"\p{L}", "`\\p` isn't"),
            (r"(a)\1", "`\\1` isn't"),
            (r"\x41", "`\\x` isn't"),
            (r"a\<", "`\\<` isn't"),
            (r"[\D]", "`\\D` isn't"),
            (r"\Qa.b\E", "`\\Q` isn't"),
            ("\\\u{1b}", r"`\\u{1b}` isn't"),
            ("[[:alpha:]]", "`[` isn't read alike here"),
            ("[a&&b]", "`&&` isn't"),
            ("[a--b]", "`--` isn't"),
            ("[a~~b]", "`~~` isn't"),
            ("[]a]", "`]` isn't"),
            ("[^]a]", "`]` isn't"),
            ("[abc", "a `[` is never closed"),
            ("(?=a)", "after `(?` it has more"),
            ("(?<n>a)", "after `(?` it has more"),
            ("a(?i)b", "after `(?` it has more"),
            ("(?s)a", "after `(?` it has more"),
            ("(?ii:a)", "after `(?` it has more"),
            ("a++", "there is nothing before `+`"),
            ("a**", "there is nothing before `*`"),
            ("a*??", "there is nothing before `?`"),
            ("*a", "there is nothing before `*`"),
            ("(|?a)", "there is nothing before `?`"),
            ("^*", "there is nothing before `*`"),
            ("a{,2}", "`{` isn't"),
            ("a{x}", "`{` isn't"),
            ("a{2", "`{` isn't"),
            ("{2}", "there is nothing before `{`"),
        ] {
            let fault = parse(body).expect_err(body);
            assert!(fault.what.contains(what), "{body}: {}", fault.what);
        }
    }
}
