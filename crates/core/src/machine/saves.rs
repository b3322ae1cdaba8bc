//! Saves: one at a time, never a position that the lake hasn't reached, never an older one.

use std::collections::BTreeMap;

use super::attempt::Operation;
use super::lane::Lane;
use super::reporter::Reporter;
use super::{Action, Actions, Feed, Now, Stage};
use crate::failure::{Disposition, Failure};
use crate::limits::{CHECKPOINT_LIMIT_BYTES, SAVE_EVERY_MS, WATERMARKS_LIMIT_BYTES};
use crate::namespace::Namespace;
use crate::position::{Checkpoint, ClusterTime, Departure, Position, Watermark};

/// The checkpoint as the feed knows it.
#[derive(Debug)]
pub(super) struct Saves {
    pub operation: Operation,
    /// What was saved last.
    pub saved: Option<Checkpoint>,
    /// What a failed save may have saved nevertheless.
    pub uncertain: Option<Checkpoint>,
    /// The revision of what was saved last.
    pub revision: u64,
    pub saved_at_ms: u64,
    /// Whether a commit has ended since, so that the position is worth saving at once.
    pub is_urgent: bool,
    // What only a start changes.
    pub restarted_at: Option<ClusterTime>,
    pub refiltered_at: Option<ClusterTime>,
    pub departed: Vec<Departure>,
}

impl Saves {
    pub fn new(operation: Operation) -> Self {
        Self {
            operation,
            saved: None,
            uncertain: None,
            revision: 0,
            saved_at_ms: 0,
            is_urgent: false,
            restarted_at: None,
            refiltered_at: None,
            departed: Vec::new(),
        }
    }

    /// What is stored isn't known any more.
    pub fn clear(&mut self) {
        self.operation.reset();
        self.saved = None;
    }

    /// A checkpoint that the feed resumes from, and the revision that it replaces.
    pub fn resume_from(&mut self, checkpoint: &Checkpoint, revision: u64) {
        self.uncertain = None;
        self.is_urgent = false;
        self.revision = revision;
        self.restarted_at = checkpoint.restarted_at;
        self.refiltered_at = checkpoint.refiltered_at;
        self.departed.clone_from(&checkpoint.departed);
    }

    /// Whether it is known what is stored.
    pub fn is_certain(&self) -> bool {
        !self.operation.is_running() && self.uncertain.is_none()
    }
}

/// The syntax around the texts of a watermark or a departure in a checkpoint, and its time.
const SYNTAX_BYTES: usize = 150;

/// The most bytes of a watermark in a checkpoint. Its names are also its key there, where a byte may take three.
fn stored_len_bytes(watermark: &Watermark) -> usize {
    let token = watermark.last_change.token.as_extended_json();
    4 * (watermark.database.len() + watermark.collection.len()) + token.len() + SYNTAX_BYTES
}

/// How much of a checkpoint is left for watermarks. What isn't counted has less than the 1 MiB between
/// [`CHECKPOINT_LIMIT_BYTES`] and what a store takes: the selection is as long as the settings that it is from.
fn room_for_watermarks_bytes(position: &Position, departed: &[Departure]) -> usize {
    let position_bytes = match position {
        Position::At(_) => 0,
        Position::After(token) => token.as_extended_json().len(),
    };
    let departures = departed.iter();
    let departed_bytes: usize = departures
        .map(|it| it.database.len() + it.collection.len() + SYNTAX_BYTES)
        .sum();
    CHECKPOINT_LIMIT_BYTES
        .saturating_sub(position_bytes + departed_bytes)
        .min(WATERMARKS_LIMIT_BYTES)
}

impl Feed {
    pub(super) fn advance_save(&mut self, now: Now, out: &mut Actions) {
        if !self.saves.operation.may_start(now) || !self.is_save_due(now) {
            return;
        }
        // What may have been saved is saved again unchanged: whichever attempt lands, and however late, the
        // result is the same.
        let uncertain = self.saves.uncertain.take();
        self.saves.is_urgent &= uncertain.is_some();
        let checkpoint = uncertain.unwrap_or_else(|| self.checkpoint());
        self.saves.operation.start();
        self.saves.saved_at_ms = now.monotonic_ms;
        // A save in progress counts as saved; a failure takes that back.
        self.saves.saved = Some(checkpoint.clone());
        out.push(Action::Save {
            checkpoint,
            replaces: self.saves.revision,
        });
    }

    /// What could be saved now.
    fn checkpoint(&self) -> Checkpoint {
        let safe = self.progress.safe();
        Checkpoint {
            position: safe.position.clone(),
            read_until: safe.read_until,
            folder: self.config.only_namespace().map(Namespace::folder),
            collections: within_limit(
                self.watermarks_to_save(),
                room_for_watermarks_bytes(&safe.position, &self.saves.departed),
            ),
            stream_hash: self.config.stream_hash.clone(),
            restarted_at: self.saves.restarted_at,
            refiltered_at: self.saves.refiltered_at,
            selection: self.config.watched.selection().cloned().map(Box::new),
            departed: self.saves.departed.clone(),
        }
    }

    fn watermark(&self, lane: &Lane) -> Option<Watermark> {
        let overlap = lane.overlap.as_ref().map(|overlap| &overlap.until);
        Some(Watermark {
            database: lane.namespace.database.clone(),
            collection: lane.namespace.collection.clone(),
            last_change: overlap.or(lane.last_change.as_ref())?.clone(),
            is_after_position: overlap.is_some() || self.progress.is_after_safe(lane.last_number),
        })
    }

    /// Those of all lanes, and of the collections without a change since the start.
    pub(super) fn watermarks(&self) -> Vec<Watermark> {
        let key = |watermark: Watermark| {
            let key = (watermark.database.clone(), watermark.collection.clone());
            (key, watermark)
        };
        let known = self.start.resume_point.watermarks().cloned();
        let lanes = self.lanes.iter().filter(|lane| lane.is_tail_known());
        let of_lanes = lanes.filter_map(|lane| self.watermark(lane));
        let newest: BTreeMap<_, _> = known.chain(of_lanes).map(key).collect();
        newest.into_values().collect()
    }

    /// The watermarks that a checkpoint needs.
    fn watermarks_to_save(&self) -> Vec<Watermark> {
        let mut watermarks = self.watermarks();
        if watermarks.len() > self.config.limits.watermarks_max {
            // Without a watermark, a tail is judged by its time. That is exact unless it is before the position and not
            // before `read_until`, as in a transaction. A gap's record names the newest change.
            let time = |it: &Watermark| it.last_change.cluster_time;
            let since = self.progress.safe().read_until;
            let newest = watermarks.iter().max_by_key(|it| time(it));
            let newest = newest.map(|it| it.last_change.token.clone());
            watermarks.retain(|it| {
                (!it.is_after_position && Some(time(it)) >= since)
                    || Some(&it.last_change.token) == newest.as_ref()
            });
        }
        watermarks
    }

    /// Whether the store lacks something that could be saved.
    pub(super) fn is_unsaved(&self) -> bool {
        let is_current = |saved: &Checkpoint| {
            saved.position == self.progress.safe().position
                && saved.stream_hash == self.config.stream_hash
        };
        !self.saves.saved.as_ref().is_some_and(is_current)
    }

    fn is_save_due(&self, now: Now) -> bool {
        self.save_due_at_ms()
            .is_some_and(|at_ms| at_ms <= now.monotonic_ms)
    }

    /// When to save what could be saved. A position that moved without a commit is saved at a bounded rate, and
    /// so is one that moves with each of many commits; everything else at once.
    fn save_due_at_ms(&self) -> Option<u64> {
        if !self.is_unsaved() {
            return None;
        }
        let is_last_commit = self.lanes.committing() <= 1;
        let saved_at_ms = self.saves.saved_at_ms;
        Some(match &self.saves.saved {
            _ if self.draining => 0,
            Some(saved) if self.has_only_moved(saved) => {
                saved_at_ms + self.config.limits.idle_checkpoint_ms
            }
            _ if is_last_commit => 0,
            _ => saved_at_ms + SAVE_EVERY_MS,
        })
    }

    /// Whether the position has moved since, and no commit has ended.
    fn has_only_moved(&self, saved: &Checkpoint) -> bool {
        !self.saves.is_urgent && saved.stream_hash == self.config.stream_hash
    }

    /// When a save is to be started, unless that is now.
    pub(super) fn save_at_ms(&self) -> Option<u64> {
        let due_at_ms = self.save_due_at_ms()?;
        self.saves.operation.earliest_start_ms(due_at_ms)
    }

    pub(super) fn saved(&mut self, result: Result<(), Failure>, now: Now, out: &mut Actions) {
        let mut reporter = Reporter::of_feed(out);
        let saves = &mut self.saves;
        match result {
            Ok(()) => {
                saves.revision += 1;
                saves.operation.succeeded(&mut reporter);
                if self.stage == Stage::SavingStart {
                    self.stage = Stage::Running;
                }
            }
            Err(failure) => {
                saves.operation.failed(&failure, now, &mut reporter);
                saves.uncertain = saves.saved.take();
                if failure.disposition == Disposition::Reload {
                    self.request_reload(&failure, out);
                }
            }
        }
    }
}

/// Leaves out the oldest watermarks if there are too many. A collection without one is judged by the time of its
/// tail, which is exact if that is long before the position.
fn within_limit(mut watermarks: Vec<Watermark>, limit_bytes: usize) -> Vec<Watermark> {
    let mut len_bytes: usize = watermarks.iter().map(stored_len_bytes).sum();
    if len_bytes <= limit_bytes {
        return watermarks;
    }
    watermarks.sort_by_key(|it| (it.is_after_position, it.last_change.cluster_time));
    let mut left_out = 0;
    while len_bytes > limit_bytes && left_out < watermarks.len() {
        len_bytes -= stored_len_bytes(&watermarks[left_out]);
        left_out += 1;
    }
    watermarks.drain(..left_out);
    watermarks
}
