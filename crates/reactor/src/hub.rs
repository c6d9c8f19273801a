//! What a reactor and its sources share: the driver, the timers, and who waits for what.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Waker,
    time::{Duration, Instant},
};

use thence_core::{Never, Outcome, Stop, Trigger};

use crate::{
    dns::Lookups,
    drain::Drain,
    driver::{Buffers, Done, Driver, Key, Op, Socket},
    jobs::Jobs,
    offload::Waiting,
    signals::SignalSource,
    timers::Wheel,
};

/// The shared part of a reactor. Sources hold it strongly, so it outlives a reactor that is gone;
/// it is closed then and starts nothing any more.
pub(crate) struct Hub {
    /// No other hub has this number, nor will.
    pub(crate) id: u64,
    pub(crate) driver: RefCell<Box<dyn Driver>>,
    pub(crate) timers: RefCell<Wheel<Due>>,
    pub(crate) jobs: Jobs,
    pub(crate) drain: Drain,
    /// Jobs that wait for room in the queue.
    pub(crate) waiting: RefCell<VecDeque<Waiting>>,
    pub(crate) lookups: Lookups,
    pub(crate) signals: RefCell<Vec<Rc<SignalSource>>>,
    /// Connections with bytes that the driver does not have yet.
    pub(crate) unsent: Cell<usize>,
    /// Cleared at the reactor's end, for handles on other threads.
    pub(crate) alive: Arc<AtomicBool>,
    sinks: RefCell<Vec<Option<(Key, Rc<dyn Sink>)>>>,
    dirty: RefCell<Vec<Rc<dyn Flush>>>,
    told: RefCell<Vec<Rc<dyn Flush>>>,
    origin: Instant,
}

/// Takes the end of an operation.
pub(crate) trait Sink {
    /// `key` has ended. Called with the queue held.
    fn completed(self: Rc<Self>, key: Key, result: io::Result<Done>);

    /// `key` has brought something, and goes on. Called with the queue held.
    fn progressed(self: Rc<Self>, key: Key, done: Done) {
        self.completed(key, Ok(done));
    }

    /// The reactor is gone and nothing will complete: whoever waits ends cancelled.
    fn abandoned(&self);
}

/// Collects during a turn what goes out at its end.
pub(crate) trait Flush: Sink {
    fn flush(self: Rc<Self>);

    /// What was flushed has gone out. Called in the turn after it, with the queue held.
    fn told(self: Rc<Self>);
}

/// What a timer does when it is due.
pub(crate) enum Due {
    Call(Box<dyn FnOnce()>),
    Fire(Trigger<(), Never>),
    Wake(Waker),
}

impl Hub {
    pub(crate) fn new(driver: Box<dyn Driver>, jobs: Jobs) -> Rc<Self> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Rc::new(Hub {
            id: LAST.fetch_add(1, Ordering::Relaxed) + 1,
            origin: driver.now(),
            driver: RefCell::new(driver),
            timers: RefCell::new(Wheel::new()),
            jobs,
            drain: Drain::default(),
            waiting: RefCell::default(),
            lookups: Lookups::default(),
            signals: RefCell::default(),
            unsent: Cell::new(0),
            alive: Arc::new(AtomicBool::new(true)),
            sinks: RefCell::default(),
            dirty: RefCell::default(),
            told: RefCell::default(),
        })
    }

    /// The hub of this thread's reactor.
    ///
    /// # Panics
    ///
    /// When there is none; `who` is what the caller called.
    #[track_caller]
    pub(crate) fn current(who: &str) -> Rc<Self> {
        match Self::try_current() {
            Some(hub) => hub,
            None => panic!(
                "`{who}` needs a reactor, and this thread has none: call it inside \
                 `thence::run(async {{ .. }})`, or build one first and keep it \
                 (`Reactor::builder().build()`)"
            ),
        }
    }

    pub(crate) fn try_current() -> Option<Rc<Self>> {
        // A thread that ends has none any more.
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
    }

    pub(crate) fn make_current(self: &Rc<Self>) {
        CURRENT.set(Some(self.clone()));
    }

    /// Starts an operation whose end goes to `sink`.
    ///
    /// # Errors
    ///
    /// When the reactor is gone: nothing would ever end it.
    pub(crate) fn submit(&self, op: Op, sink: Rc<dyn Sink>) -> io::Result<Key> {
        if !self.is_alive() {
            return Err(io::Error::other("the reactor of this has ended"));
        }
        let key = self.driver.borrow_mut().submit(op);
        let mut sinks = self.sinks.borrow_mut();
        if sinks.len() <= key.index() {
            sinks.resize_with(key.index() + 1, || None);
        }
        sinks[key.index()] = Some((key, sink));
        Ok(key)
    }

    pub(crate) fn cancel(&self, key: Key) {
        if self.is_alive() {
            self.driver.borrow_mut().cancel(key);
        }
    }

    /// Whoever waits for `key`; for the last time, unless `more` is to come.
    pub(crate) fn sink_of(&self, key: Key, more: bool) -> Option<Rc<dyn Sink>> {
        let mut sinks = self.sinks.borrow_mut();
        let slot = sinks.get_mut(key.index())?;
        if more {
            let (_, sink) = slot.as_ref().filter(|(owner, _)| *owner == key)?;
            return Some(sink.clone());
        }
        let (_, sink) = slot.take_if(|(owner, _)| *owner == key)?;
        Some(sink)
    }

    /// Sends at once what the driver can; see [`Driver::send_now`].
    pub(crate) fn send_now(
        &self,
        socket: &Socket,
        buffers: &mut Buffers,
    ) -> Option<io::Result<usize>> {
        if !self.is_alive() {
            return None;
        }
        self.driver.borrow_mut().send_now(socket, buffers)
    }

    /// Has `what` told in the next turn that it is through.
    pub(crate) fn tell_later(&self, what: Rc<dyn Flush>) {
        self.told.borrow_mut().push(what);
    }

    /// Tells those of [`tell_later`](Hub::tell_later); called with the queue held.
    pub(crate) fn tell(&self) {
        if !self.has_to_tell() {
            return;
        }
        let mut told = self.told.take();
        for what in told.drain(..) {
            what.told();
        }
        let mut next = self.told.borrow_mut();
        if next.is_empty() {
            *next = told;
        }
    }

    /// Whether somebody is to be told something in the next turn.
    pub(crate) fn has_to_tell(&self) -> bool {
        !self.told.borrow().is_empty()
    }

    /// Has `what` flushed before the reactor waits again.
    pub(crate) fn flush_later(&self, what: Rc<dyn Flush>) {
        if !self.is_alive() {
            // Nobody would, and the list would keep it, and it this, for ever.
            what.abandoned();
            return;
        }
        self.dirty.borrow_mut().push(what);
    }

    pub(crate) fn flush(&self) {
        while self.is_dirty() {
            let mut dirty = self.dirty.take();
            for what in dirty.drain(..) {
                what.flush();
            }
            // The list is used again, unless a flush made one.
            let mut next = self.dirty.borrow_mut();
            if next.is_empty() {
                *next = dirty;
            }
        }
    }

    /// Whether something waits to be flushed.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.borrow().is_empty()
    }

    pub(crate) fn now(&self) -> Instant {
        self.driver.borrow().now()
    }

    /// Sets a timer of what `what` makes of its key.
    pub(crate) fn at(&self, deadline: Instant, what: impl FnOnce(Key) -> Due) -> Key {
        self.timers.borrow_mut().add_with(self.nanos(deadline), what)
    }

    /// Takes a timer back.
    pub(crate) fn cancel_timer(&self, key: Key) -> Option<Due> {
        self.timers.borrow_mut().cancel(key)
    }

    /// The next timer that is due.
    pub(crate) fn pop_due(&self, now: Instant) -> Option<Due> {
        self.timers.borrow_mut().pop_due(self.nanos(now))
    }

    /// How long until the next timer.
    pub(crate) fn until_next_timer(&self) -> Option<Duration> {
        let next = self.timers.borrow_mut().next_deadline()?;
        Some(Duration::from_nanos(next.saturating_sub(self.nanos(self.now()))))
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    /// The reactor is gone: everything that waits for it ends, and nothing new begins.
    pub(crate) fn close(&self) {
        self.alive.store(false, Ordering::Relaxed);
        let _ = CURRENT.try_with(|current| {
            let mut current = current.borrow_mut();
            if current.as_ref().is_some_and(|hub| hub.id == self.id) {
                *current = None;
            }
        });
        // What these own may own sources, whose drops come back here.
        let timers = self.timers.borrow_mut().clear();
        for due in timers {
            if let Due::Fire(trigger) = due {
                trigger.settle(Outcome::Stop(Stop::Cancelled));
            }
        }
        self.lookups.close();
        drop(self.waiting.take());
        drop(self.signals.take());
        for unsent in self.dirty.take().into_iter().chain(self.told.take()) {
            unsent.abandoned();
        }
        for (_, sink) in self.sinks.take().into_iter().flatten() {
            sink.abandoned();
        }
        self.drain.close();
    }

    /// Nanoseconds of this reactor's clock. A time before its start counts as its start.
    fn nanos(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.origin).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}

impl Due {
    /// Does it; called with the queue held.
    pub(crate) fn come(self) {
        match self {
            Due::Call(f) => f(),
            Due::Fire(trigger) => trigger.fire(()),
            Due::Wake(waker) => waker.wake(),
        }
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Hub>>> = const { RefCell::new(None) };
}
