//! Saves: one at a time, never ahead of the lake, never backwards.

use std::collections::BTreeMap;

use super::lane::Lane;
use super::messages::Reporter;
use super::{Action, Actions, Attempt, Feed, Now, Stage};
use crate::failure::{Disposition, Failure};
use crate::limits::{MARKS_LIMIT_BYTES, SAVE_EVERY_MS};
use crate::namespace::Namespace;
use crate::position::{Checkpoint, LastChange, Watermark};

/// A watermark's length in a checkpoint, about: its texts, and what stands around them.
fn stored_len_bytes(watermark: &Watermark) -> usize {
    let token = watermark.last_change.token.as_extended_json();
    watermark.database.len() + watermark.collection.len() + token.len() + 150
}

impl Feed {
    pub(super) fn advance_save(&mut self, now: Now, out: &mut Actions) {
        if self.save.may_start(now) && self.is_save_due(now) {
            self.save = Attempt::Running;
            self.saved_at_ms = now.monotonic_ms;
            // What may have been saved is said again as it was: whichever try lands, and however
            // late, it lands the same.
            let uncertain = self.uncertain_save.take();
            self.is_save_urgent &= uncertain.is_some();
            let checkpoint = uncertain.unwrap_or_else(|| self.checkpoint());
            // What is under way counts as saved; a failure takes that back.
            self.saved = Some(checkpoint.clone());
            out.push(Action::Save {
                checkpoint,
                replaces: self.revision,
            });
        }
    }

    /// What could be saved now.
    fn checkpoint(&self) -> Checkpoint {
        let safe = self.progress.safe();
        let is_one = self.config.only_namespace().is_some();
        Checkpoint {
            position: safe.position.clone(),
            read_until: safe.read_until,
            last_change: self.last_change().cloned(),
            folder: self.config.only_namespace().map(Namespace::folder),
            collections: if is_one {
                Vec::new()
            } else {
                self.watermarks()
            },
            stream_hash: self.config.stream_hash.clone(),
            restarted_at: self.restarted_at,
            refiltered_at: self.refiltered_at,
            selection: self.config.watched.selection().cloned().map(Box::new),
            departed: self.departed.clone(),
        }
    }

    /// The last change in the lake, of a feed of one collection. While changes are passed over it is the
    /// one that was saved, as the position is.
    fn last_change(&self) -> Option<&LastChange> {
        let namespace = self.config.only_namespace()?;
        let lane = self.lanes.find(namespace)?;
        let saved = self
            .resume_point
            .mark(namespace)
            .map(|watermark| &watermark.last_change);
        match lane.overlap {
            Some(_) => saved,
            None => lane.last_change.as_ref(),
        }
    }

    fn mark(&self, lane: &Lane) -> Option<Watermark> {
        let passed = lane.overlap.as_ref().map(|overlap| &overlap.until);
        Some(Watermark {
            database: lane.namespace.database.clone(),
            collection: lane.namespace.collection.clone(),
            last_change: passed.or(lane.last_change.as_ref())?.clone(),
            is_after_position: passed.is_some() || self.progress.is_after_safe(lane.last_number),
        })
    }

    /// Those of all lanes, and of the collections that had no change since the start.
    pub(super) fn watermarks(&self) -> Vec<Watermark> {
        let key =
            |watermark: &Watermark| (watermark.database.clone(), watermark.collection.clone());
        let known = self
            .resume_point
            .watermarks()
            .map(|watermark| (key(watermark), watermark.clone()));
        let mut watermarks: BTreeMap<_, _> = known.collect();
        let lanes = self.lanes.iter().filter(|lane| lane.is_known());
        watermarks.extend(
            lanes
                .filter_map(|lane| self.mark(lane))
                .map(|watermark| (key(&watermark), watermark)),
        );
        let mut watermarks: Vec<_> = watermarks.into_values().collect();
        let mut len_bytes: usize = watermarks.iter().map(stored_len_bytes).sum();
        if len_bytes > MARKS_LIMIT_BYTES {
            // A collection without a watermark is judged by its last change's time, which is exact where that
            // lies far behind the position.
            watermarks.sort_by_key(|watermark| {
                (
                    watermark.is_after_position,
                    watermark.last_change.cluster_time,
                )
            });
            let mut left_out = 0;
            while len_bytes > MARKS_LIMIT_BYTES && left_out < watermarks.len() {
                len_bytes -= stored_len_bytes(&watermarks[left_out]);
                left_out += 1;
            }
            watermarks.drain(..left_out);
        }
        watermarks
    }

    /// Whether the store lacks something that could be saved.
    pub(super) fn is_unsaved(&self) -> bool {
        self.saved.as_ref().is_none_or(|saved| {
            saved.position != self.progress.safe().position
                || saved.last_change.as_ref() != self.last_change()
                || saved.stream_hash != self.config.stream_hash
        })
    }

    fn is_save_due(&self, now: Now) -> bool {
        self.save_due_at_ms()
            .is_some_and(|at_ms| at_ms <= now.monotonic_ms)
    }

    /// When what could be saved is to be saved. A position that moved without a commit is saved at a bounded
    /// rate, and so is one that moves with each of many commits; all else at once.
    fn save_due_at_ms(&self) -> Option<u64> {
        if !self.is_unsaved() {
            return None;
        }
        let is_last = self.lanes.committing() <= 1;
        Some(match &self.saved {
            _ if self.draining => 0,
            Some(saved) if self.has_only_moved(saved) => {
                self.saved_at_ms + self.config.limits.idle_checkpoint_ms
            }
            _ if is_last => 0,
            _ => self.saved_at_ms + SAVE_EVERY_MS,
        })
    }

    /// Whether the position moved since, and no commit ended.
    fn has_only_moved(&self, saved: &Checkpoint) -> bool {
        !self.is_save_urgent
            && saved.stream_hash == self.config.stream_hash
            && saved.last_change.as_ref() == self.last_change()
    }

    /// When a save is to be started, unless that is now.
    pub(super) fn save_at_ms(&self) -> Option<u64> {
        let due_at_ms = self.save_due_at_ms()?;
        match self.save {
            Attempt::Running => None,
            Attempt::Ready => Some(due_at_ms),
            Attempt::Waiting { until_ms } => Some(due_at_ms.max(until_ms)),
        }
    }

    pub(super) fn saved(&mut self, result: Result<(), Failure>, now: Now, out: &mut Actions) {
        let (backoff, trouble) = (&mut self.save_backoff, &mut self.troubles.save);
        let mut reporter = Reporter::of_feed(out);
        match result {
            Ok(()) => {
                self.save = Attempt::Ready;
                self.revision += 1;
                reporter.recovered(backoff, trouble);
                if self.stage == Stage::SavingStart {
                    self.stage = Stage::Running;
                }
            }
            Err(failure) => {
                self.save = reporter.failed(&failure, backoff, trouble, now);
                self.uncertain_save = self.saved.take();
                if failure.disposition == Disposition::Reload {
                    self.request_reload(&failure, out);
                }
            }
        }
    }
}
