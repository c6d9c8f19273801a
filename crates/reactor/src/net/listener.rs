//! A TCP listener.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    fmt, io,
    net::{SocketAddr, ToSocketAddrs},
    rc::{Rc, Weak},
};

use thence_core::{Deferred, Failure, Outcome, Stop, Trigger};

use super::TcpStream;
use crate::{
    drain::Intake,
    driver::{Done, Key, Op, Socket, is_cancelled},
    hub::{Hub, Sink},
};

/// A listening TCP socket.
///
/// When the reactor drains it takes what the operating system has accepted already, so that nobody
/// who was let in is reset, and closes after that; pending accepts end `Stop(Cancelled)`, as does
/// every accept of a closed listener. It does not hold a run open.
///
/// ```
/// use thence_core::flow;
/// use thence_reactor::net::{TcpListener, TcpStream};
/// # thence_reactor::run(async {
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let addr = listener.local_addr();
/// flow::<()>(async move {
///     loop {
///         let (stream, _from) = listener.accept().await?;
///         flow(async move { stream.write("hello").await }).report();
///     }
/// })
/// .report();
///
/// let stream = TcpStream::connect(addr).await?;
/// assert_eq!(stream.read_exact(5).await?, "hello");
/// # Ok(()) }).unwrap();
/// ```
pub struct TcpListener(Rc<Inner>);

struct Inner {
    hub: Rc<Hub>,
    addr: SocketAddr,
    this: Weak<Self>,
    state: RefCell<State>,
}

struct State {
    /// None once it is closed.
    socket: Option<Socket>,
    waiters: VecDeque<(u64, Trigger<(TcpStream, SocketAddr)>)>,
    /// Accepted and nobody's, in the order they came.
    returned: BTreeMap<u64, (TcpStream, SocketAddr)>,
    /// One operation for each waiter.
    ops: Vec<Key>,
    /// How many connections there were.
    accepted: u64,
    next_waiter: u64,
    /// Takes only what is there already.
    draining: bool,
}

impl TcpListener {
    /// Listens on the first of these addresses that can be had. Port 0 takes one that is free.
    ///
    /// A name is looked up here and now, which blocks: give an address where that matters.
    ///
    /// # Errors
    ///
    /// When none can be had: the port is in use, or below 1024 and not allowed, or the address is
    /// not of this machine. The error says which address it was.
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    #[track_caller]
    pub fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        let hub = Hub::current("TcpListener::bind");
        let mut failed = None;
        for addr in addr.to_socket_addrs()? {
            let listening = hub.driver.borrow_mut().listen(addr);
            match listening.and_then(|socket| Ok((socket.local_addr()?, socket))) {
                Ok((addr, socket)) => return Ok(Self::new(hub, addr, socket)),
                Err(error) => {
                    let text = format!("cannot listen on {addr}: {error}");
                    failed = Some(io::Error::new(error.kind(), text));
                }
            }
        }
        Err(failed.unwrap_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on")
        }))
    }

    fn new(hub: Rc<Hub>, addr: SocketAddr, socket: Socket) -> Self {
        let inner = Rc::new_cyclic(|this| Inner {
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
            }),
        });
        let intake: Weak<Inner> = Rc::downgrade(&inner);
        hub.drain.add(intake);
        TcpListener(inner)
    }

    /// The next connection, and where it came from.
    ///
    /// Several may be asked for at once; each turn of the reactor then accepts as many.
    ///
    /// # Errors
    ///
    /// The Deferred fails when the operating system has no descriptor or memory for another
    /// connection. The listener goes on: wait a moment and ask again.
    #[track_caller]
    pub fn accept(&self) -> Deferred<(TcpStream, SocketAddr)> {
        let (trigger, deferred) = Deferred::new();
        self.0.accept(trigger);
        deferred
    }

    /// The address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.addr
    }

    /// Listens no more. Pending accepts end `Stop(Cancelled)`; whoever waits in the queue of the
    /// operating system is reset.
    pub fn close(&self) {
        self.0.close();
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpListener").field(&self.0.addr).finish()
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

impl Inner {
    fn accept(self: &Rc<Self>, trigger: Trigger<(TcpStream, SocketAddr)>) {
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
            if state.ops.len() >= state.waiters.len() {
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

impl Sink for Inner {
    fn completed(self: Rc<Self>, key: Key, result: io::Result<Done>) {
        let mut state = self.state.borrow_mut();
        state.ops.retain(|op| *op != key);
        match result {
            Ok(Done::Accepted(socket, addr)) => {
                let place = state.accepted;
                state.accepted += 1;
                drop(state);
                let stream = TcpStream::new(self.hub.clone(), socket);
                self.state.borrow_mut().returned.insert(place, (stream, addr));
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

impl Intake for Inner {
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

impl State {
    /// Takes out who no longer waits, or a connection would go to nobody and come back.
    fn take_left(&mut self) -> Vec<Trigger<(TcpStream, SocketAddr)>> {
        if self.waiters.iter().all(|(_, trigger)| trigger.is_wanted()) {
            return Vec::new();
        }
        let (wanted, left) =
            self.waiters.drain(..).partition::<VecDeque<_>, _>(|(_, trigger)| trigger.is_wanted());
        self.waiters = wanted;
        left.into_iter().map(|(_, trigger)| trigger).collect()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        end(self.waiters.drain(..).map(|(_, trigger)| trigger).collect());
    }
}

fn end(triggers: Vec<Trigger<(TcpStream, SocketAddr)>>) {
    for trigger in triggers {
        trigger.settle(Outcome::Stop(Stop::Cancelled));
    }
}
