//! What a master should make of lost history.

use anyhow::{Context as _, Result, ensure};

use super::master::{Life, Master, Pending};
use super::source::{Place, Source};
use super::world::World;
use crate::gap::{Gap, Record};
use crate::machine::OnHistoryLost;
use crate::namespace::Namespace;
use crate::position::{ClusterTime, Position};

/// A second book of it.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Where the stream can't go on.
    lost_at: Option<Place>,
    /// Where the oplog was said to begin.
    oldest: Option<ClusterTime>,
    /// Where a feed goes on that has asked for the cluster's time.
    now: Option<ClusterTime>,
    /// It went on behind a gap and no stream has answered since.
    has_restarted: bool,
    /// Where it is to go on, until that is saved.
    unsaved: Option<Position>,
}

impl History {
    /// The feed is to be told that its history is lost from here on, and where the oplog begins.
    pub fn lose(&mut self, place: Place, oldest: Option<ClusterTime>) {
        self.lost_at = Some(place);
        self.oldest = oldest;
        self.now = None;
    }

    /// A stream answered.
    pub fn stream_worked(&mut self) {
        self.has_restarted = false;
        self.lost_at = None;
    }

    pub fn asked(&mut self, time: ClusterTime) {
        self.now = Some(ClusterTime {
            increment: time.increment + 1,
            ..time
        });
    }

    pub fn saved(&mut self, position: &Position) {
        self.unsaved.take_if(|unsaved| unsaved == position);
    }

    pub fn check_open(&self) -> Result<()> {
        ensure!(
            self.unsaved.is_none(),
            "reads before it is saved from where"
        );
        Ok(())
    }

    /// Where a feed is to go on.
    fn until(&self, from: Option<ClusterTime>) -> Option<ClusterTime> {
        let oldest = self.oldest.filter(|oldest| Some(*oldest) > from);
        oldest.filter(|_| !self.has_restarted).or(self.now)
    }
}

/// Up to where each change from this one on is in the lake, or in a record: another master may have brought
/// some there that this one knows nothing of.
fn known_until(world: &World, from: usize) -> usize {
    let mut end = from;
    loop {
        let gap_end = world.lake.gaps.end_from(&world.source, end);
        let is_held = world.lake.changes().any(|index| index == gap_end);
        let next = gap_end + usize::from(is_held);
        if next == end {
            return end;
        }
        end = next;
    }
}

impl Master {
    /// Whether it waits for a person, with all that it read in the lake.
    pub fn is_halted_by_loss(&self) -> bool {
        let trouble = self.feed.trouble();
        self.history.lost_at.is_some()
            && self.pending.is_empty()
            && self.feed.buffered_bytes() == 0
            && trouble.is_some_and(|trouble| {
                trouble.is_halt && trouble.message.contains("ON_HISTORY_LOST=restart")
            })
    }

    pub fn begin_record(
        &mut self,
        world: &World,
        mut records: Vec<(Namespace, Record)>,
    ) -> Result<()> {
        let Some((_, Record::Lost(gap))) = records.pop() else {
            anyhow::bail!("records no gap");
        };
        ensure!(records.is_empty(), "more than one collection's");
        ensure!(self.pending.is_empty(), "records beside {:?}", self.pending);
        ensure!(self.life == Life::Running, "records in drain");
        ensure!(
            self.on_history_lost == OnHistoryLost::Restart,
            "goes on where it is to halt"
        );
        ensure!(self.held.is_empty(), "holds {:?}", self.held);
        let until = self.history.until(gap.from);
        ensure!(
            gap.until.is_some() && gap.until == until,
            "goes on at {:?} instead of {until:?}",
            gap.until
        );
        self.check_beginning(world, &gap)?;
        self.pending.push(Pending::Record(gap));
        Ok(())
    }

    /// A gap begins behind all that was read.
    fn check_beginning(&self, world: &World, gap: &Gap) -> Result<()> {
        let source = &world.source;
        let next = self.next_held.context("loses what it never had")?;
        let last_change = gap.last_change.as_ref();
        let archived = last_change.map_or_else(|| world.start(), |last| Some(Source::end(last)));
        let archived = archived.context("no beginning")?;
        ensure!(
            known_until(world, archived) >= next,
            "what is between {archived} and {next} is in no record"
        );
        let place = self.history.lost_at.context("nothing is lost")?;
        ensure!(place.changes >= next, "{place:?} isn't where the lake ends");
        let last_time = last_change.map(|last| last.cluster_time);
        let from = last_time.max(Some(place.time));
        ensure!(
            gap.from == from || !source.tells_time && last_time <= gap.from && gap.from <= from,
            "begins at {:?} instead of {from:?}",
            gap.from
        );
        Ok(())
    }

    /// A gap is on record.
    pub fn note_record(&mut self, world: &World, gap: &Gap) -> Result<()> {
        let until = Position::At(gap.until.context("an open end")?);
        let place = world.source.place(&until).changes;
        self.next_held = self.next_held.max(Some(place));
        self.history.has_restarted = true;
        self.history.lost_at = None;
        self.history.unsaved = Some(until);
        Ok(())
    }
}
