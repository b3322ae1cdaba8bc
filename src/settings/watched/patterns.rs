//! Lists of names and patterns: `users`, `orders_*`, `!*_tmp`, `/regex/`.

use std::collections::HashSet;

use regex::Regex;

use crate::settings::problems::{Fault, quoted};
use crate::settings::watched::common_regex;
use silt_core::namespace::selection::{Matcher, NameSet};

/// The restrictions on names in a list: each function returns what is wrong with a name.
pub(in crate::settings) struct Rules {
    /// What no name may contain, nor the literal part of a pattern.
    pub(in crate::settings) fault: fn(&str) -> Option<String>,
    /// What no whole name may be, such as too long.
    pub(in crate::settings) fault_of_whole: fn(&str) -> Option<String>,
    /// Names of the server's own. Exceptions may contain them: they are never watched.
    pub(in crate::settings) fault_of_own: fn(&str) -> Option<String>,
}

/// Reads a list. A list with only exceptions selects everything else.
///
/// # Errors
///
/// All faults in all entries.
pub(in crate::settings) fn parse(list: &str, rules: &Rules) -> Result<NameSet, Vec<Fault>> {
    let words = split(list);
    let mut faults = Vec::new();
    let mut set = NameSet::default();
    let mut seen = HashSet::new();
    for (at, word) in words.iter().enumerate() {
        if word.is_empty() {
            let what = format!("name {} of the list is empty", at + 1);
            faults.push(Fault::with_fix(what, "remove the extra comma"));
        } else if !seen.insert(word) {
            let what = format!("it names {} twice", quoted(word, list));
            faults.push(Fault::with_fix(what, "name each once"));
        } else {
            match parse_word(word, rules) {
                Ok((true, matcher)) => set.excludes.push(matcher),
                Ok((false, matcher)) => set.includes.push(matcher),
                Err(fault) => faults.push(Fault {
                    what: format!("{}: {}", quoted(word, list), fault.what),
                    // Removing the only entry would leave an empty list.
                    fix: fault
                        .fix
                        .or_else(|| (words.len() > 1).then(|| "remove it".to_owned())),
                }),
            }
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    if set.includes.is_empty() {
        set.includes.extend(glob("*").ok());
    }
    check_exceptions(&set, list)?;
    Ok(set)
}

/// Splits a list at its commas, except those within a regular expression.
pub(in crate::settings) fn split(list: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = list;
    loop {
        let len = regex_len(rest).unwrap_or(0);
        let comma = rest[len..].find(',');
        let Some(comma) = comma.map(|at| at + len) else {
            words.push(rest.trim());
            return words;
        };
        words.push(rest[..comma].trim());
        rest = &rest[comma + 1..];
    }
}

/// Length of the regular expression at the start of a text, with everything before it.
fn regex_len(text: &str) -> Option<usize> {
    let start = text.trim_start();
    let start = start.strip_prefix('!').unwrap_or(start).trim_start();
    let body = start.strip_prefix('/')?;
    Some(text.len() - body.len() + closing_slash(body)? + 1)
}

/// Position of the `/` that ends a regular expression: the first one without a `\` before it.
fn closing_slash(body: &str) -> Option<usize> {
    let mut is_escaped = false;
    body.char_indices().find_map(|(at, character)| {
        let is_end = character == '/' && !is_escaped;
        is_escaped = character == '\\' && !is_escaped;
        is_end.then_some(at)
    })
}

/// Reads one entry: whether it is an exception, and what it matches.
fn parse_word(word: &str, rules: &Rules) -> Result<(bool, Matcher), Fault> {
    let (is_exception, word) = match word.strip_prefix('!') {
        Some(word) => (true, word.trim_start()),
        None => (false, word),
    };
    if word.is_empty() {
        return Err(Fault::new("nothing follows the `!`"));
    }
    if let Some(body) = word.strip_prefix('/') {
        return Ok((is_exception, regular_expression(word, body)?));
    }
    let is_pattern = word.contains(['*', '?']);
    let own = || (rules.fault_of_own)(word).filter(|_| !is_exception);
    let whole = || (rules.fault_of_whole)(word).filter(|_| !is_pattern);
    if let Some(what) = (rules.fault)(word).or_else(own).or_else(whole) {
        return Err(Fault::new(what));
    }
    let matcher = if is_pattern {
        glob(word)?
    } else {
        Matcher::Name(word.to_owned())
    };
    Ok((is_exception, matcher))
}

/// `*` stands for any characters, `?` for one.
fn glob(word: &str) -> Result<Matcher, Fault> {
    let mut text = String::new();
    for character in word.chars() {
        match character {
            '*' => text.push_str(".*"),
            '?' => text.push('.'),
            other => text.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    pattern(word, &format!("(?s:{text})"))
}

fn regular_expression(word: &str, body: &str) -> Result<Matcher, Fault> {
    let Some(end) = closing_slash(body) else {
        let what = "a regular expression ends with a `/`, and so does a name that begins with one";
        return Err(Fault::with_fix(what, "write /…/"));
    };
    let (body, after) = (&body[..end], &body[end + 1..]);
    if !after.is_empty() {
        let what = "something follows the `/` that ends the regular expression";
        let fix = "write a `/` within it as `\\/`, and (?i) in front where case doesn't matter";
        return Err(Fault::with_fix(what, fix));
    }
    pattern(word, &format!("(?:{})", common_regex::parse(body)?))
}

fn pattern(written: &str, text: &str) -> Result<Matcher, Fault> {
    let text = format!("^{text}$");
    if text.len() > common_regex::LEN_MAX_BYTES {
        return Err(Fault::new("longer than the server accepts"));
    }
    let regex = Regex::new(&text).map_err(|error| {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        let why = last.strip_prefix("error: ").unwrap_or(last);
        Fault::with_fix(
            format!("it is not a regular expression: {why}"),
            "correct it",
        )
    })?;
    Ok(Matcher::Pattern {
        written: written.to_owned(),
        regex,
    })
}

/// Exceptions only make sense next to patterns: a name is excluded by not listing it.
fn check_exceptions(set: &NameSet, list: &str) -> Result<(), Vec<Fault>> {
    let names = set.includes.iter().filter_map(|include| match include {
        Matcher::Name(name) => Some(name),
        Matcher::Pattern { .. } => None,
    });
    let mut faults = Vec::new();
    let mut count = 0;
    for name in names {
        count += 1;
        let mut excludes = set.excludes.iter();
        if let Some(exclude) = excludes.find(|exclude| exclude.matches(name)) {
            let (name, exclude) = (quoted(name, list), quoted(&format!("!{exclude}"), list));
            let what = format!("it names {name}, which {exclude} excludes");
            faults.push(Fault::with_fix(what, "remove one of the two"));
        }
    }
    if faults.is_empty()
        && count == set.includes.len()
        && let Some(exclude) = set.excludes.first()
    {
        let exclude = quoted(&format!("!{exclude}"), list);
        let what = format!("{exclude} has no effect: there is no pattern in the list");
        let fix = "remove it, or add `*` for all others";
        faults.push(Fault::with_fix(what, fix));
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Rules = Rules {
        fault: |name| name.contains('$').then(|| "it has a `$`".to_owned()),
        fault_of_whole: |name| (name.len() > 20).then(|| "it is long".to_owned()),
        fault_of_own: |name| (name == "own").then(|| "it is the server's".to_owned()),
    };

    fn set(list: &str) -> NameSet {
        parse(list, &ANY).unwrap_or_else(|faults| panic!("{list}: {faults:?}"))
    }

    fn faults(list: &str) -> Vec<String> {
        let faults = parse(list, &ANY).unwrap_err();
        faults.into_iter().map(|fault| fault.what).collect()
    }

    #[test]
    fn names_alone_are_no_patterns() {
        let set = set(" users ,a.b, x/y,a[1]");
        assert_eq!(set.names().unwrap(), ["users", "a.b", "x/y", "a[1]"]);
        assert!(set.matches("a.b") && !set.matches("axb"));
    }

    #[test]
    fn patterns_match_whole_names() {
        for (list, meant, others) in [
            ("*", &["a", "", "a\nb\n", "größe"][..], &[][..]),
            (
                "orders_*",
                &["orders_", "orders_1"],
                &["orders", "xorders_1"],
            ),
            ("*.log", &["a.log", ".log"], &["a.logs", "alog"]),
            ("a?c", &["abc", "aéc", "a.c"], &["ac", "abbc"]),
            ("u*,orders", &["users", "orders"], &["orders_1"]),
            ("*,!*_tmp", &["a"], &["a_tmp"]),
            ("!*_tmp, !b", &["a", "bb"], &["a_tmp", "b"]),
            ("/a{1,2},b?/,c", &["a,b", "aa,", "c"], &["aaa,b", "aa,bc"]),
            ("!/t.+/,t*,x", &["t", "x"], &["tmp", "y"]),
            (r"/x\/[0-9]+/", &["x/1"], &["x/", "x\\/1"]),
            ("/a|b/", &["a", "b"], &["ab", "ac", "xb"]),
            (r"/\d\w/", &["1a", "9_"], &["1ä", "٣a", "1-"]),
            ("/(?i)abc/", &["ABC", "abc"], &["abcd"]),
        ] {
            let set = set(list);
            assert_eq!(set.names(), None, "{list}");
            for name in meant {
                assert!(set.matches(name), "{list}: {name:?}");
            }
            for name in others {
                assert!(!set.matches(name), "{list}: {name:?}");
            }
        }
    }

    #[test]
    fn they_are_shown_as_they_can_be_written() {
        for (list, shown) in [
            ("!a*", "*,!a*"),
            ("a* , b,! /c,d/", "a*,b,!/c,d/"),
            (r"/\d\/x/", r"/\d\/x/"),
        ] {
            assert_eq!(set(list).to_string(), shown);
            assert_eq!(set(shown).to_string(), shown);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (list, expected) in [
            ("", "name 1 of the list is empty"),
            ("a*,,b", "name 2 of the list is empty"),
            ("a*,a*", "it names `a*` twice"),
            ("a*,!", "`!`: nothing follows the `!`"),
            ("a$*", "`a$*`: it has a `$`"),
            ("!a$", "`!a$`: it has a `$`"),
            ("own", "`own`: it is the server's"),
            (
                "aaaaaaaaaaaaaaaaaaaaa",
                "`aaaaaaaaaaaaaaaaaaaaa`: it is long",
            ),
            ("a*,ab,!*b", "it names `ab`, which `!*b` excludes"),
            ("a,!a", "it names `a`, which `!a` excludes"),
            (
                "a,!b*",
                "`!b*` has no effect: there is no pattern in the list",
            ),
            (
                "/abc",
                "`/abc`: a regular expression ends with a `/`, and so does a name that begins with one",
            ),
            (
                "/a/b/",
                "`/a/b/`: something follows the `/` that ends the regular expression",
            ),
            (
                "/a/i,b",
                "`/a/i`: something follows the `/` that ends the regular expression",
            ),
            (
                "/(a/",
                "`/(a/`: it is not a regular expression: unclosed group",
            ),
            ("//", "`//`: it is empty"),
        ] {
            assert_eq!(faults(list), [expected], "{list}");
        }
        assert_eq!(faults("a$,b$*,,/x").len(), 4);
        let long = format!("/{}/", "a".repeat(40_000));
        assert!(faults(&long)[0].ends_with("longer than the server accepts"));
    }

    #[test]
    fn exceptions_may_name_the_servers_own_and_patterns_may_be_long() {
        assert!(!set("*,!own").matches("own"));
        assert!(set("aaaaaaaaaaaaaaaaaaaaaaa*").matches("aaaaaaaaaaaaaaaaaaaaaaab"));
    }
}
