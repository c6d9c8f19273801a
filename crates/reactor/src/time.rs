//! Time, as Deferreds.

use std::{
    fmt,
    rc::Rc,
    time::{Duration, Instant},
};

use thence_core::{Deferred, Fault, Never, Outcome, hosting};

use crate::{
    hub::{Due, Hub},
    timers::{of_word, to_word},
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
    let (trigger, deferred) = hosting::source(take_back, hub.id);
    let deadline = later(hub.now(), delay);
    hub.at(deadline, |key| Due::Fire(trigger.at(to_word(key))));
    deferred
}

/// Takes a timer of a reactor of this thread out.
fn take_back(hub: u64, timer: u64) {
    let ours = Hub::try_current().filter(|ours| ours.id == hub);
    drop(ours.and_then(|hub| hub.cancel_timer(of_word(timer))));
}

/// Time for a Deferred that is there already.
pub trait DeferredExt<T, E: Fault>: Sized {
    /// Waits at most for `limit`: then the result is [`Elapsed`], at once, and whatever it was put
    /// on is asked to end.
    ///
    /// What that still yields goes back where it came from, as when a waiter leaves: no byte and
    /// no socket is lost to a timeout. Leaving it leaves what it was put on.
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

    /// As [`timeout`](DeferredExt::timeout), with the moment instead of the time until then: for
    /// several steps that share one limit.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thence_core::Deferred;
    /// use thence_reactor::{DeferredExt, now};
    /// # thence_reactor::run(async {
    ///
    /// let at = now() + Duration::from_secs(5);
    /// for _ in 0..3 {
    ///     let step = Deferred::<()>::ok(()).delay(Duration::from_millis(1));
    ///     step.deadline(at).await?; // five seconds for all three
    /// }
    /// # Ok(()) }).unwrap();
    /// ```
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

#[track_caller]
fn within<T: 'static, E>(
    deferred: Deferred<T, E>,
    deadline: Instant,
    limit: Duration,
) -> Deferred<T, E>
where
    E: Fault + From<Elapsed>,
{
    if deferred.is_ready() {
        return deferred;
    }
    let (interrupt, deferred) = deferred.interruptible();
    let hub = Hub::current("timeout");
    let weak = Rc::downgrade(&hub);
    hub.at(deadline, |key| {
        interrupt.on_over(move || drop(weak.upgrade().and_then(|hub| hub.cancel_timer(key))));
        Due::Call(Box::new(move || interrupt.settle(Outcome::Err(E::from(Elapsed { limit })))))
    });
    deferred
}

/// `after(Duration::MAX)` is a way to say never.
pub(crate) fn later(now: Instant, delay: Duration) -> Instant {
    now.checked_add(delay).unwrap_or_else(|| now + FOREVER)
}

/// As far as a clock can be trusted to count.
const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);
