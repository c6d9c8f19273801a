//! The ends that fire.
//!
//! Users' code: what was sent to a thread that has ended, and what nobody read at the end of this
//! one, is dropped under a guard; the list of remote triggers is not borrowed then.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::rc::Weak;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::crossing::FarEnd;
use crate::fault::Fault;
use crate::hosting::Home;
use crate::inbox::{self, Entry};
use crate::node::{Source, cx, run_guarded};
use crate::outcome::Outcome;
use crate::report::reporting;
use crate::slot::Slot;
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
    ///
    /// ```
    /// use thence_core::Deferred;
    ///
    /// let (trigger, d) = Deferred::<u8>::new();
    /// d.inspect(|n| println!("got {n}")).report();
    /// trigger.fire(1); // prints before it returns
    /// ```
    #[doc(alias = "callback")]
    #[doc(alias = "send")]
    #[inline]
    pub fn fire(
        self, // A Deferred ends once: this uses its trigger up.
        value: T,
    ) {
        self.0.settle_slot(Slot::Ok(value));
    }

    /// Ends it with an error.
    ///
    /// ```
    /// use thence_core::{Deferred, Failure};
    ///
    /// let (trigger, d) = Deferred::<u8>::new();
    /// trigger.fail(Failure::msg("closed"));
    /// d.recover(|failure| failure.to_string().len() as u8).done(|n| assert_eq!(n, 6));
    /// ```
    #[doc(alias = "errback")]
    pub fn fail(
        self, // A Deferred ends once: this uses its trigger up.
        error: E,
    ) {
        self.0.settle_slot(Slot::err(error));
    }

    /// Ends it with an outcome.
    ///
    /// ```
    /// use thence_core::{Deferred, Failure};
    ///
    /// let (trigger, d) = Deferred::<u16>::new();
    /// let parsed: Result<u16, Failure> = "80".parse().map_err(Failure::from);
    /// trigger.settle(parsed.into());
    /// d.inspect(|port| assert_eq!(*port, 80)).report();
    /// ```
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
    ///
    /// A request to end passes on to `d`, and a value that nobody takes goes back where `d` had it
    /// from.
    ///
    /// ```
    /// use thence_core::Deferred;
    ///
    /// let (trigger, d) = Deferred::<u8>::new();
    /// let (inner, other) = Deferred::<u8>::new();
    /// trigger.follow(other);
    /// inner.fire(5);
    /// d.inspect(|n| assert_eq!(*n, 5)).report();
    /// ```
    #[doc(alias = "chainDeferred")]
    #[track_caller]
    pub fn follow<D: IntoDeferred<Value = T, Error = E>>(self, d: D) {
        let site = Location::caller();
        let d = crate::Deferred::of_next(d.into_next(), site);
        let canceller = d.canceller();
        self.on_cancel(move || canceller.cancel());
        let arrive = crate::steps::Arrive::new(move |slot, from: crate::node::Passing<'_>| {
            if let Some(hook) = from.way_back::<T>() {
                self.0.on_unclaimed(hook);
            }
            self.settle_slot(slot);
            Slot::<(), crate::Never>::Ok(())
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
    ///
    /// ```
    /// use std::{cell::RefCell, collections::HashMap, rc::Rc};
    /// use thence_core::{Deferred, Trigger};
    ///
    /// /// Who waits for an answer, by number.
    /// type Waiting = Rc<RefCell<HashMap<u32, Trigger<String>>>>;
    ///
    /// fn ask(waiting: &Waiting, id: u32) -> Deferred<String> {
    ///     let (trigger, answer) = Deferred::new();
    ///     let weak = Rc::downgrade(waiting);
    ///     trigger.on_cancel(move || {
    ///         let Some(waiting) = weak.upgrade() else { return };
    ///         let asked = waiting.borrow_mut().remove(&id);
    ///         drop(asked); // dropped after a request: `Stop(Cancelled)`
    ///     });
    ///     waiting.borrow_mut().insert(id, trigger);
    ///     answer
    /// }
    ///
    /// let waiting = Waiting::default();
    /// let answer = ask(&waiting, 7);
    /// answer.cancel();
    /// assert!(waiting.borrow().is_empty());
    /// answer.settled().done(|outcome| assert!(outcome.is_cancelled()));
    /// ```
    pub fn on_cancel(&self, f: impl FnOnce() + 'static) {
        self.0.on_cancel(Box::new(f));
    }

    /// Runs `f` at once when the Deferred is dropped before it has ended and with nothing attached
    /// to it: nobody waits any more. What the source does then is its own affair; one that holds
    /// something costly may let go of it.
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    /// use thence_core::Deferred;
    ///
    /// let left = Rc::new(Cell::new(false));
    /// let tell = left.clone();
    /// let (trigger, d) = Deferred::<u8>::new();
    /// trigger.on_left(move || tell.set(true));
    /// drop(d);
    /// assert!(left.get());
    /// trigger.fire(1); // nobody is there; not an error
    /// ```
    pub fn on_left(&self, f: impl FnOnce() + 'static) {
        self.0.on_left(Box::new(f));
    }

    /// Takes the value back when nobody is there to take it: the way a stream of things (bytes,
    /// sockets, items, permits) loses nothing to a waiter that left.
    ///
    /// ```
    /// use std::{cell::RefCell, collections::VecDeque, rc::Rc};
    /// use thence_core::Deferred;
    ///
    /// let items = Rc::new(RefCell::new(VecDeque::from([2, 3])));
    /// let back = items.clone();
    /// let (trigger, d) = Deferred::<u8>::new();
    /// trigger.on_unclaimed(move |item| back.borrow_mut().push_front(item));
    /// drop(d.finally(|| ())); // whoever waited has left
    /// trigger.fire(1);
    /// assert_eq!(*items.borrow(), [1, 2, 3]);
    /// ```
    pub fn on_unclaimed(&self, f: impl FnOnce(T) + 'static) {
        self.0.on_unclaimed(Box::new(f));
    }

    /// As [`on_unclaimed`](Trigger::on_unclaimed) and [`fire`](Trigger::fire), for a source that
    /// yields much: the way back is a place at `home`, for which nothing is allocated.
    #[inline]
    pub fn fire_from(
        self, // A Deferred ends once: this uses its trigger up.
        home: Weak<dyn Home>,
        place: u64,
        value: T,
    ) {
        self.0.fire_from(home, place, value);
    }

    /// Whether somebody asked for the end.
    ///
    /// ```
    /// use thence_core::Deferred;
    ///
    /// let (trigger, d) = Deferred::<u8>::new();
    /// assert!(!trigger.is_cancelled());
    /// d.cancel();
    /// assert!(trigger.is_cancelled());
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Whether anybody holds or waits for the Deferred.
    ///
    /// ```
    /// use thence_core::Deferred;
    ///
    /// let (trigger, d) = Deferred::<u8>::new();
    /// assert!(trigger.is_wanted());
    /// drop(d);
    /// assert!(!trigger.is_wanted());
    /// trigger.fire(1);
    /// ```
    pub fn is_wanted(&self) -> bool {
        self.0.is_wanted()
    }

    /// Where the Deferred was made.
    ///
    /// ```
    /// use thence_core::Deferred;
    ///
    /// let (trigger, d) = Deferred::<u8>::new();
    /// println!("{} waits for this", trigger.site());
    /// trigger.fire(1);
    /// # d.report();
    /// ```
    pub fn site(&self) -> &'static Location<'static> {
        self.0.site()
    }

    /// The trigger as something that another thread can fire.
    ///
    /// The outcome travels through this thread's inbox and fires in its next turn. A thread that
    /// ends before that ends the Deferred `Lost`, and what was sent is dropped.
    ///
    /// ```
    /// use thence_core::{Deferred, hosting};
    ///
    /// let (trigger, d) = Deferred::<u8>::new();
    /// d.inspect(|n| assert_eq!(*n, 7)).report();
    /// let remote = trigger.remote();
    /// std::thread::spawn(move || remote.fire(7)).join().unwrap();
    /// hosting::run_until_idle(); // a reactor does it in its next turn
    /// ```
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
///
/// ```
/// use thence_core::{Deferred, hosting};
///
/// let (trigger, d) = Deferred::<u64>::new();
/// let remote = trigger.remote();
/// let worker = std::thread::spawn(move || {
///     let mut sum = 0;
///     for n in 0..1000 {
///         if remote.is_cancelled() {
///             return; // dropped after a request: `Stop(Cancelled)`
///         }
///         sum += n;
///     }
///     remote.fire(sum);
/// });
/// worker.join().unwrap();
/// hosting::run_until_idle();
/// d.inspect(|sum| assert_eq!(*sum, 499_500)).report();
/// ```
pub struct RemoteTrigger<T: Send + 'static, E: Fault + Send = Failure>(
    FarEnd<Outcome<T, E>, Entry>,
);

impl<T: Send + 'static, E: Fault + Send> RemoteTrigger<T, E> {
    /// Ends it with a value.
    ///
    /// ```
    /// # use thence_core::{Deferred, hosting};
    /// let (trigger, d) = Deferred::<u8>::new();
    /// trigger.remote().fire(1); // from any thread, this one too
    /// assert!(!d.is_ready());
    /// hosting::run_until_idle();
    /// d.inspect(|n| assert_eq!(*n, 1)).report();
    /// ```
    pub fn fire(self, value: T) {
        self.settle(Outcome::Ok(value));
    }

    /// Ends it with an error.
    ///
    /// ```
    /// # use thence_core::{Deferred, Failure, hosting};
    /// let (trigger, d) = Deferred::<u8>::new();
    /// trigger.remote().fail(Failure::msg("disk full"));
    /// hosting::run_until_idle();
    /// d.recover(|failure| failure.to_string().len() as u8).done(|n| assert_eq!(n, 9));
    /// ```
    pub fn fail(self, error: E) {
        self.settle(Outcome::Err(error));
    }

    /// Ends it with an outcome.
    ///
    /// ```
    /// # use thence_core::{Deferred, hosting};
    /// let (trigger, d) = Deferred::<u8>::new();
    /// trigger.remote().settle(Ok(1).into());
    /// hosting::run_until_idle();
    /// d.inspect(|n| assert_eq!(*n, 1)).report();
    /// ```
    pub fn settle(self, outcome: Outcome<T, E>) {
        // On a thread that has ended nobody reads it, and it is dropped here.
        reporting(|| self.0.send(outcome));
    }

    /// Whether somebody asked for the end.
    ///
    /// ```
    /// # use thence_core::{Deferred, hosting};
    /// let (trigger, d) = Deferred::<u8>::new();
    /// trigger.on_cancel(|| println!("the worker is told"));
    /// let remote = trigger.remote();
    /// d.cancel();
    /// assert!(remote.is_cancelled());
    /// # drop(remote);
    /// # hosting::run_until_idle();
    /// ```
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
