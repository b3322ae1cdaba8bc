//! The world of a feed that carries many collections.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};

use super::super::lake::Lake;
use super::super::source::{BEGIN, Place, Source};
use super::super::store::{Save, Store};
use crate::gap::{Gap, Record};
use crate::machine::{Now, WriteOrder};
use crate::namespace::{Layout, Namespace};
use crate::position::{Checkpoint, Position};

/// Which collection each change belongs to: one has many changes, one has few.
const SHARES: [usize; 8] = [0, 0, 0, 1, 0, 1, 2, 3];

/// A number that looks drawn at random, the same for each change every time.
fn scatter(index: usize) -> usize {
    (index + 1).wrapping_mul(0x9E37_79B9) >> 7
}

/// The collection of a change; a rename's old name.
pub(super) fn namespace_of(index: usize) -> Namespace {
    let share = SHARES[scatter(index) % SHARES.len()];
    Namespace::with_layout("mydb", &format!("c{share}"), Layout::Collection)
}

/// The second collection of a change, if it is a rename between two of them.
fn second_namespace_of(index: usize) -> Option<Namespace> {
    let share = SHARES[scatter(index) % SHARES.len()];
    let is_rename = (scatter(index) / SHARES.len() / 3).is_multiple_of(4);
    is_rename.then(|| {
        Namespace::with_layout("mydb", &format!("c{}", (share + 1) % 4), Layout::Collection)
    })
}

/// The collections of a change.
pub(super) fn namespaces_of(index: usize) -> impl Iterator<Item = Namespace> {
    std::iter::once(namespace_of(index)).chain(second_namespace_of(index))
}

/// Whether a change belongs to a collection.
pub(super) fn is_of(index: usize, namespace: &Namespace) -> bool {
    namespaces_of(index).any(|own| own == *namespace)
}

/// Whether a stream with the narrow filter leaves the change out.
pub(super) fn is_odd(index: usize) -> bool {
    (scatter(index) / SHARES.len()).is_multiple_of(3)
}

/// A write that lands after its caller has given it up.
#[derive(Debug)]
pub(super) enum Late {
    Commit(Namespace, WriteOrder),
    Save(Save),
}

/// All of it, and the time.
#[derive(Debug)]
pub(super) struct World {
    pub source: Source,
    pub lakes: BTreeMap<Namespace, Lake>,
    /// One of the collections may not be written.
    pub is_forbidden: bool,
    pub store: Store,
    pub late: Vec<Late>,
    pub now: Now,
    /// Whether some process reads without some of the changes.
    pub has_narrow_streams: bool,
    /// Changes that are on record as lost, by collection.
    pub lost: BTreeSet<(Namespace, usize)>,
    /// The newest place ever saved, and how often the stream had changed before.
    newest: Option<(u32, Place)>,
}

impl World {
    pub fn new() -> Self {
        Self {
            source: Source::new(),
            lakes: BTreeMap::new(),
            is_forbidden: false,
            store: Store::default(),
            late: Vec::new(),
            now: Now {
                monotonic_ms: 1_000_000,
                unix_ms: i64::from(BEGIN.seconds) * 1000,
            },
            has_narrow_streams: false,
            lost: BTreeSet::new(),
            newest: None,
        }
    }

    pub fn is_refused(&self, namespace: &Namespace) -> bool {
        self.is_forbidden && namespace.collection == "c1"
    }

    pub fn land(&mut self, write: Late) {
        // Nobody hears the answer.
        let _ = match write {
            Late::Commit(namespace, order) => {
                let lake = self.lakes.entry(namespace).or_default();
                lake.commit(&self.source, &order).map(|_| ())
            }
            Late::Save(save) => self.store.write(save),
        };
    }

    /// Records of a gap land in the lake.
    pub fn record(&mut self, records: &[(Namespace, Record)], read: Place) -> Result<()> {
        let gaps = records.iter().map(|(namespace, record)| match record {
            Record::Lost(gap) => Ok((namespace, gap)),
            Record::TooLarge(event) => anyhow::bail!("records {event}"),
        });
        let gaps: Vec<(&Namespace, &Gap)> = gaps.collect::<Result<_>>()?;
        let (all, gap) = gaps.first().context("no record")?;
        ensure!(
            all.collection.is_empty(),
            "nobody tells of unknown collections"
        );
        let until = gap.until.context("an open end")?;
        let until = self.source.place(&Position::At(until)).changes;
        // Of changes that have the time where the gap begins some may be lost.
        let from = |gap: &Gap| {
            gap.from
                .map_or(0, |from| self.source.place(&Position::At(from)).changes)
        };
        ensure!(from(gap) <= read.changes, "{gap} begins behind {read:?}");
        let own: BTreeMap<&Namespace, usize> = gaps
            .iter()
            .map(|(namespace, gap)| (*namespace, from(gap)))
            .collect();
        let is_lost = |(namespace, index): &(Namespace, usize)| match own.get(namespace) {
            Some(from) => index >= from,
            // Nobody knows of the collection, or the lake is further.
            None => !self.holds_behind(namespace, until),
        };
        let all =
            (from(gap)..until).flat_map(|index| namespaces_of(index).map(move |own| (own, index)));
        let lost: Vec<(Namespace, usize)> = all.filter(is_lost).collect();
        self.lost.extend(lost);
        Ok(())
    }

    /// Whether the lake holds a change of a collection behind this place.
    fn holds_behind(&self, namespace: &Namespace, place: usize) -> bool {
        let lake = self.lakes.get(namespace);
        lake.is_some_and(|lake| lake.changes().any(|index| index >= place))
    }

    /// Whether a change must come to the lake, in this collection.
    fn is_owed(&self, namespace: &Namespace, index: usize) -> bool {
        let is_optional = self.has_narrow_streams && is_odd(index);
        !is_optional && !self.lost.contains(&(namespace.clone(), index))
    }

    /// Whether the lake holds a change in all collections to which it is owed.
    fn is_archived(&self, index: usize) -> bool {
        namespaces_of(index)
            .all(|namespace| !self.is_owed(&namespace, index) || self.holds(&namespace, index))
    }

    fn holds(&self, namespace: &Namespace, index: usize) -> bool {
        let lake = self.lakes.get(namespace);
        lake.is_some_and(|lake| lake.changes().any(|own| own == index))
    }

    /// In every collection the changes are in order, none twice, and none that is owed is missing between
    /// them.
    pub fn check(&mut self) -> Result<()> {
        for (namespace, lake) in &self.lakes {
            let mut next = 0;
            for index in lake.changes() {
                ensure!(
                    index >= next,
                    "{namespace} has {index} in the place of {next}"
                );
                ensure!(is_of(index, namespace), "{index} isn't {namespace}'s");
                let missing =
                    (next..index).find(|at| self.is_owed(namespace, *at) && is_of(*at, namespace));
                ensure!(
                    missing.is_none(),
                    "{namespace} has {index} without {missing:?}"
                );
                next = index + 1;
            }
        }
        if let Some(stored) = self.store.load() {
            self.check_checkpoint(&stored.checkpoint)?;
            let place = self.source.place(&stored.checkpoint.position);
            let place = Some((self.store.streams, place));
            ensure!(
                self.newest <= place,
                "the checkpoint went back from {:?} to {place:?}",
                self.newest
            );
            self.newest = place;
        }
        Ok(())
    }

    /// All that lies before a saved position is in the lake, and what a watermark says is so.
    pub fn check_checkpoint(&self, checkpoint: &Checkpoint) -> Result<()> {
        let place = self.source.place(&checkpoint.position);
        let missing = (0..place.changes).find(|at| !self.is_archived(*at));
        ensure!(missing.is_none(), "{place:?} lies behind {missing:?}");
        ensure!(
            checkpoint.read_until.is_none_or(|time| time <= place.time),
            "{:?} isn't read yet at {place:?}",
            checkpoint.read_until
        );
        for watermark in &checkpoint.collections {
            let last = Source::end(&watermark.last_change);
            let namespace = Namespace::with_layout(
                &watermark.database,
                &watermark.collection,
                Layout::Collection,
            );
            ensure!(
                self.holds(&namespace, last - 1),
                "{watermark:?} isn't in the lake"
            );
            let is_ahead = last > place.changes;
            // Of what a narrow stream leaves out it isn't known whether it lies behind the position.
            let is_unknown = self.has_narrow_streams && is_odd(last - 1);
            ensure!(
                watermark.is_after_position == is_ahead || is_unknown,
                "{watermark:?} beside {place:?}"
            );
        }
        Ok(())
    }

    /// Whether all that is owed is in the lake, and the store knows.
    pub fn is_complete(&self) -> bool {
        let stored = self.store.load();
        let is_stored = stored.is_some_and(|stored| {
            let place = self.source.place(&stored.checkpoint.position);
            place.changes >= self.source.len()
        });
        is_stored && self.is_archived_up_to(self.source.len())
    }

    /// Whether the first so many changes are in the lake.
    pub fn is_archived_up_to(&self, changes: usize) -> bool {
        (0..changes).all(|index| self.is_archived(index))
    }

    pub fn summary(&self) -> String {
        let lakes = self.lakes.iter();
        let lakes = lakes.map(|(namespace, lake)| {
            let changes: Vec<_> = lake.changes().collect();
            format!("{} {changes:?}", namespace.collection)
        });
        let lakes: Vec<_> = lakes.collect();
        let stored = self.store.load().map(|stored| {
            let watermarks = stored.checkpoint.collections.iter();
            let watermarks = watermarks.map(|watermark| {
                let ahead = if watermark.is_after_position { "!" } else { "" };
                format!(
                    "{}:{}{ahead}",
                    watermark.collection,
                    Source::end(&watermark.last_change) - 1
                )
            });
            let place = self.source.place(&stored.checkpoint.position);
            let watermarks: Vec<_> = watermarks.collect();
            format!(
                "{} {watermarks:?} {}",
                place.changes, stored.checkpoint.stream_hash
            )
        });
        format!(
            "{} changes, lakes {lakes:?}, lost {:?}, stored {stored:?}, late {:?}",
            self.source.len(),
            self.lost,
            self.late.len()
        )
    }
}
