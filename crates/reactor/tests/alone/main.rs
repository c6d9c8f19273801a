//! What needs the process to itself: it counts its descriptors, looks for its children, hands
//! descriptors to others, or hears every thread's warnings. One test runs at a time.

#[path = "../common/mod.rs"]
mod common;
mod inherited;
mod process_leaks;
mod spin_watchdog;
mod tls_leaks;
mod warnings;
mod watchdog;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held by every test here while it runs.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
