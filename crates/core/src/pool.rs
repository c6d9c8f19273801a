//! Pooled things that go back only by hand.
//!
//! Users' code: `connect` runs as a callback, the predicate of [`Pool::retain`] for whoever calls
//! it, with the idle things taken out; things and `connect` are dropped under guards.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::rc::{Rc, Weak};

use crate::guarded::{Guarded, let_go, let_go_each};
use crate::waiters::Waiters;
use crate::{Deferred, Failure, Outcome};

/// A bounded pool of things that are costly to make: connections.
///
/// A [`Lease`] goes back only through [`Lease::give_back`]. One that is dropped, by a timeout, a
/// hang-up, a cancellation or a `?`, is closed: nobody ever reads the answer to another's
/// question (DESIGN.md §3.4).
///
/// ```
/// use thence_core::{Deferred, Pool};
///
/// let pool = Pool::new(1, || Deferred::ok(String::from("connection")));
/// pool.lease().inspect(|c| assert_eq!(&***c, "connection")).map(|c| c.give_back()).report();
/// assert_eq!((pool.open(), pool.idle()), (1, 1));
/// pool.lease().map(drop).report(); // dropped, so closed
/// assert_eq!((pool.open(), pool.idle()), (0, 0));
/// ```
pub struct Pool<C: 'static>(Rc<Shared<C>>);

struct Shared<C: 'static> {
    /// In the order they came back in; the last is leased first.
    idle: RefCell<VecDeque<C>>,
    waiting: Waiters<Lease<C>, Failure>,
    connect: Guarded<Box<dyn Fn() -> Deferred<C>>>,
    /// Idle, leased, or being made.
    open: Cell<usize>,
    making: Cell<usize>,
    max: usize,
}

impl<C: 'static> Pool<C> {
    /// A pool of at most `max` things, each made by `connect` when none is idle.
    ///
    /// # Panics
    ///
    /// If `max` is 0: nobody could ever lease anything.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use thence_core::{Deferred, Pool};
    ///
    /// let dialled = Cell::new(0);
    /// let pool = Pool::new(4, move || {
    ///     dialled.set(dialled.get() + 1);
    ///     Deferred::ok(format!("connection {}", dialled.get()))
    /// });
    /// assert_eq!(pool.open(), 0); // none is made before it is wanted
    /// ```
    pub fn new(max: usize, connect: impl Fn() -> Deferred<C> + 'static) -> Self {
        assert!(max > 0, "a pool of at most 0 things could never lease one");
        Self(Rc::new(Shared {
            idle: RefCell::default(),
            waiting: Waiters::default(),
            connect: Guarded::new(Box::new(connect)),
            open: Cell::new(0),
            making: Cell::new(0),
            max,
        }))
    }

    /// Leases one: idle, the last that was given back, or new, or the next that is given back or
    /// closed. First come, first served; one who leaves or is cancelled is passed over, and what had been handed to him
    /// goes to the next.
    ///
    /// Fails with what `connect` fails with.
    ///
    /// ```
    /// use thence_core::{Deferred, Pool};
    ///
    /// let pool = Pool::new(1, || Deferred::ok("connection"));
    /// let first = pool.lease();
    /// let second = pool.lease(); // waits: there is one
    /// assert_eq!(pool.waiting(), 1);
    /// first.map(|lease| lease.give_back()).report();
    /// assert!(second.is_ready());
    /// second.map(|lease| lease.give_back()).report();
    /// ```
    #[track_caller]
    pub fn lease(&self) -> Deferred<Lease<C>> {
        let (trigger, d) = Deferred::new();
        trigger.on_unclaimed(|lease: Lease<C>| lease.give_back());
        self.0.waiting.join(trigger, ());
        serve(&self.0);
        d
    }

    /// Leases one that is made for it, though others may be idle: for whoever has just met one that
    /// was of no use. In a pool that is full the oldest idle one is closed for it; where none is idle,
    /// it waits as [`Pool::lease`] does, for whichever comes.
    ///
    /// Fails with what `connect` fails with.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use thence_core::{Deferred, Pool};
    ///
    /// let dialled = Cell::new(0);
    /// let pool = Pool::new(4, move || Deferred::ok(dialled.replace(dialled.get() + 1)));
    /// pool.lease().map(|lease| lease.give_back()).report();
    /// pool.lease_new().map(|lease| assert_eq!(*lease, 1)).report();
    /// assert_eq!(pool.idle(), 1); // the other is where it was
    /// ```
    #[track_caller]
    pub fn lease_new(&self) -> Deferred<Lease<C>> {
        if self.0.open.get() < self.0.max {
            self.0.open.set(self.0.open.get() + 1);
        } else {
            // The new one takes its place, whatever its drop asks of this pool.
            let oldest = self.0.idle.borrow_mut().pop_front();
            let Some(oldest) = oldest else { return self.lease() };
            let_go(oldest);
        }
        let (home, pool) = (self.0.clone(), self.0.clone());
        let made = Deferred::<(), Failure>::ok(()).and_then(move |()| (pool.connect)());
        made.then(move |outcome| {
            if let Outcome::Ok(thing) = outcome {
                return Deferred::ok(Lease { thing: Some(thing), pool: Rc::downgrade(&home) });
            }
            home.open.set(home.open.get() - 1);
            serve(&home);
            Deferred::ended(outcome.map(|_| unreachable!("the value was taken above")))
        })
    }

    /// How many are idle.
    ///
    /// ```
    /// # use thence_core::{Deferred, Pool};
    /// let pool = Pool::new(2, || Deferred::ok("connection"));
    /// pool.lease().map(|lease| lease.give_back()).report();
    /// assert_eq!(pool.idle(), 1);
    /// ```
    pub fn idle(&self) -> usize {
        self.0.idle.borrow().len()
    }

    /// How many there are: idle, leased, or being made.
    ///
    /// ```
    /// # use thence_core::{Deferred, Pool};
    /// let pool = Pool::new(2, || Deferred::ok("connection"));
    /// let lease = pool.lease();
    /// assert_eq!((pool.open(), pool.idle()), (1, 0));
    /// # lease.map(drop).report();
    /// ```
    pub fn open(&self) -> usize {
        self.0.open.get()
    }

    /// How many wait for one.
    ///
    /// ```
    /// # use thence_core::{Deferred, Pool};
    /// let (_dialling, connection) = Deferred::<u8>::new();
    /// let connection = std::cell::RefCell::new(Some(connection));
    /// let pool = Pool::new(1, move || connection.take().expect("one is made"));
    /// let lease = pool.lease();
    /// assert_eq!(pool.waiting(), 1);
    /// # lease.cancel();
    /// ```
    pub fn waiting(&self) -> usize {
        self.0.waiting.len()
    }

    /// Closes what is idle and not `fit`.
    ///
    /// ```
    /// # use thence_core::{Deferred, Pool};
    /// let pool = Pool::new(2, || Deferred::ok("connection"));
    /// pool.lease().map(|lease| lease.give_back()).report();
    /// pool.retain(|connection| connection.is_empty());
    /// assert_eq!(pool.open(), 0);
    /// ```
    pub fn retain(&self, mut fit: impl FnMut(&mut C) -> bool) {
        let idle = std::mem::take(&mut *self.0.idle.borrow_mut());
        let mut sorting = Sorting { left: idle, kept: Vec::new(), pool: &self.0 };
        while let Some(thing) = sorting.left.pop_front() {
            // Counted before `fit` may panic: what it looks at is closed then.
            self.0.open.set(self.0.open.get() - 1);
            let mut thing = Guarded::new(thing);
            if fit(&mut thing) {
                self.0.open.set(self.0.open.get() + 1);
                sorting.kept.push(thing.into_inner());
            }
        }
    }

    /// Closes those that have been idle for longest, one after the other, until one is not `stale`.
    /// That one is looked at, the others are not: it costs no more than what it closes.
    ///
    /// ```
    /// # use std::cell::Cell;
    /// # use thence_core::{Deferred, Pool};
    /// let made = Cell::new(0);
    /// let pool = Pool::new(9, move || {
    ///     made.set(made.get() + 1);
    ///     Deferred::ok(made.get())
    /// });
    /// let leases = [(); 3].map(|()| pool.lease());
    /// leases.into_iter().for_each(|lease| lease.map(|lease| lease.give_back()).report());
    /// pool.close_oldest(|number| *number != 2);
    /// assert_eq!(pool.idle(), 2);
    /// ```
    pub fn close_oldest(&self, mut stale: impl FnMut(&mut C) -> bool) {
        // However it ends: what was closed made room.
        let _serving = Serving(&self.0);
        loop {
            let Some(oldest) = self.0.idle.borrow_mut().pop_front() else { return };
            // Counted before `stale` may panic: what it looks at is closed then.
            self.0.open.set(self.0.open.get() - 1);
            let mut oldest = Guarded::new(oldest);
            if !stale(&mut oldest) {
                self.0.open.set(self.0.open.get() + 1);
                self.0.idle.borrow_mut().push_front(oldest.into_inner());
                return;
            }
        }
    }
}

/// Hands out what is there, at its end.
struct Serving<'a, C: 'static>(&'a Rc<Shared<C>>);

impl<C: 'static> Drop for Serving<'_, C> {
    fn drop(&mut self) {
        serve(self.0);
    }
}

/// Puts back what is kept, however the sorting ends.
struct Sorting<'a, C: 'static> {
    left: VecDeque<C>,
    kept: Vec<C>,
    pool: &'a Rc<Shared<C>>,
}

impl<C: 'static> Drop for Sorting<'_, C> {
    fn drop(&mut self) {
        let mut idle = self.pool.idle.borrow_mut();
        let came_back = std::mem::take(&mut *idle);
        idle.extend(self.kept.drain(..).chain(self.left.drain(..)).chain(came_back));
        drop(idle);
        // However it ended: what was closed made room.
        serve(self.pool);
    }
}

impl<C: 'static> Drop for Shared<C> {
    fn drop(&mut self) {
        let_go_each(self.idle.take());
    }
}

impl<C: 'static> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C: 'static> fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("idle", &self.idle())
            .field("open", &self.open())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

/// Hands out what is there, and makes more while somebody waits and there is room.
fn serve<C: 'static>(pool: &Rc<Shared<C>>) {
    while !pool.waiting.is_empty() {
        let Some(thing) = pool.idle.borrow_mut().pop_back() else { break };
        let lease = Lease { thing: Some(thing), pool: Rc::downgrade(pool) };
        match pool.waiting.pop() {
            Some(next) => next.trigger.fire(lease),
            None => return lease.give_back(),
        }
    }
    loop {
        let short = pool.waiting.len().saturating_sub(pool.making.get());
        if short == 0 || pool.open.get() >= pool.max {
            return;
        }
        make(pool);
    }
}

fn make<C: 'static>(pool: &Rc<Shared<C>>) {
    pool.open.set(pool.open.get() + 1);
    pool.making.set(pool.making.get() + 1);
    let home = pool.clone();
    let made = Deferred::<(), Failure>::ok(()).and_then({
        let pool = pool.clone();
        move |()| (pool.connect)()
    });
    made.then(move |outcome| {
        home.making.set(home.making.get() - 1);
        match outcome {
            Outcome::Ok(thing) => home.idle.borrow_mut().push_back(thing),
            outcome => {
                home.open.set(home.open.get() - 1);
                let outcome = outcome.map(|_| unreachable!("the value was taken above"));
                match home.waiting.pop() {
                    Some(next) => next.trigger.settle(outcome),
                    // Nobody waits any more; what failed is still said.
                    None => drop(Deferred::<Lease<C>>::ended(outcome)),
                }
            }
        }
        serve(&home);
        Ok::<(), Failure>(())
    })
    .report();
}

/// A thing that is leased from a [`Pool`]. Dropped, it is closed.
///
/// ```
/// use thence_core::{Deferred, Failure, Pool};
///
/// fn answer(connection: &str) -> Result<usize, Failure> {
///     Ok(connection.len())
/// }
///
/// let pool = Pool::new(1, || Deferred::ok("connection"));
/// let d = pool.lease().and_then(|lease| {
///     let n = answer(&lease)?; // on an error the lease is dropped, and so closed
///     lease.give_back();
///     Ok(n)
/// });
/// d.inspect(|n| assert_eq!(*n, 10)).report();
/// ```
pub struct Lease<C: 'static> {
    /// `None` once it was given back.
    thing: Option<C>,
    pool: Weak<Shared<C>>,
}

impl<C: 'static> Lease<C> {
    /// Gives it back to its pool, for the next one. Only for a thing that is in step again: its
    /// answer read to the end.
    ///
    /// ```
    /// # use thence_core::{Deferred, Pool};
    /// let pool = Pool::new(2, || Deferred::ok("connection"));
    /// pool.lease().map(|lease| lease.give_back()).report();
    /// assert_eq!(pool.idle(), 1);
    /// ```
    pub fn give_back(mut self) {
        let Some(thing) = self.thing.take() else { return };
        match self.pool.upgrade() {
            Some(pool) => {
                pool.idle.borrow_mut().push_back(thing);
                serve(&pool);
            }
            None => let_go(thing),
        }
    }

    /// Takes it out of the pool for good.
    ///
    /// ```
    /// # use thence_core::{Deferred, Pool};
    /// let pool = Pool::new(2, || Deferred::ok("connection"));
    /// pool.lease().map(|lease| assert_eq!(lease.detach(), "connection")).report();
    /// assert_eq!(pool.open(), 0); // the pool may make another
    /// ```
    #[expect(clippy::missing_panics_doc, reason = "a lease holds its thing until it is consumed")]
    pub fn detach(mut self) -> C {
        let thing = self.thing.take().expect("a lease holds its thing until it is consumed");
        closed(&self.pool);
        thing
    }
}

impl<C: 'static> Drop for Lease<C> {
    fn drop(&mut self) {
        if let Some(thing) = self.thing.take() {
            // A panic in it keeps nobody from its place.
            let_go(thing);
            closed(&self.pool);
        }
    }
}

fn closed<C: 'static>(pool: &Weak<Shared<C>>) {
    if let Some(pool) = pool.upgrade() {
        pool.open.set(pool.open.get() - 1);
        serve(&pool);
    }
}

impl<C: 'static> Deref for Lease<C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.thing.as_ref().expect("a lease holds its thing until it is consumed")
    }
}

impl<C: 'static> DerefMut for Lease<C> {
    fn deref_mut(&mut self) -> &mut C {
        self.thing.as_mut().expect("a lease holds its thing until it is consumed")
    }
}

impl<C: fmt::Debug + 'static> fmt::Debug for Lease<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.thing).finish()
    }
}
