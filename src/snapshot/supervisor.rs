//! Works on one collection after another.

use std::collections::HashMap;

use futures::future::try_join_all;
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use super::job::finish::{Finished, finish, recount};
use super::job::range::{self, Ended};
use super::job::{Job, plan, progress};
use super::lake::contents::{self, survey};
use super::read::describe::{Description, describe, is_same};
use super::status::{State, Status, Statuses};
use super::{Edges, Settings, Target};
use crate::agenda::{Agenda, Retry, Task};
use silt_core::failure::{Disposition, Failure};
use silt_core::namespace::Namespace;
use silt_core::snapshot::decision::{Holdings, Next};
use silt_core::snapshot::folder::FolderName;
use silt_core::snapshot::manifest::{Fit, Manifest};
use silt_core::snapshot::plan::Plan;
use silt_core::snapshot::progress::{Progress, grouped};

impl Task for Target {
    fn origin(&self) -> &Namespace {
        &self.origin
    }

    fn retry_delay_ms(&self) -> u64 {
        self.limits.retry_delay_ms
    }
}

/// The task of all snapshots.
#[derive(Debug)]
pub(super) struct Supervisor {
    edges: Edges,
    settings: Settings,
    agenda: Agenda<Target>,
    /// Plans that were written and haven't been seen in the lake yet: they may be there, or may still get there. A
    /// second plan would be a second snapshot, of which only one is ever finished. Not even an answer that the plan
    /// exists settles it, since the lake may give that to one attempt while another is in transit.
    unconfirmed: HashMap<Namespace, Plan>,
    statuses: watch::Sender<Statuses>,
}

/// How an attempt ended.
enum Attempt {
    /// No more is to be done. Holds what is wrong with the finished snapshot, if anything is.
    Done(Option<String>),
    /// Everything is to be checked again. Holds the reason.
    Retry(&'static str),
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
            agenda: Agenda::new(targets),
            unconfirmed: HashMap::new(),
            statuses,
        }
    }

    /// Runs until all senders are gone.
    pub(super) async fn run(mut self) {
        while let Some(target) = self.next().await {
            let failure = match self.attempt(&target).await {
                Ok(Attempt::Done(trouble)) => {
                    self.agenda.succeeded(&target.origin);
                    self.note(&target, |status| {
                        status.state = State::Done;
                        status.trouble = trouble;
                    });
                    continue;
                }
                Ok(Attempt::Retry(why)) => Failure {
                    disposition: Disposition::Reload,
                    cause: "snapshot_again",
                    message: why.to_owned(),
                },
                Err(failure) => failure,
            };
            match failure.disposition {
                Disposition::Retry { .. } | Disposition::Reload => {
                    self.retry_later(target, &failure);
                }
                _ => self.halt(target, &failure),
            }
        }
    }

    /// The next collection that is due.
    async fn next(&mut self) -> Option<Target> {
        let statuses = &self.statuses;
        let admitted = |target: &Target| {
            note(statuses, target, |status| status.state = State::Waiting);
        };
        self.agenda.next(admitted).await
    }

    fn note(&self, target: &Target, change: impl FnOnce(&mut Status)) {
        note(&self.statuses, target, change);
    }

    /// Sets a collection aside that needs manual action, so that it doesn't hold up the others.
    fn halt(&mut self, target: Target, failure: &Failure) {
        let mut is_new = false;
        self.note(&target, |status| {
            is_new = status.trouble.as_ref() != Some(&failure.message);
            status.state = State::Halted;
            status.trouble = Some(failure.message.clone());
        });
        if is_new {
            error!(
                collection = %target.origin,
                error = failure.message,
                "snapshot halted: manual action required; retrying every minute"
            );
        }
        self.agenda.halt(target);
    }

    /// Retries a collection after a delay, and after the others.
    fn retry_later(&mut self, target: Target, failure: &Failure) {
        let (retried, attempts) = (target.clone(), target.limits.retry_attempts);
        let Retry { delay_ms, failures } = self.agenda.retry(target, failure.disposition);
        let is_lasting = failures >= attempts;
        warn!(
            collection = %retried.origin,
            error = failure.message,
            delay_ms,
            "snapshot failed; retrying from what the lake holds"
        );
        self.note(&retried, |status| {
            status.state = State::Retrying;
            if is_lasting {
                status.trouble = Some(failure.message.clone());
            }
        });
    }

    async fn attempt(&mut self, target: &Target) -> Result<Attempt, Failure> {
        let now = describe(&self.edges, target).await?;
        let surveyed = survey(&self.edges, target, &now).await?;
        let damage = self.check_manifest(target, surveyed.finished).await?;
        let mut next = surveyed.holdings.next(target.mode);
        if next == Next::Begin {
            self.begin(target, &now, &surveyed.holdings).await?;
            // If two instances begin at once, both then continue with the older plan.
            next = survey(&self.edges, target, &now)
                .await?
                .holdings
                .next(target.mode);
        }
        if next != Next::Begin || self.is_name_taken(target).await? {
            self.unconfirmed.remove(&target.origin);
        }
        match next {
            Next::Nothing => Ok(Attempt::Done(damage)),
            Next::Begin => Ok(Attempt::Retry(
                "the new snapshot is gone, or belongs to a collection that was dropped",
            )),
            Next::Resume(folder) => match self.job(target, folder).await? {
                Some(job) => self.resume(&job).await,
                None => Ok(Attempt::Retry("the snapshot's plan is gone")),
            },
        }
    }

    /// Writes a plan into the lake: the unconfirmed one if it is still usable, otherwise a new one.
    async fn begin(
        &mut self,
        target: &Target,
        now: &Description,
        holdings: &Holdings,
    ) -> Result<(), Failure> {
        let unconfirmed = self.unconfirmed.remove(&target.origin).filter(|plan| {
            is_same(plan.uuid.as_deref(), now) && !holdings.has_gap_after(plan.cluster_time)
        });
        let plan = match unconfirmed {
            Some(plan) => plan,
            None => plan::plan(&self.edges, self.settings, target, now.clone()).await?,
        };
        let put = plan::put(&self.edges, target, &plan).await;
        self.unconfirmed.insert(target.origin.clone(), plan);
        put
    }

    /// Whether the lake has a plan in the folder of the unconfirmed one, which then can't get there any more: it may be
    /// that of an earlier snapshot of the same second.
    async fn is_name_taken(&self, target: &Target) -> Result<bool, Failure> {
        let Some(plan) = self.unconfirmed.get(&target.origin) else {
            return Ok(false);
        };
        let folder = FolderName::of(plan.cluster_time);
        let taken = contents::plan(&self.edges, target, folder).await?;
        Ok(taken.is_some())
    }

    /// Rewrites the manifest if parts grew after it was written. If parts are missing, it is the only record of
    /// them and stays: returns which.
    async fn check_manifest(
        &self,
        target: &Target,
        finished: Option<(FolderName, Fit)>,
    ) -> Result<Option<String>, Failure> {
        match finished {
            Some((folder, Fit::Incomplete(lack))) => {
                let trouble = format!(
                    "{folder} doesn't match its manifest: {lack}; restore it, or move the folder out of the \
                     lake to have another snapshot taken"
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

    /// Reads the remaining documents, then writes the manifest.
    async fn resume(&mut self, job: &Job) -> Result<Attempt, Failure> {
        // No later run lists this folder, so leftovers of a killed process would stay for ever.
        self.edges.lake.sweep(&job.folder().path).await;
        let existing = job.folder().progress().await?;
        let documents_before = existing.documents;
        job.progress.send_modify(|progress| *progress = existing);
        self.log_start(job);
        let ranges = (0..job.plan.ranges()).map(|number| range::run(job, number));
        let ended = tokio::select! {
            ended = try_join_all(ranges) => ended,
            never = progress::report(job, &self.statuses) => match never {},
        };
        if job.progress.borrow().documents > documents_before {
            self.agenda.succeeded(&job.target.origin);
        }
        // A range has failed as often as RETRY_ATTEMPTS allows.
        let ended = ended.inspect_err(|failure| {
            self.note(&job.target, |status| {
                status.trouble = Some(failure.message.clone());
            });
        })?;
        if ended.contains(&Ended::Overtaken) {
            return Ok(Attempt::Retry("another instance has finished the snapshot"));
        }
        match finish(job).await? {
            Finished::Whole(manifest) => {
                self.log_end(job, &manifest);
                Ok(Attempt::Done(None))
            }
            Finished::Void(why) => Ok(Attempt::Retry(why)),
        }
    }

    fn log_start(&self, job: &Job) {
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
            if documents == 0 { "snapshot started" } else { "snapshot resumed" }
        );
    }

    fn log_end(&self, job: &Job, manifest: &Manifest) {
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
            "snapshot finished: {} documents",
            grouped(manifest.count)
        );
    }
}

fn note(statuses: &watch::Sender<Statuses>, target: &Target, change: impl FnOnce(&mut Status)) {
    statuses.send_modify(|statuses| change(statuses.entry(target.origin.clone()).or_default()));
}
