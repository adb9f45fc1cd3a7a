//! Local tasks of an incarnation.
//!
//! They are polled inside the incarnation's own future, not spawned beside it, so they end with it whatever the
//! executor is, a panic in one is a panic of the actor, and one that blocks is caught by the same deadline.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;

use crate::link::Link;

/// Tasks that have been spawned and not yet been taken over by [`WithTasks`].
#[derive(Clone, Default)]
pub(crate) struct Spawned {
    waiting: Rc<RefCell<Vec<LocalBoxFuture<'static, ()>>>>,
}

/// A future with tasks beside it; ready when the future is, whatever the tasks do.
pub(crate) struct WithTasks<F> {
    main: Pin<Box<F>>,
    spawned: Spawned,
    tasks: FuturesUnordered<LocalBoxFuture<'static, ()>>,
    link: Arc<Link>,
    deadline: Duration,
}

// === impl Spawned ===

impl Spawned {
    pub(crate) fn push(&self, task: impl Future<Output = ()> + 'static) {
        self.waiting.borrow_mut().push(Box::pin(task));
    }
}

// === impl WithTasks ===

impl<F: Future> WithTasks<F> {
    /// `deadline` is how long one poll of the tasks may take while the actor itself rests.
    pub(crate) fn new(main: F, spawned: Spawned, link: Arc<Link>, deadline: Duration) -> Self {
        Self {
            main: Box::pin(main),
            spawned,
            tasks: FuturesUnordered::new(),
            link,
            deadline,
        }
    }

    fn poll_tasks(&mut self, cx: &mut Context<'_>) {
        let resting = self.link.is_idle();
        if resting {
            self.link.declare("task", self.deadline);
        }
        while let Poll::Ready(Some(())) = self.tasks.poll_next_unpin(cx) {}
        if resting {
            self.link.rest();
        }
    }
}

impl<F: Future> Future for WithTasks<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Poll::Ready(output) = this.main.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        loop {
            let new = std::mem::take(&mut *this.spawned.waiting.borrow_mut());
            let any_new = !new.is_empty();
            this.tasks.extend(new);
            if !this.tasks.is_empty() {
                this.poll_tasks(cx);
            }
            // A task may have spawned another, which has to be polled before anything can wake it.
            if !any_new && this.spawned.waiting.borrow().is_empty() {
                return Poll::Pending;
            }
        }
    }
}
