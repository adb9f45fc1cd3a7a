//! How each fault strikes, and how it is seen that it was healed.
//!
//! A fault counts as healed when the thing it struck serves again: a worker's place is taken by a
//! later generation and its model answers rightly, an actor runs as a later generation, the
//! database has committed again. That is waited for, event by event, with one deadline; the time
//! from the strike to then is the recovery.

mod actors;
mod crowd;
mod killers;
mod storage;
mod workers;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::agent;
use crate::ledger::{LogBook, Outcome, Span, Struck};
use crate::load::{LogWriter, PATIENCE, Reply, Scene};
use crate::random::Random;
use crate::schedule::{Fault, MODELS};
use crate::site::{all_ready, model};

/// A fault that takes longer to heal is not healed.
const HEALED_WITHIN: Duration = Duration::from_secs(30);
/// The pause between two looks at a server that is being healed.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Strikes, and watches the healing with requests of its own.
pub struct Striker<'a> {
    scene: Scene<'a>,
    agent: ureq::Agent,
    log: Mutex<LogWriter>,
    crowds: AtomicUsize,
}

/// What became of a fault.
struct Healing {
    /// How long the fault was held up by us.
    held: Duration,
    /// From the strike on.
    recovery: Result<Duration, String>,
    killer: Option<Outcome>,
}

// === impl Striker ===

impl<'a> Striker<'a> {
    pub fn new(scene: Scene<'a>) -> Self {
        Self {
            scene,
            agent: agent(PATIENCE),
            log: Mutex::new(LogWriter::new("striker".to_owned())),
            crowds: AtomicUsize::new(0),
        }
    }

    /// Strikes, and returns when it is healed or will not be.
    pub fn strike(&self, fault: &Fault, mut random: Random) -> Struck {
        let random = &mut random;
        let from = self.scene.began.elapsed();
        let healing = match fault {
            Fault::Signal { blow, worker } => self.signal(*blow, *worker, random),
            Fault::Killer(killer) => self.unleash(*killer, random),
            Fault::Panic { role, worker } => self.panic(*role, *worker, random),
            Fault::Storage { how, lasting } => self.take_storage(*how, *lasting, random),
            Fault::Crowd { manner, clients } => self.crowd(*manner, *clients, random),
        };
        let healing = healing.unwrap_or_else(|why| Healing {
            held: Duration::ZERO,
            recovery: Err(why),
            killer: None,
        });
        let to = self.scene.began.elapsed();
        Struck {
            kind: fault.kind(),
            what: fault.to_string(),
            scope: fault.scope(),
            window: Span { from, to },
            held: healing.held,
            recovery: healing.recovery,
            killer: healing.killer,
        }
    }

    /// Tells whether there is no server to strike any more.
    pub fn is_too_late(&self) -> bool {
        self.scene.site.is_gone()
    }

    /// Returns what was logged while looking whether the log works.
    pub fn into_log(self) -> LogBook {
        self.log.into_inner().unwrap().book
    }

    /// Looks again and again until there is something to see.
    fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, String> {
        let deadline = Instant::now() + HEALED_WITHIN;
        loop {
            if let Some(seen) = look() {
                return Ok(seen);
            }
            if self.is_too_late() {
                return Err(format!("the server is gone; {what} will not come"));
            }
            if Instant::now() > deadline {
                return Err(format!("waited in vain for {what}"));
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    /// Waits until the status is as expected.
    fn until_status<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&Value) -> Option<T>,
    ) -> Result<T, String> {
        self.until(what, || look(&self.scene.site.status()?))
    }

    /// Waits until a model has all its workers and answers rightly.
    fn until_model_serves(&self, name: &'static str, random: &mut Random) -> Result<(), String> {
        self.until_status(&format!("every worker of {name}"), |status| {
            (model(status, name)?["state"] == "ready").then_some(())
        })?;
        self.until(&format!("a right answer of {name}"), || {
            let prediction = self.scene.samples.ordinary(name, random);
            let reply = prediction.send(&self.agent, self.scene.site);
            (prediction.outcome(&reply) == Outcome::Right).then_some(())
        })
    }

    pub fn until_every_worker_serves(&self) -> Result<(), String> {
        self.until_status("every worker", |status| all_ready(status).then_some(()))
    }

    fn until_every_model_serves(&self, random: &mut Random) -> Result<(), String> {
        self.until_every_worker_serves()?;
        MODELS
            .iter()
            .try_for_each(|model| self.until_model_serves(model, random))
    }

    /// Waits until a batch is committed.
    fn until_log_works(&self, random: &mut Random) -> Result<(), String> {
        self.until("a commit", || {
            let batch = self.log.lock().unwrap().batch(random);
            let request = self
                .agent
                .post(self.scene.site.server.url("/log"))
                .header("content-type", "application/json");
            let outcome = batch.outcome(&Reply::read(request.send(&batch.body)));
            (outcome == Outcome::Right).then(|| self.log.lock().unwrap().acknowledge(batch))
        })
    }

    fn next_crowd(&self) -> usize {
        self.crowds.fetch_add(1, Ordering::Relaxed)
    }
}

// === impl Healing ===

impl Healing {
    /// Healed now, after a strike at that time.
    fn since(strike: Instant) -> Self {
        Self {
            held: Duration::ZERO,
            recovery: Ok(strike.elapsed()),
            killer: None,
        }
    }
}
