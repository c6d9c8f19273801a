//! The reactor's timers as hyper wants them.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// hyper asks for `Send + Sync`; the reactor's `Sleep` is, because it holds only the name of a
/// timer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReactorTimer;

impl Timer for ReactorTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Asleep(thence_reactor::sleep(duration)))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Asleep(thence_reactor::sleep_until(deadline)))
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<Asleep>() {
            Some(asleep) => asleep.get_mut().0.reset(deadline),
            None => *sleep = self.sleep_until(deadline),
        }
    }

    fn now(&self) -> Instant {
        thence_reactor::now()
    }
}

struct Asleep(thence_reactor::Sleep);

impl Future for Asleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl Sleep for Asleep {}

/// A limit that can be added to any time: what is longer than ten years is as good as none.
pub(crate) fn bounded(limit: Duration) -> Duration {
    limit.min(TEN_YEARS)
}

const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
