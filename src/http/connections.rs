//! The connections: so many at once, and who waits longest for a request makes room for a new one.
//!
//! Else a few clients that connect and say nothing would keep the probes out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// All connections.
#[derive(Debug)]
pub(super) struct Connections {
    places: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
}

/// Those that wait for a request, by the order in which they began to.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    doors: BTreeMap<u64, Arc<Notify>>,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    door: Arc<Notify>,
    /// Its place among those that wait.
    turn: Mutex<Option<u64>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connections {
    pub(super) fn new(at_once: usize) -> Arc<Self> {
        Arc::new(Self {
            places: Arc::new(Semaphore::new(at_once)),
            waiting: Mutex::default(),
        })
    }

    /// A place for a new connection, which waits for its first request.
    pub(super) async fn place(self: &Arc<Self>) -> Place {
        if self.places.available_permits() == 0 {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, door)) = waiting.doors.pop_first() {
                door.notify_one();
            }
        }
        // The semaphore is never closed. If all are being answered, one of them is done soon.
        let permit = Arc::clone(&self.places).acquire_owned().await.ok();
        let place = Place {
            connections: Arc::clone(self),
            door: Arc::new(Notify::new()),
            turn: Mutex::new(None),
            _permit: permit,
        };
        place.waits();
        place
    }
}

impl Place {
    /// It waits for a request from now on.
    pub(super) fn waits(&self) {
        self.is_busy();
        let mut waiting = self.connections.waiting.lock();
        let waiting = waiting.as_mut().unwrap_or_else(|poison| poison.get_mut());
        let turn = waiting.next;
        waiting.next += 1;
        waiting.doors.insert(turn, Arc::clone(&self.door));
        *self.turn.lock().unwrap_or_else(PoisonError::into_inner) = Some(turn);
    }

    /// It has a request, and isn't shown the door until that is answered.
    pub(super) fn is_busy(&self) {
        let turn = self
            .turn
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(turn) = turn {
            let mut waiting = self.connections.waiting.lock();
            let waiting = waiting.as_mut().unwrap_or_else(|poison| poison.get_mut());
            waiting.doors.remove(&turn);
        }
    }

    /// Waits until it is to make room.
    pub(super) async fn shown_the_door(&self) {
        self.door.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.is_busy();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn the_one_that_waits_longest_makes_room() {
        let connections = Connections::new(2);
        let (first, second) = (connections.place().await, connections.place().await);
        first.is_busy();
        first.waits();
        let mut third = pin!(connections.place());
        assert!(poll!(third.as_mut()).is_pending());
        assert!(
            poll!(pin!(first.shown_the_door())).is_pending(),
            "it waits less long"
        );
        second.shown_the_door().await;
        drop(second);
        third.await;
    }

    #[tokio::test]
    async fn who_is_being_answered_is_left_alone() {
        let connections = Connections::new(1);
        let only = connections.place().await;
        only.is_busy();
        let mut next = pin!(connections.place());
        assert!(poll!(next.as_mut()).is_pending());
        assert!(poll!(pin!(only.shown_the_door())).is_pending());
        drop(only);
        next.await;
        let waiting = connections.waiting.lock().unwrap();
        assert!(waiting.doors.is_empty(), "all have gone");
    }
}
