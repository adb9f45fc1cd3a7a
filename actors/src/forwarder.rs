//! Forwarder, the actor that takes predictions from the file in which they land to their sink.
//!
//! It reads rows in the order of their numbers, hands them to the [sink](crate::predlog), and has
//! the [writer](crate::db_writer) remove them when the sink has them. While one batch is on its way
//! the next is read and the one before removed, so that none of the three waits for another.
//!
//! A sink that fails or hangs is a state and never an exit: a batch is tried again at once a few
//! times, with pauses that double, and then at the pace of `cool_down`, for ever. Meanwhile
//! predictions wait in the file, where they are as durable as ever.
//!
//! **Invariants:** a row leaves the file only after the sink has said that it has it, or never will.
//! Whatever is interrupted is done again from the first row that is still in the file; the keys of
//! the rows make that harmless. No wait is without a deadline, and being told to stop ends each.

use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use impetus_supervision::{
    Actor, ActorError, ActorRef, AskError, ChildSpec, Context, Message, Shutdown, StatusReport,
    Timestamp,
};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::db_writer::{DbMsg, HandOver};
use crate::predlog::{
    Delivery, Landed, PredictionLogStatus, PredictionTime, ReadError, Reader, Sink, SinkError,
    SinkSettings, SinkState, SinkStatus,
};

/// Name of the actor.
pub const FORWARDER: &str = "forwarder";

/// What the forwarder is asked to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ForwarderMsg {
    /// Look for rows, and take them to the sink.
    Round,
}

/// The actor; an incarnation begins with the first row that is in the file.
pub(crate) struct Forwarder<S> {
    shared: Arc<Shared>,
    sink: S,
    /// The last row that the sink has and the file may still have.
    through: i64,
    /// The rows after it, if they have been read already.
    ahead: Vec<Landed>,
    /// The removal of rows that the sink has, on its way.
    removing: Removing,
    /// Failures in a row.
    failures: u32,
    /// Whether a round is on its way already.
    round_is_due: bool,
    /// What there was when the file was last looked at.
    seen: Option<Seen>,
    /// When rows have waited long enough for company.
    wait_until: Option<Duration>,
    /// When the sink last answered, and when it was last asked to remove what is kept no longer.
    last_answer: Option<Duration>,
    last_prune: Option<Duration>,
}

/// What outlives an incarnation.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: SinkSettings,
    /// How often an idle sink is asked whether it is there, and how long it may take to say so.
    pub(crate) check_every: Duration,
    pub(crate) check_within: Duration,
    /// How long the writer may take to remove what was forwarded.
    pub(crate) remove_within: Duration,
    pub(crate) log: Arc<PredictionLogStatus>,
    pub(crate) status: Arc<SinkStatus>,
    pub(crate) reader: Arc<Reader>,
    pub(crate) writer: ActorRef<DbMsg>,
}

/// Which file it is, and how many predictions had been committed: there is nothing new while these are
/// the same.
type Seen = (u64, u64);

/// What a round came to.
enum Round {
    /// There may be more rows.
    More,
    /// There are none.
    Idle,
    /// There are some, and they wait so long for company.
    Wait(Duration),
}

/// Why a round came to nothing.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("{0}")]
    Sink(#[from] SinkError),
    #[error("reading what is to be forwarded: {0}")]
    Read(#[from] ReadError),
    #[error("removing what was forwarded: {0}")]
    Remove(String),
}

/// Resolves when the writer has removed rows, or with the reason why not.
type Removing = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// How often an idle forwarder looks whether something has been committed: a look reads a counter.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How often a sink removes what is kept no longer.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// The longest that a sink may ask not to be tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What a declared deadline leaves beyond that of the work itself, so that a slow sink is seen here,
/// as a state, before the supervisor sees it as a hang.
const GRACE: Duration = Duration::from_secs(1);

/// Returns the child spec of the forwarder to the sinks that `make` makes, one for each incarnation.
pub(crate) fn child<S: Sink + 'static>(
    shared: Shared,
    make: impl Fn() -> S + Send + Sync + 'static,
) -> ChildSpec {
    let shared = Arc::new(shared);
    let longest = shared.settings.within + 2 * shared.remove_within;
    let (spec, _) = ChildSpec::actor(FORWARDER, move |_| Forwarder {
        shared: Arc::clone(&shared),
        sink: make(),
        through: 0,
        ahead: Vec::new(),
        removing: nothing_to_remove(),
        failures: 0,
        round_is_due: false,
        seen: None,
        wait_until: None,
        last_answer: None,
        last_prune: None,
    });
    spec.tick(LOOK_EVERY)
        .handle_deadline(longest + GRACE)
        .shutdown(Shutdown::Within(2 * GRACE))
}

// === impl ForwarderMsg ===

impl Message for ForwarderMsg {
    fn label(&self) -> &'static str {
        match self {
            Self::Round => "forward predictions",
        }
    }
}

// === impl Forwarder ===

impl<S: Sink + 'static> Forwarder<S> {
    /// Takes one batch to the sink, while the next one is read and the one before is removed.
    async fn round(&mut self, ctx: &mut Context<Self>) -> Result<Round, RoundError> {
        let shared = Arc::clone(&self.shared);
        let (batch, batch_timeout) = shared.settings.target.batch();
        self.wait_until = None;
        // Asked for before the rows are, which makes it that of these rows or of older ones.
        let file = shared.log.file_generation();
        self.seen = Some((file, shared.log.predictions_logged()));
        let rows = match std::mem::take(&mut self.ahead) {
            none if none.is_empty() => shared.reader.landed(self.through, batch).await?,
            ahead => ahead,
        };
        let (Some(first), Some(last)) = (rows.first(), rows.last().map(|row| row.seq)) else {
            return self.nothing_to_forward(ctx).await;
        };
        if rows.len() < batch {
            let now = PredictionTime::from(ctx.clock().wall()).unix_millis();
            // A clock that was set back makes nobody wait longer than that.
            let waited = u64::try_from(now.saturating_sub(first.created_at)).unwrap_or(u64::MAX);
            let left = batch_timeout.saturating_sub(Duration::from_millis(waited));
            if !left.is_zero() {
                // What the sink has does not wait with them.
                self.see_removal_through(ctx).await?;
                return Ok(Round::Wait(left));
            }
        }
        let settings = &shared.settings;
        ctx.progress(
            format!("forward {} predictions", rows.len()),
            settings.within + 2 * shared.remove_within + GRACE,
        );
        let began = ctx.clock().now();
        let delivering = bounded(settings.within, self.sink.deliver(&rows));
        let reading = shared.reader.landed(last, batch);
        let (delivery, ahead, removed) = tokio::join!(delivering, reading, self.removing.as_mut());
        self.removing = nothing_to_remove();
        removed.map_err(RoundError::Remove)?;
        let delivery = delivery?;
        let took = ctx.clock().now().saturating_sub(began);
        shared.status.delivered(took);
        self.through = last;
        self.removing = self.remove(&rows, delivery, file);
        self.answered(ctx);
        // Rows that are still fewer than a batch are read again, for there may be more by then.
        self.ahead = ahead.unwrap_or_default();
        if self.ahead.len() < batch {
            self.ahead.clear();
        }
        Ok(Round::More)
    }

    /// Sees the last removal through, and asks a sink that failed whether it is back.
    async fn nothing_to_forward(&mut self, ctx: &mut Context<Self>) -> Result<Round, RoundError> {
        self.see_removal_through(ctx).await?;
        self.through = 0;
        if self.failures > 0 {
            ctx.progress(
                "ask the sink whether it is there",
                self.shared.check_within + GRACE,
            );
            bounded(self.shared.check_within, self.sink.check()).await?;
            self.answered(ctx);
        }
        Ok(Round::Idle)
    }

    async fn see_removal_through(&mut self, ctx: &mut Context<Self>) -> Result<(), RoundError> {
        // A writer that is replaced meanwhile is asked twice.
        let within = 2 * self.shared.remove_within + GRACE;
        ctx.progress("remove what was forwarded", within);
        let removing = std::mem::replace(&mut self.removing, nothing_to_remove());
        removing.await.map_err(RoundError::Remove)
    }

    /// Asks the writer to remove rows that the sink has.
    fn remove(&self, rows: &[Landed], delivery: Delivery, file: u64) -> Removing {
        let (writer, within) = (self.shared.writer.clone(), self.shared.remove_within);
        let through = self.through;
        let refused: Vec<(i64, String)> = delivery
            .refused
            .into_iter()
            .filter_map(|refused| Some((rows.get(refused.index)?.seq, refused.reason)))
            .collect();
        if let Some((seq, reason)) = refused.first() {
            let count = refused.len();
            warn!(
                count,
                seq, reason, "predictions refused by their sink, and set aside"
            );
        }
        Box::pin(async move {
            let question = |reply| {
                DbMsg::HandOver(HandOver {
                    file,
                    through,
                    refused: refused.clone(),
                    reply,
                })
            };
            // One writer that is replaced is replaced by another: asked again, it does no harm.
            let mut answer = writer.ask(question, within).await;
            if matches!(answer, Err(AskError::Lost)) {
                answer = writer.ask(question, within).await;
            }
            match answer {
                Ok(removed) => removed.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    /// Publishes what a round came to, and sees to the next one.
    fn conclude(&mut self, outcome: Result<Round, RoundError>, ctx: &mut Context<Self>) {
        match outcome {
            Ok(Round::More) => self.round_after(Duration::ZERO, ctx),
            Ok(Round::Wait(left)) => self.wait_until = Some(ctx.clock().now() + left),
            Ok(Round::Idle) => {}
            Err(error) => self.failed(&error, ctx),
        }
    }

    fn answered(&mut self, ctx: &Context<Self>) {
        self.failures = 0;
        self.last_answer = Some(ctx.clock().now());
        if *self.shared.status.state() != SinkState::Connected && ctx.fence().is_current() {
            info!("sink of predictions connected");
            self.shared.status.publish(SinkState::Connected);
        }
    }

    fn failed(&mut self, error: &RoundError, ctx: &Context<Self>) {
        // From the first row that is still in the file: what was removed is not there any more.
        self.through = 0;
        self.seen = None;
        self.ahead.clear();
        self.failures = self.failures.saturating_add(1);
        let pause = self.pause(error);
        self.round_after(pause, ctx);
        if !ctx.fence().is_current() {
            return;
        }
        let RoundError::Sink(error) = error else {
            warn!(%error, failures = self.failures, "predictions not forwarded");
            return;
        };
        let status = &self.shared.status;
        status.failed();
        let before = status.state();
        if before.reason() != Some(&error.reason) {
            warn!(reason = %error.reason, failures = self.failures, "sink of predictions failed");
        }
        let since = before
            .since()
            .unwrap_or_else(|| Timestamp::from(ctx.clock().wall()));
        let reason = Arc::clone(&error.reason);
        status.publish(if self.failures > self.shared.settings.retries {
            SinkState::Unreachable { reason, since }
        } else {
            SinkState::Retrying { reason, since }
        });
    }

    /// Returns the pause before the next attempt: doubled with each of the first failures, or as the
    /// sink has asked for.
    fn pause(&self, error: &RoundError) -> Duration {
        let settings = &self.shared.settings;
        let pause = if self.failures > settings.retries {
            settings.cool_down
        } else {
            let doublings = self.failures.saturating_sub(1).min(16);
            settings.retry_after.saturating_mul(1 << doublings)
        };
        match error {
            RoundError::Sink(error) => pause.max(error.retry_after.unwrap_or_default()),
            RoundError::Read(_) | RoundError::Remove(_) => pause,
        }
        .min(LONGEST_PAUSE)
    }

    fn round_after(&mut self, pause: Duration, ctx: &Context<Self>) {
        if !self.round_is_due {
            self.round_is_due = true;
            ctx.send_after(pause, ForwarderMsg::Round);
        }
    }

    /// Asks an idle sink whether it is there, and has it remove what is kept no longer.
    async fn look_after(&mut self, ctx: &mut Context<Self>) {
        let now = ctx.clock().now();
        let is_due = |last: Option<Duration>, every: Duration| {
            last.is_none_or(|last| now.saturating_sub(last) >= every)
        };
        let (check_within, within) = (self.shared.check_within, self.shared.settings.within);
        let outcome = if is_due(self.last_answer, self.shared.check_every) {
            ctx.progress("ask the sink whether it is there", check_within + GRACE);
            bounded(check_within, self.sink.check()).await
        } else if is_due(self.last_prune, PRUNE_EVERY) {
            self.last_prune = Some(now);
            ctx.progress(
                "have the sink remove what is kept no longer",
                within + GRACE,
            );
            let at = PredictionTime::from(ctx.clock().wall()).unix_millis();
            let pruned = bounded(within, self.sink.prune(at)).await;
            pruned.map(|rows| self.shared.log.removed(rows, false))
        } else {
            return;
        };
        match outcome {
            Ok(()) => self.answered(ctx),
            Err(error) => self.failed(&error.into(), ctx),
        }
    }
}

impl<S: Sink + 'static> Actor for Forwarder<S> {
    type Msg = ForwarderMsg;

    async fn handle(
        &mut self,
        ForwarderMsg::Round: ForwarderMsg,
        ctx: &mut Context<Self>,
    ) -> Result<(), ActorError> {
        self.round_is_due = false;
        let stop = ctx.stop_asked();
        let outcome = tokio::select! {
            outcome = self.round(ctx) => outcome,
            // What is on its way is done again the next time.
            () = stop => return Ok(()),
        };
        self.conclude(outcome, ctx);
        Ok(())
    }

    async fn tick(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        if self.round_is_due {
            return Ok(());
        }
        let stop = ctx.stop_asked();
        tokio::select! {
            () = self.look_after(ctx) => {}
            () = stop => return Ok(()),
        }
        let log = &self.shared.log;
        let is_new = self.seen != Some((log.file_generation(), log.predictions_logged()));
        let now = ctx.clock().now();
        let is_over = self.wait_until.is_some_and(|until| now >= until);
        if !self.round_is_due && log.can_remove() && (is_new || is_over) {
            self.round_after(Duration::ZERO, ctx);
        }
        Ok(())
    }

    fn status(&self) -> StatusReport {
        let snapshot = self.shared.status.snapshot();
        let (score, note) = match &*snapshot.state {
            SinkState::Connected => (100, None),
            SinkState::Starting => (50, Some("not asked yet".to_owned())),
            SinkState::Retrying { reason, .. } => (60, Some(reason.to_string())),
            SinkState::Unreachable { reason, .. } => (0, Some(reason.to_string())),
        };
        let details = [
            ("deliveries", snapshot.deliveries),
            ("failures", snapshot.failures),
        ];
        let details = details.map(|(name, value)| (name.to_owned(), value.to_string()));
        StatusReport {
            score,
            note,
            details: details.into(),
        }
    }
}

impl<S> fmt::Debug for Forwarder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarder")
            .field("through", &self.through)
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}

fn nothing_to_remove() -> Removing {
    Box::pin(ready(Ok(())))
}

async fn bounded<T>(
    within: Duration,
    work: impl Future<Output = Result<T, SinkError>>,
) -> Result<T, SinkError> {
    timeout(within, work).await.unwrap_or_else(|_| {
        Err(SinkError::new(format!(
            "no answer in time, which is {within:?}"
        )))
    })
}

#[cfg(test)]
mod tests;
