//! The connections that a client keeps.
//!
//! A request costs the same however many connections idle: it takes the one that was used last, and
//! looks at no other. Those that idle for too long are closed by one timer a destination, which
//! looks at the oldest; those that the other side closes say so themselves.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use hyper::client::conn::http1::{self, SendRequest};
use thence_core::{Canceller, Deferred, Failure, Lease, Never, Pool, flow};
use thence_reactor::dns::Destination;
use thence_reactor::net::TcpStream;
use thence_reactor::{DeferredExt, Elapsed, after, now};

use super::pace::{Pace, Paced};
use super::{ClientError, ClientErrorKind, ClientOptions, Connection};
use crate::alive;
use crate::io::{Io, Line};
use crate::{Body, BodyError};

/// What a client keeps for each destination.
#[derive(Default)]
pub(super) struct Pools {
    by_destination: RefCell<HashMap<Destination, Rc<Route>>>,
    is_draining: Rc<Cell<bool>>,
}

impl Pools {
    pub(super) fn lease(&self, to: Destination, options: ClientOptions) -> Deferred<Connection> {
        let route = self.route(&to, options);
        flow(async move { Ok(Connection::new(route.lease(Which::Any).await?, to, options)) })
    }

    pub(super) fn fresh(&self, to: Destination, options: ClientOptions) -> Deferred<Connection> {
        let route = self.route(&to, options);
        flow(async move { Ok(Connection::new(route.lease(Which::New).await?, to, options)) })
    }

    pub(super) fn idle(&self) -> usize {
        self.by_destination.borrow().values().map(|route| route.pool.idle()).sum()
    }

    /// Keeps nothing any more. A timer of its own would keep the run waiting.
    pub(super) fn close_idle(&self) {
        self.is_draining.set(true);
        let routes: Vec<_> = self.by_destination.borrow().values().cloned().collect();
        routes.iter().for_each(|route| route.close_idle());
    }

    fn route(&self, to: &Destination, options: ClientOptions) -> Rc<Route> {
        let mut routes = self.by_destination.borrow_mut();
        if let Some(route) = routes.get(to) {
            return route.clone();
        }
        let mut unused = Vec::new();
        if routes.len() == routes.capacity() {
            // A client may ask a million hosts: those it has nothing to do with must not pile up.
            unused.extend(routes.extract_if(|_, route| !route.is_in_use()));
            let used = routes.len();
            routes.reserve(used + 8);
        }
        let route = Route::new(to.clone(), options, self.is_draining.clone());
        routes.insert(to.clone(), route.clone());
        drop(routes);
        drop(unused);
        route
    }
}

/// Which connection somebody wants.
#[derive(Clone, Copy)]
enum Which {
    Any,
    New,
}

/// The way to a destination: its connections, and the time of those that idle.
pub(super) struct Route {
    to: Destination,
    pool: Pool<Wire>,
    options: ClientOptions,
    is_draining: Rc<Cell<bool>>,
    /// Closes what has been idle for too long; set while something idles.
    timer: RefCell<Option<Canceller>>,
    /// What the other side has closed is about to be taken out.
    is_sweeping: Cell<bool>,
}

impl Route {
    fn new(to: Destination, options: ClientOptions, is_draining: Rc<Cell<bool>>) -> Rc<Self> {
        Rc::new_cyclic(|this: &Weak<Self>| {
            let (this, dialled) = (this.clone(), to.clone());
            let dial = move || dial(&dialled, options, this.clone());
            Self {
                to,
                pool: Pool::new(options.connections, dial),
                options,
                is_draining,
                timer: RefCell::default(),
                is_sweeping: Cell::new(false),
            }
        })
    }

    async fn lease(&self, which: Which) -> Result<Lease<Wire>, Failure> {
        let asked = now();
        loop {
            let mut lease = self.turn(which).await?;
            lease.is_idle.set(false);
            let is_new = lease.answers.get() == 0 && lease.idle_since >= asked;
            if !is_new && self.is_stale(&lease) {
                // The timer is late.
                continue;
            }
            // One that the other side has closed meanwhile says so here, with nothing sent.
            match lease.sender.ready().await {
                Ok(()) => return Ok(lease),
                Err(_) if !is_new => {}
                Err(error) => {
                    let (kind, source) = (ClientErrorKind::Closed, Some(error.into()));
                    return Err(ClientError::new(kind, Some(&self.to), source).into());
                }
            }
        }
    }

    /// A connection, or a place in the line for one, which is left after as long as a connection may
    /// take to be made.
    fn turn(&self, which: Which) -> Deferred<Lease<Wire>> {
        let is_full = self.pool.idle() == 0 && self.pool.open() >= self.options.connections;
        let lease = match which {
            Which::Any => self.pool.lease(),
            Which::New => self.pool.lease_new(),
        };
        if !is_full {
            return lease;
        }
        let busy = ClientError::new(ClientErrorKind::Busy, Some(&self.to), None);
        lease
            .timeout(self.options.connect)
            .map_err(|failure| if failure.is::<Elapsed>() { busy.into() } else { failure })
    }

    fn is_stale(&self, wire: &Wire) -> bool {
        now().saturating_duration_since(wire.idle_since) >= self.options.idle
    }

    fn is_in_use(&self) -> bool {
        self.pool.open() > 0 || self.pool.waiting() > 0
    }

    fn close_idle(&self) {
        self.cancel_timer();
        self.pool.retain(|_| false);
    }

    /// Closes what has been idle for too long, and comes back when the next has.
    fn close_stale(self: &Rc<Self>) {
        let mut next = None;
        self.pool.close_oldest(|wire| {
            let is_stale = self.is_stale(wire);
            next = (!is_stale).then_some(wire.idle_since);
            is_stale
        });
        let since = next.map(|since| now().saturating_duration_since(since));
        if let Some(since) = since {
            self.close_stale_after(self.options.idle.saturating_sub(since));
        }
    }

    fn close_stale_after(self: &Rc<Self>, wait: Duration) {
        let (this, wait) = (Rc::downgrade(self), after(wait));
        self.timer.replace(Some(wait.canceller()));
        wait.done(move |()| {
            if let Some(this) = this.upgrade() {
                this.timer.take();
                this.close_stale();
            }
        });
    }

    /// An idle connection has ended. Many may at once, so they are taken out together, behind what
    /// is queued now.
    fn has_closed(self: &Rc<Self>) {
        if self.is_sweeping.replace(true) {
            return;
        }
        let this = self.clone();
        Deferred::<(), Never>::ok(()).done(move |()| {
            this.is_sweeping.set(false);
            this.pool.retain(|wire| !wire.sender.is_closed());
        });
    }

    /// Something idles, or may.
    fn watch(self: &Rc<Self>) {
        if self.is_draining.get() {
            // Made for somebody who has left: it would hold the drain open.
            let this = self.clone();
            after(Duration::ZERO).done(move |()| this.pool.retain(|_| false));
        } else if self.timer.borrow().is_none() {
            self.close_stale_after(self.options.idle);
        }
    }

    fn cancel_timer(&self) {
        let timer = self.timer.take();
        timer.iter().for_each(Canceller::cancel);
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        self.cancel_timer();
    }
}

/// What a pool keeps.
pub(super) struct Wire {
    pub(super) sender: SendRequest<Body>,
    /// The flow that reads and writes.
    flow: Canceller,
    pub(super) peer: SocketAddr,
    pub(super) answers: Cell<u64>,
    pub(super) pace: Rc<Pace>,
    idle_since: Instant,
    is_idle: Rc<Cell<bool>>,
    route: Weak<Route>,
    line: Rc<Line>,
}

impl Wire {
    /// Gives it back to its pool, if it may be used again.
    pub(super) fn park(mut lease: Lease<Self>) {
        let Some(route) = lease.route.upgrade() else { return };
        if lease.sender.is_closed() || route.is_draining.get() || route.options.idle.is_zero() {
            return;
        }
        lease.idle_since = now();
        lease.is_idle.set(true);
        lease.give_back();
        if route.pool.idle() > 0 {
            route.watch();
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // A connection that is not in step any more is cut, not drained: what waits to be sent to an
        // upstream that does not read would keep it for ever.
        self.flow.cancel();
        self.line.stream.abort();
    }
}

/// Makes a connection and starts the flow that reads and writes it.
fn dial(to: &Destination, options: ClientOptions, route: Weak<Route>) -> Deferred<Wire> {
    let (to, asked) = (to.clone(), to.clone());
    let late = ClientError::new(ClientErrorKind::ConnectTimeout, Some(&to), None);
    let connected = flow(async move {
        // In two steps, since each has failures of its own.
        let error =
            |kind, failure: Failure| ClientError::new(kind, Some(&to), Some(failure.into()));
        let addresses = to.addresses().await;
        let addresses = addresses.map_err(|failure| error(ClientErrorKind::Unresolved, failure))?;
        let stream = TcpStream::connect(addresses).await;
        Ok(stream.map_err(|failure| error(ClientErrorKind::Refused, failure))?)
    })
    .timeout(options.connect)
    .map_err(move |failure| if failure.is::<Elapsed>() { late.into() } else { failure });
    flow(async move {
        let stream = connected.await?;
        let closed = |error: BodyError| {
            let kind = ClientErrorKind::Closed;
            Failure::from(ClientError::new(kind, Some(&asked), Some(error)))
        };
        let peer = stream.peer_addr().map_err(|error| closed(error.into()))?;
        alive::watch(&stream, options.upload);
        let line = Line::new(stream);
        let pace = Pace::begin(line.clone());
        let io = Paced::new(Io::new(line.clone()), pace.clone());
        let (sender, connection) =
            http1::handshake(io).await.map_err(|error| closed(error.into()))?;
        // Until somebody leases it.
        let is_idle = Rc::new(Cell::new(true));
        let (was_idle, home) = (is_idle.clone(), route.clone());
        let work = flow(async move {
            if let Err(error) = connection.await {
                // Whoever sent over it was told; an idle one just ends.
                tracing::debug!("connection to {peer}: {error}");
            }
            if let Some(home) = home.upgrade().filter(|_| was_idle.get()) {
                home.has_closed();
            }
            Ok(())
        });
        let flow = work.canceller();
        work.report();
        if let Some(route) = route.upgrade() {
            route.watch();
        }
        let (answers, idle_since) = (Cell::new(0), now());
        Ok(Wire { sender, flow, peer, answers, pace, idle_since, is_idle, route, line })
    })
    .named("connect")
}
