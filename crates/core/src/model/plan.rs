//! What a run of the model does: drawn at random, shrunk to what a failure needs.

use proptest::prelude::*;

use super::source::Happening;
use crate::batch::FlushReason;
use crate::limits::Limits;
use crate::machine::OnHistoryLost;

/// What goes wrong with one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// It has no effect, and a retry may help.
    Refused,
    /// The same, with a wish for the delay.
    Throttled,
    /// It takes effect, and the answer is lost.
    Unheard,
    /// It is given up and takes effect later.
    Late,
    /// It has no effect, and the view is said to be stale.
    Stale,
    /// It has no effect, and a person is asked for.
    Halted,
}

/// What happens to each write that is under way at a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Lost,
    Done,
    Late,
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    Happen(Happening),
    /// One of the operations under way ends.
    Work {
        master: usize,
        pick: usize,
        fault: Fault,
    },
    /// Operations end well until there are none.
    Settle {
        master: usize,
    },
    /// The stream gives changes.
    Deliver {
        master: usize,
        changes: usize,
    },
    /// The server has looked on and found nothing.
    Idle {
        master: usize,
        is_last_change: bool,
    },
    /// The stream ends by an error.
    Break {
        master: usize,
        fault: Fault,
    },
    Flush {
        master: usize,
        reason: FlushReason,
    },
    /// Time goes by; the wall clock may be set meanwhile.
    Pass {
        ms: u64,
        clock_set_ms: i64,
    },
    /// Time goes by until a feed asks for it.
    Wake,
    /// A late write lands.
    Land {
        pick: usize,
    },
    Crash {
        master: usize,
        fate: Fate,
    },
    Drain {
        master: usize,
    },
    /// The lake refuses everybody, or does so no more.
    Forbid(bool),
    /// Somebody deletes the checkpoint.
    LoseCheckpoint,
    /// The oplog forgets all but the newest changes; whether its beginning may be seen is new, too.
    Truncate {
        keep: usize,
        is_known: bool,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub masters: usize,
    pub starts_now: bool,
    pub on_history_lost: OnHistoryLost,
    /// Whether resume tokens tell their time.
    pub tells_time: bool,
    pub limits: Limits,
    pub ops: Vec<Op>,
}

const REASONS: [FlushReason; 4] = [
    FlushReason::Cron,
    FlushReason::Signal,
    FlushReason::Pressure,
    FlushReason::Drain,
];

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        12 => Just(Fault::None),
        2 => Just(Fault::Refused),
        1 => Just(Fault::Throttled),
        2 => Just(Fault::Unheard),
        3 => Just(Fault::Late),
        1 => Just(Fault::Stale),
        1 => Just(Fault::Halted),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    let seconds = prop_oneof![
        4 => Just(0_u32), 4 => 0_u32..600, 1 => Just(3600), 1 => 600_u32..8000,
    ];
    let line = prop_oneof![4 => 0_usize..60, 1 => 100_usize..900];
    (
        1_usize..5,
        seconds,
        any::<bool>(),
        prop::bool::weighted(0.1),
        line,
    )
        .prop_map(
            |(changes, seconds_later, is_transaction, ends, line)| Happening {
                changes,
                seconds_later,
                is_transaction,
                ends_in_invalidate: ends,
                line_len_bytes: line,
            },
        )
}

fn op() -> impl Strategy<Value = Op> {
    let master = 0_usize..2;
    let ms = prop_oneof![0_u64..2000, 2000_u64..100_000, 1_000_000_u64..8_000_000];
    let clock_set_ms = prop_oneof![20 => Just(0_i64), 1 => -4_000_000_i64..4_000_000];
    let fate = prop_oneof![Just(Fate::Lost), Just(Fate::Done), Just(Fate::Late)];
    prop_oneof![
        18 => happening().prop_map(Op::Happen),
        40 => (master.clone(), 0_usize..4, fault())
            .prop_map(|(master, pick, fault)| Op::Work { master, pick, fault }),
        16 => master.clone().prop_map(|master| Op::Settle { master }),
        24 => (master.clone(), 1_usize..8)
            .prop_map(|(master, changes)| Op::Deliver { master, changes }),
        6 => (master.clone(), any::<bool>())
            .prop_map(|(master, is_last_change)| Op::Idle { master, is_last_change }),
        3 => (master.clone(), fault()).prop_map(|(master, fault)| Op::Break { master, fault }),
        12 => (master.clone(), prop::sample::select(&REASONS[..]))
            .prop_map(|(master, reason)| Op::Flush { master, reason }),
        5 => (ms, clock_set_ms).prop_map(|(ms, clock_set_ms)| Op::Pass { ms, clock_set_ms }),
        12 => Just(Op::Wake),
        8 => (0_usize..4).prop_map(|pick| Op::Land { pick }),
        5 => (master.clone(), fate).prop_map(|(master, fate)| Op::Crash { master, fate }),
        1 => master.prop_map(|master| Op::Drain { master }),
        2 => prop::bool::weighted(0.3).prop_map(Op::Forbid),
        1 => Just(Op::LoseCheckpoint),
        2 => (0_usize..8, prop::bool::weighted(0.7))
            .prop_map(|(keep, is_known)| Op::Truncate { keep, is_known }),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let batch_size = prop_oneof![1_u32..8, 10_u32..50];
    let hold = 1_u64..100;
    (
        batch_size,
        60_u64..3000,
        1000_u64..6000,
        1_u32..9,
        1_u32..4,
        hold,
        0_usize..4,
    )
        .prop_map(
            |(batch_size, batch_limit, file_limit, file_commits, attempts, hold, watermarks)| {
                Limits {
                    batch_size_changes: batch_size,
                    batch_limit_bytes: batch_limit,
                    file_limit_bytes: file_limit,
                    file_limit_commits: file_commits,
                    retry_attempts: attempts,
                    retry_delay_ms: 1000,
                    idle_checkpoint_ms: 60_000,
                    hold_limit_changes: hold,
                    watermarks_max: watermarks,
                }
            },
        )
}

pub(super) fn plan() -> impl Strategy<Value = Plan> {
    let on_history_lost =
        prop_oneof![1 => Just(OnHistoryLost::Halt), 3 => Just(OnHistoryLost::Restart)];
    (
        1_usize..3,
        any::<bool>(),
        on_history_lost,
        prop::bool::weighted(0.8),
        limits(),
        prop::collection::vec(op(), 1..250),
    )
        .prop_map(
            |(masters, starts_now, on_history_lost, tells_time, limits, ops)| Plan {
                masters,
                starts_now,
                on_history_lost,
                tells_time,
                limits,
                ops,
            },
        )
}
