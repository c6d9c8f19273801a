//! Signals of the operating system, as Deferreds.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt, io,
    rc::{Rc, Weak},
};

use thence_core::{Deferred, Never, Outcome, Stop, Trigger};

use crate::{
    driver::{Done, Key, Op, Socket},
    hub::{Hub, Sink},
};

/// Ends with the next arrival of `signal`.
///
/// From the first call on, the signal no longer does what it does by default, as long as the
/// reactor lives; one that arrives while nobody waits is kept for the next call, and many of them
/// count as one. When the reactor drains, whoever waits ends `Stop(Cancelled)`.
///
/// ```
/// # use thence_core::flow;
/// use thence_reactor::{Signal, signal};
/// # thence_reactor::run(async {
///
/// flow::<()>(async {
///     loop {
///         signal(Signal::Hangup).await;
///         println!("reading the configuration again");
///     }
/// })
/// .report();
/// # Ok(()) }).unwrap();
/// ```
///
/// When the signal cannot be watched (no descriptor is left) this says so in the log and ends
/// `Stop(Lost)`.
///
/// # Panics
///
/// When this thread has no reactor.
#[track_caller]
pub fn signal(signal: Signal) -> Deferred<(), Never> {
    let hub = Hub::current("signal");
    let (trigger, deferred) = Deferred::infallible();
    match SignalSource::of(&hub, signal) {
        Ok(source) => source.wait(trigger),
        Err(error) => {
            tracing::error!("{signal} cannot be watched: {error}");
            trigger.settle(Outcome::Stop(Stop::lost()));
        }
    }
    deferred
}

/// A signal that a program may wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// SIGHUP: the terminal is gone, or by custom: read the configuration again.
    Hangup,
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGQUIT: Ctrl-\.
    Quit,
    /// SIGTERM: please end.
    Terminate,
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
    /// SIGWINCH: the terminal has another size.
    WindowChange,
}

impl Signal {
    /// Its number on this system.
    pub fn number(self) -> i32 {
        use signal_hook::consts;
        match self {
            Signal::Hangup => consts::SIGHUP,
            Signal::Interrupt => consts::SIGINT,
            Signal::Quit => consts::SIGQUIT,
            Signal::Terminate => consts::SIGTERM,
            Signal::User1 => consts::SIGUSR1,
            Signal::User2 => consts::SIGUSR2,
            Signal::WindowChange => consts::SIGWINCH,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Signal::Hangup => "SIGHUP",
            Signal::Interrupt => "SIGINT",
            Signal::Quit => "SIGQUIT",
            Signal::Terminate => "SIGTERM",
            Signal::User1 => "SIGUSR1",
            Signal::User2 => "SIGUSR2",
            Signal::WindowChange => "SIGWINCH",
        })
    }
}

/// One signal of one reactor.
pub(crate) struct SignalSource {
    signal: Signal,
    hub: Weak<Hub>,
    socket: Socket,
    this: Weak<Self>,
    state: RefCell<State>,
    /// Whether its arrival drains the reactor.
    drains: Cell<bool>,
}

#[derive(Default)]
struct State {
    /// It arrived and nobody has had it.
    arrived: bool,
    waiters: VecDeque<(u64, Trigger<(), Never>)>,
    next: u64,
}

impl SignalSource {
    /// The source of `signal`, made when it is asked for first.
    pub(crate) fn of(hub: &Rc<Hub>, signal: Signal) -> io::Result<Rc<Self>> {
        if let Some(source) = hub.signals.borrow().iter().find(|source| source.signal == signal) {
            return Ok(source.clone());
        }
        let socket = hub.driver.borrow_mut().watch_signal(signal.number())?;
        let source = Rc::new_cyclic(|this| SignalSource {
            signal,
            hub: Rc::downgrade(hub),
            socket,
            this: this.clone(),
            state: RefCell::default(),
            drains: Cell::new(false),
        });
        source.watch();
        hub.signals.borrow_mut().push(source.clone());
        Ok(source)
    }

    /// Whether from now on its arrival begins the drain, and ends it the second time.
    pub(crate) fn set_drains(&self, drains: bool) {
        self.drains.set(drains);
    }

    fn wait(self: Rc<Self>, trigger: Trigger<(), Never>) {
        if self.hub.upgrade().is_none_or(|hub| hub.drain.why().is_some()) {
            trigger.settle(Outcome::Stop(Stop::Cancelled));
            return;
        }
        let mut state = self.state.borrow_mut();
        let id = state.next;
        state.next += 1;
        let source = self.this.clone();
        trigger.on_cancel(move || {
            let Some(source) = source.upgrade() else { return };
            let mut state = source.state.borrow_mut();
            let place = state.waiters.iter().position(|(waiter, _)| *waiter == id);
            let waiter = place.and_then(|place| state.waiters.remove(place));
            drop(state);
            drop(waiter);
        });
        state.waiters.push_back((id, trigger));
        drop(state);
        self.serve();
    }

    /// Gives an arrival to everybody who waits: it is news, not a thing to be handed out once.
    fn serve(&self) {
        let mut state = self.state.borrow_mut();
        if !state.arrived || state.waiters.is_empty() {
            return;
        }
        state.arrived = false;
        let waiters = std::mem::take(&mut state.waiters);
        drop(state);
        // When all of them have left, it is news for the next one.
        let untold = Rc::new(Cell::new(waiters.len()));
        for (_, trigger) in waiters {
            let (source, untold) = (self.this.clone(), untold.clone());
            trigger.on_unclaimed(move |()| {
                untold.set(untold.get() - 1);
                let Some(source) = source.upgrade().filter(|_| untold.get() == 0) else { return };
                source.state.borrow_mut().arrived = true;
                source.serve();
            });
            trigger.fire(());
        }
    }

    /// Nobody waits any longer: the reactor drains.
    pub(crate) fn end_waits(&self) {
        let waiters = std::mem::take(&mut self.state.borrow_mut().waiters);
        for (_, trigger) in waiters {
            trigger.settle(Outcome::Stop(Stop::Cancelled));
        }
    }

    fn watch(self: &Rc<Self>) {
        let Some(hub) = self.hub.upgrade() else { return };
        let op = Op::Recv { socket: self.socket.clone(), max: 64 };
        // Without a reactor there is nobody to tell.
        let _ = hub.submit(op, self.clone());
    }
}

impl Sink for SignalSource {
    fn completed(self: Rc<Self>, _: Key, result: io::Result<Done>) {
        match result {
            Ok(Done::Received(bytes)) if !bytes.is_empty() => {
                if self.drains.get()
                    && let Some(hub) = self.hub.upgrade()
                {
                    // One byte for each time.
                    bytes.iter().for_each(|_| hub.drain_on(self.signal));
                }
                self.state.borrow_mut().arrived = true;
                self.serve();
                self.watch();
            }
            Err(error) if !crate::driver::is_cancelled(&error) => {
                tracing::error!("{} is no longer watched: {error}", self.signal);
            }
            _ => {}
        }
    }

    fn abandoned(&self) {
        self.end_waits();
    }
}

impl Drop for SignalSource {
    fn drop(&mut self) {
        self.end_waits();
    }
}
