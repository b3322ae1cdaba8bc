//! Performs the machine's actions at the edges.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Done, REPORTS_MAX, RunningReader, Worker, commit, notices};
use crate::checkpoint::{self, Checkpoints, FeedId};
use crate::lake::{self, Lake};
use crate::source::Reader;
use silt_core::failure::Failure;
use silt_core::gap::Record;
use silt_core::handover::Handover;
use silt_core::machine::{Action, Input, LaneId, StartState, Tail, WriteOrder};
use silt_core::namespace::Namespace;
use silt_core::namespace::selection::Watched;
use silt_core::position::{Checkpoint, Position, Stored};

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
            Action::LoadTail(lane) => {
                self.spawn_look(lane, Input::TailLoaded);
            }
            Action::Commit(lane, order) => self.spawn_commit(lane, order),
            Action::Inspect(lane) => {
                self.spawn_look(lane, Input::Inspected);
            }
            Action::Save {
                checkpoint,
                replaces,
            } => self.spawn_save(checkpoint, replaces),
            Action::Record(records) => self.spawn_record(records),
            Action::Notify(lane, notice) => {
                self.note(|status| status.note(&notice));
                let origin = lane.and_then(|lane| self.feed.namespace(lane));
                let name = origin.map_or_else(|| self.name.clone(), Namespace::to_string);
                notices::log(&name, self.feed.carries_many(), &notice);
            }
            Action::Finish => self.is_finished = true,
            // If the service doesn't listen, it is stopping already.
            Action::Exit(message) => drop(self.exits.try_send(message)),
        }
    }

    /// Starts an operation at an edge. Its result becomes an input.
    fn begin(&mut self, operation: impl Future<Output = Done> + Send + 'static) {
        self.operations.spawn(operation);
    }

    fn open(&mut self, position: Position) {
        let (sender, reports) = mpsc::channel(REPORTS_MAX);
        let reader = Reader {
            deployment: self.edges.deployment.clone(),
            options: self.edges.stream_options.clone(),
            budget: self.edges.budget.clone(),
            processors: self.edges.processors.clone(),
            // Parcels on their way count as well.
            parcel_limit_bytes: self.edges.feed_limit_bytes / 2,
            patience: self.patience.clone(),
            clock: self.edges.clock,
        };
        let task = tokio::spawn(reader.run(position, sender));
        self.reader = Some(RunningReader { reports, task });
    }

    fn spawn_load(&mut self) {
        let (lake, checkpoints) = (
            Arc::clone(&self.edges.lake),
            Arc::clone(&self.edges.checkpoints),
        );
        let (watched, deployment) = (self.watched.clone(), self.edges.deployment.clone());
        self.begin(async move {
            let (stored, handover) = match stored(checkpoints.as_ref(), &watched).await {
                Ok(found) => found,
                Err(failure) => return Done::of(Input::Loaded(Err(failure))),
            };
            let position = stored.as_ref().map(|stored| &stored.checkpoint.position);
            let stored_until = position.and_then(Position::cluster_time);
            let state = match &watched {
                Watched::Collection(namespace) => {
                    let tail = load_tail(lake.as_ref(), namespace).await;
                    tail.map(|tail| StartState {
                        tails: vec![(namespace.clone(), tail)],
                        ..StartState::default()
                    })
                }
                Watched::Many { .. } if stored.is_none() && handover.is_none() => {
                    let orphan = lake::any_hour_file(lake.as_ref(), &watched).await;
                    let state = orphan.map(|orphan| StartState {
                        orphan: orphan.map(|path| path.to_string()),
                        ..StartState::default()
                    });
                    state.map_err(|error| Failure::from(&error))
                }
                Watched::Many { .. } => Ok(StartState {
                    oldest: match handover {
                        Some(_) => deployment.oldest_time().await,
                        None => None,
                    },
                    ..StartState::default()
                }),
            };
            let state = state.map(|state| StartState {
                stored,
                handover,
                ..state
            });
            Done {
                stored_until,
                ..Done::of(Input::Loaded(state.map(Box::new)))
            }
        });
    }

    /// Reads a lane's newest hour file.
    fn spawn_look(
        &mut self,
        lane: LaneId,
        input: fn(LaneId, Result<Option<Tail>, Failure>) -> Input,
    ) {
        // A machine only names its own lanes.
        let Some(origin) = self.feed.namespace(lane).cloned() else {
            return;
        };
        let edges = self.edges.clone();
        self.begin(async move {
            // Hundreds of collections may be new at the same time. The semaphore is never closed.
            let _permit = edges.uploads.acquire().await;
            Done::of(input(lane, load_tail(edges.lake.as_ref(), &origin).await))
        });
    }

    fn spawn_save(&mut self, checkpoint: Checkpoint, replaces: u64) {
        let checkpoints = Arc::clone(&self.edges.checkpoints);
        let feed = FeedId::of(&self.watched);
        self.begin(async move {
            let result = checkpoints.save(&feed, &checkpoint, replaces).await;
            let result = result.map_err(|error| Failure::from(&error));
            Done::of(Input::Saved(result))
        });
    }

    fn spawn_record(&mut self, records: Vec<(Namespace, Record)>) {
        let lake = Arc::clone(&self.edges.lake);
        let now_unix_ms = self.edges.clock.now().unix_ms;
        self.begin(async move {
            for (origin, record) in records {
                let kept =
                    lake::gap_records::write(lake.as_ref(), &origin, &record, now_unix_ms).await;
                if let Err(error) = kept {
                    return Done::of(Input::Recorded(Err(Failure::from(&error))));
                }
            }
            Done::of(Input::Recorded(Ok(())))
        });
    }

    fn spawn_commit(&mut self, lane: LaneId, order: WriteOrder) {
        // A machine only names its own lanes.
        let Some(origin) = self.feed.namespace(lane).cloned() else {
            return;
        };
        let now = self.edges.clock.now();
        self.note(|status| status.note_commit_begun(lane, &origin, &order, now));
        let (edges, durations) = (self.edges.clone(), self.durations.clone());
        self.begin(async move {
            match commit::commit(&edges, &durations, &origin, &order).await {
                Ok(committed) => Done {
                    uploaded_bytes: committed.uploaded_bytes,
                    ..Done::of(Input::Committed(lane, Ok(committed.tail)))
                },
                Err(failure) => Done::of(Input::Committed(lane, Err(failure))),
            }
        });
    }
}

/// A feed's checkpoint, and where it takes over from other streams.
async fn stored(
    checkpoints: &dyn Checkpoints,
    watched: &Watched,
) -> Result<(Option<Stored>, Option<Handover>), Failure> {
    let stored = checkpoints.load(&FeedId::of(watched)).await;
    let stored = stored.map_err(|error| Failure::from(&error))?;
    let handover = checkpoint::handover(checkpoints, watched, stored.as_ref()).await;
    Ok((stored, handover.map_err(|error| Failure::from(&error))?))
}

/// Reads a collection's newest hour file, as a writer.
async fn load_tail(lake: &dyn Lake, namespace: &Namespace) -> Result<Option<Tail>, Failure> {
    lake.sweep(&namespace.folder()).await;
    let tail = lake::tail::load(lake, namespace).await;
    tail.map_err(|error| Failure::from(&error))
}
