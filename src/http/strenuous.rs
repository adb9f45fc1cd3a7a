//! Work that would hold up everybody else on a request worker's event loop.
//!
//! Reading a thousand numbers takes microseconds and is done where it is. Reading ten million, or
//! compressing a large answer, takes as long as hundreds of requests, and goes to another thread.

use actix_web::http::StatusCode;
use actix_web::web;

use super::error::ApiError;

/// Bytes from which on work goes to another thread. So many numbers in JSON take about a
/// millisecond to read.
const MUCH: usize = 1024 * 1024;

/// Does work on so many bytes.
///
/// # Errors
/// As the work, or there is no thread to do it.
pub(super) async fn work<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    if bytes < MUCH {
        return work();
    }
    web::block(work).await.map_err(|_| {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "no thread is free to read or write so large a body",
        )
    })?
}
