//! Locking that a panic elsewhere cannot spoil.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, whether or not a thread has panicked while holding it.
///
/// Everything guarded this way is valid after each single statement, and a supervisor that stopped working because
/// an actor panicked would defeat its purpose.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
