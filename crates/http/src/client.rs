//! The client: pooled connections that are leases.

mod connection;
mod error;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;

use http::Uri;
use thence_core::{Deferred, Failure, flow};
use thence_reactor::{draining, offload};

pub use self::connection::Connection;
use self::connection::Pools;
pub use self::error::{ClientError, ClientErrorKind};
use crate::{Body, Response};

/// A client with a pool of connections for each address.
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
    names: RefCell<HashMap<String, SocketAddr>>,
}

/// The limits of a [`Client`]. All are on.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClientOptions {
    /// How long a connection may take to be made; 3 s.
    pub connect: Duration,
    /// How long the head of an answer may take from the request on; 30 s.
    pub head: Duration,
    /// How long a connection may idle and be used again; 4 s, below what common servers keep.
    pub idle: Duration,
    /// How many connections there may be to one address; 256.
    pub connections: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            head: Duration::from_secs(30),
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
        let shared =
            Rc::new(Shared { options, pools: Pools::default(), names: RefCell::default() });
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
    /// A pooled connection that the other side has closed meanwhile is replaced before anything is
    /// sent over it. Fails with a [`ClientError`], which says whether the request may be sent again.
    #[track_caller]
    pub fn request(&self, request: http::Request<Body>) -> Deferred<Response> {
        let client = self.clone();
        flow(async move {
            let addr = client.resolve(request.uri()).await?;
            let connection = client.connect(addr).await?;
            let mut request = request;
            origin_form(&mut request)?;
            connection.send(request).await
        })
    }

    /// Leases a connection to `addr`: an idle one, or a new one. [`Connection::send`] sends over
    /// it; dropped, it is closed.
    ///
    /// In two stages, because between them is the moment before anything was sent. Fails with a
    /// [`ClientError`].
    #[track_caller]
    pub fn connect(&self, addr: SocketAddr) -> Deferred<Connection> {
        self.0.pools.lease(addr, self.0.options)
    }

    /// As [`Client::connect`], but never an idle one.
    #[track_caller]
    pub fn connect_fresh(&self, addr: SocketAddr) -> Deferred<Connection> {
        self.0.pools.fresh(addr, self.0.options)
    }

    /// How many connections idle in the pools.
    pub fn idle(&self) -> usize {
        self.0.pools.idle()
    }

    /// The address of an authority: looked up on the pool of threads, and kept.
    fn resolve(&self, uri: &Uri) -> Deferred<SocketAddr> {
        let Some(host) = uri.host() else {
            return Deferred::err(Failure::msg(format_args!(
                "the request's URI `{uri}` has no host; expected http://HOST[:PORT]/.."
            )));
        };
        if uri.scheme_str().is_some_and(|scheme| scheme != "http") {
            return Deferred::err(Failure::msg(format_args!(
                "`{uri}`: only http:// is supported by this client"
            )));
        }
        let name = format!("{}:{}", host, uri.port_u16().unwrap_or(80));
        if let Ok(addr) = name.parse() {
            return Deferred::ok(addr);
        }
        if let Some(addr) = self.0.names.borrow().get(&name) {
            return Deferred::ok(*addr);
        }
        let client = self.clone();
        let asked = name.clone();
        offload(move || {
            let first = asked.to_socket_addrs().map(|mut all| all.next());
            match first {
                Ok(Some(addr)) => Ok(addr),
                Ok(None) => Err(ClientError::unresolved(&asked, None).into()),
                Err(error) => Err(ClientError::unresolved(&asked, Some(error)).into()),
            }
        })
        .inspect(move |addr| {
            client.0.names.borrow_mut().insert(name, *addr);
        })
        .named("look up the host")
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

/// What an origin server is sent: a path, and `Host` (RFC 9112 §3.2.1).
fn origin_form(request: &mut http::Request<Body>) -> Result<(), Failure> {
    let uri = request.uri();
    let Some(authority) = uri.authority() else { return Ok(()) };
    let host = http::HeaderValue::from_str(authority.as_str())?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    *request.uri_mut() = path.parse()?;
    request.headers_mut().entry(http::header::HOST).or_insert(host);
    Ok(())
}
