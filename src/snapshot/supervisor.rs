//! Takes one collection after another.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use futures::future::try_join_all;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::job::finish::{Finished, finish, recount};
use super::job::range::{self, Ended};
use super::job::{Job, plan, progress};
use super::lake::contents::{self, look};
use super::read::describe::{Description, describe, is_same};
use super::status::{State, Status, Statuses};
use super::{Edges, Settings, Target};
use silt_core::backoff::Backoff;
use silt_core::failure::{Disposition, Failure};
use silt_core::limits::RETRY_DELAY_MAX_MS;
use silt_core::namespace::origin::Origin;
use silt_core::snapshot::choice::{Holdings, Next};
use silt_core::snapshot::folder::FolderName;
use silt_core::snapshot::manifest::{Fit, Manifest};
use silt_core::snapshot::plan::Plan;
use silt_core::snapshot::progress::{Progress, grouped};

/// How often a collection that needs a person is tried again.
const HALT_RETRY: Duration = Duration::from_millis(RETRY_DELAY_MAX_MS);

/// The task of all snapshots.
#[derive(Debug)]
pub(super) struct Supervisor {
    edges: Edges,
    settings: Settings,
    targets: mpsc::UnboundedReceiver<Target>,
    queue: VecDeque<Target>,
    /// Those that failed, and when they are tried again.
    later: Vec<(Instant, Target)>,
    /// Of those, how often in a row.
    backoffs: HashMap<Origin, Backoff>,
    /// Plans that may have come to the lake or may still come. Another one beside them would be another
    /// snapshot, which nobody finishes.
    unsure: HashMap<Origin, Plan>,
    statuses: watch::Sender<Statuses>,
}

/// What an attempt came to.
enum Outcome {
    /// The lake has what it should have, but for what is wrong with that.
    Done(Option<String>),
    /// All is to be looked at again: why.
    Again(&'static str),
}

impl Supervisor {
    pub(super) fn new(
        edges: Edges,
        settings: Settings,
        targets: mpsc::UnboundedReceiver<Target>,
        statuses: watch::Sender<Statuses>,
    ) -> Self {
        Self {
            edges,
            settings,
            targets,
            queue: VecDeque::new(),
            later: Vec::new(),
            backoffs: HashMap::new(),
            unsure: HashMap::new(),
            statuses,
        }
    }

    /// Works until nobody can send anything any more.
    pub(super) async fn run(mut self) {
        while let Some(target) = self.next().await {
            let failure = match self.attempt(&target).await {
                Ok(Outcome::Done(trouble)) => {
                    self.backoffs.remove(&target.origin);
                    self.note(&target, |status| {
                        status.state = State::Done;
                        status.trouble = trouble;
                    });
                    continue;
                }
                Ok(Outcome::Again(why)) => Failure {
                    disposition: Disposition::Reload,
                    cause: "snapshot_again",
                    message: why.to_owned(),
                },
                Err(failure) => failure,
            };
            match failure.disposition {
                Disposition::Retry { .. } | Disposition::Reload => self.hold_up(target, &failure),
                _ => self.halt(target, &failure),
            }
        }
    }

    /// The next collection.
    async fn next(&mut self) -> Option<Target> {
        let mut is_open = true;
        loop {
            while let Ok(target) = self.targets.try_recv() {
                self.admit(target);
            }
            let now = Instant::now();
            let due = self.later.extract_if(.., |(at, _)| *at <= now);
            self.queue.extend(due.map(|(_, target)| target));
            if let Some(target) = self.queue.pop_front() {
                return Some(target);
            }
            let wake_at = self.later.iter().map(|(at, _)| *at).min();
            tokio::select! {
                target = self.targets.recv(), if is_open => match target {
                    Some(target) => self.admit(target),
                    None => is_open = false,
                },
                () = tokio::time::sleep_until(wake_at.unwrap_or(now)), if wake_at.is_some() => {}
                else => return None,
            }
        }
    }

    /// Puts a collection at the end of the queue, where it stands once.
    fn admit(&mut self, target: Target) {
        let is_other = |other: &Target| other.origin != target.origin;
        self.queue.retain(is_other);
        self.later.retain(|(_, failed)| is_other(failed));
        self.note(&target, |status| status.state = State::Waiting);
        self.queue.push_back(target);
    }

    fn note(&self, target: &Target, note: impl FnOnce(&mut Status)) {
        self.statuses
            .send_modify(|statuses| note(statuses.entry(target.origin.clone()).or_default()));
    }

    /// A collection that needs a person doesn't hold up the others.
    fn halt(&mut self, target: Target, failure: &Failure) {
        let mut is_news = false;
        self.note(&target, |status| {
            is_news = status.trouble.as_ref() != Some(&failure.message);
            status.state = State::Halted;
            status.trouble = Some(failure.message.clone());
        });
        if is_news {
            error!(
                collection = %target.origin,
                error = failure.message,
                "the snapshot is halted, tried again every minute"
            );
        }
        self.later.push((Instant::now() + HALT_RETRY, target));
    }

    /// A collection that is held up is tried again behind the others.
    fn hold_up(&mut self, target: Target, failure: &Failure) {
        let first_delay_ms = target.limits.retry_delay_ms;
        let backoff = self.backoffs.entry(target.origin.clone());
        let backoff = backoff.or_insert_with(|| Backoff::new(first_delay_ms, fastrand::u64(..)));
        let delay_ms = backoff.failed(failure.disposition);
        let is_lasting = backoff.failures() >= target.limits.retry_attempts;
        warn!(
            collection = %target.origin,
            error = failure.message,
            delay_ms,
            "the snapshot is held up, looks at the lake and goes on"
        );
        self.note(&target, |status| {
            status.state = State::Retrying;
            if is_lasting {
                status.trouble = Some(failure.message.clone());
            }
        });
        let due_at = Instant::now() + Duration::from_millis(delay_ms);
        self.later.push((due_at, target));
    }

    async fn attempt(&mut self, target: &Target) -> Result<Outcome, Failure> {
        let now = describe(&self.edges, target).await?;
        let looked = look(&self.edges, target, &now).await?;
        let damage = self.mend(target, looked.finished).await?;
        let mut next = looked.holdings.next(target.mode);
        if next == Next::Begin {
            self.begin(target, &now, &looked.holdings).await?;
            // Of two silts that begin at once, the later finds the plan of the other.
            next = look(&self.edges, target, &now)
                .await?
                .holdings
                .next(target.mode);
        }
        match next {
            Next::Nothing => Ok(Outcome::Done(damage)),
            Next::Begin => Ok(Outcome::Again(
                "the snapshot that was begun is gone, or is of a collection that is gone",
            )),
            Next::GoOn(folder) => match self.job(target, folder).await? {
                Some(job) => self.go_on(&job).await,
                None => Ok(Outcome::Again("the snapshot's plan is gone")),
            },
        }
    }

    /// Puts a plan into the lake: the one whose outcome isn't known, if that can still be gone on with.
    async fn begin(
        &mut self,
        target: &Target,
        now: &Description,
        holdings: &Holdings,
    ) -> Result<(), Failure> {
        let unsure = self.unsure.remove(&target.origin).filter(|plan| {
            is_same(plan.uuid.as_deref(), now) && !holdings.is_lost_behind(plan.cluster_time)
        });
        let plan = match unsure {
            Some(plan) => plan,
            None => plan::plan(&self.edges, self.settings, target, now.clone()).await?,
        };
        let put = plan::put(&self.edges, target, &plan).await;
        if put.is_err() {
            self.unsure.insert(target.origin.clone(), plan);
        }
        put
    }

    /// Makes the manifest true of parts that grew behind it. Of parts that are gone it stays the only witness:
    /// says which.
    async fn mend(
        &self,
        target: &Target,
        finished: Option<(FolderName, Fit)>,
    ) -> Result<Option<String>, Failure> {
        match finished {
            Some((folder, Fit::Lacking(lack))) => {
                let trouble = format!(
                    "{folder} isn't what its manifest says: {lack}; restore it, or move the folder out of the \
                     lake, and another snapshot is taken"
                );
                warn!(collection = %target.origin, error = trouble, "the snapshot is damaged");
                Ok(Some(trouble))
            }
            Some((folder, Fit::Grown)) => {
                if let Some(job) = self.job(target, folder).await? {
                    recount(&job).await?;
                }
                Ok(None)
            }
            Some((_, Fit::Same)) | None => Ok(None),
        }
    }

    async fn job(&self, target: &Target, folder: FolderName) -> Result<Option<Job>, Failure> {
        let plan = contents::plan(&self.edges, target, folder).await?;
        Ok(plan.map(|plan| Job::new(&self.edges, self.settings, target, (folder, plan))))
    }

    /// Reads all that is still to be read, and finishes.
    async fn go_on(&mut self, job: &Job) -> Result<Outcome, Failure> {
        // What a killed process left would stay for ever: no later run looks into this folder.
        self.edges.lake.sweep(&job.folder().path).await;
        let there = job.folder().progress().await?;
        let begun_with = there.documents;
        job.progress.send_modify(|progress| *progress = there);
        self.tell_begin(job);
        let ranges = (0..job.plan.ranges()).map(|number| range::run(job, number));
        let ended = tokio::select! {
            ended = try_join_all(ranges) => ended,
            never = progress::report(job, &self.statuses) => match never {},
        };
        if job.progress.borrow().documents > begun_with {
            self.backoffs.remove(&job.target.origin);
        }
        // A range has tried again and again.
        let ended = ended.inspect_err(|failure| {
            self.note(&job.target, |status| {
                status.trouble = Some(failure.message.clone());
            });
        })?;
        if ended.contains(&Ended::Overtaken) {
            return Ok(Outcome::Again("another silt has finished the snapshot"));
        }
        match finish(job).await? {
            Finished::Whole(manifest) => {
                self.tell_end(job, &manifest);
                Ok(Outcome::Done(None))
            }
            Finished::Void(why) => Ok(Outcome::Again(why)),
        }
    }

    fn tell_begin(&self, job: &Job) {
        let plan = &job.plan;
        self.note(&job.target, |status| {
            status.state = State::Reading;
            status.folder = Some(job.name.to_string());
            status.position = Some(plan.cluster_time);
        });
        let documents = job.progress.borrow().documents;
        info!(
            collection = %job.target.origin,
            folder = %job.name,
            position = %plan.cluster_time,
            documents,
            estimated_documents = plan.estimated_documents,
            ranges = plan.ranges(),
            "{}",
            if documents == 0 { "the snapshot begins" } else { "the snapshot goes on" }
        );
    }

    fn tell_end(&self, job: &Job, manifest: &Manifest) {
        let bytes = job.progress.borrow().bytes;
        let whole = Progress::new(manifest.count, manifest.count, bytes);
        job.progress.send_modify(|progress| *progress = whole);
        progress::show(job, &self.statuses);
        info!(
            collection = %job.target.origin,
            folder = %job.name,
            position = %manifest.cluster_time,
            documents = manifest.count,
            bytes = manifest.bytes,
            parts = manifest.parts.len(),
            "the snapshot is finished: {} documents",
            grouped(manifest.count)
        );
    }
}
