//! Accepting, whatever the sockets are.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    io,
    rc::{Rc, Weak},
    time::Duration,
};

use rustix::io::Errno;
use thence_core::{Failure, Outcome, Stop, Trigger};

use super::Transport;
use crate::{
    drain::Intake,
    driver::{Address, Done, Key, Op, Socket, is_cancelled},
    hub::{Due, Hub, Sink},
    time::later,
};

/// A listening socket, and who waits for its connections.
pub(super) struct Acceptor<S: Accepted>(Rc<Inner<S>>);

/// What a listener gives.
pub(super) trait Accepted: Sized + 'static {
    /// Where a connection comes from.
    type From: 'static;

    fn accepted(transport: Transport, from: Address) -> io::Result<(Self, Self::From)>;
}

struct Inner<S: Accepted> {
    hub: Rc<Hub>,
    addr: Address,
    this: Weak<Self>,
    state: RefCell<State<S>>,
}

struct State<S: Accepted> {
    /// None once it is closed.
    socket: Option<Socket>,
    waiters: VecDeque<(u64, Trigger<(S, S::From)>)>,
    /// Accepted and nobody's, in the order they came.
    returned: BTreeMap<u64, (S, S::From)>,
    /// One operation for each waiter.
    ops: Vec<Key>,
    /// How many connections there were.
    accepted: u64,
    next_waiter: u64,
    /// Takes only what is there already.
    draining: bool,
    shortage: Shortage,
}

/// Whether the process is out of what a connection needs.
#[derive(Clone, Copy, PartialEq)]
enum Shortage {
    No,
    /// Nothing is accepted until a timer says so.
    Waits,
    /// It is tried again, and not over before that has succeeded.
    Tries,
}

impl<S: Accepted> Acceptor<S> {
    pub(super) fn new(hub: Rc<Hub>, addr: Address, socket: Socket) -> Self {
        let inner = Rc::new_cyclic(|this: &Weak<Inner<S>>| Inner {
            hub: hub.clone(),
            addr,
            this: this.clone(),
            state: RefCell::new(State {
                socket: Some(socket),
                waiters: VecDeque::new(),
                returned: BTreeMap::new(),
                ops: Vec::new(),
                accepted: 0,
                next_waiter: 0,
                draining: false,
                shortage: Shortage::No,
            }),
        });
        let intake: Weak<dyn Intake> = inner.this.clone();
        hub.drain.add(intake);
        Acceptor(inner)
    }

    pub(super) fn accept(&self, trigger: Trigger<(S, S::From)>) {
        self.0.accept(trigger);
    }

    pub(super) fn close(&self) {
        self.0.close();
    }
}

impl<S: Accepted> Drop for Acceptor<S> {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

impl<S: Accepted> Inner<S> {
    fn accept(self: &Rc<Self>, trigger: Trigger<(S, S::From)>) {
        let mut state = self.state.borrow_mut();
        if state.socket.is_none() && state.returned.is_empty() {
            drop(state);
            trigger.settle(Outcome::Stop(Stop::Cancelled));
            return;
        }
        let id = state.next_waiter;
        state.next_waiter += 1;
        let this = self.this.clone();
        trigger.on_cancel(move || {
            if let Some(this) = this.upgrade() {
                this.forget(id);
            }
        });
        state.waiters.push_back((id, trigger));
        drop(state);
        self.serve();
    }

    /// A waiter was cancelled.
    fn forget(&self, id: u64) {
        let mut state = self.state.borrow_mut();
        let place = state.waiters.iter().position(|(waiter, _)| *waiter == id);
        let waiter = place.and_then(|place| state.waiters.remove(place));
        drop(state);
        drop(waiter);
        self.stop_spare();
    }

    /// Gives what is there to whoever waits, and asks the driver for the rest.
    fn serve(self: &Rc<Self>) {
        loop {
            let mut state = self.state.borrow_mut();
            let left = state.take_left();
            let pair = match state.returned.is_empty() || state.waiters.is_empty() {
                true => None,
                false => state.returned.pop_first().zip(state.waiters.pop_front()),
            };
            drop(state);
            end(left);
            let Some(((place, accepted), (_, trigger))) = pair else { break };
            let this = self.this.clone();
            trigger.on_unclaimed(move |accepted| {
                // Without a listener nobody can ask for it: it closes.
                let Some(this) = this.upgrade() else { return };
                this.state.borrow_mut().returned.insert(place, accepted);
                this.serve();
            });
            trigger.fire(accepted);
        }
        self.start_missing();
        self.stop_spare();
    }

    /// One operation for each waiter.
    fn start_missing(self: &Rc<Self>) {
        loop {
            let state = self.state.borrow();
            let Some(listener) = state.socket.clone() else { break };
            if state.ops.len() >= state.waiters.len() || state.shortage == Shortage::Waits {
                return;
            }
            let wait = !state.draining;
            drop(state);
            match self.hub.submit(Op::Accept { listener, wait }, self.clone()) {
                Ok(key) => self.state.borrow_mut().ops.push(key),
                Err(_) => break,
            }
        }
        // It is closed, or the reactor is gone.
        self.close();
    }

    /// Accepts nothing for a while: an edge will not say when there is room, and trying at once
    /// would only burn the processor.
    fn wait_for_room(&self, error: &io::Error) {
        let mut state = self.state.borrow_mut();
        let was = std::mem::replace(&mut state.shortage, Shortage::Waits);
        drop(state);
        if was == Shortage::Waits {
            return;
        }
        if was == Shortage::No {
            tracing::warn!(
                "accept on {} pauses until there is room again: {error}; raise the limit of open \
                 files (`ulimit -n`) or limit the connections",
                self.addr
            );
        }
        let this = self.this.clone();
        self.hub.at(later(self.hub.now(), ACCEPT_AGAIN), |_| {
            Due::Call(Box::new(move || {
                let Some(this) = this.upgrade() else { return };
                this.state.borrow_mut().shortage = Shortage::Tries;
                this.start_missing();
            }))
        });
    }

    /// Cancels operations that nobody waits for. One that accepts all the same is taken up.
    fn stop_spare(&self) {
        let state = self.state.borrow();
        let spare: Vec<Key> = state.ops.iter().skip(state.waiters.len()).copied().collect();
        drop(state);
        for key in spare {
            self.hub.cancel(key);
        }
    }

    /// The listener is gone: a pending accept keeps it open, as long as somebody waits for it.
    fn let_go(&self) {
        let mut state = self.state.borrow_mut();
        let left = state.take_left();
        for (_, trigger) in &state.waiters {
            let this = self.this.clone();
            trigger.on_left(move || this.upgrade().into_iter().for_each(|this| this.let_go()));
        }
        let keep = !state.waiters.is_empty();
        drop(state);
        end(left);
        if !keep {
            self.close();
        }
    }

    fn close(&self) {
        let mut state = self.state.borrow_mut();
        let socket = state.socket.take();
        let waiters: Vec<_> = state.waiters.drain(..).map(|(_, trigger)| trigger).collect();
        let ops = state.ops.clone();
        drop(state);
        for key in ops {
            self.hub.cancel(key);
        }
        end(waiters);
        drop(socket);
    }
}

impl<S: Accepted> Sink for Inner<S> {
    fn completed(self: Rc<Self>, key: Key, result: io::Result<Done>) {
        let mut state = self.state.borrow_mut();
        state.ops.retain(|op| *op != key);
        match result {
            Ok(Done::Accepted(socket, addr)) => {
                let place = state.accepted;
                state.accepted += 1;
                let was_short = std::mem::replace(&mut state.shortage, Shortage::No);
                drop(state);
                if was_short != Shortage::No {
                    tracing::info!("accept on {}: goes on", self.addr);
                }
                match S::accepted(Transport::new(self.hub.clone(), socket), addr) {
                    Ok(accepted) => {
                        self.state.borrow_mut().returned.insert(place, accepted);
                    }
                    Err(error) => tracing::error!("accept on {}: {error}", self.addr),
                }
                self.serve();
            }
            Ok(_) => {}
            Err(error) if is_cancelled(&error) => {
                drop(state);
                self.start_missing();
            }
            // The queue of the operating system is empty: everybody was let in.
            Err(error) if state.draining && error.kind() == io::ErrorKind::WouldBlock => {
                drop(state);
                self.close();
            }
            Err(error) if is_shortage(&error) => {
                drop(state);
                self.wait_for_room(&error);
            }
            Err(error) => {
                let left = state.take_left();
                let waiter = state.waiters.pop_front();
                drop(state);
                end(left);
                if let Some((_, trigger)) = waiter {
                    trigger.fail(Failure::from(error).context(format!("accept on {}", self.addr)));
                }
                self.start_missing();
            }
        }
    }

    fn abandoned(&self) {
        self.close();
    }
}

impl<S: Accepted> Intake for Inner<S> {
    fn drain(&self) {
        let mut state = self.state.borrow_mut();
        state.draining = true;
        // They wait; from here on operations only look.
        let ops = state.ops.clone();
        drop(state);
        for key in ops {
            self.hub.cancel(key);
        }
    }
}

impl<S: Accepted> State<S> {
    /// Takes out who no longer waits, or a connection would go to nobody and come back.
    fn take_left(&mut self) -> Vec<Trigger<(S, S::From)>> {
        if self.waiters.iter().all(|(_, trigger)| trigger.is_wanted()) {
            return Vec::new();
        }
        let (wanted, left) =
            self.waiters.drain(..).partition::<VecDeque<_>, _>(|(_, trigger)| trigger.is_wanted());
        self.waiters = wanted;
        left.into_iter().map(|(_, trigger)| trigger).collect()
    }
}

impl<S: Accepted> Drop for State<S> {
    fn drop(&mut self) {
        end(self.waiters.drain(..).map(|(_, trigger)| trigger).collect());
    }
}

/// Whether the process, or the machine, is out of something that will be given back.
fn is_shortage(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

fn end<T: 'static>(triggers: Vec<Trigger<T>>) {
    for trigger in triggers {
        trigger.settle(Outcome::Stop(Stop::Cancelled));
    }
}

const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
