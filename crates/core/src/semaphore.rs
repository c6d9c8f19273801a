//! A semaphore: so many at a time, in the order they came.
//!
//! Users' code: none but what [`Semaphore::run`] calls, which is a callback.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::dump::Dump;
use crate::node::{Site, cx};
use crate::outcome::Never;
use crate::waiters::{Waiters, keep_until_end};
use crate::{Deferred, IntoDeferred};

/// A number of permits, of which everybody takes one or several and gives them back.
///
/// First come, first served, whatever the size: a big request is never overtaken by a small one
/// that came after it. A permit that was on its way to somebody who left or was cancelled goes to
/// the next.
///
/// A clone is another handle on the same permits. A [`Permit`] keeps the semaphore alive, so
/// whoever waits is served though all handles are dropped.
///
/// ```
/// use thence_core::{Deferred, Semaphore};
///
/// let dials = Semaphore::new(2);
/// let (connected, dial) = Deferred::<()>::new();
/// dials.run(move || dial).report();
/// assert_eq!((dials.available(), dials.limit()), (1, 2));
/// let both = dials.acquire_many(2); // waits
/// assert!(dials.try_acquire().is_none()); // and is not overtaken
/// connected.fire(());
/// both.done(|permit| assert_eq!(permit.count(), 2));
/// assert_eq!(dials.available(), 2);
/// ```
#[doc(alias = "DeferredSemaphore")]
#[derive(Clone)]
pub struct Semaphore(Rc<Shared>);

struct Shared {
    limit: usize,
    available: Cell<usize>,
    /// By number: whose permits are out, and how many.
    holders: RefCell<BTreeMap<u64, (Site, usize)>>,
    next_number: Cell<u64>,
    /// How many each of them asks for.
    waiting: Waiters<Permit, Never, usize>,
}

impl Semaphore {
    /// A semaphore of so many permits.
    ///
    /// # Panics
    ///
    /// If `limit` is 0: nobody could ever acquire anything.
    ///
    /// ```
    /// # use thence_core::Semaphore;
    /// let dials = Semaphore::new(2);
    /// assert_eq!(dials.available(), 2);
    /// ```
    pub fn new(limit: usize) -> Self {
        assert!(limit > 0, "a semaphore of 0 permits could never give one");
        Self(Rc::new(Shared {
            limit,
            available: Cell::new(limit),
            holders: RefCell::default(),
            next_number: Cell::new(0),
            waiting: Waiters::default(),
        }))
    }

    /// One permit, when its turn has come.
    ///
    /// Who leaves or is cancelled is passed over.
    ///
    /// ```
    /// # use thence_core::Semaphore;
    /// let dials = Semaphore::new(2);
    /// dials.acquire().done(|permit| {
    ///     println!("one of two");
    ///     drop(permit); // gives it back
    /// });
    /// ```
    #[track_caller]
    pub fn acquire(&self) -> Deferred<Permit, Never> {
        self.acquire_many(1)
    }

    /// So many permits at once, when their turn has come and all of them are there.
    ///
    /// # Panics
    ///
    /// If `count` is more than the [limit](Semaphore::limit): it would wait for ever.
    ///
    /// ```
    /// # use thence_core::Semaphore;
    /// let bytes = Semaphore::new(1 << 20);
    /// bytes.acquire_many(4096).done(|permit| assert_eq!(permit.count(), 4096));
    /// ```
    #[track_caller]
    pub fn acquire_many(&self, count: usize) -> Deferred<Permit, Never> {
        let limit = self.limit();
        assert!(count <= limit, "{count} permits of a semaphore that has {limit} are never there");
        if let Some(permit) = try_acquire(&self.0, count, Location::caller()) {
            return Deferred::ok(permit);
        }
        let (trigger, d) = Deferred::infallible();
        let semaphore = Rc::downgrade(&self.0);
        // What was too much for him may be enough for those behind him.
        self.0.waiting.join_then(trigger, count, move || {
            if let Some(semaphore) = semaphore.upgrade() {
                serve(&semaphore);
            }
        });
        d
    }

    /// One permit, if one is there and nobody waits for it.
    ///
    /// ```
    /// # use thence_core::Semaphore;
    /// let dials = Semaphore::new(1);
    /// let permit = dials.try_acquire();
    /// assert!(permit.is_some() && dials.try_acquire().is_none());
    /// ```
    #[track_caller]
    pub fn try_acquire(&self) -> Option<Permit> {
        try_acquire(&self.0, 1, Location::caller())
    }

    /// Acquires a permit, runs `f`, and gives the permit back when what `f` gave has ended: in a
    /// value, an error, a Stop, or a panic of `f`.
    ///
    /// ```
    /// use thence_core::{Deferred, Semaphore};
    ///
    /// let dials = Semaphore::new(1);
    /// let (connected, dial) = Deferred::<()>::new();
    /// dials.run(move || dial).report();
    /// assert_eq!(dials.available(), 0);
    /// connected.fire(());
    /// assert_eq!(dials.available(), 1);
    /// ```
    #[track_caller]
    pub fn run<D: IntoDeferred>(
        &self,
        f: impl FnOnce() -> D + 'static,
    ) -> Deferred<D::Value, D::Error> {
        let site = Location::caller();
        self.acquire()
            .map_err(|never| match never {})
            .and_then(move |permit| keep_until_end(f(), permit, site))
    }

    /// How many permits are there. With somebody waiting for more they are his.
    ///
    /// ```
    /// # use thence_core::Semaphore;
    /// let dials = Semaphore::new(2);
    /// let _permit = dials.try_acquire();
    /// assert_eq!(dials.available(), 1);
    /// ```
    pub fn available(&self) -> usize {
        self.0.available.get()
    }

    /// How many permits there are in all.
    ///
    /// ```
    /// # use thence_core::Semaphore;
    /// assert_eq!(Semaphore::new(2).limit(), 2);
    /// ```
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// How many wait.
    ///
    /// ```
    /// # use thence_core::Semaphore;
    /// let dials = Semaphore::new(1);
    /// let permit = dials.try_acquire();
    /// let next = dials.acquire();
    /// assert_eq!(dials.waiting(), 1);
    /// # drop((permit, next));
    /// ```
    pub fn waiting(&self) -> usize {
        self.0.waiting.len()
    }

    /// Who holds permits and who waits, in order: how many, and the sites where they asked.
    ///
    /// ```
    /// # use thence_core::Semaphore;
    /// let dials = Semaphore::new(1);
    /// let _permit = dials.try_acquire();
    /// println!("{}", dials.dump());
    /// ```
    pub fn dump(&self) -> impl fmt::Display + use<> {
        let (available, limit, waiting) = (self.available(), self.limit(), self.waiting());
        let mut dump =
            Dump::new(format!("semaphore: {available} of {limit} available, {waiting} waiting"));
        for (site, count) in self.0.holders.borrow().values() {
            dump.line(format!("{count} held by {site}"));
        }
        self.0.waiting.each(|site, count| dump.line(format!("waiting for {count} {site}")));
        dump
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available", &self.available())
            .field("limit", &self.limit())
            .field("waiting", &self.waiting())
            .finish()
    }
}

fn try_acquire(semaphore: &Rc<Shared>, count: usize, site: Site) -> Option<Permit> {
    let his_turn = semaphore.waiting.is_empty() && count <= semaphore.available.get();
    his_turn.then(|| grant(semaphore, count, site))
}

fn grant(semaphore: &Rc<Shared>, count: usize, site: Site) -> Permit {
    let number = semaphore.next_number.replace(semaphore.next_number.get() + 1);
    semaphore.available.set(semaphore.available.get() - count);
    semaphore.holders.borrow_mut().insert(number, (site, count));
    Permit { semaphore: semaphore.clone(), count, number }
}

/// Serves whoever comes first for as long as there is enough for him.
fn serve(semaphore: &Rc<Shared>) {
    // All of them stand in the queue before the first of them runs.
    cx().enter(|| {
        while let Some(next) = semaphore.waiting.pop_if(|count| *count <= semaphore.available.get())
        {
            let permit = grant(semaphore, next.with, next.trigger.site());
            next.trigger.fire(permit);
        }
    });
}

/// One or several permits of a [`Semaphore`]. Dropping it gives them back.
///
/// ```
/// # use thence_core::Semaphore;
/// let dials = Semaphore::new(1);
/// let permit = dials.try_acquire();
/// assert_eq!(dials.available(), 0);
/// drop(permit);
/// assert_eq!(dials.available(), 1);
/// ```
#[must_use = "dropping the permit gives it back"]
pub struct Permit {
    semaphore: Rc<Shared>,
    count: usize,
    number: u64,
}

impl Permit {
    /// How many permits it is.
    ///
    /// ```
    /// # use thence_core::Semaphore;
    /// Semaphore::new(3).acquire_many(2).done(|permit| assert_eq!(permit.count(), 2));
    /// ```
    pub fn count(&self) -> usize {
        self.count
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let semaphore = &self.semaphore;
        semaphore.holders.borrow_mut().remove(&self.number);
        semaphore.available.set(semaphore.available.get() + self.count);
        serve(semaphore);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("count", &self.count).finish_non_exhaustive()
    }
}
