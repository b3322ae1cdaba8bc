//! One snapshot under way: what its ranges share.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::{Edges, Settings, Target};
use crate::lake::LakePath;
use silt_core::extjson::Mode;
use silt_core::snapshot::folder::FolderName;
use silt_core::snapshot::manifest::Counted;
use silt_core::snapshot::part::{Part, PartName};
use silt_core::snapshot::plan::{JsonMode, Plan};
use silt_core::snapshot::progress::Progress;
use silt_core::snapshot::throttle::Throttle;

/// Of the memory for changes, a snapshot takes one part in so many.
const BUDGET_SHARE: u64 = 4;

/// One snapshot under way.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) edges: Edges,
    pub(super) settings: Settings,
    pub(super) target: Target,
    pub(super) folder: FolderName,
    pub(super) plan: Plan,
    pub(super) progress: watch::Sender<Progress>,
    /// Of several ranges one reads a large document at a time, and keeps others from it until the document has
    /// its memory: longer than a turn lasts, which the streams wait for too.
    pub(super) large: tokio::sync::Mutex<()>,
    throttle: Mutex<Throttle>,
    /// What is known of the parts that were written from their beginning: uncompressed `ndjson` doesn't say
    /// how many lines it has.
    written: Mutex<HashMap<PartName, Counted>>,
}

impl Job {
    pub(super) fn new(
        edges: &Edges,
        settings: Settings,
        target: &Target,
        (folder, plan): (FolderName, Plan),
    ) -> Self {
        let progress = Progress::new(plan.estimated_documents, 0, 0);
        Self {
            edges: edges.clone(),
            settings,
            target: target.clone(),
            folder,
            plan,
            progress: watch::Sender::new(progress),
            large: tokio::sync::Mutex::default(),
            throttle: Mutex::new(Throttle::new(settings.rate_limit_bytes)),
            written: Mutex::default(),
        }
    }

    /// How documents are written.
    pub(super) fn mode(&self) -> Mode {
        match self.plan.json_mode {
            JsonMode::Relaxed => Mode::Relaxed,
            JsonMode::Canonical => Mode::Canonical,
        }
    }

    /// Bytes of lines that a range gathers for a commit.
    pub(super) fn chunk_limit_bytes(&self) -> u64 {
        let share = self.edges.budget.limit_bytes() / BUDGET_SHARE / u64::from(self.plan.ranges());
        self.plan.chunk_limit_bytes.min(share).max(1)
    }

    /// The path of a file in the snapshot's folder.
    pub(super) fn path(&self, name: &impl ToString) -> LakePath {
        LakePath {
            folder: self.folder.path(&self.target.origin),
            name: name.to_string(),
        }
    }

    /// Bytes that may be read in a second.
    pub(super) fn rate_limit_bytes(&self) -> Option<u64> {
        self.settings.rate_limit_bytes
    }

    /// Waits until more may be read.
    pub(super) async fn throttled(&self) {
        loop {
            let now_ms = self.edges.clock.now().monotonic_ms;
            let wait_ms = self.throttle(|throttle| throttle.wait_ms(now_ms));
            if wait_ms == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
    }

    /// So many bytes were read.
    pub(super) fn spend(&self, bytes: u64) {
        let now_ms = self.edges.clock.now().monotonic_ms;
        self.throttle(|throttle| throttle.spend(bytes, now_ms));
    }

    fn throttle<T>(&self, work: impl FnOnce(&mut Throttle) -> T) -> T {
        work(&mut self.throttle.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes what a part holds, if that is known.
    pub(super) fn note_written(&self, part: &Part) {
        let Some(documents) = part.documents else {
            return;
        };
        let counted = Counted {
            name: part.name,
            documents,
            len_bytes: part.extent.len_bytes,
        };
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.insert(part.name, counted);
    }

    /// What is known of a part of this length.
    pub(super) fn known(&self, name: PartName, len_bytes: u64) -> Option<Counted> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let known = written.get(&name).copied();
        known.filter(|known| known.len_bytes == len_bytes)
    }
}
