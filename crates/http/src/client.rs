//! The client: pooled connections that are leases.

mod answer;
mod connection;
mod error;
mod interim;
mod pace;
mod pools;
mod target;

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use thence_core::{Deferred, flow};
use thence_reactor::dns::Destination;
use thence_reactor::draining;

pub use self::connection::Connection;
use self::connection::with_framing;
pub use self::error::{ClientError, ClientErrorKind};
use self::pools::Pools;
use crate::{Body, Response};

/// A client with a pool of connections for each destination.
///
/// A host is looked up for each new connection, so that it is found where it has moved to, and
/// whichever of its addresses answers first is connected to
/// ([`happy_eyeballs`](thence_reactor::dns::happy_eyeballs)).
///
/// ```no_run
/// # use thence_core::flow;
/// # use thence_http::{Body, Client};
/// # flow(async {
/// let client = Client::default();
/// let request = http::Request::get("http://127.0.0.1:9000/health").body(Body::empty())?;
/// let response = client.request(request).await?;
/// println!("{}", response.status());
/// # Ok(()) }).report();
/// ```
#[derive(Clone)]
pub struct Client(Rc<Shared>);

struct Shared {
    options: ClientOptions,
    pools: Pools,
}

/// The limits of a [`Client`]. All are on; [`Duration::MAX`] is none.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClientOptions {
    /// How long a connection may take to be made, the look-up of its host included; 3 s.
    pub connect: Duration,
    /// How long the head of an answer may take from the end of the request on; 30 s.
    pub head: Duration,
    /// How long the other side may take nothing of a request while there is something to take; 30 s.
    /// It is known to a quarter of it.
    pub upload: Duration,
    /// How long nothing may come of an answer's body while somebody reads it; 30 s. For what is
    /// quiet by nature, such as server-sent events, [`Duration::MAX`].
    pub body: Duration,
    /// How long a connection may idle and be used again; 4 s, below what common servers keep.
    pub idle: Duration,
    /// How many connections there may be to one destination; 256. Requests beyond that wait in line,
    /// for as long as [`connect`](ClientOptions::connect) says.
    pub connections: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            head: Duration::from_secs(30),
            upload: Duration::from_secs(30),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(4),
            connections: 256,
        }
    }
}

impl Client {
    /// A client with these limits.
    ///
    /// # Panics
    ///
    /// When this thread has no reactor, and when `connections` is 0.
    pub fn new(options: ClientOptions) -> Self {
        assert!(options.connections > 0, "a client of at most 0 connections could never ask");
        let shared = Rc::new(Shared { options, pools: Pools::default() });
        // An idle connection must not hold the drain open.
        let weak = Rc::downgrade(&shared);
        draining().done(move |()| {
            if let Some(shared) = weak.upgrade() {
                shared.pools.close_idle();
            }
        });
        Self(shared)
    }

    /// Sends a request to the authority of its URI and gives the answer once its head is there.
    ///
    /// What is sent is a path and a `Host`, made of the URI unless the request has one. A user and
    /// a password in the URI become `Authorization: Basic`, unless the request has another
    /// `Authorization`.
    ///
    /// A pooled connection that the other side has closed meanwhile is replaced before anything is
    /// sent over it. Fails with a [`ClientError`], which says whether the request may be sent again.
    #[track_caller]
    pub fn request(&self, mut request: http::Request<Body>) -> Deferred<Response> {
        let to = target::destination(request.uri())
            .and_then(|to| target::normalise(&mut request, &to).map(|()| to));
        match to.and_then(|to| Ok((to, with_framing(request)?))) {
            Ok((to, request)) => {
                let connection = self.connect(to);
                flow(async move { connection.await?.exchange(request, None::<fn(_)>).await })
            }
            Err(error) => Deferred::err(error.into()),
        }
    }

    /// Leases a connection to a host and a port, or to an address: an idle one, or a new one.
    /// [`Connection::send`] sends over it; dropped, it is closed.
    ///
    /// In two stages, because between them is the moment before anything was sent. Fails with a
    /// [`ClientError`].
    #[track_caller]
    pub fn connect(&self, to: impl Into<Destination>) -> Deferred<Connection> {
        self.0.pools.lease(to.into(), self.0.options)
    }

    /// As [`Client::connect`], but never an idle one.
    #[track_caller]
    pub fn connect_fresh(&self, to: impl Into<Destination>) -> Deferred<Connection> {
        self.0.pools.fresh(to.into(), self.0.options)
    }

    /// How many connections idle in the pools.
    pub fn idle(&self) -> usize {
        self.0.pools.idle()
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new(ClientOptions::default())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("options", &self.0.options).finish_non_exhaustive()
    }
}
