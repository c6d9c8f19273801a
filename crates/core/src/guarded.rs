//! Code of a user's that is no callback: destructors, and methods of errors.
//!
//! It runs with the thread held and nothing borrowed, and a panic in it is reported and goes no
//! further. Two values of users' are never dropped side by side: a panic in the second destructor,
//! while that of the first unwinds, would be the end of the process.

use std::mem::needs_drop;
use std::ops::{Deref, DerefMut};

use crate::node::{cx, hold, run_guarded};

/// Runs `f` guarded. Outside any callback what it sets off has run when this returns.
pub(crate) fn held(f: impl FnOnce()) {
    let settling = Settling::begin();
    run_guarded(f);
    settling.end();
}

/// Drops a user's value.
#[inline]
pub(crate) fn let_go<T>(value: T) {
    if needs_drop::<T>() {
        held(|| drop(value));
    }
}

/// Drops a user's values, each under a guard of its own.
pub(crate) fn let_go_each<T>(values: impl IntoIterator<Item = T>) {
    // What the first of them sets off runs after the last of them is gone.
    let settling = Settling::begin();
    let held = hold();
    values.into_iter().for_each(let_go);
    drop(held);
    settling.end();
}

/// Runs what has been set off meanwhile. Not what was queued before: whoever sets a hook or drops a
/// value may be half-way through something, and has not asked for that. Under a callback, or while
/// a node ends, nothing is run: that one settles.
#[must_use = "what is set off meanwhile runs at its end"]
pub(crate) struct Settling {
    runs: bool,
}

impl Settling {
    #[inline]
    pub(crate) fn begin() -> Self {
        let cx = cx();
        Self { runs: cx.is_idle() && cx.queue_is_empty() }
    }

    #[inline]
    pub(crate) fn end(self) {
        if self.runs {
            cx().settle();
        }
    }
}

/// A user's value that stands beside another, or in a frame that may unwind. Wherever it is
/// dropped, it is dropped under a guard.
pub(crate) struct Guarded<T>(Option<T>);

impl<T> Guarded<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }

    pub(crate) fn into_inner(mut self) -> T {
        self.0.take().expect(PRESENT)
    }
}

impl<T> Deref for Guarded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect(PRESENT)
    }
}

impl<T> DerefMut for Guarded<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect(PRESENT)
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            let_go(value);
        }
    }
}

const PRESENT: &str = "it is there until it is consumed or dropped";
