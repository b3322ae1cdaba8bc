//! The rows of a check, and how they look.

use std::sync::Mutex;
use std::sync::PoisonError;

use super::super::screen::Screen;

/// Width of the column that says what was looked at; longer ones push the next column on.
const WHAT_WIDTH: usize = 24;

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Good,
    Warning,
    Failure,
    Skipped,
}

impl Mark {
    fn text(self, screen: &Screen<'_>) -> String {
        let (sign, word, colour) = match self {
            Self::Good => ("✓", "ok  ", "32"),
            Self::Warning => ("!", "warn", "33"),
            Self::Failure => ("✗", "FAIL", "31"),
            Self::Skipped => ("–", "skip", "2"),
        };
        let text = if screen.has_signs { sign } else { word };
        if screen.has_colour {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub mark: Mark,
    pub what: String,
    pub found: String,
    /// What to do about it.
    pub fix: Option<String>,
}

impl Row {
    fn new(mark: Mark, what: &str, found: impl Into<String>) -> Self {
        Self {
            mark,
            what: what.to_owned(),
            found: found.into(),
            fix: None,
        }
    }

    pub(super) fn good(what: &str, found: impl Into<String>) -> Self {
        Self::new(Mark::Good, what, found)
    }

    pub(super) fn warning(what: &str, found: impl Into<String>) -> Self {
        Self::new(Mark::Warning, what, found)
    }

    pub(super) fn failure(what: &str, found: impl Into<String>) -> Self {
        Self::new(Mark::Failure, what, found)
    }

    pub(super) fn skipped(what: &str, reason: impl Into<String>) -> Self {
        Self::new(Mark::Skipped, what, reason)
    }

    pub(super) fn fixed_by(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    fn lines(&self, screen: &Screen<'_>) -> Vec<String> {
        let found = self.found.replace('\n', " ");
        let mark = self.mark.text(screen);
        let mut lines = vec![format!("  {mark} {:<WHAT_WIDTH$} {found}", self.what)];
        let arrow = if screen.has_signs { "→" } else { "fix:" };
        let indent = if screen.has_signs { "    " } else { "       " };
        let fixes = self.fix.iter().flat_map(|fix| fix.lines());
        lines.extend(fixes.map(|fix| format!("{indent}{arrow} {fix}")));
        lines
    }
}

/// The parts of a check, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Settings,
    MongoDb,
    Lake,
    Checkpoints,
    Collections,
    Http,
}

impl Part {
    const ALL: [Self; 6] = [
        Self::Settings,
        Self::MongoDb,
        Self::Lake,
        Self::Checkpoints,
        Self::Collections,
        Self::Http,
    ];

    fn heading(self) -> &'static str {
        match self {
            Self::Settings => "Settings",
            Self::MongoDb => "MongoDB",
            Self::Lake => "Lake",
            Self::Checkpoints => "Checkpoints",
            Self::Collections => "Collections",
            Self::Http => "HTTP",
        }
    }
}

/// Takes rows as they are known and shows them in order: those of a part that isn't due yet wait.
pub(super) struct Table<'a> {
    screen: Screen<'a>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rows: Vec<(Part, Row)>,
    shown: Vec<bool>,
    headed: Vec<Part>,
    done: Vec<Part>,
}

impl<'a> Table<'a> {
    pub(super) fn new(screen: Screen<'a>) -> Self {
        Self {
            screen,
            state: Mutex::default(),
        }
    }

    pub(super) fn add(&self, part: Part, row: Row) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.rows.push((part, row));
        state.shown.push(false);
        self.show(&mut state);
    }

    /// No more rows of this part come.
    pub(super) fn done(&self, part: Part) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.done.push(part);
        self.show(&mut state);
    }

    /// Says what goes on.
    pub(super) fn progress(&self, text: &str) {
        (self.screen.progress)(text);
    }

    fn show(&self, state: &mut State) {
        for part in Part::ALL {
            for index in 0..state.rows.len() {
                let (of, row) = &state.rows[index];
                if *of != part || state.shown[index] {
                    continue;
                }
                if !state.headed.contains(&part) {
                    state.headed.push(part);
                    (self.screen.line)(part.heading());
                }
                for line in row.lines(&self.screen) {
                    (self.screen.line)(&line);
                }
                state.shown[index] = true;
            }
            if !state.done.contains(&part) {
                return;
            }
        }
    }

    /// The last line, and whether nothing failed.
    pub(super) fn summary(&self) -> (String, bool) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |mark| {
            let rows = state.rows.iter();
            rows.filter(|(_, row)| row.mark == mark).count()
        };
        let (failures, warnings, skipped) = (
            count(Mark::Failure),
            count(Mark::Warning),
            count(Mark::Skipped),
        );
        let counts = format!(
            "{} ok, {warnings} to mind, {failures} failed, {skipped} skipped",
            count(Mark::Good)
        );
        let verdict = match (failures, skipped) {
            (0, 0) => "silt can run",
            (0, _) => "silt can run, as far as could be checked",
            _ => "silt can't run as it is set",
        };
        (format!("{verdict}: {counts}"), failures == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(has_signs: bool, has_colour: bool, fill: impl Fn(&Table<'_>)) -> Vec<String> {
        let lines = Mutex::new(Vec::new());
        let line = |text: &str| lines.lock().unwrap().push(text.to_owned());
        let table = Table::new(Screen {
            has_signs,
            has_colour,
            line: &line,
            progress: &|_| {},
        });
        fill(&table);
        drop(table);
        lines.into_inner().unwrap()
    }

    #[test]
    fn rows_carry_marks_or_words_and_their_fix() {
        let fill = |table: &Table<'_>| {
            let row = Row::failure("TLS", "no\ncertificate").fixed_by("get one\nand set it");
            table.add(Part::Settings, row);
        };
        assert_eq!(
            shown(true, false, fill),
            [
                "Settings",
                "  ✗ TLS                      no certificate",
                "    → get one",
                "    → and set it"
            ]
        );
        assert_eq!(
            shown(false, false, fill),
            [
                "Settings",
                "  FAIL TLS                      no certificate",
                "       fix: get one",
                "       fix: and set it"
            ]
        );
        let coloured = shown(true, true, fill);
        assert!(
            coloured[1].starts_with("  \x1b[31m✗\x1b[0m TLS"),
            "{coloured:?}"
        );
    }

    #[test]
    fn rows_come_in_order_and_as_soon_as_they_may() {
        let row = |what| Row::good(what, "");
        let fill = |table: &Table<'_>| {
            table.add(Part::Lake, row("late"));
            table.add(Part::Settings, row("first"));
            table.done(Part::Settings);
            table.add(Part::MongoDb, row("second"));
            table.done(Part::Lake);
            table.add(Part::MongoDb, row("third"));
        };
        let names = |lines: Vec<String>| -> Vec<String> {
            let trimmed = lines.iter().map(|line| line.trim().to_owned());
            trimmed.collect()
        };
        let expected = ["Settings", "✓ first", "MongoDB", "✓ second", "✓ third"];
        assert_eq!(names(shown(true, false, fill)), expected);
        let all = names(shown(true, false, |table| {
            fill(table);
            table.done(Part::MongoDb);
        }));
        assert_eq!(all[5..], ["Lake", "✓ late"]);
    }

    #[test]
    fn the_summary_counts_and_judges() {
        for (marks, verdict, is_good) in [
            (vec![Mark::Good], "silt can run: 1 ok", true),
            (
                vec![Mark::Good, Mark::Warning],
                "silt can run: 1 ok, 1 to mind",
                true,
            ),
            (vec![Mark::Skipped], "as far as could be checked", true),
            (vec![Mark::Failure, Mark::Skipped], "silt can't run", false),
        ] {
            shown(true, false, |table| {
                for mark in &marks {
                    table.add(Part::Settings, Row::new(*mark, "", ""));
                }
                let (text, good) = table.summary();
                assert!(text.contains(verdict), "{text}");
                assert_eq!(good, is_good, "{marks:?}");
            });
        }
    }
}
