//! The checkpoint store: saves that compare and set, and know their own.

use super::faults::failure;
use crate::failure::{Disposition, Failure};
use crate::position::{Checkpoint, Stored};

/// A checkpoint on its way to the store.
#[derive(Clone, Debug)]
pub(super) struct Save {
    pub writer: u64,
    pub checkpoint: Checkpoint,
    pub replaces: u64,
}

impl Save {
    pub fn summary(&self) -> String {
        format!(
            "save {:?} replaces {}",
            self.checkpoint.position, self.replaces
        )
    }
}

/// The checkpoint store's side.
#[derive(Debug, Default)]
pub(super) struct Store {
    stored: Option<Stored>,
    /// The first checkpoint ever saved: where the archive starts.
    pub first: Option<Checkpoint>,
    /// How often the stream has changed, which leads a position back to the beginning of its time.
    pub streams: u32,
    writer: u64,
}

impl Store {
    pub fn load(&self) -> Option<Stored> {
        self.stored.clone()
    }

    pub fn forget(&mut self) {
        self.stored = None;
    }

    pub fn revision(&self) -> u64 {
        self.stored.as_ref().map_or(0, |stored| stored.revision)
    }

    /// One write, as it lands.
    pub fn write(&mut self, save: Save) -> Result<(), Failure> {
        if self.revision() != save.replaces {
            return Err(failure(Disposition::Reload));
        }
        self.writer = save.writer;
        let hash = |checkpoint: &Checkpoint| checkpoint.stream_hash.clone();
        let earlier = self.stored.as_ref().map(|stored| hash(&stored.checkpoint));
        self.streams += u32::from(earlier.is_some_and(|earlier| earlier != hash(&save.checkpoint)));
        self.first.get_or_insert_with(|| save.checkpoint.clone());
        self.stored = Some(Stored {
            checkpoint: save.checkpoint,
            revision: save.replaces + 1,
            lake: None,
        });
        Ok(())
    }

    /// A save. A writer that meets its own earlier try, whose reply was lost, is content. Only if it
    /// is the very same: somebody may have gone on from what is stored.
    pub fn save(&mut self, save: Save) -> Result<(), Failure> {
        let is_own = self.writer == save.writer && self.revision() == save.replaces + 1;
        match &self.stored {
            Some(stored) if is_own && stored.checkpoint == save.checkpoint => Ok(()),
            _ => self.write(save),
        }
    }
}
