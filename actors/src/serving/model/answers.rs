//! What becomes of the batches of a model: done, failed, lost with their worker.
//!
//! Whatever it is, each member gets exactly one answer, now or after it has been run again; none
//! is run again without a limit.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use impetus_engine::{EngineError, Tensor, TensorError};

use super::super::job::{Inference, Job};
use super::super::ledger::{InFlight, LinkId};
use super::super::loss::{Blame, Loss};
use super::super::quarantine::Fingerprint;
use super::super::rejection::Rejection;
use super::super::{Fault, ServeError};
use super::ServedModel;
use super::measures::RunTimes;

/// What became of the requests of a lost worker.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::serving) struct Recovered {
    /// How many there were.
    pub(in crate::serving) requests: usize,
    /// Whether the one that ran was alone in the worker because it was suspected already.
    pub(in crate::serving) under_suspicion: bool,
    /// Those that are refused from now on.
    pub(in crate::serving) quarantined: Vec<Fingerprint>,
}

// === impl ServedModel ===

impl ServedModel {
    /// Collects what was out over the links of `worker` up to `generation` and sends it again or
    /// answers it.
    ///
    /// Only the batch that was running can have been the worker's end, and only if it is the one to
    /// blame: its members run again alone, and the one that was alone already is refused for good
    /// if there is evidence. The batches behind it never began; they go back as they were.
    pub(in crate::serving) fn recover(&self, link: LinkId, loss: &Loss, blame: Blame) -> Recovered {
        if let Some(streams) = &self.streams {
            return self.recover_streams(streams, link, loss, blame);
        }
        let LinkId { worker, generation } = link;
        let mut recovered = Recovered::default();
        let mut again = Vec::new();
        let mut running = true;
        for batch in self.ledger.collect(worker, generation) {
            recovered.requests += batch.jobs.len();
            let ran = batch.sent.is_some() && std::mem::take(&mut running);
            let to_blame = match blame {
                Blame::Running => true,
                Blame::Only(id) => batch.id == id,
                Blame::Nobody => false,
            };
            if !(ran && to_blame) {
                again.extend(batch.jobs);
                continue;
            }
            recovered.under_suspicion = batch.alone;
            for job in batch.jobs {
                if batch.alone && loss.is_evidence() {
                    recovered.quarantined.push(self.quarantine(job, loss));
                } else {
                    again.extend(self.lost_once_more(job, loss));
                }
            }
        }
        self.requeue(again);
        recovered
    }

    /// Counts a loss against a request; answers it when that was one too many.
    fn lost_once_more(&self, mut job: Job, loss: &Loss) -> Option<Job> {
        job.alone = true;
        if loss.is_evidence() {
            job.losses += 1;
        } else {
            job.accidents += 1;
        }
        let limits = &self.limits;
        if job.losses <= limits.retries && job.accidents <= limits.accident_retries {
            return Some(job);
        }
        self.count_failures(1);
        let attempts = job.losses + job.accidents;
        let model = self.spec.name.clone();
        self.refuse(job, ServeError::WorkerLost { model, attempts });
        None
    }

    /// Refuses a suspected request that is alone in its batch if a copy of it has been found out
    /// meanwhile; tells whether it was.
    pub(in crate::serving) fn refuse_if_known(&self, link: LinkId, id: u64) -> bool {
        let known = self.ledger.with_only_member(id, |job| {
            let suspect = self.suspect(&job.inputs, job.id.as_deref());
            self.commons.quarantine.refuses(&suspect)
        });
        let Some(Some(entry)) = known else {
            return false;
        };
        self.figures.rejections.count(Rejection::Quarantined);
        for job in self
            .ledger
            .settle(link, id)
            .into_iter()
            .flat_map(|batch| batch.jobs)
        {
            self.refuse(job, entry.clone().into());
        }
        true
    }

    /// Refuses a request that has killed the worker it was alone with, now and from now on.
    fn quarantine(&self, job: Job, loss: &Loss) -> Fingerprint {
        let suspect = self.suspect(&job.inputs, job.id.as_deref());
        let fingerprint = self.commons.quarantine.enter(&suspect, loss);
        self.count_failures(1);
        let error = ServeError::Quarantined {
            model: self.spec.name.clone(),
            fingerprint,
            cause: loss.to_string(),
            expires_in: self.commons.quarantine.expires_after(),
        };
        self.refuse(job, error);
        fingerprint
    }

    /// Answers a batch that has been executed.
    pub(in crate::serving) fn complete(
        &self,
        mut batch: InFlight,
        outputs: Vec<Tensor>,
        run_micros: u64,
    ) {
        let size = batch.jobs.len();
        if let Some(mut seat) = batch.seat.take() {
            let threads = u32::try_from(self.limits.threads).unwrap_or(u32::MAX);
            seat.costs(Duration::from_micros(run_micros) * threads);
        }
        let mut shares = match shares(&batch.jobs, outputs) {
            Ok(shares) => shares.into_iter(),
            Err(error) => {
                let error =
                    EngineError::run_failed(format!("outputs do not split by rows: {error}"));
                return self.failed(batch, &error);
            }
        };
        self.answered_well(size as u64);
        let now = Instant::now();
        let times = RunTimes::of(&batch, run_micros, now);
        if let Some(times) = times {
            let wall = self.commons.outcomes.wall();
            self.measures.executed(&batch.jobs, times, now, wall);
        }
        for job in batch.jobs {
            let inference = Inference {
                outputs: shares.next().unwrap_or_default(),
                run_micros,
                queue_micros: times.map_or(0, |times| micros(times.queued(&job))),
                batch: size,
                attempts: job.attempts(),
            };
            // Nobody listening is no failure: the caller stopped waiting.
            let _ = job.reply.send(Ok(inference));
        }
    }

    /// Answers a batch whose execution failed. Members of a shared batch run again alone, so that
    /// one bad request fails nobody else's.
    pub(in crate::serving) fn failed(&self, batch: InFlight, error: &EngineError) {
        if batch.jobs.len() > 1 {
            let mut members = batch.jobs;
            for job in &mut members {
                job.alone = true;
            }
            self.requeue(members);
            return;
        }
        for job in batch.jobs {
            if !job.is_wanted(Instant::now()) {
                // Given up by its caller, and perhaps ended early for that: nobody's failure.
                continue;
            }
            let error = ServeError::Engine(error.clone());
            if error.fault() == Fault::Execution {
                self.count_failures(1);
            }
            let _ = job.reply.send(Err(error));
        }
    }

    /// Gives a batch back that was never sent.
    pub(in crate::serving) fn give_back(&self, link: LinkId, id: u64) {
        if let Some(batch) = self.ledger.settle(link, id) {
            self.requeue(batch.jobs);
        }
    }

    fn requeue(&self, jobs: Vec<Job>) {
        if let Err(jobs) = self.queue.push_front(jobs) {
            for job in jobs {
                self.refuse(job, self.unloaded());
            }
        }
    }

    pub(super) fn refuse(&self, job: Job, error: ServeError) {
        let _ = job.reply.send(Err(error));
    }

    /// Counts requests that have been answered as they should.
    pub(super) fn answered_well(&self, count: u64) {
        self.figures.predictions.fetch_add(count, Ordering::Relaxed);
        self.commons.outcomes.succeeded(count);
    }

    pub(super) fn count_failures(&self, failures: u64) {
        self.figures.errors.fetch_add(failures, Ordering::Relaxed);
        self.commons.outcomes.failed(failures);
    }
}

/// Splits the outputs of a batch into those of its members, by rows.
fn shares(jobs: &[Job], outputs: Vec<Tensor>) -> Result<Vec<Vec<Tensor>>, TensorError> {
    if jobs.len() == 1 {
        return Ok(vec![outputs]);
    }
    let mut first = 0;
    jobs.iter()
        .map(|job| {
            let rows = first..first + job.rows;
            first = rows.end;
            outputs
                .iter()
                .map(|output| output.rows(rows.clone()))
                .collect()
        })
        .collect()
}

/// Returns a duration in microseconds.
pub(in crate::serving) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
