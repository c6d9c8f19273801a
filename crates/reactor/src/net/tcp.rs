//! TCP.

use std::{
    fmt, io,
    net::{SocketAddr, ToSocketAddrs},
    ops::Deref,
    rc::Rc,
    time::Duration,
};

use thence_core::{Deferred, flow};

use super::{
    Keepalive, Protocol, Transport,
    acceptor::{Accepted, Acceptor},
    adopted, connecting, drive,
};
use crate::{dns::Destination, driver::Address, hub::Hub};

/// A TCP connection: a [`Transport`], which has the reads and writes, and what is TCP's own.
///
/// TCP_NODELAY is on.
///
/// ```
/// # use thence_core::flow;
/// # use thence_reactor::net::{TcpListener, TcpStream};
/// # thence_reactor::run(async {
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let addr = listener.local_addr();
/// # flow(async move {
/// #     let (stream, _) = listener.accept().await?;
/// #     stream.write(stream.read(100).await?).await
/// # }).report();
/// let stream = TcpStream::connect(addr).await?;
/// stream.write("ping\n").await?;
/// let answer = stream.read(1024).await?;
/// assert_eq!(answer, "ping\n");
/// # Ok(()) }).unwrap();
/// ```
pub struct TcpStream(Transport);

impl TcpStream {
    /// Connects to an address, or to a name and a port, as in `"example.org:443"`.
    ///
    /// A name is looked up on the pool ([`dns::lookup`](crate::dns::lookup)), and whichever of its
    /// addresses answers first is the connection
    /// ([`dns::happy_eyeballs`](crate::dns::happy_eyeballs)).
    ///
    /// Cancelled, or left, a connection that is made all the same closes.
    ///
    /// # Errors
    ///
    /// The Deferred fails when nobody listens there, there is no way there, or nobody has that
    /// name. Where several addresses were tried the failure says how each of them failed.
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    #[track_caller]
    pub fn connect(to: impl Into<Destination>) -> Deferred<TcpStream> {
        let hub = Hub::current("TcpStream::connect");
        let to = to.into();
        match to.only_address() {
            Some(addr) => Self::connect_to(&hub, addr),
            None => to.connect(move |addr| Self::connect_to(&hub, addr)),
        }
    }

    #[track_caller]
    fn connect_to(hub: &Rc<Hub>, addr: SocketAddr) -> Deferred<TcpStream> {
        let (trigger, deferred) = Deferred::new();
        connecting::start(hub, addr.into(), trigger, TcpStream);
        deferred
    }

    /// Takes over a connection of the standard library, with the options it has. It is made
    /// non-blocking.
    ///
    /// # Errors
    ///
    /// When it is no TCP socket or listens, or the reactor's driver has no descriptors (`manual`).
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    #[track_caller]
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<Self> {
        let hub = Hub::current("TcpStream::from_std");
        let socket = adopted::TCP_STREAM.adopt(&hub, stream)?;
        Ok(TcpStream(Transport::new(hub, socket)))
    }

    /// Turns TCP_NODELAY off, or on again.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.socket()?.set_nodelay(on)
    }

    /// Has the operating system ask a quiet peer whether it is still there (SO_KEEPALIVE), or not.
    /// Without it a connection whose peer has lost its power or its network stays for ever while
    /// nobody sends.
    ///
    /// ```
    /// # use thence_reactor::net::{TcpListener, TcpStream};
    /// use thence_reactor::net::Keepalive;
    /// # thence_reactor::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    ///
    /// let stream = TcpStream::connect(listener.local_addr()).await?;
    /// stream.set_keepalive(Some(Keepalive::default()))?;
    /// # Ok(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the connection is gone, or a number is larger than the operating system takes (32,767
    /// seconds, 127 probes).
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        self.socket()?.set_keepalive(keepalive)
    }

    /// How long what was sent may stay unacknowledged, or unsent because the peer takes none, before
    /// the operating system breaks the connection (TCP_USER_TIMEOUT); `None` is its own rule, some
    /// 15 minutes. It ends a peer that does not answer [`Keepalive`], too.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket()?.set_user_timeout(timeout)
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.peer_address()?.ip()
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local_address()?.ip()
    }
}

impl Deref for TcpStream {
    type Target = Transport;

    fn deref(&self) -> &Transport {
        &self.0
    }
}

impl AsRef<Transport> for TcpStream {
    fn as_ref(&self) -> &Transport {
        &self.0
    }
}

impl From<TcpStream> for Transport {
    fn from(stream: TcpStream) -> Self {
        stream.0
    }
}

impl Accepted for TcpStream {
    type From = SocketAddr;

    fn accepted(transport: Transport, from: Address) -> io::Result<(Self, SocketAddr)> {
        Ok((TcpStream(transport), from.ip()?))
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpStream").field(&self.0).finish()
    }
}

/// A listening TCP socket.
///
/// When the reactor drains it takes what the operating system has accepted already, so that nobody
/// who was let in is reset, and closes after that; pending accepts end `Stop(Cancelled)`, as does
/// every accept of a closed listener. It does not hold a run open.
///
/// When the process has no descriptor or memory for another connection, accepting pauses, says so
/// in the log, and goes on when there is room again: nobody who waits for a connection fails by
/// it, and nobody at the door is turned away.
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
pub struct TcpListener {
    acceptor: Acceptor<TcpStream>,
    addr: SocketAddr,
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
            let listening = hub.driver.borrow_mut().listen(&addr.into());
            match listening.and_then(|socket| Ok((socket.local_addr()?.ip()?, socket))) {
                Ok((addr, socket)) => {
                    let acceptor = Acceptor::new(hub, addr.into(), socket);
                    return Ok(TcpListener { acceptor, addr });
                }
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

    /// Takes over a listening socket of the standard library, or one that was handed to the
    /// process ([`inherited`](super::inherited)). It is made non-blocking.
    ///
    /// ```
    /// # use thence_reactor::net::{TcpListener, TcpStream};
    /// # thence_reactor::run(async {
    /// let listener = TcpListener::from_std(std::net::TcpListener::bind("127.0.0.1:0")?)?;
    /// let client = TcpStream::connect(listener.local_addr());
    /// listener.accept().await?;
    /// client.await?;
    /// # Ok(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When it does not listen or is no TCP socket, or the reactor's driver has no descriptors
    /// (`manual`).
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    #[track_caller]
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<Self> {
        let hub = Hub::current("TcpListener::from_std");
        let socket = adopted::TCP_LISTENER.adopt(&hub, listener)?;
        let addr = socket.local_addr()?.ip()?;
        let acceptor = Acceptor::new(hub, addr.into(), socket);
        Ok(TcpListener { acceptor, addr })
    }

    /// The next connection, and where it came from.
    ///
    /// Several may be asked for at once; each turn of the reactor then accepts as many.
    ///
    /// # Errors
    ///
    /// The Deferred fails when the operating system refuses to accept for another reason than a
    /// want of descriptors or memory, which is waited out.
    #[track_caller]
    pub fn accept(&self) -> Deferred<(TcpStream, SocketAddr)> {
        let (trigger, deferred) = Deferred::new();
        self.acceptor.accept(trigger);
        deferred
    }

    /// Gives every connection to a protocol, which `protocol` makes of where it comes from. What
    /// breaks one connection is reported and ends no other.
    ///
    /// The Deferred ends `Stop(Cancelled)` when the listener is closed or the reactor drains. Left,
    /// it goes on.
    ///
    /// # Errors
    ///
    /// The Deferred fails as [`accept`](TcpListener::accept) does.
    #[track_caller]
    pub fn serve<P: Protocol>(
        self,
        mut protocol: impl FnMut(SocketAddr) -> P + 'static,
    ) -> Deferred<()> {
        flow(async move {
            loop {
                let (stream, from) = self.accept().await?;
                drive(stream, protocol(from)).report();
            }
        })
    }

    /// The address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Listens no more. Pending accepts end `Stop(Cancelled)`; whoever waits in the queue of the
    /// operating system is reset.
    pub fn close(&self) {
        self.acceptor.close();
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpListener").field(&self.addr).finish()
    }
}
