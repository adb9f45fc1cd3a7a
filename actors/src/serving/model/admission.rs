//! How a request comes in, waits, and gets its answer.
//!
//! The one who waits for the answer is also the clock of what it waits for: when the request has
//! waited for a worker as long as it may, its own caller takes it out of the queue. So no task has
//! to watch over the queue, the answer comes at that moment, and it comes once: what a worker has
//! taken cannot be taken out any more.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout_at;

use super::super::ServeError;
use super::super::batching::BatchPolicy;
use super::super::description::TimeoutAction;
use super::super::job::{Inference, Job, Request};
use super::super::queue::{PushError, Pushed, Ticket};
use super::super::rejection::Rejection;
use super::ServedModel;

/// When it is worth asking again whether there is room.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A request that was not taken in.
#[derive(Debug)]
pub(in crate::serving) struct Bounced {
    pub(in crate::serving) error: ServeError,
    /// The request itself, where another version may take it.
    pub(in crate::serving) request: Option<Request>,
}

/// A request that was taken in.
#[derive(Debug)]
pub(in crate::serving) struct Admitted {
    pub(in crate::serving) answer: oneshot::Receiver<Result<Inference, ServeError>>,
    ticket: Ticket,
    since: Instant,
    /// When a worker is to have taken it.
    take_by: Option<Instant>,
}

/// Tells the links of a model when a caller goes before its answer has come.
struct Desertion<'a>(Option<&'a ServedModel>);

// === impl ServedModel ===

impl ServedModel {
    /// Returns how its requests wait and become batches.
    #[must_use]
    pub fn batching(&self) -> BatchPolicy {
        match self.signature() {
            Some(signature) if !signature.batches => self.policy.clone().without_batches(),
            _ => self.policy.clone(),
        }
    }

    /// Takes a request in and waits for its answer until the request's deadline. A caller that
    /// stops waiting cancels its answer and nothing else.
    ///
    /// # Errors
    /// See [`ServeError`]. A model on its way out gives the request back.
    pub(in crate::serving) async fn infer(
        &self,
        request: Request,
    ) -> Result<Inference, Box<Bounced>> {
        let deadline = request.deadline;
        let admitted = self.admit(request)?;
        let since = admitted.since;
        let mut desertion = Desertion(Some(self));
        let answer = self.wait(admitted, deadline).await;
        if answer.is_some() {
            desertion.0 = None;
        }
        let answer = answer.unwrap_or_else(|| {
            self.count_failures(1);
            Err(ServeError::DeadlineExceeded {
                model: self.spec.name.clone(),
                within: deadline.saturating_duration_since(since),
            })
        });
        answer.map_err(|error| {
            self.measures.failed(since.elapsed());
            Bounced::for_good(error)
        })
    }

    /// Takes a request in.
    pub(in crate::serving) fn admit(&self, request: Request) -> Result<Admitted, Box<Bounced>> {
        if !self.is_offered() {
            return Err(self.hand_back(request));
        }
        if self.streams.is_some() {
            return Err(Bounced::for_good(ServeError::OtherKind {
                model: self.spec.name.clone(),
                kind: self.spec.kind,
            }));
        }
        let rows = self.check(&request).map_err(Bounced::for_good)?;
        let pass = self.occupancy.enter();
        let terms = self.policy.terms(&request, Instant::now());
        let (job, answer) = Job::new(request, rows, terms, pass);
        match self.queue.push(job) {
            Ok(Pushed { ticket, shed }) => {
                shed.into_iter().for_each(|job| self.shed(job));
                Ok(Admitted {
                    answer,
                    ticket,
                    since: terms.since,
                    take_by: terms.take_by,
                })
            }
            Err(PushError::Full(job)) => {
                drop(job);
                self.figures.rejections.count(Rejection::QueueFull);
                Err(Bounced::for_good(ServeError::QueueFull {
                    model: self.spec.name.clone(),
                    waiting: self.queue.capacity(),
                    retry_after: ASK_AGAIN,
                }))
            }
            Err(PushError::Closed(job)) => Err(self.hand_back(job.into_request())),
        }
    }

    /// Holds a request against the signature and the quarantine; returns how many rows it has.
    fn check(&self, request: &Request) -> Result<usize, ServeError> {
        let signature = self.usable_signature()?;
        let rows = signature.check(&request.inputs)?;
        let suspect = self.suspect(&request.inputs, request.id.as_deref());
        if let Some(entry) = self.commons.quarantine.refuses(&suspect) {
            self.figures.rejections.count(Rejection::Quarantined);
            return Err(entry.into());
        }
        Ok(rows)
    }

    fn hand_back(&self, request: Request) -> Box<Bounced> {
        Box::new(Bounced {
            error: ServeError::Unloaded {
                model: self.spec.name.clone(),
            },
            request: Some(request),
        })
    }

    /// Answers a request that has made room for another.
    fn shed(&self, job: Job) {
        self.figures.rejections.count(Rejection::Shed);
        let model = self.spec.name.clone();
        let retry_after = ASK_AGAIN;
        self.refuse(job, ServeError::Shed { model, retry_after });
    }

    /// Waits for the answer; `None` when the deadline comes first, here or in the queue.
    async fn wait(
        &self,
        admitted: Admitted,
        deadline: Instant,
    ) -> Option<Result<Inference, ServeError>> {
        let Admitted {
            mut answer,
            ticket,
            since,
            take_by,
        } = admitted;
        if let Some(take_by) = take_by.filter(|take_by| *take_by < deadline) {
            if let Ok(answer) = timeout_at(take_by.into(), &mut answer).await {
                return answer.ok();
            }
            if let Some(refused) = self.waited_too_long(ticket, take_by - since) {
                return Some(Err(refused));
            }
        }
        timeout_at(deadline.into(), answer).await.ok()?.ok()
    }

    /// Does what is to be done with a request that has waited for a worker as long as it may, if
    /// none has taken it. One that has come back from a lost worker was taken, and waits on.
    fn waited_too_long(&self, ticket: Ticket, within: Duration) -> Option<ServeError> {
        if self.policy.timeout_action == TimeoutAction::Delay {
            self.queue.demote(ticket);
            return None;
        }
        self.queue.withdraw(ticket)?;
        self.figures.rejections.count(Rejection::QueueTimeout);
        Some(ServeError::QueueTimeout {
            model: self.spec.name.clone(),
            within,
            retry_after: ASK_AGAIN,
        })
    }
}

// === impl Bounced ===

impl Bounced {
    /// Nobody else would take it either.
    fn for_good(error: ServeError) -> Box<Self> {
        Box::new(Self {
            error,
            request: None,
        })
    }
}

// === impl Desertion ===

impl Drop for Desertion<'_> {
    fn drop(&mut self) {
        if let Some(model) = self.0 {
            model.deserted.notify_waiters();
        }
    }
}
