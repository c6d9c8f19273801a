//! A lock: one at a time, in the order they came.
//!
//! Users' code: the locked value is dropped under a guard, by the last handle or guard; what
//! [`Lock::run`] calls is a callback. The value's `Debug` runs for whoever asks.

use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::rc::Rc;

use crate::dump::Dump;
use crate::guarded::let_go;
use crate::node::Site;
use crate::outcome::Never;
use crate::waiters::{Waiters, keep_until_end};
use crate::{Deferred, IntoDeferred};

/// A value that one holds at a time, across whatever he waits for meanwhile.
///
/// Code between two waits needs no lock: nothing else of its thread runs there. First come, first
/// served; a guard that is dropped goes straight to whoever waits longest, and one that was on its
/// way to somebody who left or was cancelled goes to the next. A panic releases the lock and
/// leaves the value as it is: there is no poison. Whoever asks again while he holds it waits for
/// himself, and [`Lock::dump`] shows it.
///
/// A clone is another handle on the same lock. A guard keeps the lock alive, so whoever waits is
/// served though all handles are dropped.
///
/// ```
/// use thence_core::{Deferred, Lock};
///
/// let account = Lock::new(10);
/// let (paid, answer) = Deferred::<()>::new();
/// account.run(move |balance| {
///     *balance -= 3;
///     answer
/// }).report();
/// let next = account.acquire(); // waits for the answer
/// assert_eq!((account.is_locked(), account.waiting()), (true, 1));
/// paid.fire(());
/// next.done(|balance| assert_eq!(*balance, 7));
/// assert!(!account.is_locked());
/// ```
#[doc(alias = "DeferredLock")]
#[doc(alias = "Mutex")]
pub struct Lock<T: 'static = ()>(Rc<Shared<T>>);

struct Shared<T: 'static> {
    /// `None` while a guard has it.
    value: Cell<Option<Box<T>>>,
    /// Where the guard that has it was asked for.
    holder: Cell<Option<Site>>,
    waiting: Waiters<Guard<T>, Never>,
}

impl<T: 'static> Drop for Shared<T> {
    fn drop(&mut self) {
        // By the last guard perhaps, while a panic unwinds.
        let_go(self.value.take());
    }
}

impl<T: 'static> Lock<T> {
    /// A lock that nobody holds.
    ///
    /// ```
    /// # use thence_core::Lock;
    /// let lock = Lock::new(vec![1]);
    /// assert!(!lock.is_locked());
    /// ```
    pub fn new(value: T) -> Self {
        Self(Rc::new(Shared {
            value: Cell::new(Some(Box::new(value))),
            holder: Cell::new(None),
            waiting: Waiters::default(),
        }))
    }

    /// The guard, when its turn has come.
    ///
    /// Who leaves or is cancelled is passed over.
    ///
    /// ```
    /// use thence_core::{Lock, flow};
    ///
    /// let total = Lock::new(1);
    /// let handle = total.clone();
    /// flow(async move {
    ///     let mut total = handle.acquire().await; // cannot fail: no `?`
    ///     *total += 1;
    ///     Ok(())
    /// })
    /// .report();
    /// assert_eq!(*total.try_acquire().unwrap(), 2);
    /// ```
    #[track_caller]
    pub fn acquire(&self) -> Deferred<Guard<T>, Never> {
        if let Some(guard) = self.try_acquire() {
            return Deferred::ok(guard);
        }
        let (trigger, d) = Deferred::infallible();
        self.0.waiting.join(trigger, ());
        d
    }

    /// The guard, if nobody holds the lock.
    ///
    /// ```
    /// # use thence_core::Lock;
    /// let lock = Lock::new(());
    /// let guard = lock.try_acquire();
    /// assert!(guard.is_some());
    /// assert!(lock.try_acquire().is_none());
    /// ```
    #[track_caller]
    pub fn try_acquire(&self) -> Option<Guard<T>> {
        let value = self.0.value.take()?;
        Some(guard(&self.0, value, Location::caller()))
    }

    /// Acquires the lock, runs `f`, and releases it when what `f` gave has ended: in a value, an
    /// error, a Stop, or a panic of `f`.
    ///
    /// A request to end takes it out of line while it waits, and goes on to what `f` gave after.
    ///
    /// ```
    /// use thence_core::{Deferred, Failure, Lock};
    ///
    /// let log = Lock::new(Vec::new());
    /// log.run(|lines| {
    ///     lines.push("opened");
    ///     Ok::<_, Failure>(lines.len())
    /// }).inspect(|n| assert_eq!(*n, 1)).report();
    /// ```
    #[track_caller]
    pub fn run<D: IntoDeferred>(
        &self,
        f: impl FnOnce(&mut T) -> D + 'static,
    ) -> Deferred<D::Value, D::Error> {
        let site = Location::caller();
        self.acquire().map_err(|never| match never {}).and_then(move |mut guard| {
            let d = f(&mut guard);
            keep_until_end(d, guard, site)
        })
    }

    /// Whether somebody holds it, or it is on its way to somebody.
    ///
    /// ```
    /// # use thence_core::Lock;
    /// let lock = Lock::new(());
    /// let _guard = lock.try_acquire();
    /// assert!(lock.is_locked());
    /// ```
    pub fn is_locked(&self) -> bool {
        self.0.holder.get().is_some()
    }

    /// How many wait for it.
    ///
    /// ```
    /// # use thence_core::Lock;
    /// let lock = Lock::new(());
    /// let guard = lock.try_acquire();
    /// let next = lock.acquire();
    /// assert_eq!(lock.waiting(), 1);
    /// # drop((guard, next));
    /// ```
    pub fn waiting(&self) -> usize {
        self.0.waiting.len()
    }

    /// Who holds it and who waits, in order: the sites where they asked for it.
    ///
    /// ```
    /// use thence_core::Lock;
    ///
    /// let lock = Lock::new(());
    /// assert_eq!(lock.dump().to_string(), "lock: free");
    /// let guard = lock.try_acquire();
    /// let next = lock.acquire();
    /// println!("{}", lock.dump());
    /// // lock: held, 1 waiting
    /// //     held by src/main.rs:5:18
    /// //     waiting src/main.rs:6:17
    /// # drop((guard, next));
    /// ```
    pub fn dump(&self) -> impl fmt::Display + use<T> {
        let Some(holder) = self.0.holder.get() else {
            return Dump::new("lock: free".to_owned());
        };
        let mut dump = Dump::new(format!("lock: held, {} waiting", self.waiting()));
        dump.line(format!("held by {holder}"));
        self.0.waiting.each(|site, ()| dump.line(format!("waiting {site}")));
        dump
    }
}

impl<T: Default + 'static> Default for Lock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: 'static> Clone for Lock<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: 'static> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("locked", &self.is_locked())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

/// The value of a [`Lock`], for whoever holds it. Dropping it releases the lock.
///
/// ```
/// use thence_core::Lock;
///
/// let lock = Lock::new(1);
/// let mut guard = lock.try_acquire().unwrap();
/// *guard += 1;
/// drop(guard); // releases
/// assert_eq!(*lock.try_acquire().unwrap(), 2);
/// ```
#[must_use = "dropping the guard releases the lock"]
pub struct Guard<T: 'static = ()> {
    /// `None` once it is being dropped.
    value: Option<Box<T>>,
    lock: Rc<Shared<T>>,
}

fn guard<T: 'static>(lock: &Rc<Shared<T>>, value: Box<T>, site: Site) -> Guard<T> {
    lock.holder.set(Some(site));
    Guard { value: Some(value), lock: lock.clone() }
}

impl<T: 'static> Drop for Guard<T> {
    fn drop(&mut self) {
        let Some(value) = self.value.take() else { return };
        match self.lock.waiting.pop() {
            Some(next) => {
                let site = next.trigger.site();
                next.trigger.fire(guard(&self.lock, value, site));
            }
            None => {
                self.lock.holder.set(None);
                self.lock.value.set(Some(value));
            }
        }
    }
}

impl<T: 'static> Deref for Guard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("a guard has its value until it is dropped")
    }
}

impl<T: 'static> DerefMut for Guard<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("a guard has its value until it is dropped")
    }
}

impl<T: fmt::Debug + 'static> fmt::Debug for Guard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guard").field(&**self).finish()
    }
}
