//! Commits to the lake as a feed does, in silt's own folder, and removes what it wrote.

use std::sync::Arc;
use std::time::Duration;

use super::{ANSWER_LIMIT, in_time};
use crate::lake::{Base, Lake, LakeError, LakePath, Version};
use silt_core::batch::{Batch, Changes};
use silt_core::failure::Disposition;
use silt_core::file::commit::{self, Commit};
use silt_core::file::format::FileFormat;
use silt_core::file::gzip::GzipLevel;
use silt_core::file::hour_file::{Hour, HourFileName};
use silt_core::file::hour_file_scan::HourFileScan;
use silt_core::file::tail_scan::Step;
use silt_core::namespace::Namespace;
use silt_core::namespace::names;
use silt_core::position::ClusterTime;

/// What a probe showed.
#[derive(Debug)]
pub(super) enum Proof {
    /// All of it worked, and nothing is left.
    Whole,
    /// All worked but the removal, which silt needn't do. The file stays.
    Stays(String),
}

/// Why a probe failed, and the file that stays, if one does.
#[derive(Debug)]
pub(super) struct Failed {
    pub why: Fault,
    pub stays: Option<String>,
}

/// What went wrong.
#[derive(Debug)]
pub(super) enum Fault {
    /// In which step, and how.
    At(&'static str, LakeError),
    /// It took too long.
    Late(String),
}

fn at(step: &'static str) -> impl Fn(LakeError) -> Fault {
    move |error| Fault::At(step, error)
}

/// Commits three times, has a stale writer refused and reads all back within this limit. Whatever came of
/// that, the file is removed.
pub(super) async fn run(
    lake: &dyn Lake,
    format: FileFormat,
    now_unix_ms: i64,
    limit: Duration,
) -> Result<Proof, Failed> {
    let mut probe = Probe::new(format, now_unix_ms);
    let tried = in_time(limit, async { Ok(probe.try_all(lake).await) }).await;
    let tried = tried.unwrap_or_else(|silence| Err(Fault::Late(silence)));
    let removing = async { Ok(probe.remove(lake).await) };
    let removed = in_time(ANSWER_LIMIT, removing).await;
    let path = probe.path.to_string();
    match (tried, removed) {
        (Ok(()), Ok(Ok(()))) => Ok(Proof::Whole),
        (Ok(()), Ok(Err(LakeError::Forbidden { .. }))) => Ok(Proof::Stays(path)),
        (Ok(()), Ok(Err(error))) => Err(Failed {
            why: Fault::At("the removal", error),
            stays: Some(path),
        }),
        (Ok(()), Err(silence)) => Err(Failed {
            why: Fault::Late(silence),
            stays: Some(path),
        }),
        (Err(why), removed) => Err(Failed {
            why,
            stays: (!matches!(removed, Ok(Ok(())))).then_some(path),
        }),
    }
}

fn base<'a>(on: &Commit, version: &'a Version) -> Base<'a> {
    Base {
        version,
        head_len_bytes: on.file.head_len_bytes,
        foot_len_bytes: on.file.foot_len_bytes,
    }
}

struct Probe {
    origin: Namespace,
    name: HourFileName,
    path: LakePath,
    cluster_seconds: u32,
    now_unix_ms: i64,
    /// The last state that is known.
    version: Option<Version>,
    /// Whether a commit may have happened of which nothing is known.
    is_unsure: bool,
}

impl Probe {
    fn new(format: FileFormat, now_unix_ms: i64) -> Self {
        let cluster_seconds = u32::try_from(now_unix_ms / 1000).unwrap_or(u32::MAX);
        let time = ClusterTime {
            seconds: cluster_seconds,
            increment: 0,
        };
        let name = HourFileName {
            hour: Hour::of(time),
            part: 1,
            format,
        };
        let path = LakePath {
            folder: format!("{}/check", names::OWN_FOLDER),
            name: format!("{:016x}-{name}", fastrand::u64(..)),
        };
        Self {
            origin: Namespace::new(names::OWN_FOLDER, "check"),
            name,
            path,
            cluster_seconds,
            now_unix_ms,
            version: None,
            is_unsure: false,
        }
    }

    async fn try_all(&mut self, lake: &dyn Lake) -> Result<(), Fault> {
        const FIRST: &str = "the first commit";
        const NEXT: &str = "a commit to what is there";
        const STALE: &str = "a stale write";
        let first = self.commit(None, 0..2)?;
        let stale = self.append(lake, None, &first).await.map_err(at(FIRST))?;
        let second = self.commit(Some(&first), 2..5)?;
        let base = Some((&first, &stale));
        let version = self.append(lake, base, &second).await.map_err(at(NEXT))?;
        let third = self.commit(Some(&second), 5..6)?;
        let base = Some((&second, &version));
        let version = self.append(lake, base, &third).await.map_err(at(NEXT))?;
        match self.append(lake, Some((&first, &stale)), &second).await {
            Err(LakeError::Stale { .. }) => {}
            Err(error) => return Err(at(STALE)(error)),
            Ok(_) => {
                return Err(
                    self.broken(STALE, "it was not refused: the lake doesn't fence writers")
                );
            }
        }
        let expected = [
            third.addition.head.as_slice(),
            &first.addition.chunk,
            &second.addition.chunk,
            &third.addition.chunk,
            &third.addition.foot,
        ]
        .concat();
        self.read_back(lake, &version, &expected, &third).await
    }

    /// Commits, and keeps in mind what is there.
    async fn append(
        &mut self,
        lake: &dyn Lake,
        on: Option<(&Commit, &Version)>,
        commit: &Commit,
    ) -> Result<Version, LakeError> {
        self.is_unsure = true;
        let base = on.map(|(on, version)| base(on, version));
        let appended = lake.append(&self.path, base, &commit.addition).await;
        match &appended {
            Ok(version) => self.version = Some(version.clone()),
            Err(error) if matches!(error.disposition(), Disposition::Retry { .. }) => {
                return appended;
            }
            // Refused: all is as it was.
            Err(_) => {}
        }
        self.is_unsure = false;
        appended
    }

    /// Removes what may be there.
    async fn remove(&self, lake: &dyn Lake) -> Result<(), LakeError> {
        if let Some(version) = &self.version {
            match lake.remove_probe(&self.path, version).await {
                Err(LakeError::Stale { .. }) => {}
                removed => return removed,
            }
        } else if !self.is_unsure {
            return Ok(());
        }
        match lake.open(&self.path).await? {
            Some(opened) => lake.remove_probe(&self.path, &opened.version).await,
            None => Ok(()),
        }
    }

    fn broken(&self, step: &'static str, what: &str) -> Fault {
        let error = LakeError::Refused {
            reason: format!("{}: {what}", self.path),
        };
        Fault::At(step, error)
    }

    /// A commit of these made-up changes.
    fn commit(
        &self,
        base: Option<&Commit>,
        numbers: std::ops::Range<u32>,
    ) -> Result<Commit, Fault> {
        let separator = self.name.format.separator();
        let mut changes = Changes::default();
        for number in numbers {
            let time = ClusterTime {
                seconds: self.cluster_seconds,
                increment: number,
            };
            let write = |lines: &mut Vec<u8>, tokens: &mut String| {
                let token = format!("{{\"_data\":\"82{number:08}\"}}");
                let seconds = time.seconds;
                let line = format!(
                    "{{\"change\":{{\"_id\":{token},\"clusterTime\":{{\"$timestamp\":{{\"t\":{seconds},\
                     \"i\":{number}}}}}}}}}"
                );
                lines.extend_from_slice(separator.before);
                lines.extend_from_slice(line.as_bytes());
                lines.extend_from_slice(separator.after);
                tokens.push_str(&token);
                Ok::<_, std::convert::Infallible>(time)
            };
            // Writing to memory can't fail.
            let Ok(()) = changes.push(write);
        }
        let mut all = changes.iter();
        let Some(first) = all.next() else {
            return Err(self.broken("the making", "a batch of nothing"));
        };
        let mut batch = Batch::begin(&first, 0);
        all.for_each(|change| batch.add(&change));
        let base = base.map(|commit| &commit.file);
        commit::commit(
            &self.origin,
            base,
            self.name,
            &Arc::new(batch),
            GzipLevel::default(),
            self.now_unix_ms,
        )
        .map_err(|error| self.broken("the making", &error.to_string()))
    }

    /// Reads the file as a feed does at its start, and whole.
    async fn read_back(
        &self,
        lake: &dyn Lake,
        version: &Version,
        expected: &[u8],
        last: &Commit,
    ) -> Result<(), Fault> {
        const STEP: &str = "reading back";
        let opened = lake.open(&self.path).await.map_err(at(STEP))?;
        let Some(opened) = opened else {
            return Err(self.broken(STEP, "it is gone"));
        };
        if opened.version != *version {
            return Err(self.broken(STEP, "its state isn't what the commit said"));
        }
        let all = 0..opened.len_bytes;
        let bytes = lake.read(&self.path, &opened.version, all).await;
        if bytes.map_err(at(STEP))? != expected {
            return Err(self.broken(STEP, "what was read isn't what was written"));
        }
        let damaged = |damage| {
            at(STEP)(LakeError::Damaged {
                path: self.path.to_string(),
                damage,
            })
        };
        let begun = HourFileScan::begin(&self.origin, self.name, opened.len_bytes);
        let (mut scan, mut range) = begun.map_err(damaged)?;
        loop {
            let bytes = lake.read(&self.path, &opened.version, range).await;
            match scan.feed(&bytes.map_err(at(STEP))?).map_err(damaged)? {
                Step::Read(next) => range = next,
                Step::Done(file) if file.last == last.file.last => return Ok(()),
                Step::Done(_) => return Err(self.broken(STEP, "its last change is another")),
            }
        }
    }
}
