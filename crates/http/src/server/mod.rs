//! The server: connections, and handlers that run to their end.

mod answer;
mod coding;
mod connection;
mod door;
mod host;
mod interim;
mod opening;
mod patience;
mod request;
mod rest;
mod seat;
mod upload;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;

use thence_core::{Canceller, Deferred, Failure, IntoDeferred, Never, Trigger, flow};
use thence_reactor::net::TcpListener;
use thence_reactor::net::tls::TlsServer;
use thence_reactor::{after, draining, has_reactor};

use self::door::Door;
use self::rest::Awake;
pub use self::{
    interim::Interim,
    opening::Tls,
    request::{HungUp, Request},
    seat::ConnectionRef,
};
use crate::timer::bounded;
use crate::{Body, alive};

/// What a handler answers.
pub type Response = http::Response<Body>;

/// A server before it serves.
#[derive(Debug)]
#[must_use = "a server that is not told to `serve` closes its socket"]
pub struct Server {
    listener: TcpListener,
    options: Options,
    tls: Option<TlsServer>,
}

#[derive(Clone, Copy, Debug)]
struct Options {
    head: Duration,
    body: Duration,
    head_size: usize,
    close_on_failure: bool,
    half_close: bool,
    max_connections: usize,
}

impl Server {
    /// Binds a listener on this thread's reactor.
    ///
    /// # Errors
    ///
    /// The operating system's: [`io::ErrorKind::AddrInUse`] and others.
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    pub fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        let options = Options {
            head: HEAD_DEADLINE,
            body: BODY_TIMEOUT,
            head_size: HEAD_SIZE,
            close_on_failure: false,
            half_close: true,
            max_connections: CONNECTIONS,
        };
        Ok(Self { listener: TcpListener::bind(addr)?, options, tls: None })
    }

    /// Speaks TLS with every client, and HTTP inside. Whoever speaks HTTP outside is answered with
    /// 400 and a hint.
    ///
    /// A handshake has as much time as a head. One that fails is a line in the log at `debug`: the
    /// world knocks at every port.
    ///
    /// ```no_run
    /// # use thence_core::{Deferred, Failure};
    /// # use thence_http::{Body, Request, Response, Server};
    /// use thence_reactor::net::tls::{Certificates, TlsServer};
    ///
    /// # fn main() -> Result<(), Failure> {
    /// # thence_reactor::run(async {
    /// let certificates = Certificates::from_files("app.pem", "app.key")?;
    /// let tls = TlsServer::new(&certificates).alpn(["http/1.1"]);
    /// Server::bind("0.0.0.0:443")?.tls(tls).serve(|request: Request| {
    ///     let name = request.tls().and_then(|tls| tls.server_name()).unwrap_or("nobody");
    ///     Deferred::ok(Response::new(Body::from(format!("you asked for {name}\n"))))
    /// });
    /// # Ok(()) })
    /// # }
    /// ```
    pub fn tls(mut self, tls: TlsServer) -> Self {
        self.tls = Some(tls);
        self
    }

    /// How long a client may take for a request's head from its first byte on, and how long a
    /// connection may idle before it; 10 s if it is not said. A head that began is answered with
    /// 408.
    pub fn head_deadline(mut self, deadline: Duration) -> Self {
        self.options.head = bounded(deadline);
        self
    }

    /// How long a body may stand still for its client's sake; 30 s if it is not said,
    /// [`Duration::MAX`] for ever.
    ///
    /// * An upload of which nothing comes for that long while its handler reads it fails with
    ///   [`BodyFaultKind::TimedOut`](crate::BodyFaultKind::TimedOut). A handler that fails with it
    ///   answers 408.
    /// * A connection with something to send of which the client takes nothing for that long is
    ///   cut, and the handler's body sees that its reader left. Bytes count as taken when the
    ///   operating system has them. A handler that has nothing to say is never cut for it.
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.options.body = bounded(timeout);
        self
    }

    /// The most bytes a request's head may have; 64 KiB if it is not said. More is answered with
    /// 431.
    ///
    /// # Panics
    ///
    /// Below 8,192: hyper reads in pieces of that size.
    pub fn head_size(mut self, bytes: usize) -> Self {
        assert!(bytes >= 8192, "a head needs room for 8192 bytes at least");
        self.options.head_size = bytes;
        self
    }

    /// Whether a handler that fails closes the connection instead of answering 500.
    pub fn close_on_failure(mut self, close: bool) -> Self {
        self.options.close_on_failure = close;
        self
    }

    /// Whether a client that has said it sends no more still gets its answer; so it is if it is not
    /// said.
    ///
    /// Such a client looks the same as one that has left, until something is sent to it. Its handler
    /// is told that it may have left ([`Request::hung_up`]); one that knows HTTP/1.1 is sent a 102
    /// now and then, at which one that has left resets its connection. The answer is sent, and
    /// when the answer pauses for a second the connection is cut. Otherwise it is cut at once.
    pub fn half_close(mut self, is_served: bool) -> Self {
        self.options.half_close = is_served;
        self
    }

    /// How many connections there may be; 10,000 if it is not said.
    ///
    /// Whoever comes then gets the place of the connection that has been open longest of those with
    /// nothing in flight, from the address (of IPv6: the network of 64 bits) that has the most. One
    /// that has not sent a whole head within a second counts as such, too, and so does one whose
    /// client has sent or taken nothing of a body for 10 s. [`ConnectionRef::keep`] takes one out.
    /// When there is none, whoever comes waits.
    ///
    /// # Panics
    ///
    /// If it is 0.
    pub fn max_connections(mut self, connections: usize) -> Self {
        assert!(connections > 0, "a server of at most 0 connections could never serve anybody");
        self.options.max_connections = connections;
        self
    }

    /// The address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Serves until the reactor drains or [`ServerHandle::close`] is called.
    ///
    /// The reactor owns what the handler returns: a client that leaves stops waiting for it and
    /// cuts nothing. Dropping the handle keeps the server.
    pub fn serve<H, D>(self, handler: H) -> ServerHandle
    where
        H: Fn(Request) -> D + 'static,
        D: IntoDeferred<Value = Response, Error = Failure> + 'static,
    {
        let Self { listener, options, tls } = self;
        let listener = Rc::new(listener);
        let shared = Rc::new(Shared {
            local: listener.local_addr(),
            options,
            tls,
            awake: Rc::default(),
            door: Door::new(options.max_connections),
            is_closing: Cell::new(false),
            is_grace_over: Cell::new(false),
            grace: RefCell::default(),
            accepted: Cell::new(0),
            listener: RefCell::new(Some(listener.clone())),
            live: Cell::new(0),
            waiting: RefCell::default(),
        });
        let handle = ServerHandle(shared.clone());

        let closing = Rc::downgrade(&shared);
        draining().done(move |()| {
            if let Some(shared) = closing.upgrade() {
                shared.begin_close();
            }
        });

        let handler = Rc::new(handler);
        let guard = Live::new(&shared);
        flow(async move {
            let shared = guard.0.clone();
            loop {
                match listener.accept().await {
                    Ok((stream, peer)) => {
                        shared.accepted.set(shared.accepted.get() + 1);
                        alive::watch(&stream, options.body);
                        shared.door.room().await;
                        if !has_reactor() {
                            return Ok(());
                        }
                        connection::serve(shared.clone(), handler.clone(), stream, peer);
                    }
                    Err(failure) if !shared.is_closing.get() => {
                        tracing::warn!("no connection accepted for now: {failure:#}");
                        after(ACCEPT_AGAIN).await;
                    }
                    Err(_) => return Ok(()),
                }
            }
        })
        .report();
        handle
    }
}

/// A server that serves.
#[derive(Clone)]
pub struct ServerHandle(Rc<Shared>);

impl ServerHandle {
    /// The address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local
    }

    /// Lets in who stands at the door already and accepts no more. Fresh and idle connections have
    /// a second for one last request, which is answered with `Connection: close`, as is what is
    /// being worked on.
    pub fn close(&self) {
        self.0.begin_close();
        let listener = self.0.listener.borrow_mut().take();
        let Some(listener) = listener else { return };
        let shared = self.0.clone();
        flow(async move {
            // A turn accepts what is there before its timers are due: after two in which nobody
            // came, or came in, the door is free.
            let mut quiet = 0;
            while quiet < 2 {
                let before = shared.accepted.get();
                after(Duration::ZERO).await;
                match (shared.accepted.get() == before, shared.door.is_at_door()) {
                    (true, false) => quiet += 1,
                    (true, true) => after(CLOSE_AGAIN).await,
                    (false, _) => quiet = 0,
                }
            }
            listener.close();
            Ok(())
        })
        .report();
    }

    /// Ends when it accepts no more and every connection is closed. Handlers whose client has left
    /// may still run.
    pub fn ended(&self) -> Deferred<(), Never> {
        let (trigger, ended) = Deferred::infallible();
        if self.0.live.get() == 0 {
            trigger.fire(());
        } else {
            self.0.waiting.borrow_mut().push(trigger);
        }
        ended
    }

    /// How many connections have a request under way, had one moments ago, or have begun with one.
    /// The others rest, and hold no buffers.
    pub fn awake(&self) -> usize {
        self.0.awake.len()
    }

    /// How many connections were closed so that others could be served.
    pub fn shed(&self) -> u64 {
        self.0.door.shed()
    }

    /// How many connections had to wait for one to be closed.
    pub fn waited(&self) -> u64 {
        self.0.door.waited()
    }

    /// Whether one waits now: every connection there may be is busy or kept.
    pub fn is_full(&self) -> bool {
        self.0.door.is_waiting()
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.0.door.len()
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle")
            .field("local_addr", &self.0.local)
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

struct Shared {
    local: SocketAddr,
    options: Options,
    tls: Option<TlsServer>,
    /// The connections that hyper works on.
    awake: Rc<Awake>,
    door: Rc<Door>,
    is_closing: Cell<bool>,
    is_grace_over: Cell<bool>,
    /// Ends the wait for the grace when there is nobody to grant it to.
    grace: RefCell<Option<Canceller>>,
    /// How many connections there were.
    accepted: Cell<u64>,
    listener: RefCell<Option<Rc<TcpListener>>>,
    /// The accept loop and the connections.
    live: Cell<usize>,
    waiting: RefCell<Vec<Trigger<(), Never>>>,
}

impl Shared {
    /// A connection that is fresh or idle when a server closes may have a request on its way;
    /// closed at once, that request would be reset.
    fn begin_close(self: &Rc<Self>) {
        if self.is_closing.replace(true) {
            return;
        }
        if self.live.get() == 0 {
            return;
        }
        let shared = self.clone();
        let grace = after(GRACE);
        self.grace.replace(Some(grace.canceller()));
        grace.done(move |()| {
            shared.is_grace_over.set(true);
            shared.door.tell_all();
        });
    }
}

/// Counts something of a server that lives.
struct Live(Rc<Shared>);

impl Live {
    fn new(shared: &Rc<Shared>) -> Self {
        shared.live.set(shared.live.get() + 1);
        Self(shared.clone())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let left = self.0.live.get() - 1;
        self.0.live.set(left);
        if left == 0 {
            self.0.awake.stop();
            let grace = self.0.grace.take();
            if let Some(grace) = grace {
                grace.cancel();
            }
            let waiting = std::mem::take(&mut *self.0.waiting.borrow_mut());
            waiting.into_iter().for_each(|trigger| trigger.fire(()));
        }
    }
}

const HEAD_DEADLINE: Duration = Duration::from_secs(10);
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
const HEAD_SIZE: usize = 64 * 1024;
const CONNECTIONS: usize = 10_000;
const GRACE: Duration = Duration::from_secs(1);
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
const CLOSE_AGAIN: Duration = Duration::from_millis(10);
