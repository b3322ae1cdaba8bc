//! Puts together a change that the server sent in fragments.
//!
//! `$changeStreamSplitLargeEvent` gives each fragment some of the event's top-level fields, a resume token
//! of its own, and `splitEvent: {fragment: 1, of: 3}`.

use bson::raw::cstr;
use bson::{RawDocument, RawDocumentBuf};

use crate::source::SourceError;

/// The field with a fragment's number.
const SPLIT_EVENT: &str = "splitEvent";

/// An event of which some fragments have come.
#[derive(Debug)]
pub(super) struct Fragments {
    event: RawDocumentBuf,
    taken: i32,
    of: i32,
}

impl Fragments {
    /// Begins the event with this token.
    pub(super) fn new(token: &RawDocument) -> Self {
        let mut event = RawDocumentBuf::new();
        event.append(cstr!("_id"), token.to_owned());
        Self {
            event,
            taken: 0,
            of: 1,
        }
    }

    /// Takes the next fragment, or an event that came in one piece. Its own token is left out.
    ///
    /// # Errors
    ///
    /// It isn't the next fragment, or its number is malformed.
    pub(super) fn take(&mut self, fragment: &RawDocument) -> Result<(), SourceError> {
        let misfit = |reason: String| SourceError::Misfit { reason };
        let (number, of) = match fragment.get_document(SPLIT_EVENT) {
            Ok(split) => {
                let number = |name| {
                    split
                        .get_i32(name)
                        .map_err(|error| misfit(error.to_string()))
                };
                (number("fragment")?, number("of")?)
            }
            Err(_) => (1, 1),
        };
        let is_expected = number == self.taken + 1 && (number == 1 || of == self.of);
        if !is_expected || number > of {
            let (taken, known) = (self.taken, self.of);
            let reason = format!("fragment {number} of {of} came after {taken} of {known}");
            return Err(misfit(reason));
        }
        for field in fragment {
            let (name, value) = field.map_err(|error| misfit(error.to_string()))?;
            if name != "_id" && name != SPLIT_EVENT {
                self.event.append(name, value);
            }
        }
        (self.taken, self.of) = (number, of);
        Ok(())
    }

    /// Whether the last fragment has come.
    pub(super) fn is_whole(&self) -> bool {
        self.taken == self.of
    }

    /// The event, if it has these fields.
    ///
    /// # Errors
    ///
    /// It has others: the fragments don't belong to one version of the event.
    pub(super) fn into_event(self, mut fields: Vec<&str>) -> Result<RawDocumentBuf, SourceError> {
        let names = self.event.iter().flatten().map(|(name, _)| name.as_str());
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        fields.sort_unstable();
        if names == fields {
            return Ok(self.event);
        }
        let (names, fields) = (names.join(", "), fields.join(", "));
        Err(SourceError::Misfit {
            reason: format!("its fields are {names} instead of {fields}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};
    use proptest::prelude::*;

    use super::*;

    fn raw(document: &Document) -> RawDocumentBuf {
        RawDocumentBuf::try_from(document).unwrap()
    }

    fn token() -> RawDocumentBuf {
        raw(&doc! { "_data": "82" })
    }

    fn fragment(number: i32, of: i32, fields: Document) -> RawDocumentBuf {
        let mut fragment = doc! {
            "_id": { "_data": format!("82{number}") },
            "splitEvent": { "fragment": number, "of": of },
        };
        fragment.extend(fields);
        raw(&fragment)
    }

    /// Takes fragments with these numbers, each with its own field.
    fn taken(numbers: &[(i32, i32)]) -> Result<bool, SourceError> {
        let mut fragments = Fragments::new(&token());
        for (number, of) in numbers {
            fragments.take(&fragment(*number, *of, doc! { number.to_string(): 1 }))?;
        }
        Ok(fragments.is_whole())
    }

    #[test]
    fn fragments_in_order_make_one_event_with_the_token_of_the_whole() {
        let mut fragments = Fragments::new(&token());
        for (number, field) in [(1, "c"), (2, "a"), (3, "b")] {
            assert!(!fragments.is_whole());
            fragments
                .take(&fragment(number, 3, doc! { field: number }))
                .unwrap();
        }
        assert!(fragments.is_whole());
        let event = fragments.into_event(vec!["a", "b", "c", "_id"]).unwrap();
        let expected = doc! { "_id": { "_data": "82" }, "c": 1, "a": 2, "b": 3 };
        assert_eq!(event, raw(&expected));
    }

    #[test]
    fn an_event_in_one_piece_is_whole() {
        let mut fragments = Fragments::new(&token());
        fragments
            .take(&raw(&doc! { "_id": { "_data": "83" }, "a": 1 }))
            .unwrap();
        assert!(fragments.is_whole());
        let event = fragments.into_event(vec!["a", "_id"]).unwrap();
        assert_eq!(event, raw(&doc! { "_id": { "_data": "82" }, "a": 1 }));
    }

    #[test]
    fn out_of_order_missing_and_foreign_fragments_are_refused() {
        for (numbers, is_whole) in [
            (&[(1, 1)][..], true),
            (&[(1, 2)], false),
            (&[(1, 2), (2, 2)], true),
        ] {
            assert_eq!(taken(numbers).unwrap(), is_whole, "{numbers:?}");
        }
        for numbers in [
            &[(2, 2)][..],
            &[(1, 3), (3, 3)],
            &[(1, 3), (2, 3), (2, 3)],
            &[(1, 2), (1, 2)],
            &[(1, 3), (2, 2)],
            &[(1, 2), (2, 2), (3, 2)],
            &[(0, 2)],
            &[(1, 0)],
            &[(-1, -1)],
        ] {
            let refused = taken(numbers);
            assert!(
                matches!(refused, Err(SourceError::Misfit { .. })),
                "{numbers:?}"
            );
        }
        let mut fragments = Fragments::new(&token());
        let odd = raw(&doc! { "_id": {}, "splitEvent": { "fragment": "1", "of": 1 } });
        assert!(fragments.take(&odd).is_err());
    }

    #[test]
    fn an_event_with_other_fields_than_expected_is_refused() {
        // If a document shrinks between two fragments, fields move from one to the other.
        for fields in [&["_id", "1", "2"][..], &["_id"], &["_id", "1", "1"]] {
            let mut fragments = Fragments::new(&token());
            fragments.take(&fragment(1, 1, doc! { "1": 1 })).unwrap();
            let refused = fragments.into_event(fields.to_vec());
            assert!(
                matches!(refused, Err(SourceError::Misfit { .. })),
                "{fields:?}"
            );
        }
    }

    #[test]
    fn an_event_may_be_larger_than_any_document_of_the_server() {
        let mut fragments = Fragments::new(&token());
        let text = "x".repeat(16 * 1024 * 1024 - 1024);
        for number in 1..=3 {
            let fields = doc! { number.to_string(): &text };
            fragments.take(&fragment(number, 3, fields)).unwrap();
        }
        let event = fragments.into_event(vec!["_id", "1", "2", "3"]).unwrap();
        assert!(event.as_bytes().len() > 3 * text.len());
        assert_eq!(event.get_str("3").unwrap(), text);
        assert!(RawDocumentBuf::from_bytes(event.into_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn any_split_of_any_event_gives_the_event_again(
            values in prop::collection::vec(".{0,20}", 1..12),
            cuts in prop::collection::vec(any::<bool>(), 12),
        ) {
            let fields = values.iter().enumerate();
            let fields: Vec<(String, &String)> =
                fields.map(|(number, value)| (format!("field{number}"), value)).collect();
            let mut parts = vec![Document::new()];
            for ((name, value), cut) in fields.iter().zip(&cuts) {
                if *cut && !parts.last().unwrap().is_empty() {
                    parts.push(Document::new());
                }
                parts.last_mut().unwrap().insert(name, *value);
            }
            let mut fragments = Fragments::new(&token());
            let of = i32::try_from(parts.len()).unwrap();
            for (number, part) in (1..).zip(&parts) {
                prop_assert!(!fragments.is_whole());
                fragments.take(&fragment(number, of, part.clone())).unwrap();
            }
            prop_assert!(fragments.is_whole());
            let mut expected = doc! { "_id": { "_data": "82" } };
            expected.extend(fields.iter().map(|(name, value)| (name.clone(), (*value).into())));
            let names = expected.keys().map(String::as_str).collect();
            prop_assert_eq!(fragments.into_event(names).unwrap(), raw(&expected));
        }
    }
}
