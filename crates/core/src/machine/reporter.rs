//! Collects the actions of one input, and attributes its notices to a collection.

use super::{Action, Actions, LaneId, Notice, Trouble};

/// Where a part of the machine puts its actions.
pub(super) struct Reporter<'a> {
    out: &'a mut Actions,
    lane: Option<LaneId>,
}

impl<'a> Reporter<'a> {
    /// For notices that concern the whole feed.
    pub fn of_feed(out: &'a mut Actions) -> Self {
        Self { out, lane: None }
    }

    /// For notices that concern one collection.
    pub fn of_lane(out: &'a mut Actions, lane: LaneId) -> Self {
        Self {
            out,
            lane: Some(lane),
        }
    }

    pub fn act(&mut self, action: Action) {
        self.out.push(action);
    }

    pub fn notify(&mut self, notice: Notice) {
        self.out.push(Action::Notify(self.lane, notice));
    }

    pub fn recovered(&mut self, past: Trouble) {
        self.notify(Notice::Recovered(past));
    }

    pub fn halted(&mut self, trouble: &Trouble) {
        self.notify(Notice::Halted(trouble.message.clone()));
    }

    pub fn retrying(&mut self, trouble: &Trouble, delay_ms: u64) {
        self.notify(Notice::Retrying {
            message: trouble.message.clone(),
            failures: trouble.failures,
            delay_ms,
        });
    }

    pub fn exit(&mut self, message: String) {
        self.act(Action::Exit(message));
    }
}
