//! Work that holds a thread for a while, on a thread that others need.
//!
//! Unpacking a large message takes a processor for a second, in the middle of a future that
//! cannot give it back. Meanwhile the other tasks of the thread go on elsewhere: a probe is not to
//! wait for it.

use std::pin::pin;

/// Waits for a future that may hold its thread whenever it is polled, if `holds`.
pub(super) async fn wait_in_place_if<F: Future>(holds: bool, future: F) -> F::Output {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| in_place_if(holds, || future.as_mut().poll(cx))).await
}

/// Does something that may hold the thread, if `holds`.
pub(super) fn in_place_if<T>(holds: bool, work: impl FnOnce() -> T) -> T {
    if holds {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}
