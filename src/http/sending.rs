//! An answer's body on its way to the client.
//!
//! It counts as being answered until it has been handed over or given up, and it keeps the
//! connection's clock: handing out a part starts it, asking for the next one shows that the client
//! has made room. So that this says something of a large answer too, one is handed out in parts
//! that fill the connection's write buffer once; the buffer never holds the whole of it.
//!
//! The last part is taken for sent when it is in the write buffer. A client that does not take
//! that much is the business of the limits on idle and on half-open connections.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, MessageBody};
use actix_web::web::Bytes;

use super::InFlight;
use super::connection::Client;

/// Most bytes handed out at a time: as many as the connection's write buffer is meant to hold.
const PART: usize = 32 * 1024;

/// A body that is being sent.
pub(super) struct Sending<B> {
    body: Pin<Box<B>>,
    /// What is left of a part that was too large to be handed out at once.
    rest: Bytes,
    client: Option<Rc<Client>>,
    _in_flight: Option<InFlight>,
}

// === impl Sending ===

impl<B: MessageBody> Sending<B> {
    pub(super) fn new(body: B, client: Option<Rc<Client>>, in_flight: Option<InFlight>) -> Self {
        // An earlier answer may fill the write buffer still: the client's turn begins here.
        if let Some(client) = &client {
            client.takes();
        }
        Self {
            body: Box::pin(body),
            rest: Bytes::new(),
            client,
            _in_flight: in_flight,
        }
    }
}

impl<B: MessageBody> MessageBody for Sending<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            // While the body has nothing, it is the server that lets the client wait.
            if let Some(client) = &this.client {
                client.waits();
            }
            match ready!(this.body.as_mut().poll_next(cx)) {
                Some(Ok(part)) => this.rest = part,
                end => return Poll::Ready(end),
            }
        }
        if let Some(client) = &this.client {
            client.takes();
        }
        let length = this.rest.len().min(PART);
        Poll::Ready(Some(Ok(this.rest.split_to(length))))
    }
}

impl<B> Drop for Sending<B> {
    fn drop(&mut self) {
        if let Some(client) = &self.client {
            client.was_answered();
        }
    }
}
