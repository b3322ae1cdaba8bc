//! Saves: one at a time, never ahead of the lake, never backwards.

use super::super::failure::{Disposition, Failure};
use super::{Action, Actions, Feed, Now, Stage, Try};

impl Feed {
    pub(super) fn advance_save(&mut self, now: Now, out: &mut Actions) {
        if self.save.may_start(now) && self.is_save_due(now) {
            self.save = Try::Running;
            self.saved_at_ms = now.monotonic_ms;
            // What may have been saved is said again as it was: whichever try lands, and however
            // late, it lands the same.
            let checkpoint = self.unsure_save.take().unwrap_or_else(|| self.safe.clone());
            // What is under way counts as saved; a failure takes that back.
            self.saved = Some(checkpoint.clone());
            out.push(Action::Save {
                checkpoint,
                replaces: self.revision,
            });
        }
    }

    /// Whether the store lacks something that could be saved.
    pub(super) fn is_unsaved(&self) -> bool {
        self.saved.as_ref() != Some(&self.safe)
    }

    /// A position that moved without a commit is saved at a bounded rate, all else at once.
    fn is_save_due(&self, now: Now) -> bool {
        self.is_unsaved()
            && match self.idle_save_at_ms() {
                Some(at_ms) if !self.draining => now.monotonic_ms >= at_ms,
                _ => true,
            }
    }

    /// When an idle feed's position is to be saved, if that is all there is to save.
    pub(super) fn idle_save_at_ms(&self) -> Option<u64> {
        let saved = self.saved.as_ref()?;
        let only_moved =
            saved.last_change == self.safe.last_change && saved.position != self.safe.position;
        only_moved.then(|| self.saved_at_ms + self.config.limits.idle_checkpoint_ms)
    }

    pub(super) fn saved(&mut self, result: Result<(), Failure>, now: Now, out: &mut Actions) {
        match result {
            Ok(()) => {
                self.save = Try::Ready;
                self.revision += 1;
                Self::mend(&mut self.save_backoff, &mut self.troubles.save, out);
                if self.stage == Stage::Anchoring {
                    self.stage = Stage::Running;
                }
            }
            Err(failure) => {
                self.unsure_save = self.saved.take();
                let trouble = &mut self.troubles.save;
                self.save = Self::fail(&failure, &mut self.save_backoff, trouble, now, out);
                if failure.disposition == Disposition::Reload {
                    self.request_reload(&failure, out);
                }
            }
        }
    }
}
