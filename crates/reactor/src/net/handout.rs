//! Things that come in order, and who waits for them.

use std::collections::{BTreeMap, VecDeque};

use thence_core::{Outcome, Stop, Trigger};

/// What has come and is nobody's, each with its place, so that one that comes back finds it again;
/// and the line of those who wait.
pub(super) struct Handout<T, W> {
    there: BTreeMap<u64, T>,
    waiters: VecDeque<W>,
    /// The place of the next to come.
    next: u64,
}

/// One who waits for things of type `T`.
pub(super) trait Waiter<T>: Sized {
    fn is_waiting(&self) -> bool;

    /// Ends the wait with `item`, which goes to `back` when nobody is there to take it.
    fn give(self, item: T, back: impl FnOnce(T) + 'static);

    /// Ends it cancelled.
    fn stop(self);

    /// Runs `f` when the wait is left or asked to end.
    fn when_gone(&self, f: impl FnOnce() + Clone + 'static);
}

impl<T, W: Waiter<T>> Handout<T, W> {
    /// The next that has come.
    pub(super) fn push(&mut self, item: T) {
        self.there.insert(self.next, item);
        self.next += 1;
    }

    /// One that was handed out and that nobody took.
    pub(super) fn put_back(&mut self, place: u64, item: T) {
        self.there.insert(place, item);
    }

    pub(super) fn join(&mut self, waiter: W) {
        self.waiters.push_back(waiter);
    }

    pub(super) fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
    }

    pub(super) fn waiters(&self) -> impl Iterator<Item = &W> {
        self.waiters.iter()
    }

    /// The next thing, its place and who gets it, when there are both.
    pub(super) fn next_pair(&mut self) -> Option<(u64, T, W)> {
        if self.waiters.is_empty() {
            return None;
        }
        let (place, item) = self.there.pop_first()?;
        self.waiters.pop_front().map(|waiter| (place, item, waiter))
    }

    pub(super) fn pop_waiter(&mut self) -> Option<W> {
        self.waiters.pop_front()
    }

    pub(super) fn take_waiters(&mut self) -> VecDeque<W> {
        std::mem::take(&mut self.waiters)
    }

    /// Takes out who no longer waits, for the caller to end: outside of whatever holds this.
    pub(super) fn take_left(&mut self) -> VecDeque<W> {
        if self.waiters.iter().all(W::is_waiting) {
            return VecDeque::new();
        }
        let (waiting, left) = self.take_waiters().into_iter().partition(W::is_waiting);
        self.waiters = waiting;
        left
    }
}

impl<T, W> Default for Handout<T, W> {
    fn default() -> Self {
        Handout { there: BTreeMap::new(), waiters: VecDeque::new(), next: 0 }
    }
}

/// What every wait has, whatever it ends with.
pub(super) fn is_waiting<T: 'static>(trigger: &Trigger<T>) -> bool {
    trigger.is_wanted() && !trigger.is_cancelled()
}

pub(super) fn stop<T: 'static>(trigger: Trigger<T>) {
    trigger.settle(Outcome::Stop(Stop::Cancelled));
}

pub(super) fn when_gone<T: 'static>(trigger: &Trigger<T>, f: impl FnOnce() + Clone + 'static) {
    trigger.on_left(f.clone());
    trigger.on_cancel(f);
}
