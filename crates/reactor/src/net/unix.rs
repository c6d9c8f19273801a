//! Streams between processes of this machine.

use std::{fmt, fs, io, ops::Deref, os::unix::fs::FileTypeExt, path::PathBuf};

use thence_core::{Deferred, flow};

use super::{
    Protocol, Transport, UnixAddr,
    acceptor::{Accepted, Acceptor},
    connecting, drive,
};
use crate::{
    driver::{Address, SocketKind},
    hub::Hub,
};

/// A connection to a process of this machine: a [`Transport`], which has the reads and writes.
///
/// ```
/// # use thence_reactor::net::UnixStream;
/// # thence_reactor::run(async {
/// let (here, there) = UnixStream::pair()?;
/// here.write("ping").await?;
/// assert_eq!(there.read_exact(4).await?, "ping");
/// # Ok(()) }).unwrap();
/// ```
pub struct UnixStream(Transport);

impl UnixStream {
    /// Connects to the listener at `addr`, a path or a [`UnixAddr`].
    ///
    /// Cancelled, or left, a connection that is made all the same closes.
    ///
    /// # Errors
    ///
    /// The Deferred fails when nobody listens there, or this user may not, or the listener's queue
    /// is full ([`io::ErrorKind::WouldBlock`]: the operating system does not wait for room in it).
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    #[track_caller]
    pub fn connect(addr: impl Into<UnixAddr>) -> Deferred<UnixStream> {
        let hub = Hub::current("UnixStream::connect");
        let (trigger, deferred) = Deferred::new();
        connecting::start(&hub, Address::Unix(addr.into()), trigger, UnixStream);
        deferred
    }

    /// Both ends of a new connection.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    #[track_caller]
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let hub = Hub::current("UnixStream::pair");
        let (one, two) = hub.driver.borrow_mut().pair(SocketKind::Stream)?;
        let wrap = |socket| UnixStream(Transport::new(hub.clone(), socket));
        Ok((wrap(one), wrap(two)))
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn peer_addr(&self) -> io::Result<UnixAddr> {
        self.peer_address()?.unix()
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn local_addr(&self) -> io::Result<UnixAddr> {
        self.local_address()?.unix()
    }
}

impl Deref for UnixStream {
    type Target = Transport;

    fn deref(&self) -> &Transport {
        &self.0
    }
}

impl From<UnixStream> for Transport {
    fn from(stream: UnixStream) -> Self {
        stream.0
    }
}

impl Accepted for UnixStream {
    type From = UnixAddr;

    fn accepted(transport: Transport, from: Address) -> io::Result<(Self, UnixAddr)> {
        Ok((UnixStream(transport), from.unix()?))
    }
}

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnixStream").field(&self.0).finish()
    }
}

/// A listening Unix socket, which accepts, pauses and drains as a
/// [`TcpListener`](super::TcpListener) does.
///
/// One at a path removes its file when it is dropped.
///
/// ```
/// # use thence_core::flow;
/// # use thence_reactor::net::{UnixListener, UnixStream};
/// # thence_reactor::run(async {
/// let folder = std::env::temp_dir().join(format!("thence-doc-{}", std::process::id()));
/// std::fs::create_dir_all(&folder)?;
/// let listener = UnixListener::bind(folder.join("socket").as_path())?;
/// let client = flow({
///     let path = folder.join("socket");
///     async move { UnixStream::connect(path.as_path()).await?.read_exact(5).await }
/// });
/// let (stream, _) = listener.accept().await?;
/// stream.write("hello").await?;
/// assert_eq!(client.await?, "hello");
/// # drop(listener);
/// # std::fs::remove_dir(&folder)?;
/// # Ok(()) }).unwrap();
/// ```
pub struct UnixListener {
    acceptor: Acceptor<UnixStream>,
    addr: UnixAddr,
    /// Removed with it.
    file: Option<PathBuf>,
}

impl UnixListener {
    /// Listens at `addr`, a path or a [`UnixAddr`].
    ///
    /// A socket that is left of a process that has ended is in the way: remove it first, when you
    /// know that it is that.
    ///
    /// # Errors
    ///
    /// When there is something at that path already, or this user may not make it. The error says
    /// which path it was.
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    #[track_caller]
    pub fn bind(addr: impl Into<UnixAddr>) -> io::Result<Self> {
        let hub = Hub::current("UnixListener::bind");
        let addr = addr.into();
        let listening = hub.driver.borrow_mut().listen(&Address::Unix(addr.clone()));
        let socket = listening.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen at {addr}: {error}"))
        })?;
        let file = socket.as_fd().and_then(|_| addr.as_path()).map(PathBuf::from);
        let acceptor = Acceptor::new(hub, addr.clone().into(), socket);
        Ok(UnixListener { acceptor, addr, file })
    }

    /// The next connection, and where it came from, which is mostly [`UnixAddr::Unnamed`].
    ///
    /// # Errors
    ///
    /// As [`TcpListener::accept`](super::TcpListener::accept).
    #[track_caller]
    pub fn accept(&self) -> Deferred<(UnixStream, UnixAddr)> {
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
    /// The Deferred fails as [`accept`](UnixListener::accept) does.
    #[track_caller]
    pub fn serve<P: Protocol>(
        self,
        mut protocol: impl FnMut(UnixAddr) -> P + 'static,
    ) -> Deferred<()> {
        flow(async move {
            loop {
                let (stream, from) = self.accept().await?;
                drive(stream, protocol(from)).report();
            }
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> &UnixAddr {
        &self.addr
    }

    /// Listens no more. Pending accepts end `Stop(Cancelled)`; whoever waits in the queue of the
    /// operating system is reset.
    pub fn close(&self) {
        self.acceptor.close();
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnixListener").field(&self.addr).finish()
    }
}

impl Drop for UnixListener {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        // What is there now may be somebody else's, and no socket at all.
        if fs::symlink_metadata(&file).is_ok_and(|meta| meta.file_type().is_socket()) {
            let _ = fs::remove_file(file);
        }
    }
}
