//! The ends that fire.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::fault::Fault;
use crate::inbox::{self, Entry, Inbox};
use crate::node::{Slot, Source};
use crate::outcome::Outcome;
use crate::{Failure, IntoDeferred};

/// The end that fires a [`Deferred`](crate::Deferred): once, by value.
///
/// Dropped unfired it ends its Deferred with `Stop(Lost)`, or `Stop(Cancelled)` after a request:
/// never a hang.
///
/// ```compile_fail,E0382
/// # use thence_core::Deferred;
/// let (trigger, d) = Deferred::<i32>::new();
/// d.report();
/// trigger.fire(1);
/// trigger.fire(2); // the trigger was consumed
/// ```
pub struct Trigger<T: 'static, E: Fault = Failure>(Source<T, E>); // Stays on its thread: send `trigger.remote()`.

impl<T: 'static, E: Fault> Trigger<T, E> {
    #[inline]
    pub(crate) fn new(source: Source<T, E>) -> Self {
        Self(source)
    }

    /// Ends it with a value. Outside any callback everything this sets off has run when it
    /// returns; inside one it queues.
    #[doc(alias = "callback")]
    #[doc(alias = "send")]
    #[inline]
    pub fn fire(
        self, // A Deferred ends once: this uses its trigger up.
        value: T,
    ) {
        self.0.settle(Outcome::Ok(value));
    }

    /// Ends it with an error.
    #[doc(alias = "errback")]
    pub fn fail(
        self, // A Deferred ends once: this uses its trigger up.
        error: E,
    ) {
        self.0.settle(Outcome::Err(error));
    }

    /// Ends it with an outcome.
    pub fn settle(
        self, // A Deferred ends once: this uses its trigger up.
        outcome: Outcome<T, E>,
    ) {
        self.0.settle(outcome);
    }

    pub(crate) fn settle_slot(self, slot: Slot<T, E>) {
        self.0.settle_slot(slot);
    }

    /// Ends it with whatever `d` ends with, once that has.
    #[doc(alias = "chainDeferred")]
    #[track_caller]
    pub fn follow<D: IntoDeferred<Value = T, Error = E>>(self, d: D) {
        let site = Location::caller();
        let d = crate::Deferred::of_next(d.into_next(), site);
        let canceller = d.canceller();
        self.on_cancel(move || canceller.cancel());
        let arrive = crate::steps::Arrive::new(move |slot, from: crate::node::Passing| {
            if let Some(hook) = from.way_back::<T>() {
                self.0.on_unclaimed(hook);
            }
            self.settle_slot(slot);
            Slot::<(), crate::Never>::new(Outcome::Ok(()))
        });
        drop(d.step(arrive, site));
    }

    /// Runs `f` at once when somebody asks for the end: the source's canceller. It is run once at
    /// the most; after it the producer ends the Deferred when it is done, by firing, failing or
    /// dropping the trigger.
    ///
    /// A source with no canceller stops at once when asked, and its later firing is ignored.
    ///
    /// Give `f` an id or a `Weak`: a hook that owns the trigger's owner is a cycle.
    pub fn on_cancel(&self, f: impl FnOnce() + 'static) {
        self.0.on_cancel(Box::new(f));
    }

    /// Runs `f` at once when the Deferred is dropped before it has ended and with nothing attached
    /// to it: nobody waits any more. What the source does then is its own affair; one that holds
    /// something costly may let go of it.
    pub fn on_left(&self, f: impl FnOnce() + 'static) {
        self.0.on_left(Box::new(f));
    }

    /// Takes the value back when nobody is there to take it: the way a stream of things (bytes,
    /// sockets, items, permits) loses nothing to a waiter that left.
    pub fn on_unclaimed(&self, f: impl FnOnce(T) + 'static) {
        self.0.on_unclaimed(Box::new(f));
    }

    /// Whether somebody asked for the end.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Whether anybody holds or waits for the Deferred.
    pub fn is_wanted(&self) -> bool {
        self.0.is_wanted()
    }

    /// Where the Deferred was made.
    pub fn site(&self) -> &'static Location<'static> {
        self.0.site()
    }

    /// The trigger as something that another thread can fire.
    ///
    /// The outcome travels through this thread's inbox and fires in its next turn.
    pub fn remote(self) -> RemoteTrigger<T, E>
    where
        T: Send,
        E: Send,
    {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let shared = Arc::new(Shared {
            outcome: Mutex::new(None),
            cancelled: AtomicBool::new(self.is_cancelled()),
        });
        let cancelled = Arc::downgrade(&shared);
        self.0.note_cancel(Box::new(move || {
            if let Some(shared) = cancelled.upgrade() {
                shared.cancelled.store(true, Ordering::Release);
            }
        }));
        let at_home = shared.clone();
        let arrived = move || {
            let sent = at_home.outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
            match sent {
                Some(outcome) => self.settle(outcome),
                None => drop(self),
            }
        };
        REMOTES.with_borrow_mut(|remotes| remotes.insert(id, Box::new(arrived)));
        RemoteTrigger { shared, id, inbox: inbox::mine() }
    }
}

impl<T: 'static, E: Fault> fmt::Debug for Trigger<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trigger")
            .field("site", &format_args!("{}", self.site()))
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

/// A [`Trigger`] for another thread. Dropped unfired: `Stop(Lost)`, or `Stop(Cancelled)`.
pub struct RemoteTrigger<T: Send + 'static, E: Fault + Send = Failure> {
    shared: Arc<Shared<T, E>>,
    id: u64,
    inbox: Arc<Inbox>,
}

struct Shared<T, E: Fault> {
    outcome: Mutex<Option<Outcome<T, E>>>,
    cancelled: AtomicBool,
}

impl<T: Send + 'static, E: Fault + Send> RemoteTrigger<T, E> {
    /// Ends it with a value.
    pub fn fire(self, value: T) {
        self.settle(Outcome::Ok(value));
    }

    /// Ends it with an error.
    pub fn fail(self, error: E) {
        self.settle(Outcome::Err(error));
    }

    /// Ends it with an outcome.
    pub fn settle(self, outcome: Outcome<T, E>) {
        *self.shared.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }

    /// Whether somebody asked for the end.
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::Acquire)
    }
}

impl<T: Send + 'static, E: Fault + Send> Drop for RemoteTrigger<T, E> {
    fn drop(&mut self) {
        // Fired or not, the trigger at home learns of its end here, once.
        self.inbox.push(Entry::Remote(self.id));
    }
}

impl<T: Send + 'static, E: Fault + Send> fmt::Debug for RemoteTrigger<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTrigger")
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

/// A remote trigger's outcome has come home.
pub(crate) fn arrived(id: u64) {
    let arrived = REMOTES.try_with(|remotes| remotes.borrow_mut().remove(&id)).ok().flatten();
    if let Some(arrived) = arrived {
        arrived();
    }
}

/// The triggers that stay at home while their remote ends travel.
#[derive(Default)]
struct Remotes(HashMap<u64, Box<dyn FnOnce()>>);

impl Remotes {
    fn insert(&mut self, id: u64, arrived: Box<dyn FnOnce()>) {
        self.0.insert(id, arrived);
    }

    fn remove(&mut self, id: &u64) -> Option<Box<dyn FnOnce()>> {
        self.0.remove(id)
    }
}

thread_local! {
    static REMOTES: RefCell<Remotes> = RefCell::default();
}

const _: () = {
    fn is_send<T: Any + Send>() {}
    let _ = is_send::<RemoteTrigger<u8>>;
};
