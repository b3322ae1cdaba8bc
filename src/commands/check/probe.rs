//! Commits to the lake as a feed does, in silt's own folder, and removes what it wrote.

use std::sync::Arc;

use crate::archive::batch::{Batch, Changes};
use crate::archive::frame::{self, Commit, Origin};
use crate::archive::hour_file::{FileFormat, Hour, HourFileName};
use crate::archive::names;
use crate::archive::position::ClusterTime;
use crate::archive::tail::{Scan, Step};
use crate::lake::{Base, Lake, LakeError, LakePath, Version};

/// What a probe showed.
#[derive(Debug)]
pub(super) enum Proof {
    /// All of it worked, and nothing is left.
    Whole,
    /// All worked but the removal, which silt needn't do. The file stays.
    Stays(String),
}

/// Why a probe failed: in which step, and how.
#[derive(Debug)]
pub(super) struct Failed {
    pub step: &'static str,
    pub error: LakeError,
}

fn at(step: &'static str) -> impl Fn(LakeError) -> Failed {
    move |error| Failed { step, error }
}

/// Commits three times, has a stale writer refused, reads all back and removes the file.
pub(super) async fn run(
    lake: &dyn Lake,
    format: FileFormat,
    now_unix_ms: i64,
) -> Result<Proof, Failed> {
    let probe = Probe::new(format, now_unix_ms);
    let first = probe.commit(None, 0..2)?;
    let version = lake.append(&probe.path, None, &first).await;
    let version = version.map_err(at("the first commit"))?;
    let (second, stale) = (probe.commit(Some(&first), 2..5)?, version.clone());
    let version = lake
        .append(&probe.path, Some(base(&first, &version)), &second)
        .await;
    let version = version.map_err(at("a commit to what is there"))?;
    let third = probe.commit(Some(&second), 5..6)?;
    let version = lake
        .append(&probe.path, Some(base(&second, &version)), &third)
        .await;
    let version = version.map_err(at("a commit to what is there"))?;
    match lake
        .append(&probe.path, Some(base(&first, &stale)), &second)
        .await
    {
        Err(LakeError::Stale { .. }) => {}
        Err(error) => return Err(at("a stale write")(error)),
        Ok(_) => {
            return Err(probe.broken(
                "a stale write",
                "it was not refused: the lake doesn't fence writers",
            ));
        }
    }
    let expected = [
        third.head.as_slice(),
        &first.chunk,
        &second.chunk,
        &third.chunk,
        &third.foot,
    ]
    .concat();
    let version = probe.read_back(lake, &version, &expected, &third).await?;
    match lake.remove_probe(&probe.path, &version).await {
        Ok(()) => Ok(Proof::Whole),
        Err(LakeError::Forbidden { .. }) => Ok(Proof::Stays(probe.path.to_string())),
        Err(error) => Err(at("the removal")(error)),
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
    origin: Origin,
    name: HourFileName,
    path: LakePath,
    cluster_seconds: u32,
    now_unix_ms: i64,
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
            origin: Origin {
                database: names::OWN_FOLDER.to_owned(),
                collection: "check".to_owned(),
            },
            name,
            path,
            cluster_seconds,
            now_unix_ms,
        }
    }

    fn broken(&self, step: &'static str, what: &str) -> Failed {
        let error = LakeError::Refused {
            reason: format!("{}: {what}", self.path),
        };
        Failed { step, error }
    }

    /// A commit of these made-up changes.
    fn commit(
        &self,
        base: Option<&Commit>,
        numbers: std::ops::Range<u32>,
    ) -> Result<Commit, Failed> {
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
        frame::commit(
            &self.origin,
            base,
            self.name,
            &Arc::new(batch),
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
    ) -> Result<Version, Failed> {
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
        let damaged = |damage| Failed {
            step: STEP,
            error: LakeError::Damaged {
                path: self.path.to_string(),
                damage,
            },
        };
        let begun = Scan::begin(&self.origin, self.name, opened.len_bytes);
        let (mut scan, mut range) = begun.map_err(damaged)?;
        loop {
            let bytes = lake.read(&self.path, &opened.version, range).await;
            match scan.feed(&bytes.map_err(at(STEP))?).map_err(damaged)? {
                Step::Read(next) => range = next,
                Step::Done(file) if file.last == last.file.last => return Ok(opened.version),
                Step::Done(_) => return Err(self.broken(STEP, "its last change is another")),
            }
        }
    }
}
