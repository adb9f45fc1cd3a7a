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
//! Predictions that nobody waits for lie in a buffer outside of the actor, and are committed with
//! the next batch or when their interval is over. What the file keeps no longer is removed a piece
//! at a time, between batches.
//!
//! A file that is damaged is set aside under another name, and kept; a new one is begun, because a
//! log that refuses everything for the sake of a file it cannot read loses more than it saves.
//!
//! **Invariants:** a reply says "logged" after the commit has returned and not before. A batch is
//! answered by the incarnation that took it, or its asker learns that it was lost. An incarnation
//! that has been fenced off commits nothing: the [fence](impetus_supervision::Fence) is asked by
//! SQLite itself, within the commit.

mod removal;
mod upkeep;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use impetus_supervision::{
    Actor, ActorError, ActorRef, ChildSpec, Clock, Context, Message, Reply, Shutdown, StatusReport,
};
use tokio::time::timeout;
use tracing::warn;

use crate::predlog::{
    Buffer, DatabaseState, FileIdentity, Handles, LogError, PostgresReader, PredictionLog,
    PredictionLogConfig, PredictionLogStatus, PredictionTime, Reader, Records, RoomTaken, Row,
    SinkTarget, Store, StoreError, ThreadBudget,
};

/// Name of the actor.
pub const DB_WRITER: &str = "db_writer";

/// What the writer is asked to do.
#[derive(Debug)]
pub enum DbMsg {
    /// Log a batch.
    Log(LogRequest),
    /// Something waits in the buffer that was empty before.
    Recorded,
    /// Commit what waits in the buffer.
    Flush,
    /// Remove what a sink has taken.
    HandOver(HandOver),
    /// Remove a piece of what is kept no longer.
    Prune,
    /// Look after the database: open it when it is not, or see whether it still works.
    Check,
}

/// Rows that a sink has, to be removed from the file.
#[derive(Debug)]
pub struct HandOver {
    /// The file in which they are, by its generation.
    pub(crate) file: u64,
    /// Up to and with this number.
    pub(crate) through: i64,
    /// Those of them that the sink will never take, and why.
    pub(crate) refused: Vec<(i64, String)>,
    pub(crate) reply: Reply<Result<(), LogError>>,
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
    /// Whether the last of them was one for want of room.
    lacks_room_only: bool,
    /// Whether a check is on its way already.
    retry_is_due: bool,
    /// Whether the buffer is going to be looked at already.
    flush_is_due: bool,
    /// Whether a removal is on its way already.
    prune_is_due: bool,
    /// Came up while a group was gathered.
    handed_over: Option<HandOver>,
    /// When a write last reached the disk, since the clock's origin.
    last_write: Duration,
}

/// What outlives an incarnation.
#[derive(Debug)]
struct Shared {
    config: PredictionLogConfig,
    status: Arc<PredictionLogStatus>,
    reader: Arc<Reader>,
    buffer: Arc<Buffer>,
    /// The file that was last opened.
    file: Mutex<Option<FileIdentity>>,
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
    let buffer = Arc::new(Buffer::new(config.buffer_rows));
    let status = Arc::new(PredictionLogStatus::new(
        clock,
        Arc::clone(&buffer),
        config.sink.as_ref(),
    ));
    let reader = Arc::new(Reader::new(&config));
    let records = match config.sink.as_ref().map(|sink| &sink.target) {
        Some(SinkTarget::Impetus(other)) => Records::elsewhere(&other.url),
        Some(SinkTarget::Postgres(settings)) => {
            Records::Postgres(Arc::new(PostgresReader::new(&config, settings)))
        }
        None => Records::File(Arc::clone(&reader)),
    };
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
        buffer: Arc::clone(&buffer),
        file: Mutex::default(),
    });
    let (spec, writer): (ChildSpec, ActorRef<DbMsg>) =
        ChildSpec::actor(DB_WRITER, move |_| DbWriter::new(Arc::clone(&shared)));
    let spec = spec
        .capacity(inbox)
        .tick(tick)
        .handle_deadline(longest + GRACE)
        .shutdown(Shutdown::Within(stop_within));
    let log = PredictionLog::new(Handles {
        writer,
        records,
        reader,
        status,
        buffer,
        room_bytes,
    });
    (spec, log)
}

/// What a declared deadline leaves beyond the deadline of the database's own work, so that a slow
/// disk is seen here, as a state, before the supervisor sees it as a hang.
const GRACE: Duration = Duration::from_secs(1);

// === impl Shared ===

impl Shared {
    /// Notes which file is open, and returns whether it was another one before.
    fn was_another(&self, file: FileIdentity) -> bool {
        let mut last = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        last.replace(file).is_some_and(|before| before != file)
    }
}

// === impl DbMsg ===

impl Message for DbMsg {
    fn label(&self) -> &'static str {
        match self {
            Self::Log(_) => "log predictions",
            Self::Recorded => "see to what was recorded",
            Self::Flush => "commit what was recorded",
            Self::HandOver(_) => "remove what was forwarded",
            Self::Prune => "remove what is kept no longer",
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
            lacks_room_only: false,
            retry_is_due: false,
            flush_is_due: false,
            prune_is_due: false,
            handed_over: None,
            last_write: Duration::ZERO,
        }
    }

    /// Commits `first` and all that waits behind it in one transaction, and what waits in the buffer.
    async fn log(
        &mut self,
        first: Option<LogRequest>,
        ctx: &mut Context<Self>,
    ) -> Result<(), ActorError> {
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
        let config = &self.shared.config;
        let asked: usize = group.iter().map(|request| request.rows.len()).sum();
        let buffered = config.commit_rows.saturating_sub(asked).max(1);
        let mut batches = self.shared.buffer.take(buffered);
        let recorded = batches.len() as u64;
        batches.extend(group.iter().map(|request| Arc::clone(&request.rows)));
        let rows: usize = batches.iter().map(|batch| batch.len()).sum();
        if rows == 0 {
            return Ok(());
        }
        let within = config.commit_within;
        ctx.progress(format!("commit {rows} predictions"), within + GRACE);
        let created_at = PredictionTime::from(ctx.clock().wall()).unix_millis();
        let began = ctx.clock().now();
        let inserting = store.insert(&batches, created_at);
        match bounded("committing", within, inserting).await {
            Ok(inserted) => {
                self.shared.buffer.committed();
                self.last_write = ctx.clock().now();
                let status = &self.shared.status;
                status.commit_took(self.last_write.saturating_sub(began));
                status.committed(group.len() as u64 + recorded, rows as u64, inserted);
                group
                    .into_iter()
                    .for_each(|request| request.reply.send(Ok(())));
                self.see_to_buffer(ctx);
            }
            Err(error) => {
                // A fenced incarnation fails here too, and has no say in anybody's state.
                ctx.fence().check().map_err(ActorError::failed)?;
                self.shared.status.failed(group.len() as u64);
                self.failed(&error, ctx).await;
                self.answer_unavailable(group);
            }
        }
        Ok(())
    }

    /// Makes sure that what waits in the buffer is committed before long.
    fn see_to_buffer(&mut self, ctx: &Context<Self>) {
        let waiting = self.shared.buffer.rows();
        if waiting == 0 || self.flush_is_due || self.failures > 0 {
            return;
        }
        self.flush_is_due = true;
        let config = &self.shared.config;
        let delay = if waiting >= config.commit_rows {
            Duration::ZERO
        } else {
            config.flush_interval
        };
        ctx.send_after(delay, DbMsg::Flush);
    }

    async fn flush(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        self.flush_is_due = false;
        if self.shared.buffer.rows() == 0 {
            return Ok(());
        }
        self.log(None, ctx).await
    }

    fn gather(&mut self, first: Option<LogRequest>, ctx: &mut Context<Self>) -> Vec<LogRequest> {
        let mut group: Vec<LogRequest> = first.into_iter().collect();
        let mut rows: usize = group.iter().map(|request| request.rows.len()).sum();
        while rows < self.shared.config.commit_rows {
            match ctx.try_next() {
                Some(DbMsg::Log(request)) => {
                    rows += request.rows.len();
                    group.push(request);
                }
                // What waits in the buffer is committed with these.
                Some(DbMsg::Recorded) => {}
                Some(DbMsg::Flush) => self.flush_is_due = false,
                Some(DbMsg::Prune) => self.prune_is_due = false,
                Some(DbMsg::HandOver(request)) => {
                    self.handed_over = Some(request);
                    break;
                }
                // The regular check will do.
                Some(DbMsg::Check) => self.retry_is_due = false,
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
        let error = self.unavailable();
        for request in group {
            request.reply.send(Err(error.clone()));
        }
    }

    fn unavailable(&self) -> LogError {
        let reason = match &*self.shared.status.database() {
            DatabaseState::Unavailable { reason, .. } => Arc::clone(reason),
            DatabaseState::Starting | DatabaseState::Connected => "it is being opened".into(),
        };
        LogError::Unavailable {
            reason,
            retry_after: self.pause(),
        }
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
            DbMsg::Log(request) => self.log(Some(request), ctx).await,
            DbMsg::Recorded => {
                self.see_to_buffer(ctx);
                Ok(())
            }
            DbMsg::Flush => self.flush(ctx).await,
            DbMsg::HandOver(request) => self.hand_over(request, ctx).await,
            DbMsg::Prune => self.prune(ctx).await,
            DbMsg::Check => {
                self.retry_is_due = false;
                self.look_after(ctx).await;
                Ok(())
            }
        }?;
        // A group that was gathered ended at a message of another kind.
        match self.handed_over.take() {
            Some(request) => self.hand_over(request, ctx).await,
            None => Ok(()),
        }
    }

    async fn tick(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        // While the database is failing, the retries keep their own pace.
        if !self.retry_is_due {
            self.look_after(ctx).await;
            self.prune_soon(ctx);
        }
        Ok(())
    }

    async fn stopping(&mut self, ctx: &mut Context<Self>) {
        while let Some(msg) = ctx.try_next() {
            let DbMsg::Log(request) = msg else { continue };
            if self.log(Some(request), ctx).await.is_err() {
                return;
            }
        }
        while self.shared.buffer.rows() > 0 && self.failures == 0 && self.store.is_some() {
            if self.log(None, ctx).await.is_err() {
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
