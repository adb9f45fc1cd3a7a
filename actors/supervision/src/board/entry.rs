//! One line of the board.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use crate::fence::Fence;
use crate::inbox::Mailbox;
use crate::ledger::Ledger;
use crate::link::{Link, Stage};
use crate::status::{MailboxStatus, ProgressStatus};
use crate::sync::lock;
use crate::{
    ActorId, ActorState, ActorStatus, ExitReason, ExitRecord, Generation, StatusReport, Timestamp,
};

/// What is said of an actor that healing would start again if it were not paused.
const HELD: &str = "waits until healing is resumed";

/// One actor's line: what its spec says for good, and what changes.
pub(crate) struct Entry {
    spec: EntrySpec,
    live: Mutex<Live>,
}

/// What an actor's spec says about its line.
pub(crate) struct EntrySpec {
    pub(crate) id: ActorId,
    /// Under whom the actor is listed.
    pub(crate) parent: Option<ActorId>,
    pub(crate) significant: bool,
    pub(crate) ttl: Duration,
    pub(crate) mailbox: Arc<dyn Mailbox>,
    pub(crate) ledger: Arc<Ledger>,
}

struct Live {
    state: ActorState,
    generation: Generation,
    last_exit: Option<ExitRecord>,
    /// When the actor's own work path last wrote, by both clocks.
    written: Option<(Duration, Timestamp)>,
    /// From when on silence counts: the start of the incarnation, before it has written anything.
    since: Duration,
    report: StatusReport,
    /// It would be started again if healing were not paused.
    held: bool,
    /// The incarnation, which in its turn holds this line.
    link: Weak<Link>,
}

// === impl Entry ===

impl Entry {
    pub(crate) fn new(spec: EntrySpec) -> Self {
        Self {
            spec,
            live: Mutex::new(Live {
                state: ActorState::Starting,
                generation: Generation::NONE,
                last_exit: None,
                written: None,
                since: Duration::ZERO,
                report: StatusReport::default(),
                held: false,
                link: Weak::new(),
            }),
        }
    }

    pub(crate) fn id(&self) -> &ActorId {
        &self.spec.id
    }

    pub(crate) fn parent(&self) -> Option<&ActorId> {
        self.spec.parent.as_ref()
    }

    pub(crate) fn mailbox(&self) -> &Arc<dyn Mailbox> {
        &self.spec.mailbox
    }

    /// Writes the actor's own report, if the incarnation that writes it still counts.
    pub(crate) fn write(&self, fence: &Fence, at: (Duration, Timestamp), report: StatusReport) {
        let mut live = lock(&self.live);
        if !fence.is_current() {
            return;
        }
        live.written = Some(at);
        let replaced = std::mem::replace(&mut live.report, report);
        drop(live);
        drop(replaced);
    }

    /// Notes that a new incarnation has been launched.
    pub(crate) fn begin(&self, link: &Arc<Link>, now: Duration) {
        let mut live = lock(&self.live);
        live.generation = link.generation();
        live.since = now;
        live.report = StatusReport::default();
        live.link = Arc::downgrade(link);
    }

    pub(crate) fn set_state(&self, state: ActorState) {
        lock(&self.live).state = state;
    }

    /// Notes where the actor stands, and whether nothing but the pause of healing keeps it there.
    pub(crate) fn show(&self, state: ActorState, held: bool) {
        let mut live = lock(&self.live);
        live.state = state;
        live.held = held;
    }

    /// Notes how the latest incarnation ended.
    pub(crate) fn ended(&self, reason: ExitReason, at: Timestamp) {
        let mut live = lock(&self.live);
        live.last_exit = Some(ExitRecord { reason, at });
        live.link = Weak::new();
    }

    /// Notes that the supervisor of this actor ended, and the actor's incarnation with it.
    pub(crate) fn orphaned(&self, generation: Generation, at: Timestamp) {
        let mut live = lock(&self.live);
        // A new supervisor may have begun a new incarnation by now.
        if live.generation == generation {
            live.state = ActorState::Stopped;
            live.last_exit = Some(ExitRecord {
                reason: ExitReason::Killed,
                at,
            });
            live.link = Weak::new();
        }
    }

    pub(crate) fn last_exit(&self) -> Option<ExitReason> {
        let live = lock(&self.live);
        live.last_exit.as_ref().map(|record| record.reason.clone())
    }

    pub(crate) fn generation(&self) -> Generation {
        lock(&self.live).generation
    }

    pub(crate) fn age(&self, now: Duration) -> Option<Duration> {
        let (written, _) = lock(&self.live).written?;
        Some(now.saturating_sub(written))
    }

    pub(crate) fn ring(&self) {
        if lock(&self.live).link.strong_count() > 0 {
            self.spec.mailbox.ring();
        }
    }

    pub(crate) fn status(&self, now: Duration) -> ActorStatus {
        let leaked = self.spec.ledger.count_of(&self.spec.id);
        let mailbox = MailboxStatus {
            depth: self.spec.mailbox.depth(),
            capacity: self.spec.mailbox.capacity(),
        };
        let live = lock(&self.live);
        let link = live.link.upgrade();
        let progress = link.as_ref().and_then(|link| link.progress());
        let in_time = progress.as_ref().is_some_and(|progress| now <= progress.by);
        let progress = progress.map(|progress| ProgressStatus {
            elapsed_seconds: now.saturating_sub(progress.since).as_secs_f64(),
            deadline_seconds: progress.by.saturating_sub(progress.since).as_secs_f64(),
            item: progress.item.into_owned(),
        });
        let age = live.written.map(|(at, _)| now.saturating_sub(at));
        ActorStatus {
            name: self.spec.id.clone(),
            parent: self.spec.parent.clone(),
            state: self.seen(&live, now, in_time),
            generation: live.generation,
            restarts: live.generation.restarts(),
            last_exit: live.last_exit.clone(),
            last_status_at: live.written.map(|(_, at)| at),
            status_age_seconds: age.map(|age| age.as_secs_f64()),
            mailbox: Some(mailbox),
            progress,
            score: live.report.score,
            note: live.note(),
            details: live.report.details.clone(),
            significant: self.spec.significant,
            leaked,
        }
    }

    /// Silence turns `running` into `unknown`, and nothing else.
    fn seen(&self, live: &Live, now: Duration, in_time: bool) -> ActorState {
        let link = live.link.upgrade();
        let started = link.is_some_and(|link| link.stage() >= Stage::Started);
        if live.state == ActorState::Starting && started {
            // The supervisor will say so at its next turn; the actor has already.
            return ActorState::Running;
        }
        let heard = live
            .written
            .map_or(live.since, |(at, _)| at.max(live.since));
        let silent = now.saturating_sub(heard) > self.spec.ttl;
        if live.state == ActorState::Running && silent && !in_time {
            return ActorState::Unknown;
        }
        live.state
    }
}

// === impl Live ===

impl Live {
    /// Whoever waits has nothing newer to say of itself than why.
    fn note(&self) -> Option<String> {
        match self.held {
            true => Some(HELD.to_owned()),
            false => self.report.note.clone(),
        }
    }
}
