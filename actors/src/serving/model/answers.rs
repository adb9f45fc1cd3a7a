//! What becomes of the batches of a model: done, failed, lost with their worker.
//!
//! Whatever it is, each member gets exactly one answer, now or after it has been run again; none
//! is run again without a limit.

use std::sync::atomic::Ordering;
use std::time::Duration;

use impetus_engine::{EngineError, Tensor, TensorError};

use super::super::job::{Inference, Job};
use super::super::ledger::InFlight;
use super::super::{Fault, ServeError};
use super::ServedModel;

// === impl ServedModel ===

impl ServedModel {
    /// Collects what was out over the links of `worker` up to `generation` and sends it again or,
    /// after too many losses, answers it.
    pub(in crate::serving) fn recover(&self, worker: usize, generation: u64) -> usize {
        let mut again = Vec::new();
        let mut lost = 0;
        for batch in self.ledger.collect(worker, generation) {
            for mut job in batch.jobs {
                lost += 1;
                job.losses += 1;
                job.alone = true;
                if job.losses > self.limits.retries {
                    self.count_failures(1);
                    let attempts = job.losses;
                    let model = self.spec.name.clone();
                    let _ = job
                        .reply
                        .send(Err(ServeError::WorkerLost { model, attempts }));
                } else {
                    again.push(job);
                }
            }
        }
        self.requeue(again);
        lost
    }

    /// Answers a batch that has been executed.
    pub(in crate::serving) fn complete(
        &self,
        batch: InFlight,
        outputs: Vec<Tensor>,
        run_micros: u64,
    ) {
        let size = batch.jobs.len();
        let mut shares = match shares(&batch.jobs, outputs) {
            Ok(shares) => shares.into_iter(),
            Err(error) => {
                let error =
                    EngineError::run_failed(format!("outputs do not split by rows: {error}"));
                return self.failed(batch, &error);
            }
        };
        self.predictions.fetch_add(size as u64, Ordering::Relaxed);
        self.outcomes.succeeded(size as u64);
        for job in batch.jobs {
            let inference = Inference {
                outputs: shares.next().unwrap_or_default(),
                run_micros,
                queue_micros: micros(batch.sent.saturating_duration_since(job.enqueued)),
                batch: size,
                attempts: job.losses + 1,
            };
            // Nobody listening is no failure: the caller stopped waiting.
            let _ = job.reply.send(Ok(inference));
        }
    }

    /// Answers a batch whose execution failed. Members of a shared batch run again alone, so that
    /// one bad request fails nobody else's.
    pub(in crate::serving) fn failed(&self, batch: InFlight, error: &EngineError) {
        if batch.jobs.len() > 1 {
            let alone = batch.jobs.into_iter().map(|job| Job { alone: true, ..job });
            self.requeue(alone.collect());
            return;
        }
        for job in batch.jobs {
            let error = ServeError::Engine(error.clone());
            if error.fault() == Fault::Execution {
                self.count_failures(1);
            }
            let _ = job.reply.send(Err(error));
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

    pub(super) fn count_failures(&self, failures: u64) {
        self.errors.fetch_add(failures, Ordering::Relaxed);
        self.outcomes.failed(failures);
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
                .map(|output| cut(output, rows.clone()))
                .collect()
        })
        .collect()
}

fn cut(output: &Tensor, rows: std::ops::Range<usize>) -> Result<Tensor, TensorError> {
    let total = output.shape().first().copied().unwrap_or(1).max(1);
    let row_bytes = output.data().len() / total;
    let mut shape = output.shape().to_vec();
    if let Some(first) = shape.first_mut() {
        *first = rows.len();
    }
    let bytes = output
        .data()
        .get(rows.start * row_bytes..rows.end * row_bytes);
    Tensor::try_new(
        output.name(),
        output.dtype(),
        shape,
        bytes.unwrap_or_default().to_vec(),
    )
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
