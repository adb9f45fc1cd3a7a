//! DbWriter, the actor that owns the database's one writing connection.
//!
//! It turns a queue of batches into few transactions: with a batch in hand it takes all others
//! that wait, commits them together, and answers each. No batch waits for company; what arrives
//! while a transaction is on its way to the disk is the next one.
//!
//! A database that fails is a state and never an exit: restarting the actor would not mend a disk,
//! and escalating would end a server whose models work. Each caller is told why and when to come
//! back; meanwhile the writer tries again by itself, soon at first and then at the pace of its
//! regular check. While the state is bad, batches are refused without an attempt, because an
//! attempt holds everything behind it for as long as a lock or a disk takes.
//!
//! **Invariants:** a reply says "logged" after the commit has returned and not before. A batch is
//! answered by the incarnation that took it, or its asker learns that it was lost. An incarnation
//! that has been fenced off commits nothing: the [fence](impetus_supervision::Fence) is asked by
//! SQLite itself, within the commit.

use std::sync::Arc;
use std::time::Duration;

use impetus_supervision::{
    Actor, ActorError, ActorRef, ChildSpec, Clock, Context, Message, Reply, Shutdown, StatusReport,
    Timestamp,
};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::predlog::{
    DatabaseState, LogError, PredictionLog, PredictionLogConfig, PredictionLogStatus,
    PredictionTime, Reader, RoomTaken, Row, Store, StoreError, ThreadBudget,
};

/// Name of the actor.
pub const DB_WRITER: &str = "db_writer";

/// What the writer is asked to do.
#[derive(Debug)]
pub enum DbMsg {
    /// Log a batch.
    Log(LogRequest),
    /// Look after the database: open it when it is not, or see whether it still works.
    Check,
}

/// A batch and whoever waits for it.
#[derive(Debug)]
pub struct LogRequest {
    rows: Arc<[Row]>,
    reply: Reply<Result<(), LogError>>,
    _room: Arc<RoomTaken>,
}

/// The actor; an incarnation opens the database anew.
#[derive(Debug)]
pub struct DbWriter {
    shared: Arc<Shared>,
    store: Option<Store>,
    /// Its own, for a predecessor that was abandoned keeps its connection and is counted elsewhere.
    threads: ThreadBudget,
    /// Failures in a row.
    failures: u32,
    /// Whether a check is on its way already.
    retry_is_due: bool,
    /// When a write last reached the disk, since the clock's origin.
    last_write: Duration,
}

/// What outlives an incarnation.
#[derive(Debug)]
struct Shared {
    config: PredictionLogConfig,
    status: Arc<PredictionLogStatus>,
    reader: Arc<Reader>,
}

/// Returns the child spec of the writer and the handle to its log. `clock` is the system's.
///
/// ```
/// # use std::sync::Arc;
/// # use impetus_actors::{db_writer, predlog::PredictionLogConfig};
/// # use impetus_supervision::{SupervisorSpec, SystemClock};
/// let config = PredictionLogConfig::in_folder("/data");
/// let (child, log) = db_writer::child(config, Arc::new(SystemClock::new()));
/// let root = SupervisorSpec::new("root").child(child);
/// assert!(!log.status().snapshot().connected, "nothing has been started");
/// ```
pub fn child(config: PredictionLogConfig, clock: Arc<dyn Clock>) -> (ChildSpec, PredictionLog) {
    let status = Arc::new(PredictionLogStatus::new(clock));
    let reader = Arc::new(Reader::new(&config));
    let room_bytes = config.inbox_bytes;
    let (inbox, tick) = (config.inbox, config.check_every);
    let longest = config
        .commit_within
        .max(config.open_within)
        .max(config.check_within);
    let stop_within = config.commit_within + config.check_within + GRACE;
    let shared = Arc::new(Shared {
        config,
        status: Arc::clone(&status),
        reader: Arc::clone(&reader),
    });
    let (spec, writer): (ChildSpec, ActorRef<DbMsg>) =
        ChildSpec::actor(DB_WRITER, move |_| DbWriter::new(Arc::clone(&shared)));
    let spec = spec
        .capacity(inbox)
        .tick(tick)
        .handle_deadline(longest + GRACE)
        .shutdown(Shutdown::Within(stop_within));
    (spec, PredictionLog::new(writer, reader, status, room_bytes))
}

/// What a declared deadline leaves beyond the deadline of the database's own work, so that a slow
/// disk is seen here, as a state, before the supervisor sees it as a hang.
const GRACE: Duration = Duration::from_secs(1);

// === impl DbMsg ===

impl Message for DbMsg {
    fn label(&self) -> &'static str {
        match self {
            Self::Log(_) => "log predictions",
            Self::Check => "check the database",
        }
    }
}

// === impl LogRequest ===

impl LogRequest {
    pub(crate) fn new(
        rows: Arc<[Row]>,
        reply: Reply<Result<(), LogError>>,
        room: Arc<RoomTaken>,
    ) -> Self {
        Self {
            rows,
            reply,
            _room: room,
        }
    }
}

// === impl DbWriter ===

impl DbWriter {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            threads: ThreadBudget::new(shared.config.stuck_threads),
            shared,
            store: None,
            failures: 0,
            retry_is_due: false,
            last_write: Duration::ZERO,
        }
    }

    /// Opens the database or checks it, and publishes what came of it.
    async fn look_after(&mut self, ctx: &mut Context<Self>) {
        let outcome = if self.store.is_some() {
            self.check(ctx).await
        } else {
            self.open(ctx).await
        };
        match outcome {
            Ok(()) => self.recovered(ctx),
            Err(error) => self.failed(&error, ctx),
        }
    }

    async fn open(&mut self, ctx: &mut Context<Self>) -> Result<(), StoreError> {
        let config = &self.shared.config;
        ctx.progress("open the database", config.open_within + GRACE);
        let fence = ctx.fence();
        let may_commit = Box::new(move || fence.is_current());
        let opening = Store::open(config, &self.threads, may_commit);
        let opened = bounded("opening", config.open_within, opening).await;
        let is_in_doubt = matches!(&opened, Err(error) if !error.connection_is_sound);
        if is_in_doubt && ctx.fence().is_current() {
            ctx.progress(
                "close the readers' connections",
                config.check_within + GRACE,
            );
            self.shared.reader.renew(config, config.check_within).await;
        }
        self.store = Some(opened?);
        self.last_write = ctx.clock().now();
        if ctx.fence().is_current() {
            self.shared.reader.reopen(config);
        }
        Ok(())
    }

    async fn check(&mut self, ctx: &mut Context<Self>) -> Result<(), StoreError> {
        let config = &self.shared.config;
        ctx.progress("check the database", config.check_within + GRACE);
        let Some(store) = &mut self.store else {
            return Ok(());
        };
        let now = ctx.clock().now();
        let write_is_due =
            self.failures > 0 || now.saturating_sub(self.last_write) >= config.write_probe_after;
        let checking = async {
            store.check().await?;
            if write_is_due {
                store.probe_write().await
            } else {
                Ok(())
            }
        };
        bounded("checking", config.check_within, checking).await?;
        if write_is_due {
            self.last_write = now;
        }
        Ok(())
    }

    /// Commits `first` and all that waits behind it in one transaction.
    async fn log(&mut self, first: LogRequest, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        let group = self.gather(first, ctx);
        if self.store.is_none() && self.failures == 0 {
            // A successor finds batches waiting, and they need not wait for its first check.
            self.look_after(ctx).await;
        }
        let Some(store) = self.store.as_mut().filter(|_| self.failures == 0) else {
            self.refuse(group);
            return Ok(());
        };
        ctx.fence().check().map_err(ActorError::failed)?;
        let within = self.shared.config.commit_within;
        let rows: usize = group.iter().map(|request| request.rows.len()).sum();
        ctx.progress(format!("commit {rows} predictions"), within + GRACE);
        let batches: Vec<_> = group
            .iter()
            .map(|request| Arc::clone(&request.rows))
            .collect();
        let created_at = PredictionTime::from(ctx.clock().wall()).unix_millis();
        let began = ctx.clock().now();
        let inserting = store.insert(&batches, created_at);
        match bounded("committing", within, inserting).await {
            Ok(inserted) => {
                self.last_write = ctx.clock().now();
                let status = &self.shared.status;
                status.commit_took(self.last_write.saturating_sub(began));
                status.committed(group.len() as u64, rows as u64, inserted);
                group
                    .into_iter()
                    .for_each(|request| request.reply.send(Ok(())));
            }
            Err(error) => {
                // A fenced incarnation fails here too, and has no say in anybody's state.
                ctx.fence().check().map_err(ActorError::failed)?;
                self.shared.status.failed(group.len() as u64);
                self.failed(&error, ctx);
                self.answer_unavailable(group);
            }
        }
        Ok(())
    }

    fn gather(&mut self, first: LogRequest, ctx: &mut Context<Self>) -> Vec<LogRequest> {
        let mut rows = first.rows.len();
        let mut group = vec![first];
        while rows < self.shared.config.commit_rows {
            match ctx.try_next() {
                Some(DbMsg::Log(request)) => {
                    rows += request.rows.len();
                    group.push(request);
                }
                // The regular check will do.
                Some(DbMsg::Check) => {}
                None => break,
            }
        }
        group
    }

    fn refuse(&self, group: Vec<LogRequest>) {
        group.iter().for_each(|_| self.shared.status.refused());
        self.answer_unavailable(group);
    }

    fn answer_unavailable(&self, group: Vec<LogRequest>) {
        let reason = match &*self.shared.status.database() {
            DatabaseState::Unavailable { reason, .. } => Arc::clone(reason),
            DatabaseState::Starting | DatabaseState::Connected => "it is being opened".into(),
        };
        let retry_after = self.pause();
        for request in group {
            let reason = Arc::clone(&reason);
            request.reply.send(Err(LogError::Unavailable {
                reason,
                retry_after,
            }));
        }
    }

    fn recovered(&mut self, ctx: &Context<Self>) {
        self.failures = 0;
        let status = &self.shared.status;
        if let Some(store) = self.store.as_ref().filter(|_| ctx.fence().is_current()) {
            status.takes_room(store.size_bytes());
        }
        if *status.database() != DatabaseState::Connected && ctx.fence().is_current() {
            info!(file = %self.shared.config.file().display(), "prediction log connected");
            status.publish(DatabaseState::Connected);
        }
    }

    fn failed(&mut self, error: &StoreError, ctx: &Context<Self>) {
        self.failures = self.failures.saturating_add(1);
        if !error.connection_is_sound {
            self.store = None;
        }
        if !self.retry_is_due {
            self.retry_is_due = true;
            ctx.send_after(self.pause(), DbMsg::Check);
        }
        if !ctx.fence().is_current() {
            return;
        }
        let status = &self.shared.status;
        let before = match &*status.database() {
            DatabaseState::Unavailable { reason, since } => Some((Arc::clone(reason), *since)),
            DatabaseState::Starting | DatabaseState::Connected => None,
        };
        if before
            .as_ref()
            .is_none_or(|(reason, _)| **reason != *error.reason)
        {
            warn!(reason = %error.reason, failures = self.failures, "prediction log unavailable");
        }
        let since = before.map_or_else(|| Timestamp::from(ctx.clock().wall()), |(_, since)| since);
        status.publish(DatabaseState::Unavailable {
            reason: error.reason.as_str().into(),
            since,
        });
    }

    /// Returns the pause before the next attempt: doubled with each failure, up to the pace of the
    /// regular check.
    fn pause(&self) -> Duration {
        let config = &self.shared.config;
        let doublings = self.failures.saturating_sub(1).min(16);
        config
            .retry_after
            .saturating_mul(1 << doublings)
            .min(config.check_every)
    }
}

impl Actor for DbWriter {
    type Msg = DbMsg;

    /// Opening may take as long as the disk likes, and nobody's start waits for it.
    async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        self.retry_is_due = true;
        ctx.send_after(Duration::ZERO, DbMsg::Check);
        Ok(())
    }

    async fn handle(&mut self, msg: DbMsg, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        match msg {
            DbMsg::Log(request) => self.log(request, ctx).await,
            DbMsg::Check => {
                self.retry_is_due = false;
                self.look_after(ctx).await;
                Ok(())
            }
        }
    }

    async fn tick(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        // While the database is failing, the retries keep their own pace.
        if !self.retry_is_due {
            self.look_after(ctx).await;
        }
        Ok(())
    }

    async fn stopping(&mut self, ctx: &mut Context<Self>) {
        while let Some(msg) = ctx.try_next() {
            let DbMsg::Log(request) = msg else { continue };
            if self.log(request, ctx).await.is_err() {
                return;
            }
        }
        if let Some(store) = self.store.take() {
            let within = self.shared.config.check_within;
            ctx.progress("close the database", within + GRACE);
            if let Err(error) = bounded("closing", within, store.close()).await {
                warn!(%error, "prediction log not closed cleanly; it is complete nevertheless");
            }
        }
    }

    fn status(&self) -> StatusReport {
        let snapshot = self.shared.status.snapshot();
        let (score, note) = match &*snapshot.database {
            DatabaseState::Connected => (100, None),
            DatabaseState::Starting => (50, Some("opening the database".to_owned())),
            DatabaseState::Unavailable { reason, .. } => (0, Some(reason.to_string())),
        };
        let details = [
            ("predictions_logged", snapshot.predictions_logged),
            ("commits", snapshot.commits),
            ("errors", snapshot.errors),
        ];
        let details = details.map(|(name, value)| (name.to_owned(), value.to_string()));
        StatusReport {
            score,
            note,
            details: details.into(),
        }
    }
}

async fn bounded<T>(
    doing: &str,
    within: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(within, work).await.unwrap_or_else(|_| {
        Err(StoreError::lost(format!(
            "{doing}: the database did not answer within {within:?}"
        )))
    })
}
