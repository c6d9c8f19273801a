//! The reactor: waits for something to happen, does what you wanted, repeats.

use std::{
    env, fmt, io,
    os::fd::BorrowedFd,
    rc::Rc,
    sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use thence_core::{
    Failure, flow,
    hosting::{self, Closed, Inbox},
};

use crate::{
    drain::Why,
    driver::{self, Driver, choice},
    hub::Hub,
    jobs::Jobs,
    turn::Turner,
    watchdog::Watchdog,
};

/// An event loop of this thread.
///
/// Most programs only [`run`](crate::run). Build one to set something, or to drive it from another
/// loop: [`turn`](Reactor::turn), [`next_timeout`](Reactor::next_timeout) and
/// [`as_fd`](Reactor::as_fd) are all that such a loop needs.
///
/// A thread has one at a time, which is its current one from its making to its drop; it stays on
/// that thread.
///
/// ```
/// use std::time::Duration;
/// use thence_reactor::{Reactor, after};
///
/// let mut reactor = Reactor::builder().drain(Duration::from_secs(2)).build()?;
/// let answer = reactor.run(async {
///     after(Duration::from_millis(1)).await;
///     Ok(42)
/// })?;
/// assert_eq!(answer, 42);
/// # Ok::<(), thence_core::Failure>(())
/// ```
///
/// ```compile_fail,E0277
/// # let reactor = thence_reactor::Reactor::builder().build().unwrap();
/// std::thread::spawn(move || drop(reactor)); // it belongs to its thread
/// ```
pub struct Reactor {
    pub(crate) hub: Rc<Hub>,
    pub(crate) turner: Turner,
    pub(crate) drain: Duration,
    pub(crate) signals: bool,
    /// What the last run's drain deadline cut, a line each.
    pub(crate) cut: Vec<String>,
    inbox: Arc<Inbox>,
}

impl Reactor {
    /// Says what a reactor shall be like.
    pub fn builder() -> Builder {
        Builder {
            drain: Duration::from_secs(10),
            signals: true,
            budget: 512,
            spin: None,
            watchdog: Some(Duration::from_millis(25)),
            pool_threads: thread::available_parallelism().map_or(4, |n| n.get().max(4)),
            pool_queue: 1024,
            driver: None,
        }
    }

    /// One round: waits at most `timeout` (for ever on `None`) until something happens, delivers
    /// it, and runs what that set off, up to the budget.
    ///
    /// It never touches signals.
    ///
    /// # Errors
    ///
    /// When the operating system refuses to wait.
    ///
    /// # Panics
    ///
    /// Inside a callback.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.round(timeout)?;
        if !self.inbox.is_empty() {
            // It came too late for this turn and woke nobody, for the loop was awake. Somebody may
            // wait on the descriptor now.
            self.inbox.nudge();
        }
        Ok(())
    }

    /// A turn that is followed by another.
    pub(crate) fn round(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.turner.turn(&self.hub, timeout)
    }

    /// How long the next turn may be put off; `None` as long as nothing happens.
    pub fn next_timeout(&self) -> Option<Duration> {
        self.turner.wait(&self.hub, None)
    }

    /// The descriptor that becomes readable when input or another thread makes a turn due; for
    /// timers, and for what a turn left to the next one, see [`next_timeout`](Reactor::next_timeout).
    /// `None` with a driver that has none.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.turner.fd()
    }

    /// What it holds now: for a test that nothing is left, and for a program's own figures.
    ///
    /// ```
    /// use thence_reactor::{Live, Reactor};
    ///
    /// let reactor = Reactor::builder().build()?;
    /// assert_eq!(reactor.live(), Live::default());
    /// # Ok::<(), thence_core::Failure>(())
    /// ```
    pub fn live(&self) -> Live {
        Live {
            driver: self.hub.driver.borrow().live(),
            timers: self.hub.timers.borrow().len(),
            jobs: self.hub.jobs.unfinished(),
            unsent: self.hub.unsent.get(),
        }
    }

    /// A handle for other threads.
    pub fn handle(&self) -> Handle {
        Handle { inbox: self.inbox.clone(), alive: self.hub.alive.clone() }
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("driver", &self.hub.driver.borrow().name())
            .field("timers", &self.hub.timers.borrow().len())
            .field("jobs", &self.hub.jobs)
            .finish_non_exhaustive()
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        let held = hosting::hold();
        self.inbox.clear_waker();
        self.inbox.park();
        self.hub.close();
        // Whoever drains has waited already; a job that is still running is on its own.
        let (unstarted, running) = self.hub.jobs.close(std::time::Instant::now());
        drop(unstarted);
        if running > 0 {
            tracing::warn!("{running} offloaded jobs were still running at the reactor's end");
        }
        drop(held);
        // Delivers the ends of what was dropped here and, unless a callback dropped the reactor,
        // runs what they set off.
        hosting::deliver_inbox(usize::MAX);
    }
}

/// What a reactor holds at one moment, [`thence_core::hosting::live`] aside: all zero when nothing
/// was begun or everything has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Live {
    /// What its driver holds.
    pub driver: driver::Live,
    /// Timers that are set.
    pub timers: usize,
    /// Offloaded jobs that have not ended.
    pub jobs: usize,
    /// Connections with bytes that have not left.
    pub unsent: usize,
}

/// Says what a [`Reactor`] shall be like.
#[must_use = "it builds nothing until `build`"]
pub struct Builder {
    drain: Duration,
    signals: bool,
    budget: usize,
    spin: Option<Duration>,
    watchdog: Option<Duration>,
    pool_threads: usize,
    pool_queue: usize,
    driver: Option<Box<dyn Driver>>,
}

impl Builder {
    /// How long the end of a run waits for what is unfinished. 10 s unless said.
    pub fn drain(mut self, deadline: Duration) -> Self {
        self.drain = deadline;
        self
    }

    /// Whether SIGINT and SIGTERM begin the drain. They do unless said.
    pub fn signals(mut self, on: bool) -> Self {
        self.signals = on;
        self
    }

    /// How many callbacks a turn runs before it looks for events again. 512 unless said.
    pub fn budget(mut self, callbacks: usize) -> Self {
        self.budget = callbacks.max(1);
        self
    }

    /// How long a turn that has nothing to do looks for something, again and again, before it lets
    /// the operating system wake it: microseconds, some tens of them.
    ///
    /// Whatever comes within that time is met without a sleep and a wake-up, and another thread
    /// posts without a call to the operating system. The price is a processor that is busy so much
    /// longer each time. Unless said, as many microseconds as the environment variable
    /// `THENCE_SPIN_US` says, or else none. With [`Manual`](crate::driver::manual::Manual) there is
    /// no spinning, since no time passes.
    pub fn spin(mut self, limit: Duration) -> Self {
        self.spin = Some(limit);
        self
    }

    /// After how long a blocked loop is reported; `None` for never. 25 ms unless said.
    pub fn watchdog(mut self, limit: Option<Duration>) -> Self {
        self.watchdog = limit;
        self
    }

    /// How many threads run offloaded jobs, at most. As many as there are processors, and four at
    /// least, unless said.
    pub fn pool_threads(mut self, threads: usize) -> Self {
        self.pool_threads = threads.max(1);
        self
    }

    /// How many offloaded jobs may wait for a thread. 1,024 unless said.
    pub fn pool_queue(mut self, jobs: usize) -> Self {
        self.pool_queue = jobs.max(1);
        self
    }

    /// What it asks of the operating system, and how. Unless said, the one that the environment
    /// variable `THENCE_DRIVER` names, or else the best there is, which is `ready`. With
    /// [`Manual`](crate::driver::manual::Manual) there is no watchdog, since no time passes.
    pub fn driver(mut self, driver: impl Driver) -> Self {
        self.driver = Some(Box::new(driver));
        self
    }

    /// Builds it and makes it this thread's reactor.
    ///
    /// # Errors
    ///
    /// When this thread has a reactor already, the operating system has no descriptor left, or one
    /// of the environment variables says what nobody can do.
    pub fn build(self) -> Result<Reactor, Failure> {
        if Hub::try_current().is_some() {
            return Err(Failure::msg(
                "this thread has a reactor already: inside it use `.await` or `flow`, and drop it \
                 before you build another",
            ));
        }
        let (mut driver, choice) = match self.driver {
            Some(driver) => (driver, None),
            None => choice::make().map(|(driver, choice)| (driver, Some(choice)))?,
        };
        let mut spin = self.spin.map_or_else(spin_of_choice, Ok)?;
        let fd = driver.as_fd().map(|fd| fd.try_clone_to_owned()).transpose()?;
        let jobs = Jobs::new(self.pool_queue, self.pool_threads);
        let mut watchdog = self.watchdog;
        if driver.adopt_jobs(&jobs) {
            jobs.without_threads();
            watchdog = None;
            spin = Duration::ZERO;
        }
        static FIRST: Once = Once::new();
        FIRST.call_once(|| match choice {
            Some(choice) => tracing::info!("the driver is {choice}"),
            None => tracing::info!("the driver is `{}`", driver.name()),
        });
        let inbox = hosting::inbox();
        inbox.set_waker(driver.waker());
        let hub = Hub::new(driver, jobs);
        hub.make_current();
        let watchdog = watchdog.and_then(|limit| Watchdog::start(limit, hosting::beacon()));
        Ok(Reactor {
            hub,
            turner: Turner::new(inbox.clone(), self.budget, spin, watchdog, fd),
            drain: self.drain,
            signals: self.signals,
            cut: Vec::new(),
            inbox,
        })
    }
}

/// How long the environment wants the loop to spin.
fn spin_of_choice() -> Result<Duration, Failure> {
    let Some(said) = env::var_os("THENCE_SPIN_US").filter(|said| !said.is_empty()) else {
        return Ok(Duration::ZERO);
    };
    match said.to_str().and_then(|said| said.parse().ok()) {
        Some(micros) => Ok(Duration::from_micros(micros)),
        None => Err(Failure::msg(format!(
            "THENCE_SPIN_US is `{}`, which is no number: say for how many microseconds the loop \
             shall spin before it sleeps, as in THENCE_SPIN_US=50, or nothing",
            said.display()
        ))),
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("drain", &self.drain)
            .field("signals", &self.signals)
            .field("budget", &self.budget)
            .field("spin", &self.spin)
            .field("watchdog", &self.watchdog)
            .field("pool_threads", &self.pool_threads)
            .field("pool_queue", &self.pool_queue)
            .field("driver", &self.driver.as_ref().map(|driver| driver.name()))
            .finish()
    }
}

/// Reaches a reactor from other threads.
///
/// ```
/// use thence_reactor::Reactor;
///
/// let mut reactor = Reactor::builder().build()?;
/// let handle = reactor.handle();
/// let other = std::thread::spawn(move || handle.stop());
/// let ended = reactor.run(async {
///     thence_reactor::draining().await;
///     Ok("stopped")
/// })?;
/// assert_eq!(ended, "stopped");
/// other.join().unwrap().unwrap();
/// # Ok::<(), thence_core::Failure>(())
/// ```
#[derive(Clone)]
pub struct Handle {
    inbox: Arc<Inbox>,
    alive: Arc<AtomicBool>,
}

impl Handle {
    /// Runs `f` on the reactor's thread, as a callback, in the order of the calls.
    ///
    /// # Errors
    ///
    /// [`Closed`] when the reactor has ended.
    #[doc(alias = "callFromThread")]
    #[track_caller]
    pub fn call(&self, f: impl FnOnce() + Send + 'static) -> Result<(), Closed> {
        self.post(move || {
            flow(async move {
                f();
                Ok(())
            })
            .report();
        })
    }

    /// Begins the drain, as a signal would.
    ///
    /// # Errors
    ///
    /// [`Closed`] when the reactor has ended.
    pub fn stop(&self) -> Result<(), Closed> {
        self.post(|| {
            if let Some(hub) = Hub::try_current() {
                hub.begin_drain(Why::Stopped);
            }
        })
    }

    fn post(&self, f: impl FnOnce() + Send + 'static) -> Result<(), Closed> {
        if !self.alive.load(Ordering::Relaxed) {
            return Err(Closed);
        }
        // The thread may have another reactor by the time this arrives.
        let alive = self.alive.clone();
        self.inbox.post(Box::new(move || {
            if alive.load(Ordering::Relaxed) {
                f();
            }
        }))
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("alive", &self.alive).finish_non_exhaustive()
    }
}
