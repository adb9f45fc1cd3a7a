//! The actor whose beat is the server's pulse.
//!
//! Every interval it writes its own stamp and rings every other actor. A ring that goes unanswered
//! never stops the beat: it marks the actor that did not answer. Liveness reads the stamp and
//! nothing else of this actor, so a beat can only come from this work path itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use impetus_supervision::{Actor, ActorError, Context, Message, StatusBoard, StatusReport};

/// When the heart last beat; written by the [`Heartbeat`] alone, read by anybody without waiting.
#[derive(Debug)]
pub struct Pulse {
    origin: Instant,
    /// Nanoseconds since `origin`, plus one; 0 before the first beat.
    last: AtomicU64,
    wall_millis: AtomicI64,
    beats: AtomicU64,
}

/// The actor.
#[derive(Debug)]
pub struct Heartbeat {
    pulse: Arc<Pulse>,
    board: BoardSource,
}

/// Where the heartbeat finds the board; the board exists only once the tree has been started.
pub type BoardSource = Arc<std::sync::OnceLock<StatusBoard>>;

/// The heartbeat takes no messages.
#[derive(Debug)]
pub enum Never {}

impl Message for Never {}

// === impl Pulse ===

impl Default for Pulse {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            last: AtomicU64::new(0),
            wall_millis: AtomicI64::new(0),
            beats: AtomicU64::new(0),
        }
    }
}

impl Pulse {
    /// Returns the time since the last beat on the monotonic clock; `None` before the first.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let last = self.last.load(Ordering::Acquire).checked_sub(1)?;
        Some(
            self.origin
                .elapsed()
                .saturating_sub(Duration::from_nanos(last)),
        )
    }

    /// Returns the wall-clock time of the last beat; for people, never for decisions.
    #[must_use]
    pub fn last_beat(&self) -> Option<SystemTime> {
        self.last.load(Ordering::Acquire).checked_sub(1)?;
        let millis = u64::try_from(self.wall_millis.load(Ordering::Relaxed)).ok()?;
        Some(UNIX_EPOCH + Duration::from_millis(millis))
    }

    /// Returns how often it has beaten.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    fn beat(&self, wall: SystemTime) {
        let wall = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.wall_millis.store(
            i64::try_from(wall.as_millis()).unwrap_or(i64::MAX),
            Ordering::Relaxed,
        );
        self.beats.fetch_add(1, Ordering::Relaxed);
        let since_origin = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX - 1);
        self.last.store(since_origin + 1, Ordering::Release);
    }
}

// === impl Heartbeat ===

impl Heartbeat {
    /// Makes the actor; its interval is the tick of its child spec.
    #[must_use]
    pub fn new(pulse: Arc<Pulse>, board: BoardSource) -> Self {
        Self { pulse, board }
    }

    fn beat(&self, ctx: &Context<Self>) {
        self.pulse.beat(ctx.clock().wall());
        if let Some(board) = self.board.get() {
            board.ring_all();
        }
    }
}

impl Actor for Heartbeat {
    type Msg = Never;

    async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        self.beat(ctx);
        Ok(())
    }

    async fn handle(&mut self, msg: Never, _ctx: &mut Context<Self>) -> Result<(), ActorError> {
        match msg {}
    }

    async fn tick(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        self.beat(ctx);
        Ok(())
    }

    fn status(&self) -> StatusReport {
        let mut report = StatusReport::default();
        report
            .details
            .insert("beats".to_owned(), self.pulse.beats().to_string());
        report
    }
}
