//! Time as a plain future.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use crate::{
    driver::Key,
    hub::{Due, Hub},
    time::{later, now},
};

/// Ends after `delay`, for code that takes futures only: hyper wants its timers `Send + Sync`.
///
/// Prefer [`after`](crate::after). This is a plain future: it does nothing until it is polled, and it belongs to
/// the reactor that polls it first.
///
/// ```
/// # thence_reactor::run(async {
/// thence_reactor::sleep(std::time::Duration::from_millis(1)).await;
/// # Ok(()) }).unwrap();
/// ```
pub fn sleep(delay: Duration) -> Sleep {
    let deadline = later(now(), delay);
    Sleep { deadline, timer: None, is_to_come: !delay.is_zero() }
}

/// As [`sleep`], with the moment instead of the time until then.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, timer: None, is_to_come: false }
}

/// What [`sleep`] gives. It holds the name of a timer and nothing of a thread, so it is `Send` and
/// `Sync`, but only the thread of its reactor can poll it.
#[derive(Debug)]
#[must_use = "a future does nothing until it is polled"]
pub struct Sleep {
    deadline: Instant,
    /// The reactor's number, and the timer.
    timer: Option<(u64, Key)>,
    /// It was still to come when it was made, which saves the first poll a look at the clock: if
    /// it has passed since, the timer fires in the next turn.
    is_to_come: bool,
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
        self.is_to_come = false;
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
        if !std::mem::take(&mut self.is_to_come) && hub.now() >= self.deadline {
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

#[allow(dead_code, reason = "checked by the compiler: hyper's timers must be Send and Sync")]
fn sleep_is_send_and_sync() {
    fn check<T: Send + Sync + Unpin>() {}
    check::<Sleep>();
}
