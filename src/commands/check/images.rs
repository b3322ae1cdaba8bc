//! Whether collections keep the images of their documents that a stream asks for.

use super::grants::quoted;
use super::row::Row;
use crate::settings::{FullDocument, FullDocumentBeforeChange, StreamSettings};
use silt_core::namespace::Namespace;

/// So many collections at most get a command of their own.
const COMMANDS_MAX: usize = 5;

/// What is asked for of images.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    full_document: FullDocument,
    before: FullDocumentBeforeChange,
}

/// A collection that keeps none.
pub(super) struct Lacking {
    pub origin: Namespace,
    /// Whether it is there.
    pub exists: bool,
}

impl Wanted {
    /// `None` if a stream asks for none.
    pub(super) fn by(stream: &StreamSettings) -> Option<Self> {
        let wanted = Self {
            full_document: stream.full_document,
            before: stream.full_document_before_change,
        };
        let (required, missed) = wanted.without();
        (required.is_some() || missed.is_some()).then_some(wanted)
    }

    /// What happens without them: what halts, and what is missed.
    fn without(self) -> (Option<String>, Option<String>) {
        let halting = [
            (self.full_document == FullDocument::Required).then_some("FULL_DOCUMENT"),
            (self.before == FullDocumentBeforeChange::Required)
                .then_some("FULL_DOCUMENT_BEFORE_CHANGE"),
        ];
        let missed = [
            (self.full_document == FullDocument::WhenAvailable)
                .then_some("updates come without fullDocument"),
            (self.before == FullDocumentBeforeChange::WhenAvailable)
                .then_some("changes come without fullDocumentBeforeChange"),
        ];
        let joined = |parts: [Option<String>; 2]| {
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            (!parts.is_empty()).then(|| parts.join(" and "))
        };
        let halting = halting.map(|setting| {
            setting.map(|setting| format!("{setting}=required halts at the first update"))
        });
        (
            joined(halting),
            joined(missed.map(|part| part.map(str::to_owned))),
        )
    }

    /// A row for collections that keep none.
    pub(super) fn lacking(self, what: &str, collections: &[Lacking], whose: &str) -> Row {
        let (halting, missed) = self.without();
        let is_halting = halting.is_some();
        let then: Vec<String> = [halting, missed].into_iter().flatten().collect();
        let found = format!(
            "changeStreamPreAndPostImages isn't enabled{whose}, so {}",
            then.join(", and ")
        );
        let commands = collections.iter().take(COMMANDS_MAX).map(command);
        let mut fixes: Vec<String> = commands.collect();
        if let Some(more @ 1..) = collections.len().checked_sub(COMMANDS_MAX) {
            fixes.push(format!("and the same for {more} more"));
        }
        let row = if is_halting {
            Row::failure(what, found)
        } else {
            Row::warning(what, found)
        };
        row.fixed_by(fixes.join("\n"))
    }
}

/// What lets a collection keep them.
fn command(Lacking { origin, exists }: &Lacking) -> String {
    let verb = if *exists { "collMod" } else { "create" };
    let (database, name) = (quoted(&origin.database), quoted(&origin.collection));
    format!(
        "db.getSiblingDB({database}).runCommand({{{verb}: {name}, changeStreamPreAndPostImages: {{enabled: true}}}})"
    )
}

#[cfg(test)]
mod tests {
    use super::super::row::Mark;
    use super::*;

    fn row(full_document: FullDocument, before: FullDocumentBeforeChange) -> Row {
        let lacking = Lacking {
            origin: Namespace::new("shop", "users"),
            exists: true,
        };
        let wanted = Wanted {
            full_document,
            before,
        };
        wanted.lacking("users images", &[lacking], "")
    }

    #[test]
    fn what_is_required_fails_and_what_is_wished_warns() {
        use FullDocumentBeforeChange::{Off, Required, WhenAvailable};
        for (full_document, before, mark, then) in [
            (
                FullDocument::Required,
                Off,
                Mark::Failure,
                "FULL_DOCUMENT=required halts at the first update",
            ),
            (
                FullDocument::WhenAvailable,
                Off,
                Mark::Warning,
                "updates come without fullDocument",
            ),
            (
                FullDocument::UpdateLookup,
                WhenAvailable,
                Mark::Warning,
                "changes come without fullDocumentBeforeChange",
            ),
            (
                FullDocument::WhenAvailable,
                Required,
                Mark::Failure,
                "FULL_DOCUMENT_BEFORE_CHANGE=required halts at the first update, and updates come without \
                 fullDocument",
            ),
        ] {
            let row = row(full_document, before);
            assert_eq!(row.mark, mark);
            let found = format!("changeStreamPreAndPostImages isn't enabled, so {then}");
            assert_eq!(row.found, found);
            assert_eq!(
                row.fix.as_deref(),
                Some(
                    "db.getSiblingDB(\"shop\").runCommand({collMod: \"users\", \
                     changeStreamPreAndPostImages: {enabled: true}})"
                )
            );
        }
    }

    #[test]
    fn of_many_collections_a_few_are_named() {
        let lacking = |number| Lacking {
            origin: Namespace::new("shop", &format!("c{number}")),
            exists: true,
        };
        let wanted = Wanted {
            full_document: FullDocument::Required,
            before: FullDocumentBeforeChange::Off,
        };
        let fixes = |count| {
            let collections: Vec<_> = (0..count).map(lacking).collect();
            let row = wanted.lacking("images", &collections, " on some");
            row.fix
                .unwrap()
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(fixes(5).len(), 5);
        assert_eq!(fixes(7)[5], "and the same for 2 more");
    }
}
