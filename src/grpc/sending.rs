//! An answer on its way to the client.
//!
//! It counts as being answered until it has been handed over or given up, and it keeps the clock of
//! [`Standing`](super::standing::Standing): handing out a part starts it, asking for the next one
//! shows that the client has made room. So that this says something of a large answer too, one is
//! handed out in parts; they are cut, not copied.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use super::standing::UnderWay;
use super::within::in_place_if;
use crate::http::InFlight;

/// Most bytes handed out at a time.
const PART: usize = 256 * 1024;

/// A body that is being sent.
pub(super) struct Sending {
    body: Body,
    /// What is left of a part that was too large to be handed out at once.
    rest: Bytes,
    under_way: UnderWay,
    compresses: bool,
    _in_flight: Option<InFlight>,
}

// === impl Sending ===

impl Sending {
    pub(super) fn new(body: Body, under_way: UnderWay, in_flight: Option<InFlight>) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            under_way,
            compresses: false,
            _in_flight: in_flight,
        }
    }

    /// Says that making the body takes a processor for a while.
    pub(super) fn compressing(mut self, compresses: bool) -> Self {
        self.compresses = compresses;
        self
    }
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        this.under_way.waits();
        if this.rest.is_empty() {
            let body = Pin::new(&mut this.body);
            let frame = ready!(in_place_if(this.compresses, || body.poll_frame(cx)));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => this.rest = data,
                // The last of it: there is nothing more to make room for.
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => return Poll::Ready(None),
            }
        }
        this.under_way.takes();
        let part = this.rest.split_to(this.rest.len().min(PART));
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // What it is for, a header with the length, gRPC has not.
        SizeHint::default()
    }
}
