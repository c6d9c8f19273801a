//! The end of a run: who is told that it has begun, and why.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Weak,
};

use thence_core::{Deferred, Never, Outcome, Stop, Trigger};

use crate::{hub::Hub, signals::Signal};

/// Ends when the reactor begins to drain: main has ended, a signal came, or somebody called
/// [`Handle::stop`](crate::Handle::stop).
///
/// What takes in new work stops then by itself (listeners do); this is for whatever else has to
/// know, such as a server that answers its last requests with `Connection: close`.
///
/// ```
/// # thence_reactor::run(async {
/// thence_reactor::draining().done(|()| println!("no more new work"));
/// # Ok(()) }).unwrap();
/// ```
///
/// # Panics
///
/// When this thread has no reactor.
#[track_caller]
pub fn draining() -> Deferred<(), Never> {
    let hub = Hub::current("draining");
    let (trigger, deferred) = Deferred::infallible();
    if hub.drain.why.get().is_some() {
        trigger.fire(());
    } else {
        hub.drain.wait(trigger);
    }
    deferred
}

/// Why a reactor drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// Main has ended.
    Ended,
    /// A signal came.
    Signal(Signal),
    /// [`Handle::stop`](crate::Handle::stop) was called.
    Stopped,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Ended => f.write_str("main has ended"),
            Why::Signal(signal) => write!(f, "{signal}"),
            Why::Stopped => f.write_str("stop() was called"),
        }
    }
}

/// The error of a run that was drained before its main had a value to give.
///
/// A main that wants to end well on a signal waits for it: `draining().await; Ok(())`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Drained {
    /// What began the drain.
    pub why: Why,
}

impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stopped before main had ended: {}", self.why)
    }
}

impl std::error::Error for Drained {}

/// Takes in work from outside and stops to when the drain begins.
pub(crate) trait Intake {
    fn drain(&self);
}

/// The state of the drain.
#[derive(Default)]
pub(crate) struct Drain {
    why: Cell<Option<Why>>,
    /// A second signal: end now.
    cut: Cell<Option<Signal>>,
    told: RefCell<Vec<Trigger<(), Never>>>,
    intakes: RefCell<Vec<Weak<dyn Intake>>>,
}

impl Drain {
    pub(crate) fn why(&self) -> Option<Why> {
        self.why.get()
    }

    pub(crate) fn cut(&self) -> Option<Signal> {
        self.cut.get()
    }

    /// A run begins.
    pub(crate) fn reset(&self) {
        self.why.set(None);
        self.cut.set(None);
    }

    fn begin(&self, why: Why) {
        self.why.set(Some(why));
        for trigger in self.told.take() {
            trigger.fire(());
        }
        for intake in self.intakes.take() {
            if let Some(intake) = intake.upgrade() {
                intake.drain();
            }
        }
    }

    /// A signal came while draining: it ends the drain. Main's own end does not count for a first
    /// one, so that a Ctrl-C after it is not rash.
    fn signal(&self, signal: Signal) {
        match self.why.get() {
            Some(Why::Signal(_)) => self.cut.set(Some(signal)),
            _ => self.why.set(Some(Why::Signal(signal))),
        }
    }

    /// Has `intake` told when the drain begins; at once when it has.
    pub(crate) fn add(&self, intake: Weak<dyn Intake>) {
        if self.why.get().is_some() {
            if let Some(intake) = intake.upgrade() {
                intake.drain();
            }
            return;
        }
        let mut intakes = self.intakes.borrow_mut();
        if intakes.len() == intakes.capacity() {
            intakes.retain(|intake| intake.strong_count() > 0);
        }
        intakes.push(intake);
    }

    fn wait(&self, trigger: Trigger<(), Never>) {
        let mut told = self.told.borrow_mut();
        let mut left = Vec::new();
        if told.len() == told.capacity() {
            // A server may ask once a request: those who have left must not pile up.
            left.extend(told.extract_if(.., |trigger| !trigger.is_wanted()));
            let used = told.len();
            told.reserve(used + 8);
        }
        told.push(trigger);
        drop(told);
        cancel_all(left);
    }

    /// Ends those who would still wait.
    pub(crate) fn close(&self) {
        cancel_all(self.told.take());
        self.intakes.take();
    }
}

impl Hub {
    /// Begins the drain, once.
    pub(crate) fn begin_drain(&self, why: Why) {
        if self.drain.why().is_some() {
            return;
        }
        self.drain.begin(why);
        let signals = self.signals.borrow().clone();
        signals.iter().for_each(|source| source.end_waits());
    }

    /// A signal came: the first begins the drain, the next ends it.
    pub(crate) fn drain_on(&self, signal: Signal) {
        match self.drain.why() {
            None => self.begin_drain(Why::Signal(signal)),
            Some(_) => self.drain.signal(signal),
        }
    }
}

fn cancel_all(triggers: Vec<Trigger<(), Never>>) {
    for trigger in triggers {
        trigger.settle(Outcome::Stop(Stop::Cancelled));
    }
}
