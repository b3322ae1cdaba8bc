//! What a feed shows of itself.

use super::super::batch::Batch;
use super::super::hour_file::HourFile;
use super::super::position::ClusterTime;
use super::{Feed, Stage, Stream, Trouble, Troubles, Try};

/// What a feed is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activity {
    /// It reads checkpoint and tail, or saves where it starts.
    #[default]
    Starting,
    /// It reads its stream.
    Watching,
    /// Its stream is closed and will be opened again.
    Reconnecting,
    /// It needs a person.
    Halted,
    /// It reads no more, flushes and saves.
    Draining,
    /// It is done.
    Stopped,
}

/// What a feed has brought into the lake since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Archived {
    /// Commits.
    pub flushes: u64,
    /// Changes.
    pub changes: u64,
    /// Their lines.
    pub encoded_bytes: u64,
}

impl Feed {
    /// What it is doing.
    #[must_use]
    pub fn activity(&self) -> Activity {
        match (self.stage, &self.stream) {
            (Stage::Finished, _) => Activity::Stopped,
            _ if self.draining => Activity::Draining,
            _ if self.trouble().is_some_and(|trouble| trouble.is_halt) => Activity::Halted,
            (Stage::Running, Stream::Open) => Activity::Watching,
            (Stage::Running, _) => Activity::Reconnecting,
            _ => Activity::Starting,
        }
    }

    /// What it has brought into the lake.
    #[must_use]
    pub fn archived(&self) -> Archived {
        self.archived
    }

    /// The newest hour file.
    #[must_use]
    pub fn file(&self) -> Option<&HourFile> {
        self.file.as_ref()
    }

    /// The cluster time of the last change that the lake is known to hold.
    #[must_use]
    pub fn last_change_time(&self) -> Option<ClusterTime> {
        self.safe.last_change.as_ref().map(|last| last.cluster_time)
    }

    /// The cluster time up to which all changes are in the lake, once that is known.
    #[must_use]
    pub fn archived_until(&self) -> Option<ClusterTime> {
        let is_known = matches!(self.stage, Stage::Running | Stage::Finished);
        self.safe.position.cluster_time().filter(|_| is_known)
    }

    /// The cluster time of the saved position; `None` while that is uncertain.
    #[must_use]
    pub fn saved_until(&self) -> Option<ClusterTime> {
        let is_certain = self.save != Try::Running && self.unsure_save.is_none();
        let saved = self.saved.as_ref().filter(|_| is_certain)?;
        saved.position.cluster_time()
    }

    /// Whether all that was read is in the lake.
    #[must_use]
    pub fn is_all_archived(&self) -> bool {
        let nothing_waits = self.queue.is_empty() && self.commit.is_idle();
        self.stage == Stage::Running && nothing_waits && self.skip_until.is_none()
    }

    /// Encoded bytes that the feed holds in memory.
    #[must_use]
    pub fn buffered_bytes(&self) -> u64 {
        self.queue.iter().map(Batch::len_bytes).sum::<u64>() + self.commit.len_bytes()
    }

    /// Changes that the feed holds in memory.
    #[must_use]
    pub fn buffered_changes(&self) -> u64 {
        self.queue
            .iter()
            .map(|batch| u64::from(batch.changes))
            .sum::<u64>()
            + self.commit.changes()
    }

    /// Changes that a drain let go without knowing that the lake has them. The next start reads them
    /// again.
    #[must_use]
    pub fn given_up_changes(&self) -> u64 {
        self.given_up_changes
    }

    /// Whether a commit is under way or waits for its next try.
    #[must_use]
    pub fn is_committing(&self) -> bool {
        !self.commit.is_idle()
    }

    /// What is wrong now, the worst first.
    #[must_use]
    pub fn trouble(&self) -> Option<&Trouble> {
        let Troubles {
            start,
            stream,
            commit,
            save,
        } = &self.troubles;
        let all = [start, commit, save, stream];
        all.into_iter()
            .flatten()
            .max_by_key(|trouble| trouble.is_halt)
    }

    /// Whether the feed reads its stream.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.stream == Stream::Open
    }
}
