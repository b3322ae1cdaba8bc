//! Reads the documents of one range, chunk by chunk.

use std::sync::Arc;

use bson::RawDocumentBuf;
use futures::future::OptionFuture;
use tokio::sync::MutexGuard;

use super::super::read::chunk::{Chunk, Reply, is_before};
use super::super::read::id::Id;
use super::super::read::line::Liner;
use super::super::read::query::{self, How, IdEnd, IdRange};
use super::super::read::request::{ask, unmade};
use super::Job;
use crate::budget::Taken;
use silt_core::failure::Failure;
use silt_core::snapshot::plan::{Bounds, End};
use silt_core::snapshot::reply_size::ReplySize;
use silt_core::time::rfc3339;

/// The target size of a server reply: large enough to be fast, small compared to a chunk.
const REPLY_TARGET_BYTES: u64 = 2 * 1024 * 1024;

/// The state of reading one range.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    job: &'a Job,
    liner: Arc<Liner>,
    range: IdRange,
    /// The `_id` of the last document that was read.
    after: Option<Id>,
    /// A reply whose remaining documents had no room in the last chunk.
    rest: Option<Reply>,
    size: ReplySize,
    left: Left,
    /// The memory of a committed chunk, for the next one. Freeing and allocating it each time would fragment the
    /// allocator's arenas.
    room: Vec<u8>,
}

/// What of a range is still to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// Not known yet.
    Unknown,
    /// The documents between its bounds.
    Between,
    /// The document that it ends with.
    Last,
    Nothing,
}

/// Documents for the next commit, and the memory that they hold.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) chunk: Chunk,
    /// Returned to the budget when dropped.
    pub(crate) memory: Taken,
}

impl<'a> Reading<'a> {
    /// Starts after this document; `None` starts at the range's beginning.
    pub(crate) fn new(
        job: &'a Job,
        bounds: Bounds<'_>,
        after: Option<Id>,
    ) -> Result<Self, Failure> {
        let id = |key| Id::from_key(key).map_err(Failure::from);
        let range = IdRange {
            from: bounds.from.map(id).transpose()?,
            to: match bounds.to {
                End::Before(key) => IdEnd::Before(id(key)?),
                End::With(key) => IdEnd::With(id(key)?),
            },
        };
        let liner = Liner::new(
            (&job.plan.database, &job.plan.collection),
            job.plan.cluster_time,
            job.mode(),
            job.plan.format.separator(),
        )?;
        let share = job.rate_limit_bytes().unwrap_or(u64::MAX) / u64::from(job.plan.ranges());
        let target_bytes = REPLY_TARGET_BYTES
            .min(job.chunk_limit_bytes())
            .min(share.max(1));
        Ok(Self {
            job,
            liner: Arc::new(liner),
            range,
            after,
            rest: None,
            left: Left::Unknown,
            size: ReplySize::new(target_bytes, job.plan.mean_bytes()),
            room: Vec::new(),
        })
    }

    /// Reuses the memory of a committed chunk for the next one.
    pub(crate) fn reuse(&mut self, room: Vec<u8>) {
        self.room = room;
    }

    /// Whether the range's end was reached.
    pub(crate) fn is_over(&self) -> bool {
        self.left == Left::Nothing && self.rest.is_none()
    }

    /// Fills a chunk. The chunk is valid even if reading the documents after it failed.
    pub(crate) async fn gather(&mut self) -> (Gathered, Result<(), Failure>) {
        let limit_bytes = self.job.chunk_limit_bytes();
        let mut gathered = Gathered {
            memory: self.job.edges.budget.spare(limit_bytes).await,
            chunk: Chunk::new(limit_bytes, std::mem::take(&mut self.room)),
        };
        while !gathered.chunk.is_full() {
            let large = self.large().await;
            if self.rest.is_none() {
                self.job.pace.wait().await;
            }
            let turn = large.as_ref().map(|_| self.job.edges.budget.turn());
            let turn = OptionFuture::from(turn).await;
            let reply = match self.rest.take() {
                Some(rest) => Ok(Some(rest)),
                None => self.next_reply().await,
            };
            let reply = match reply {
                Ok(Some(reply)) => reply,
                Ok(None) => break,
                Err(failure) => return (gathered, Err(failure)),
            };
            let filled;
            (gathered.chunk, filled) = self.encode(gathered.chunk, reply).await;
            match filled {
                Ok(rest) => self.rest = rest,
                Err(failure) => return (gathered, Err(failure)),
            }
            drop(turn);
            self.after.clone_from(&gathered.chunk.last);
            if let Some(len_bytes) = gathered.chunk.more_than_its_limit() {
                // The document is larger than a chunk and already in memory: wait until the budget covers it.
                drop(gathered.memory);
                gathered.memory = self.job.edges.budget.spare(len_bytes).await;
            }
            drop(large);
            if self.rest.is_some() {
                break;
            }
        }
        (gathered, Ok(()))
    }

    /// Waits for the snapshot's other ranges if documents are so large that copies of one matter.
    async fn large(&self) -> Option<MutexGuard<'a, ()>> {
        if self.size.expects_large() {
            Some(self.job.large.lock().await)
        } else {
            None
        }
    }

    /// The next documents; `None` at the range's end.
    async fn next_reply(&mut self) -> Result<Option<Reply>, Failure> {
        if self.left == Left::Unknown {
            self.left = self.find_left().await?;
        }
        if self.left == Left::Between {
            let documents = self.size.documents();
            let command = query::documents(self.how(), &self.range, self.after.as_ref(), documents);
            let reply = self.ask(command).await?;
            if reply.documents > 0 {
                return Ok(Some(reply));
            }
            self.left = Left::Last;
        }
        if self.left == Left::Last {
            let last = self.last().await?;
            self.left = Left::Nothing;
            return Ok(last);
        }
        Ok(None)
    }

    /// Finds out whether documents may be left between the last one that was read (or the range's beginning) and the
    /// range's end. The server rejects bounds that aren't in order.
    async fn find_left(&self) -> Result<Left, Failure> {
        let begin = self.after.as_ref().or(self.range.from.as_ref());
        let (Some(begin), IdEnd::With(last)) = (begin, &self.range.to) else {
            return Ok(Left::Between);
        };
        let command = query::order(self.how(), begin, last);
        let command = command.map_err(|error| unmade(&error.to_string()))?;
        let answer = ask(&self.job.edges.deployment, &self.job.target.origin, command).await?;
        Ok(if is_before(&answer)? {
            Left::Between
        } else {
            Left::Last
        })
    }

    /// The document that the range ends with, if it exists and is still to be read.
    async fn last(&mut self) -> Result<Option<Reply>, Failure> {
        let IdEnd::With(last) = &self.range.to else {
            return Ok(None);
        };
        let command = query::last(self.how(), &self.range, self.after.as_ref(), last);
        let reply = self.ask(command).await?;
        Ok(Some(reply).filter(|reply| reply.documents > 0))
    }

    fn how(&self) -> How<'a> {
        How {
            collection: &self.job.plan.collection,
            read_from: self.job.plan.cluster_time,
            limit: self.job.edges.deployment.request_limit(),
        }
    }

    async fn ask(
        &mut self,
        command: bson::error::Result<RawDocumentBuf>,
    ) -> Result<Reply, Failure> {
        let command = command.map_err(|error| unmade(&error.to_string()))?;
        let batch = ask(&self.job.edges.deployment, &self.job.target.origin, command).await?;
        let now = self.job.edges.clock.now();
        let reply = Reply::new(batch, rfc3339(now.unix_ms))?;
        self.job.pace.charge(reply.bytes);
        self.size.note(reply.documents, reply.bytes);
        Ok(reply)
    }

    /// Encodes documents outside the async runtime.
    async fn encode(
        &self,
        mut chunk: Chunk,
        reply: Reply,
    ) -> (Chunk, Result<Option<Reply>, Failure>) {
        let liner = Arc::clone(&self.liner);
        let work = move || {
            let filled = chunk.fill(reply, &liner);
            (chunk, filled)
        };
        match self.job.edges.processors.work(work).await {
            Ok(encoded) => encoded,
            Err(bug) => match bug.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down.
                Err(_) => std::future::pending().await,
            },
        }
    }
}
