//! Where a long command shows what it does. Only main prints, so it hands in how.

/// What can be shown, and how.
#[derive(Clone, Copy)]
pub struct Screen<'a> {
    /// Whether marks may be signs beyond ASCII.
    pub has_signs: bool,
    /// Whether marks may be coloured.
    pub has_colour: bool,
    /// Shows a line that stays.
    pub line: &'a (dyn Fn(&str) + Sync),
    /// Shows what goes on at this moment, in place of what went on before. Where nobody watches,
    /// nothing.
    pub progress: &'a (dyn Fn(&str) + Sync),
}

impl std::fmt::Debug for Screen<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            has_signs,
            has_colour,
            ..
        } = self;
        write!(f, "Screen({has_signs}, {has_colour})")
    }
}

/// Whether the terminal writes more than ASCII, by its environment.
pub fn is_unicode(variable: impl Fn(&str) -> Option<String>) -> bool {
    // The first that is set decides, as POSIX has it.
    let mut names = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter();
    let locale = names.find_map(variable).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Whether the terminal may be given colours, by its environment (<https://no-color.org>).
pub fn is_colourful(variable: impl Fn(&str) -> Option<String>) -> bool {
    variable("NO_COLOR").is_none() && variable("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<'a>(pairs: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| {
            let pair = pairs.iter().find(|(key, _)| *key == name);
            pair.map(|(_, value)| (*value).to_owned())
        }
    }

    #[test]
    fn the_environment_tells_what_a_terminal_can() {
        assert!(is_unicode(with(&[("LANG", "de_DE.UTF-8")])));
        assert!(is_unicode(with(&[("LC_ALL", "C.utf8"), ("LANG", "C")])));
        assert!(!is_unicode(with(&[
            ("LC_ALL", "C"),
            ("LANG", "de_DE.UTF-8")
        ])));
        assert!(!is_unicode(with(&[])));
        assert!(is_colourful(with(&[("TERM", "xterm")])));
        assert!(!is_colourful(with(&[("TERM", "dumb")])));
        assert!(!is_colourful(with(&[("NO_COLOR", "1")])));
    }
}
