//! One feed at work: it asks the state machine what to do, does it at the edges, and reports back.

mod commit;
mod notices;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{debug, trace, warn};

use crate::archive::batch::FlushReason;
use crate::archive::failure::{Disposition, Failure};
use crate::archive::frame::Origin;
use crate::archive::gap::Gap;
use crate::archive::hour_file::{HourFile, HourFileName};
use crate::archive::machine::{Action, Config, Feed, Input, Trouble, WriteOrder};
use crate::archive::position::{Checkpoint, Position};
use crate::budget::{Budget, Share};
use crate::checkpoint::{Checkpoints, FeedId};
use crate::clock::Clock;
use crate::lake::{self, Lake, Version};
use crate::source::{Deployment, Patience, Reader, Reading, StreamOptions};

/// Parcels of changes that wait for the feed, beside the one that it handles.
const READINGS_MAX: usize = 1;
const COMMANDS_MAX: usize = 8;

/// What a feed is told from outside.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// Flush what waits.
    Flush(FlushReason),
    /// Read no more, flush, save, stop.
    Drain,
}

/// What a feed says of itself.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Whether it reads its stream.
    pub is_watching: bool,
    /// Changes that wait in memory.
    pub buffered_changes: u64,
    /// What is wrong now.
    pub trouble: Option<Trouble>,
}

/// What a feed works with.
#[derive(Clone, Debug)]
pub struct Edges {
    /// The deployment.
    pub deployment: Deployment,
    /// The lake.
    pub lake: Arc<dyn Lake>,
    /// The checkpoints.
    pub checkpoints: Arc<dyn Checkpoints>,
    /// How streams are read.
    pub stream_options: StreamOptions,
    /// The memory for changes, of all feeds.
    pub budget: Budget,
    /// Encoded bytes beyond which a feed stops reading while a commit of its own isn't done.
    pub feed_limit_bytes: u64,
    /// Bounds the commits at the lake, of all feeds.
    pub uploads: Arc<Semaphore>,
    /// The time.
    pub clock: Clock,
}

/// One feed at work.
#[derive(Debug)]
pub struct Worker {
    feed: Feed,
    origin: Origin,
    edges: Edges,
    patience: Patience,
    share: Share,
    /// The state of the newest hour file at the lake, which goes with the machine's own view.
    tail: Tail,
    reader: Option<RunningReader>,
    commands: mpsc::Receiver<Command>,
    operations: JoinSet<Done>,
    status: watch::Sender<Status>,
    exits: mpsc::Sender<String>,
    is_finished: bool,
}

#[derive(Debug)]
struct RunningReader {
    readings: mpsc::Receiver<Reading>,
    task: JoinHandle<()>,
}

impl Drop for RunningReader {
    fn drop(&mut self) {
        // It owns its stream, so the stream goes with it.
        self.task.abort();
    }
}

/// The state of the newest hour file at the lake, if there is one.
type Tail = Option<(HourFileName, Version)>;

/// An operation at an edge ended.
#[derive(Debug)]
struct Done {
    input: Input,
    /// What it learnt of the newest hour file.
    tail: Learnt,
}

/// What an operation learnt of the newest hour file.
#[derive(Debug)]
enum Learnt {
    Nothing,
    Newest(Tail),
}

/// How a feed ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All that it read is in the lake.
    Drained,
    /// It let changes go that another writer may have or not; the next start reads them again.
    GaveUp,
    /// A bug.
    Broke,
}

/// A running feed as the service sees it.
#[derive(Debug)]
pub struct Handle {
    /// Its collection.
    pub origin: Origin,
    /// Tells it what to do.
    pub commands: mpsc::Sender<Command>,
    /// What it says of itself.
    pub status: watch::Receiver<Status>,
    /// Ends when the feed does.
    pub task: JoinHandle<End>,
}

impl Worker {
    /// Starts a feed. `exits` is told if the process can't do its job.
    #[must_use]
    pub fn spawn(config: Config, edges: Edges, exits: mpsc::Sender<String>) -> Handle {
        let (command_sender, commands) = mpsc::channel(COMMANDS_MAX);
        let (status, status_receiver) = watch::channel(Status::default());
        let origin = config.origin.clone();
        let bugs = exits.clone();
        let worker = Self {
            feed: Feed::new(config),
            origin: origin.clone(),
            share: edges.budget.share(),
            patience: Patience::new(edges.deployment.request_limit()),
            edges,
            tail: None,
            reader: None,
            commands,
            operations: JoinSet::new(),
            status,
            exits,
            is_finished: false,
        };
        let collection = origin.collection.clone();
        let task = tokio::spawn(async move {
            let running = tokio::spawn(worker.run());
            running.await.unwrap_or_else(|bug| {
                // A full channel says already that it is over.
                let _ = bugs.try_send(format!("the feed of {collection} broke off: {bug}"));
                End::Broke
            })
        });
        Handle {
            origin,
            commands: command_sender,
            status: status_receiver,
            task,
        }
    }

    async fn run(mut self) -> End {
        self.handle(Input::Start);
        while !self.is_finished {
            let input = self.next_input().await;
            self.handle(input);
        }
        let (collection, changes) = (&self.origin.collection, self.feed.given_up_changes());
        if changes == 0 {
            return End::Drained;
        }
        warn!(
            collection,
            changes, "another writer moved on: the next start reads these again"
        );
        End::GaveUp
    }

    /// Waits for what happens next. Nothing but channels and the clock is waited for here.
    async fn next_input(&mut self) -> Input {
        let now = self.edges.clock.now();
        let wake_at = self
            .feed
            .wake_at_ms(now)
            .map(|at_ms| self.edges.clock.instant(at_ms));
        let is_full = self.is_full();
        let reader = self.reader.as_mut().filter(|_| !is_full);
        let readings = reader.map(|reader| &mut reader.readings);
        tokio::select! {
            Some(command) = self.commands.recv() => match command {
                Command::Flush(reason) => Input::Flush(reason),
                Command::Drain => Input::Drain,
            },
            Some(done) = self.operations.join_next() => {
                let done = done.unwrap_or_else(|bug| std::panic::resume_unwind(bug.into_panic()));
                if let Learnt::Newest(tail) = done.tail {
                    self.tail = tail;
                }
                done.input
            }
            reading = next_reading(readings) => self.reading(reading),
            () = sleep_until(wake_at) => Input::Tick,
        }
    }

    /// Whether the feed holds what is its own of the memory and can't get rid of it: then it must
    /// leave the rest to the others.
    fn is_full(&self) -> bool {
        self.feed.is_committing() && self.feed.buffered_bytes() >= self.edges.feed_limit_bytes
    }

    fn reading(&mut self, reading: Option<Reading>) -> Input {
        match reading {
            Some(Reading::Opened(result)) => Input::Opened(result),
            Some(Reading::Idle(token)) => {
                trace!(collection = self.origin.collection, "nothing new");
                Input::Idle(token)
            }
            Some(Reading::Closed(failure)) => {
                self.reader = None;
                Input::Closed(failure)
            }
            Some(Reading::Changes(changes, taken)) => {
                self.share.add(taken);
                let collection = &self.origin.collection;
                debug!(collection, changes = changes.len(), "read");
                Input::Changes(changes)
            }
            None => {
                self.reader = None;
                Input::Closed(Some(Failure {
                    disposition: Disposition::RETRY,
                    message: "the reader stopped without a word".to_owned(),
                }))
            }
        }
    }

    fn handle(&mut self, input: Input) {
        let actions = self.feed.handle(input, self.edges.clock.now());
        for action in actions {
            self.perform(action);
        }
        self.share.shrink_to(self.feed.buffered_bytes());
        self.status.send_replace(Status {
            is_watching: self.feed.is_watching(),
            buffered_changes: self.feed.buffered_changes(),
            trouble: self.feed.trouble().cloned(),
        });
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Load => self.spawn_load(),
            Action::AskClusterTime => {
                let deployment = self.edges.deployment.clone();
                self.begin(async move {
                    let time = deployment.cluster_time().await;
                    let time = time.map_err(|error| Failure::from(&error));
                    Done {
                        input: Input::ClusterTime(time),
                        tail: Learnt::Nothing,
                    }
                });
            }
            Action::Open(position) => self.open(position),
            Action::Close => self.reader = None,
            Action::Commit(order) => self.spawn_commit(order),
            Action::Inspect => self.spawn_inspect(),
            Action::Save {
                checkpoint,
                replaces,
            } => self.spawn_save(checkpoint, replaces),
            Action::Record(gap) => self.spawn_record(gap),
            Action::Tell(notice) => notices::tell(&self.origin.collection, &notice),
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
                    return Done {
                        input: Input::Loaded(Err(failure)),
                        tail: Learnt::Nothing,
                    };
                }
            };
            let (tail, file) = look(lake.as_ref(), &origin).await;
            Done {
                input: Input::Loaded(file.map(|file| (stored, file))),
                tail,
            }
        });
    }

    fn spawn_inspect(&mut self) {
        let (lake, origin) = (Arc::clone(&self.edges.lake), self.origin.clone());
        self.begin(async move {
            let (tail, file) = look(lake.as_ref(), &origin).await;
            Done {
                input: Input::Inspected(file),
                tail,
            }
        });
    }

    fn spawn_save(&mut self, checkpoint: Checkpoint, replaces: u64) {
        let (checkpoints, feed) = (Arc::clone(&self.edges.checkpoints), self.feed_id());
        self.begin(async move {
            let result = checkpoints.save(&feed, &checkpoint, replaces).await;
            let result = result.map_err(|error| Failure::from(&error));
            Done {
                input: Input::Saved(result),
                tail: Learnt::Nothing,
            }
        });
    }

    fn spawn_record(&mut self, gap: Gap) {
        let (lake, origin) = (Arc::clone(&self.edges.lake), self.origin.clone());
        let now_unix_ms = self.edges.clock.now().unix_ms;
        self.begin(async move {
            let result = lake::gaps::record(lake.as_ref(), &origin, &gap, now_unix_ms).await;
            Done {
                input: Input::Recorded(result.map_err(|error| Failure::from(&error))),
                tail: Learnt::Nothing,
            }
        });
    }

    fn spawn_commit(&mut self, order: WriteOrder) {
        let edges = self.edges.clone();
        let (origin, tail) = (self.origin.clone(), self.tail.clone());
        self.begin(async move {
            match commit::commit(&edges, &origin, &order, tail).await {
                Ok((file, version)) => {
                    let tail = Learnt::Newest(Some((file.name, version)));
                    Done {
                        input: Input::Committed(Ok(file)),
                        tail,
                    }
                }
                Err(failure) => Done {
                    input: Input::Committed(Err(failure)),
                    tail: Learnt::Nothing,
                },
            }
        });
    }
}

async fn next_reading(readings: Option<&mut mpsc::Receiver<Reading>>) -> Option<Reading> {
    match readings {
        Some(readings) => readings.recv().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
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
