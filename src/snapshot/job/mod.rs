//! One running snapshot: what its ranges share.

pub(crate) mod finish;
pub(crate) mod plan;
pub(crate) mod progress;
pub(crate) mod range;
mod range_reader;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use super::lake::parts::SnapshotFolder;
use super::{Edges, Settings, Target};
use crate::lake::LakePath;
use crate::pace::Pace;
use silt_core::extjson::Mode;
use silt_core::failure::Failure;
use silt_core::file::format::{Compression, OutputFormat};
use silt_core::snapshot::folder::FolderName;
use silt_core::snapshot::manifest::Counted;
use silt_core::snapshot::part::{Part, PartName};
use silt_core::snapshot::plan::{JsonMode, Plan};
use silt_core::snapshot::progress::Progress;

/// A snapshot takes at most this fraction of the memory budget: one in four bytes.
const BUDGET_SHARE: u64 = 4;

/// One running snapshot.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) edges: Edges,
    pub(crate) settings: Settings,
    pub(crate) target: Target,
    pub(crate) name: FolderName,
    pub(crate) plan: Plan,
    pub(crate) progress: watch::Sender<Progress>,
    /// Only one range at a time reads a large document. It holds this lock until the document's memory is taken
    /// from the budget, longer than a `Budget::turn`, for which the streams wait too.
    pub(crate) large: tokio::sync::Mutex<()>,
    pub(crate) pace: Pace,
    /// Line counts of the parts that this job has written from their beginning: uncompressed `ndjson` doesn't
    /// record how many lines it has.
    written: Mutex<HashMap<PartName, Counted>>,
}

impl Job {
    pub(crate) fn new(
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
            name: folder,
            plan,
            progress: watch::Sender::new(progress),
            large: tokio::sync::Mutex::default(),
            pace: Pace::new(settings.rate_limit_bytes, edges.clock),
            written: Mutex::default(),
        }
    }

    /// How documents are encoded.
    pub(crate) fn mode(&self) -> Mode {
        match self.plan.json_mode {
            JsonMode::Relaxed => Mode::Relaxed,
            JsonMode::Canonical => Mode::Canonical,
        }
    }

    /// The most bytes of lines in one commit of a range.
    pub(crate) fn chunk_limit_bytes(&self) -> u64 {
        let share = self.edges.budget.limit_bytes() / BUDGET_SHARE / u64::from(self.plan.ranges());
        self.plan.chunk_limit_bytes.min(share).max(1)
    }

    /// The snapshot's folder in the lake.
    pub(crate) fn folder(&self) -> SnapshotFolder<'_> {
        SnapshotFolder {
            lake: self.edges.lake.as_ref(),
            path: self.name.path(&self.target.origin),
            plan: &self.plan,
        }
    }

    /// The path of a file in the snapshot's folder.
    pub(crate) fn path(&self, name: &impl ToString) -> LakePath {
        self.folder().file(name)
    }

    /// Counts a part's documents: as this job remembers, as the part records, or by reading its lines.
    pub(crate) async fn count(&self, name: PartName, len_bytes: u64) -> Result<Counted, Failure> {
        match self.known(name, len_bytes) {
            Some(known) if !counts_its_lines(name) => Ok(known),
            _ => self.folder().count(name).await,
        }
    }

    /// The most bytes that may be read per second.
    pub(crate) fn rate_limit_bytes(&self) -> Option<u64> {
        self.settings.rate_limit_bytes
    }

    /// Remembers how many documents a part holds, if that is known.
    pub(crate) fn note_written(&self, part: &Part) {
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

    /// What is remembered of a part, if it still has this length.
    fn known(&self, name: PartName, len_bytes: u64) -> Option<Counted> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let known = written.get(&name).copied();
        known.filter(|known| known.len_bytes == len_bytes)
    }
}

/// Whether a part's format records the number of its lines. Uncompressed `ndjson` doesn't.
fn counts_its_lines(name: PartName) -> bool {
    name.format.output != OutputFormat::Ndjson || name.format.compression != Compression::None
}
