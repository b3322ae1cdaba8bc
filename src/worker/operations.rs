//! What the machine asks for, done at the edges.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Done, Learnt, READINGS_MAX, RunningReader, Worker, commit, notices};
use crate::archive::failure::Failure;
use crate::archive::gap::Gap;
use crate::archive::hour_file::HourFile;
use crate::archive::machine::{Action, Input, WriteOrder};
use crate::archive::origin::Origin;
use crate::archive::position::{Checkpoint, Position};
use crate::checkpoint::FeedId;
use crate::lake::{self, Lake};
use crate::source::Reader;

impl Worker {
    pub(super) fn perform(&mut self, action: Action) {
        match action {
            Action::Load => self.spawn_load(),
            Action::AskClusterTime => {
                let deployment = self.edges.deployment.clone();
                self.begin(async move {
                    let time = deployment.cluster_time().await;
                    let time = time.map_err(|error| Failure::from(&error));
                    Done::of(Input::ClusterTime(time))
                });
            }
            Action::Open(position) => self.open(position),
            Action::Close => self.reader = None,
            Action::Commit(order) => {
                let (origin, now) = (self.origin.clone(), self.edges.clock.now());
                self.note(|status| status.note_commit_begun(&origin, &order, now));
                self.spawn_commit(order);
            }
            Action::Inspect => self.spawn_inspect(),
            Action::Save {
                checkpoint,
                replaces,
            } => self.spawn_save(checkpoint, replaces),
            Action::Record(gap) => self.spawn_record(gap),
            Action::Tell(notice) => {
                self.note(|status| status.note(&notice));
                notices::tell(&self.origin.collection, &notice);
            }
            Action::Finish => self.is_finished = true,
            // A service that no longer listens is stopping already.
            Action::Exit(message) => drop(self.exits.try_send(message)),
        }
    }

    /// Begins an operation at an edge, whose end is an input.
    fn begin(&mut self, operation: impl Future<Output = Done> + Send + 'static) {
        self.operations.spawn(operation);
    }

    fn open(&mut self, position: Position) {
        let (sender, readings) = mpsc::channel(READINGS_MAX);
        let reader = Reader {
            deployment: self.edges.deployment.clone(),
            origin: self.origin.clone(),
            options: self.edges.stream_options.clone(),
            budget: self.edges.budget.clone(),
            processors: self.edges.processors.clone(),
            // What is on its way counts too.
            parcel_limit_bytes: self.edges.feed_limit_bytes / 2,
            patience: self.patience.clone(),
            clock: self.edges.clock,
        };
        let task = tokio::spawn(reader.run(position, sender));
        self.reader = Some(RunningReader { readings, task });
    }

    fn feed_id(&self) -> FeedId {
        let Origin {
            database,
            collection,
            ..
        } = self.origin.clone();
        FeedId {
            database,
            collection,
        }
    }

    fn spawn_load(&mut self) {
        let (lake, checkpoints) = (
            Arc::clone(&self.edges.lake),
            Arc::clone(&self.edges.checkpoints),
        );
        let (origin, feed) = (self.origin.clone(), self.feed_id());
        self.begin(async move {
            let stored = checkpoints
                .load(&feed)
                .await
                .map_err(|error| Failure::from(&error));
            let stored = match stored {
                Ok(stored) => stored,
                Err(failure) => {
                    return Done::of(Input::Loaded(Err(failure)));
                }
            };
            let position = stored.as_ref().map(|stored| &stored.checkpoint.position);
            let stored_until = position.and_then(Position::cluster_time);
            let (tail, file) = look(lake.as_ref(), &origin).await;
            Done {
                tail,
                stored_until,
                ..Done::of(Input::Loaded(file.map(|file| (stored, file))))
            }
        });
    }

    fn spawn_inspect(&mut self) {
        let (lake, origin) = (Arc::clone(&self.edges.lake), self.origin.clone());
        self.begin(async move {
            let (tail, file) = look(lake.as_ref(), &origin).await;
            Done {
                tail,
                ..Done::of(Input::Inspected(file))
            }
        });
    }

    fn spawn_save(&mut self, checkpoint: Checkpoint, replaces: u64) {
        let (checkpoints, feed) = (Arc::clone(&self.edges.checkpoints), self.feed_id());
        self.begin(async move {
            let result = checkpoints.save(&feed, &checkpoint, replaces).await;
            let result = result.map_err(|error| Failure::from(&error));
            Done::of(Input::Saved(result))
        });
    }

    fn spawn_record(&mut self, gap: Gap) {
        let (lake, origin) = (Arc::clone(&self.edges.lake), self.origin.clone());
        let now_unix_ms = self.edges.clock.now().unix_ms;
        self.begin(async move {
            let result = lake::gaps::record(lake.as_ref(), &origin, &gap, now_unix_ms).await;
            Done::of(Input::Recorded(
                result.map_err(|error| Failure::from(&error)),
            ))
        });
    }

    fn spawn_commit(&mut self, order: WriteOrder) {
        let (edges, durations) = (self.edges.clone(), self.durations.clone());
        let (origin, tail) = (self.origin.clone(), self.tail.clone());
        self.begin(async move {
            match commit::commit(&edges, &durations, &origin, &order, tail).await {
                Ok(committed) => Done {
                    tail: Learnt::Newest(Some((committed.file.name, committed.version))),
                    uploaded_bytes: committed.uploaded_bytes,
                    ..Done::of(Input::Committed(Ok(committed.file)))
                },
                Err(failure) => Done::of(Input::Committed(Err(failure))),
            }
        });
    }
}

/// Reads the newest hour file, for the worker and for the machine.
async fn look(lake: &dyn Lake, origin: &Origin) -> (Learnt, Result<Option<HourFile>, Failure>) {
    match lake::tail::load(lake, origin).await {
        Ok(Some((file, version))) => (Learnt::Newest(Some((file.name, version))), Ok(Some(file))),
        Ok(None) => (Learnt::Newest(None), Ok(None)),
        Err(error) => (Learnt::Nothing, Err(Failure::from(&error))),
    }
}
