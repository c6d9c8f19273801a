//! Time, as Deferreds.

use std::{
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use thence_core::{Deferred, Fault, IntoDeferred, Never};

use crate::{
    driver::Key,
    hub::{Due, Hub},
};

/// Ends after `delay`, never early.
///
/// Timers fire by deadline and then in the order they were made. A cancelled one is taken out at
/// once.
///
/// ```
/// use std::time::Duration;
/// use thence_reactor::after;
/// # thence_reactor::run(async {
///
/// after(Duration::from_millis(5)).await;
/// after(Duration::from_millis(5)).done(|()| println!("beep"));
/// # Ok(()) }).unwrap();
/// ```
///
/// # Panics
///
/// When this thread has no reactor.
#[doc(alias = "callLater")]
#[doc(alias = "sleep")]
#[doc(alias = "setTimeout")]
#[track_caller]
pub fn after(delay: Duration) -> Deferred<(), Never> {
    let hub = Hub::current("after");
    let (trigger, deferred) = Deferred::infallible();
    let deadline = later(hub.now(), delay);
    hub.at(deadline, |key| {
        let weak = Rc::downgrade(&hub);
        trigger.on_cancel(move || {
            drop(weak.upgrade().and_then(|hub| hub.cancel_timer(key)));
        });
        Due::Fire(trigger)
    });
    deferred
}

/// Runs `f` each `period`, the first time after one, until the returned [`Every`] is stopped.
///
/// It does not drift: each time is a multiple of `period` after the start. What `f` returns is
/// waited for; times that pass meanwhile are left out. A failure is reported and ends nothing.
/// It does not hold the reactor open, and stops when that drains.
///
/// ```
/// # use thence_core::{Deferred, Failure, flow};
/// use std::time::Duration;
/// # thence_reactor::run(async {
///
/// let beeps = thence_reactor::every(Duration::from_millis(1), || {
///     println!("beep");
///     Ok::<(), Failure>(())
/// });
/// thence_reactor::after(Duration::from_millis(5)).await;
/// beeps.stop();
/// # Ok(()) }).unwrap();
/// ```
///
/// # Panics
///
/// When this thread has no reactor, or `period` is zero.
#[doc(alias = "LoopingCall")]
#[doc(alias = "setInterval")]
#[doc(alias = "interval")]
#[track_caller]
pub fn every<D>(period: Duration, f: impl FnMut() -> D + 'static) -> Every
where
    D: IntoDeferred<Value = ()>,
{
    assert!(!period.is_zero(), "`every` with a period of zero would never let anything else run");
    let hub = Hub::current("every");
    let state = Rc::new(Ticking {
        hub: Rc::downgrade(&hub),
        start: hub.now(),
        period,
        key: std::cell::Cell::new(None),
        stopped: std::cell::Cell::new(false),
        f: std::cell::RefCell::new(f),
    });
    let every = Every { hub: Rc::downgrade(&hub), ticking: state.clone() };
    state.schedule();
    every
}

/// What [`every`] gives: dropping it keeps the beat, [`stop`](Every::stop) ends it.
pub struct Every {
    hub: std::rc::Weak<Hub>,
    ticking: Rc<dyn Tick>,
}

impl Every {
    /// Runs no more. What runs now goes on to its end.
    pub fn stop(&self) {
        if let Some(key) = self.ticking.stop()
            && let Some(hub) = self.hub.upgrade()
        {
            drop(hub.cancel_timer(key));
        }
    }
}

impl fmt::Debug for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Every")
    }
}

/// Time for a Deferred that is there already.
pub trait DeferredExt<T, E: Fault>: Sized {
    /// Waits at most for `limit`: then the result is [`Elapsed`], at once, and whatever it was put
    /// on is asked to end.
    ///
    /// What that still yields goes back where it came from, as when a waiter leaves: no byte and
    /// no socket is lost to a timeout. One that is itself left waits on until its time is over; to
    /// end both, cancel it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thence_core::Deferred;
    /// use thence_reactor::{DeferredExt, Elapsed};
    /// # thence_reactor::run(async {
    ///
    /// let (_trigger, never) = Deferred::<u8>::new();
    /// let late = never.timeout(Duration::from_millis(1)).await;
    /// assert!(late.unwrap_err().is::<Elapsed>());
    /// # Ok(()) }).unwrap();
    /// ```
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    #[track_caller]
    fn timeout(self, limit: Duration) -> Deferred<T, E>
    where
        E: From<Elapsed>;

    /// As [`timeout`](DeferredExt::timeout), with the moment instead of the time until then.
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    #[track_caller]
    fn deadline(self, at: Instant) -> Deferred<T, E>
    where
        E: From<Elapsed>;

    /// Hands the value on `by` later. An error or a stop passes at once.
    ///
    /// # Panics
    ///
    /// When this thread has no reactor by the time the value is there, which ends it
    /// `Stop(Panicked)`.
    #[track_caller]
    fn delay(self, by: Duration) -> Deferred<T, E>;
}

impl<T: 'static, E: Fault> DeferredExt<T, E> for Deferred<T, E> {
    fn timeout(self, limit: Duration) -> Deferred<T, E>
    where
        E: From<Elapsed>,
    {
        let now = Hub::current("timeout").now();
        within(self, later(now, limit), limit)
    }

    fn deadline(self, at: Instant) -> Deferred<T, E>
    where
        E: From<Elapsed>,
    {
        let now = Hub::current("deadline").now();
        within(self, at, at.saturating_duration_since(now))
    }

    fn delay(self, by: Duration) -> Deferred<T, E> {
        self.and_then(move |value| after(by).map(move |()| value).map_err(|never| match never {}))
    }
}

/// Something took longer than it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Elapsed {
    /// The time it was given.
    pub limit: Duration,
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not done within {:?}", self.limit)
    }
}

impl std::error::Error for Elapsed {}

/// The time of this thread's reactor, which never goes back; of the clock where there is none.
///
/// In tests it is the clock of the `manual` driver.
pub fn now() -> Instant {
    Hub::try_current().map_or_else(Instant::now, |hub| hub.now())
}

/// Ends after `delay`, for code that takes futures only: hyper wants its timers `Send + Sync`.
///
/// Prefer [`after`]. This is a plain future: it does nothing until it is polled, and it belongs to
/// the reactor that polls it first.
///
/// ```
/// # thence_reactor::run(async {
/// thence_reactor::sleep(std::time::Duration::from_millis(1)).await;
/// # Ok(()) }).unwrap();
/// ```
pub fn sleep(delay: Duration) -> Sleep {
    sleep_until(later(now(), delay))
}

/// As [`sleep`], with the moment instead of the time until then.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, timer: None }
}

/// What [`sleep`] gives. It holds the name of a timer and nothing of a thread, so it is `Send` and
/// `Sync`, but only the thread of its reactor can poll it.
#[derive(Debug)]
#[must_use = "a future does nothing until it is polled"]
pub struct Sleep {
    deadline: Instant,
    /// The reactor's number, and the timer.
    timer: Option<(u64, Key)>,
}

impl Sleep {
    /// When it ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Ends at another moment.
    pub fn reset(&mut self, deadline: Instant) {
        self.forget();
        self.deadline = deadline;
    }

    fn forget(&mut self) {
        if let Some((id, key)) = self.timer.take()
            && let Some(hub) = Hub::try_current().filter(|hub| hub.id == id)
        {
            drop(hub.cancel_timer(key));
        }
    }
}

impl Future for Sleep {
    type Output = ();

    /// # Panics
    ///
    /// When this thread has no reactor, or another than at the first poll.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let hub = Hub::current("sleep");
        if hub.now() >= self.deadline {
            self.forget();
            return Poll::Ready(());
        }
        if let Some((id, key)) = self.timer {
            assert_eq!(id, hub.id, "a `Sleep` belongs to the reactor that polled it first");
            if hub.wake_timer(key, cx.waker()) {
                return Poll::Pending;
            }
        }
        let waker = cx.waker().clone();
        let key = hub.at(self.deadline, |_| Due::Wake(waker));
        self.timer = Some((hub.id, key));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Hub {
    /// Has a timer wake `waker`; false when it has fired.
    fn wake_timer(&self, key: Key, waker: &Waker) -> bool {
        let mut timers = self.timers.borrow_mut();
        match timers.get_mut(key) {
            Some(Due::Wake(kept)) => {
                kept.clone_from(waker);
                true
            }
            _ => false,
        }
    }
}

/// Waits for the end of `deferred` without taking its value, and hands it on whole: what nobody
/// takes in the end, after the time or because the waiter left, still knows its way back.
#[track_caller]
fn within<T: 'static, E>(
    deferred: Deferred<T, E>,
    deadline: Instant,
    limit: Duration,
) -> Deferred<T, E>
where
    E: Fault + From<Elapsed>,
{
    let canceller = deferred.canceller();
    let (trigger, ended) = Deferred::<(), Never>::infallible();
    let asked = canceller.clone();
    // The end comes from what was asked, by way of `finally`.
    trigger.on_cancel(move || asked.cancel());
    let deferred = deferred.finally(move || trigger.fire(()));
    Deferred::<Deferred<T, E>, E>::from_future(async move {
        let mut ended = pin!(ended.into_future());
        let mut timer = pin!(sleep_until(deadline));
        let in_time = poll_fn(|cx| {
            if ended.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            timer.as_mut().poll(cx).map(|()| false)
        })
        .await;
        if in_time {
            return Ok(deferred);
        }
        drop(deferred);
        canceller.cancel();
        Err(E::from(Elapsed { limit }))
    })
    .flatten()
}

/// `after(Duration::MAX)` is a way to say never.
pub(crate) fn later(now: Instant, delay: Duration) -> Instant {
    now.checked_add(delay).unwrap_or_else(|| now + FOREVER)
}

/// A beat, whatever it runs.
trait Tick {
    /// Ends it; gives the timer to take back.
    fn stop(&self) -> Option<Key>;
}

struct Ticking<F> {
    hub: std::rc::Weak<Hub>,
    start: Instant,
    period: Duration,
    key: std::cell::Cell<Option<Key>>,
    stopped: std::cell::Cell<bool>,
    f: std::cell::RefCell<F>,
}

impl<F, D> Ticking<F>
where
    F: FnMut() -> D + 'static,
    D: IntoDeferred<Value = ()>,
{
    /// Sets the timer for the first multiple of the period that is still to come.
    fn schedule(self: &Rc<Self>) {
        let Some(hub) = self.hub.upgrade() else { return };
        if self.stopped.get() || hub.drain.why().is_some() || !hub.is_alive() {
            return;
        }
        let passed = hub.now().saturating_duration_since(self.start);
        let periods = passed.as_nanos() / self.period.as_nanos() + 1;
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        let this = self.clone();
        let next = later(self.start, self.period.saturating_mul(periods));
        let key = hub.at(next, |_| Due::Call(Box::new(move || this.run())));
        self.key.set(Some(key));
    }

    fn run(self: Rc<Self>) {
        self.key.set(None);
        let draining = self.hub.upgrade().is_none_or(|hub| hub.drain.why().is_some());
        if self.stopped.get() || draining {
            return;
        }
        let this = self.clone();
        // `then` queues the run as a callback of its own, and sees its panic.
        Deferred::<(), D::Error>::attempt(move || (this.f.borrow_mut())())
            .then(move |outcome| {
                self.schedule();
                Deferred::ended(outcome)
            })
            .report();
    }
}

impl<F, D> Tick for Ticking<F>
where
    F: FnMut() -> D + 'static,
    D: IntoDeferred<Value = ()>,
{
    fn stop(&self) -> Option<Key> {
        self.stopped.set(true);
        self.key.take()
    }
}

/// As far as a clock can be trusted to count.
const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

#[allow(dead_code, reason = "checked by the compiler: hyper's timers must be Send and Sync")]
fn sleep_is_send_and_sync() {
    fn check<T: Send + Sync + Unpin>() {}
    check::<Sleep>();
}
