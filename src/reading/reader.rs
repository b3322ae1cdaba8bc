//! Streams the lines of several files.

use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};

use super::file::FileReader;
use super::files;
use crate::lake::{Lake, LakeError, LakePath};
use silt_core::file::damage::Damage;
use silt_core::file::format::FileFormat;
use silt_core::file::hour_file::Hour;
use silt_core::namespace::Namespace;
use silt_core::position::ClusterTime;
use silt_core::reading::{Block, Change, Line};
use silt_core::snapshot::folder::FolderName;

/// A live file may be appended to five times a second while it is read. Each new state is continued, unless
/// so many came without a line that could be read.
const REOPENS_MAX: u32 = 20;

/// Lines of one file, in order.
#[derive(Debug)]
pub struct Piece {
    /// The file.
    pub path: LakePath,
    /// The lines.
    pub block: Block,
}

#[derive(Debug)]
struct Planned {
    path: LakePath,
    format: FileFormat,
    /// Whether some of its changes may lie outside the range.
    is_trimmed: bool,
}

/// Streams a collection's changes, or the documents of a snapshot.
///
/// Changes come in the order of the stream, each once. The archive may grow meanwhile: the files that were
/// there at the beginning are read, each in the state that it has when its last change is read.
pub struct Reader<'a> {
    lake: &'a dyn Lake,
    namespace: Namespace,
    range: (Bound<ClusterTime>, Bound<ClusterTime>),
    planned: VecDeque<Planned>,
    current: Option<(FileReader<'a>, bool)>,
}

impl<'a> Reader<'a> {
    /// A reader of a collection's changes with these cluster times, `..` for all. For whole hours,
    /// [`Hour::first_cluster_time`] and [`Hour::last_cluster_time`] are the bounds.
    ///
    /// # Errors
    ///
    /// The lake can't be listed; [`LakeError::Damaged`] if a part of an hour is missing.
    pub async fn of_changes(
        lake: &'a dyn Lake,
        namespace: Namespace,
        range: impl RangeBounds<ClusterTime>,
    ) -> Result<Self, LakeError> {
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        let hours = (range.0.map(Hour::of), range.1.map(Hour::of));
        // A time that is left out is in an hour that may be needed.
        let included = |bound| match bound {
            Bound::Excluded(hour) => Bound::Included(hour),
            bound => bound,
        };
        let hours = (included(hours.0), included(hours.1));
        let files = files::hour_files(lake, &namespace, hours).await?;
        let planned = files.into_iter().map(|(path, name)| Planned {
            path,
            format: name.format,
            is_trimmed: !(range.contains(&name.hour.first_cluster_time())
                && range.contains(&name.hour.last_cluster_time())),
        });
        Ok(Self {
            planned: planned.collect(),
            lake,
            namespace,
            range,
            current: None,
        })
    }

    /// A reader of a snapshot's documents, one part after the other.
    ///
    /// # Errors
    ///
    /// The lake can't be listed.
    pub async fn of_snapshot(
        lake: &'a dyn Lake,
        namespace: Namespace,
        snapshot: FolderName,
    ) -> Result<Self, LakeError> {
        let folder = snapshot.path(&namespace);
        let names = files::parts(lake, &namespace, snapshot).await?;
        let planned = names.into_iter().map(|name| Planned {
            path: LakePath {
                folder: folder.clone(),
                name: name.to_string(),
            },
            format: name.format,
            is_trimmed: false,
        });
        Ok(Self {
            planned: planned.collect(),
            lake,
            namespace,
            range: (Bound::Unbounded, Bound::Unbounded),
            current: None,
        })
    }

    /// The next lines; `None` when all are read.
    ///
    /// # Errors
    ///
    /// The lake's; [`LakeError::Damaged`] with line and offset if a file isn't what silt writes, or was removed.
    pub async fn next(&mut self) -> Result<Option<Piece>, LakeError> {
        loop {
            if self.current.is_none() {
                let Some(planned) = self.planned.pop_front() else {
                    return Ok(None);
                };
                self.current = Some(self.open(planned).await?);
            }
            let Some((file, is_trimmed)) = &mut self.current else {
                continue;
            };
            let Some(mut block) = next_of(file).await? else {
                self.current = None;
                continue;
            };
            let path = file.path().clone();
            if *is_trimmed {
                let range = self.range;
                let trimmed = block.trim(|line| is_within(line, &range));
                trimmed.map_err(|damage| damaged(&path, damage))?;
            }
            if !block.is_empty() {
                return Ok(Some(Piece { path, block }));
            }
        }
    }

    async fn open(&self, planned: Planned) -> Result<(FileReader<'a>, bool), LakeError> {
        let Planned {
            path,
            format,
            is_trimmed,
        } = planned;
        let state = self.lake.open(&path).await?;
        let state = state.ok_or_else(|| gone(&path))?;
        let namespace = Some(self.namespace.clone());
        let file = FileReader::new(self.lake, path, format, namespace, state);
        Ok((file, is_trimmed))
    }
}

/// The next lines of a file that may change meanwhile.
async fn next_of(file: &mut FileReader<'_>) -> Result<Option<Block>, LakeError> {
    let mut reopens = 0;
    loop {
        match file.next().await {
            Err(LakeError::Stale { .. }) if reopens < REOPENS_MAX => reopens += 1,
            result => return result,
        }
        if !file.reopen().await? {
            return Err(gone(file.path()));
        }
    }
}

fn is_within(
    line: &Line<'_>,
    range: &(Bound<ClusterTime>, Bound<ClusterTime>),
) -> Result<bool, Damage> {
    let change = Change::parse(line.bytes).map_err(|error| line.place.damage(&error))?;
    Ok(range.contains(&change.cluster_time))
}

fn gone(path: &LakePath) -> LakeError {
    damaged(
        path,
        Damage::Broken("it was removed while it was read".to_owned()),
    )
}

fn damaged(path: &LakePath, damage: Damage) -> LakeError {
    LakeError::Damaged {
        path: path.to_string(),
        damage,
    }
}
