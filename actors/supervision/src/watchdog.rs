//! The watchdog: one plain thread outside every runtime.
//!
//! It looks at one number, when the root supervisor's own loop last turned, and says so when that stands still. It
//! counts its own looks rather than the clock: a process that was frozen as a whole (a debugger, a paused container)
//! wakes with a root that is no older, in looks, than before. It asks nothing and waits for nobody, so it cannot be
//! held up by what it watches.

use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use crate::{ActorId, StatusBoard, Verdict};

/// How many times within the limit the watchdog looks.
const LOOKS: u32 = 8;

/// What the builder was told about the watchdog.
pub(crate) struct WatchdogPlan {
    pub(crate) limit: Duration,
    pub(crate) on_verdict: Box<dyn FnOnce(Verdict) + Send>,
}

/// Ends the watchdog's thread when dropped.
pub(crate) struct Watchdog {
    _over: crossbeam_channel::Sender<()>,
}

// === impl Watchdog ===

impl Watchdog {
    pub(crate) fn start(
        plan: WatchdogPlan,
        root: ActorId,
        board: StatusBoard,
    ) -> std::io::Result<Self> {
        let (bell, rung) = bounded(1);
        board.set_bell(bell);
        let (over, is_over) = bounded::<()>(0);
        thread::Builder::new()
            .name("actor-watchdog".to_owned())
            .spawn(move || {
                if let Some(verdict) = watch(plan.limit, &root, &board, (&rung, &is_over)) {
                    tracing::error!(actor = %verdict.actor, reason = %verdict.reason, "verdict");
                    (plan.on_verdict)(verdict);
                }
            })?;
        Ok(Self { _over: over })
    }
}

/// Returns the verdict, or none when the system was stopped in order.
fn watch(
    limit: Duration,
    root: &ActorId,
    board: &StatusBoard,
    (rung, is_over): (&Receiver<()>, &Receiver<()>),
) -> Option<Verdict> {
    let mut last_turn = board.last_root_turn();
    let mut looks_without_turn = 0;
    loop {
        if let Some(verdict) = board.given_up() {
            return Some(verdict);
        }
        crossbeam_channel::select! {
            recv(is_over) -> _ => return None,
            recv(rung) -> _ => continue,
            default(limit / LOOKS) => {}
        }
        let turn = board.last_root_turn();
        if turn != last_turn {
            last_turn = turn;
            looks_without_turn = 0;
            continue;
        }
        looks_without_turn += 1;
        if looks_without_turn >= LOOKS {
            board.give_up(Verdict {
                actor: root.clone(),
                reason: format!("the root supervisor has not turned for {limit:?}"),
                at: board.wall(),
            });
        }
    }
}
