//! The ends that fire.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::crossing::FarEnd;
use crate::fault::Fault;
use crate::inbox::{self, Entry};
use crate::node::{Slot, Source, cx, run_guarded};
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
    /// The outcome travels through this thread's inbox and fires in its next turn. A thread that
    /// ends before that ends the Deferred `Lost`, and what was sent is dropped.
    pub fn remote(self) -> RemoteTrigger<T, E>
    where
        T: Send,
        E: Send,
    {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let mailbox = inbox::mine().mailbox.clone();
        let (far, near) = FarEnd::new(mailbox, Entry::Remote, id, self.is_cancelled());
        let asker = near.asker();
        self.0.note_cancel(Box::new(move || asker.ask()));
        let arrived = move || match near.take() {
            Some(outcome) => self.settle(outcome),
            None => drop(self),
        };
        // A thread that is ending keeps none, and nothing arrives there: dropped, it ends now.
        let _ = REMOTES.try_with(|remotes| remotes.borrow_mut().0.insert(id, Box::new(arrived)));
        RemoteTrigger(far)
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
pub struct RemoteTrigger<T: Send + 'static, E: Fault + Send = Failure>(
    FarEnd<Outcome<T, E>, Entry>,
);

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
        self.0.send(outcome);
    }

    /// Whether somebody asked for the end.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_asked()
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
    let arrived = REMOTES.try_with(|remotes| remotes.borrow_mut().0.remove(&id)).ok().flatten();
    if let Some(arrived) = arrived {
        arrived();
    }
}

/// The triggers that stay at home while their remote ends travel, in the order they were made.
#[derive(Default)]
struct Remotes(BTreeMap<u64, Box<dyn FnOnce()>>);

impl Drop for Remotes {
    fn drop(&mut self) {
        while let Some((_, arrived)) = self.0.pop_first() {
            // With the trigger goes what was sent and not read. A panic in it would be the end of
            // the process.
            cx().enter(|| run_guarded(|| drop(arrived)));
        }
    }
}

thread_local! {
    static REMOTES: RefCell<Remotes> = RefCell::default();
}

const _: () = {
    fn crosses<T: Send + Sync>() {}
    let _ = crosses::<RemoteTrigger<u8>>;
};
