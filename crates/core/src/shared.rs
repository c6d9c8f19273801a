//! One work, many waiters.
//!
//! Users' code: `Clone` of the value, or of the error and its trail, runs caught, with the line
//! not borrowed; what is left at the end is given back, told or dropped under a guard.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::{Rc, Weak};

use crate::deferred::Canceller;
use crate::fault::{Fault, Step};
use crate::guarded::{Guarded, held, let_go};
use crate::node::{self, Passing, Site, cx};
use crate::outcome::{Never, Outcome, Panic, Stop};
use crate::slot::Slot;
use crate::steps::{Arrive, Map};
use crate::{Deferred, Failure, Trigger};

/// Something that finishes later and that many wait for: each gets a copy of how it ended.
///
/// [`Deferred::shared`] makes it. Waiters are resumed in the order they came; handing the copies
/// out is one callback. A handle is no waiter: it neither keeps the work going nor stops it.
///
/// * A waiter that **leaves** is passed over, and the work goes on even if nobody is left.
/// * A waiter that **asks** for the end while others wait has it at once, `Stop(Cancelled)`: it
///   asked for itself alone. The last one's request is passed on to the work, and that waiter ends
///   with it. So the work is asked when every waiter has asked or left, and one at least has asked.
///   Whoever comes after that waits for the same end.
/// * An **error** or a **stop** is each waiter's own: whoever leaves its copy unhandled is
///   reported. One that no waiter took is reported once, when the last handle is dropped; a
///   **value** that no waiter took goes back where it came from.
///
/// # Single flight
///
/// Many who ask for one thing while it is being fetched cause one fetch, in three lines. Nobody
/// joins one that has ended or was asked to end; the next who asks forgets it:
///
/// ```
/// # use std::{cell::RefCell, collections::HashMap};
/// # use thence_core::{Deferred, Shared, Trigger};
/// # thread_local! { static FETCHES: RefCell<Vec<Trigger<String>>> = RefCell::default(); }
/// # fn fetch(_: &str) -> Deferred<String> {
/// #     let (trigger, d) = Deferred::new();
/// #     FETCHES.with_borrow_mut(|all| all.push(trigger));
/// #     d
/// # }
/// fn page(flights: &mut HashMap<String, Shared<String>>, key: &str) -> Deferred<String> {
///     flights.retain(|_, flight| !flight.is_ready() && !flight.is_cancelled());
///     let flight = flights.entry(key.to_owned()).or_insert_with(|| fetch(key).shared());
///     flight.wait()
/// }
/// # let mut flights = HashMap::new();
/// # page(&mut flights, "a").inspect(|text| assert_eq!(text, "A")).report();
/// # page(&mut flights, "a").inspect(|text| assert_eq!(text, "A")).report();
/// # let fetches = FETCHES.take();
/// # assert_eq!(fetches.len(), 1);
/// # fetches.into_iter().for_each(|trigger| trigger.fire("A".to_owned()));
/// # page(&mut flights, "a").inspect(|text| assert_eq!(text, "B")).report();
/// # FETCHES.take().into_iter().for_each(|trigger| trigger.fire("B".to_owned()));
/// ```
pub struct Shared<T: Clone + 'static, E: Fault + Clone = Failure>(Rc<Work<T, E>>);

/// What the handles and the work's own end share.
struct Work<T: Clone + 'static, E: Fault + Clone> {
    site: Site,
    end: OnceCell<End<T, E>>,
    /// The line, while the work has not ended or its copies are being handed out.
    line: RefCell<Line<T, E>>,
    above: RefCell<Option<Canceller>>,
    /// Some waiter asked for the end.
    asked: Cell<bool>,
    /// The request was passed on.
    cancelled: Cell<bool>,
    /// Some waiter took what it ended with.
    taken: Cell<bool>,
}

struct Line<T: 'static, E: Fault> {
    /// By the order in which they came.
    waiters: BTreeMap<u64, Trigger<T, E>>,
    last: u64,
    is_served: bool,
}

struct End<T: 'static, E: Fault> {
    slot: Slot<T, E>,
    way: Option<Box<dyn FnOnce(T)>>,
}

impl<T: Clone + 'static, E: Fault + Clone> Deferred<T, E> {
    /// Lets many wait for it; see [`Shared`].
    ///
    /// ```
    /// use thence_core::Deferred;
    ///
    /// let (trigger, d) = Deferred::<u8>::new();
    /// let shared = d.shared();
    /// for _ in 0..3 {
    ///     shared.wait().inspect(|n| assert_eq!(*n, 7)).report();
    /// }
    /// trigger.fire(7);
    /// shared.wait().inspect(|n| assert_eq!(*n, 7)).report(); // whoever comes late has it too
    /// ```
    #[doc(alias = "broadcast")]
    #[doc(alias = "multicast")]
    #[doc(alias = "fork")]
    #[track_caller]
    pub fn shared(self) -> Shared<T, E> {
        let site = Location::caller();
        let work = Rc::new(Work {
            site,
            end: OnceCell::new(),
            line: RefCell::new(Line { waiters: BTreeMap::new(), last: 0, is_served: false }),
            above: RefCell::default(),
            asked: Cell::new(false),
            cancelled: Cell::new(false),
            taken: Cell::new(false),
        });
        let ended = work.clone();
        let arrive = Arrive::new(move |slot, from| {
            ended.arrived(slot, from);
            Slot::<(), Never>::Ok(())
        });
        let above = self.step(arrive, site);
        if work.end.get().is_none() {
            work.above.replace(Some(above.canceller()));
        }
        Shared(work)
    }
}

impl<T: Clone + 'static, E: Fault + Clone> Shared<T, E> {
    /// One more waiter; also after it has ended.
    ///
    /// ```
    /// # use thence_core::Deferred;
    /// let shared = Deferred::<u8>::ok(7).shared();
    /// shared.wait().inspect(|n| assert_eq!(*n, 7)).report();
    /// ```
    #[track_caller]
    pub fn wait(&self) -> Deferred<T, E> {
        let work = &self.0;
        let (trigger, deferred) = Deferred::with_error();
        let mut line = work.line.borrow_mut();
        if line.is_served {
            drop(line);
            cx().enter(|| work.serve_one(trigger));
            return deferred;
        }
        line.last += 1;
        let place = line.last;
        let (asking, leaving) = (Rc::downgrade(work), Rc::downgrade(work));
        trigger.on_cancel(move || Work::asked(&asking, place));
        trigger.on_left(move || Work::left(&leaving, place));
        line.waiters.insert(place, trigger);
        deferred
    }

    /// Whether it has ended, so that a [`Shared::wait`] from now on is ready.
    ///
    /// ```
    /// # use thence_core::Deferred;
    /// let (trigger, d) = Deferred::<u8>::new();
    /// let shared = d.shared();
    /// assert!(!shared.is_ready());
    /// trigger.fire(1);
    /// assert!(shared.is_ready());
    /// ```
    pub fn is_ready(&self) -> bool {
        self.0.line.borrow().is_served
    }

    /// Whether the request to end was passed on to the work.
    ///
    /// ```
    /// # use thence_core::Deferred;
    /// let (_trigger, d) = Deferred::<u8>::new();
    /// let shared = d.shared();
    /// let only = shared.wait();
    /// only.cancel();
    /// assert!(shared.is_cancelled());
    /// # drop(only);
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.get()
    }

    /// How many wait: who left, and who asked for the end while others waited, does not count.
    ///
    /// ```
    /// # use thence_core::Deferred;
    /// let (trigger, d) = Deferred::<u8>::new();
    /// let shared = d.shared();
    /// let waiters = [shared.wait(), shared.wait()];
    /// assert_eq!(shared.waiting(), 2);
    /// # trigger.fire(1);
    /// # drop(waiters);
    /// ```
    pub fn waiting(&self) -> usize {
        self.0.line.borrow().waiters.len()
    }
}

impl<T: Clone + 'static, E: Fault + Clone> Work<T, E> {
    fn arrived(self: Rc<Self>, mut slot: Slot<T, E>, from: Passing<'_>) {
        self.above.take();
        let way = from.way_back();
        slot.passed(Step { site: self.site, label: None });
        if self.end.set(End { slot, way }).is_err() {
            unreachable!("an outcome arrives once");
        }
        let is_alone = self.line.borrow().waiters.is_empty();
        if is_alone {
            self.line.borrow_mut().is_served = true;
            return;
        }
        // What has arrived is handed on now, what the waiters fire when its turn comes: in a
        // callback of its own, so that a waiter with many steps keeps its place before the next.
        let site = self.site;
        drop(Deferred::<(), Never>::ok(()).step(Map(move |()| self.serve()), site));
    }

    fn serve(self: Rc<Self>) {
        loop {
            let mut line = self.line.borrow_mut();
            let Some((_, trigger)) = line.waiters.pop_first() else {
                line.is_served = true;
                return;
            };
            drop(line);
            self.serve_one(trigger);
        }
    }

    fn serve_one(self: &Rc<Self>, trigger: Trigger<T, E>) {
        let end = self.end.get().expect("waiters are served after the end");
        let copied = catch_unwind(AssertUnwindSafe(|| match &end.slot {
            Slot::Ok(value) => Slot::Ok(value.clone()),
            Slot::Err(error, trail) => {
                let error = Guarded::new(error.clone());
                let trail = trail.clone();
                Slot::Err(error.into_inner(), trail)
            }
            Slot::Stop(stop) => Slot::Stop(stop.clone()),
        }));
        let copy = match copied {
            Ok(copy) => copy,
            Err(payload) => {
                // Whoever gets this has not taken what it was to be a copy of.
                let step = Step { site: self.site, label: None };
                trigger.settle(Outcome::Stop(Stop::Panicked(Panic::new(payload, Some(step)))));
                return;
            }
        };
        if end.way.is_some() {
            // As long as every copy comes back, nobody has taken it.
            let lent = Lent { work: self.clone(), came_back: false };
            trigger.on_unclaimed(move |value| lent.come_back(value));
        } else if trigger.is_wanted() {
            self.taken.set(true);
        }
        trigger.settle_slot(copy);
    }

    fn asked(this: &Weak<Self>, place: u64) {
        let Some(work) = this.upgrade() else { return };
        work.asked.set(true);
        let mut line = work.line.borrow_mut();
        if line.waiters.len() > 1 {
            let trigger = line.waiters.remove(&place);
            drop(line);
            // Dropped after a request: it ends cancelled.
            drop(trigger);
            return;
        }
        drop(line);
        work.cancel();
    }

    fn left(this: &Weak<Self>, place: u64) {
        let Some(work) = this.upgrade() else { return };
        let mut line = work.line.borrow_mut();
        let trigger = line.waiters.remove(&place);
        let is_alone = line.waiters.is_empty();
        drop(line);
        if let Some(trigger) = trigger {
            // Nobody sees this end.
            trigger.settle(Outcome::Stop(Stop::Cancelled));
        }
        // To leave after the request was passed on is no second one: clean-up may be going on.
        if is_alone && work.asked.get() && !work.cancelled.get() {
            work.cancel();
        }
    }

    fn cancel(&self) {
        let above = self.above.borrow().clone();
        if let Some(above) = above {
            self.cancelled.set(true);
            above.cancel();
        }
    }
}

impl<T: Clone + 'static, E: Fault + Clone> Drop for Work<T, E> {
    fn drop(&mut self) {
        let Some(End { slot, way }) = self.end.take() else { return };
        match (slot, way) {
            (Slot::Ok(value), Some(way)) if !self.taken.get() => held(|| way(value)),
            (slot, _) if self.taken.get() && !slot.is_ok() => slot.let_go(),
            (slot, way) => {
                let_go(way);
                node::discard(slot, self.site);
            }
        }
    }
}

/// A copy that a waiter was given of a value that has a way back.
struct Lent<T: Clone + 'static, E: Fault + Clone> {
    work: Rc<Work<T, E>>,
    came_back: bool,
}

impl<T: Clone + 'static, E: Fault + Clone> Lent<T, E> {
    fn come_back(mut self, value: T) {
        self.came_back = true;
        drop(value);
    }
}

impl<T: Clone + 'static, E: Fault + Clone> Drop for Lent<T, E> {
    fn drop(&mut self) {
        if !self.came_back {
            self.work.taken.set(true);
        }
    }
}

impl<T: Clone + 'static, E: Fault + Clone> Clone for Shared<T, E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Clone + 'static, E: Fault + Clone> fmt::Debug for Shared<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("ready", &self.is_ready())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}
