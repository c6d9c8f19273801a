//! What happens again and again.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

use thence_core::{Deferred, IntoDeferred};

use crate::{
    drain::Intake,
    driver::Key,
    hub::{Due, Hub},
    time::later,
};

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
        key: Cell::new(None),
        stopped: Cell::new(false),
        f: RefCell::new(f),
    });
    state.schedule();
    let ticking: Rc<dyn Intake> = state;
    hub.drain.add(Rc::downgrade(&ticking));
    Every { ticking }
}

/// What [`every`] gives: dropping it keeps the beat, [`stop`](Every::stop) ends it.
pub struct Every {
    ticking: Rc<dyn Intake>,
}

impl Every {
    /// Runs no more. What runs now goes on to its end.
    pub fn stop(&self) {
        self.ticking.drain();
    }
}

impl fmt::Debug for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Every")
    }
}

struct Ticking<F> {
    hub: Weak<Hub>,
    start: Instant,
    period: Duration,
    key: Cell<Option<Key>>,
    stopped: Cell<bool>,
    f: RefCell<F>,
}

impl<F, D> Ticking<F>
where
    F: FnMut() -> D + 'static,
    D: IntoDeferred<Value = ()>,
{
    /// Sets the timer for the first multiple of the period that is still to come.
    fn schedule(self: &Rc<Self>) {
        let Some(hub) = self.hub.upgrade() else { return };
        if self.stopped.get() || !hub.is_alive() {
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
        if self.stopped.get() {
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

impl<F, D> Intake for Ticking<F>
where
    F: FnMut() -> D + 'static,
    D: IntoDeferred<Value = ()>,
{
    /// Stops for good: the reactor may run again, and this belongs to what has ended.
    fn drain(&self) {
        self.stopped.set(true);
        if let Some(key) = self.key.take()
            && let Some(hub) = self.hub.upgrade()
        {
            drop(hub.cancel_timer(key));
        }
    }
}
