//! Datagrams between processes of this machine.

use std::{fmt, io, os::fd::BorrowedFd};

use bytes::Bytes;
use thence_core::Deferred;

use super::{
    UnixAddr, adopted,
    datagram::{Datagrams, Receiver},
    socket_file::SocketFile,
};
use crate::{
    driver::{Address, SocketKind},
    hub::Hub,
};

/// A socket for datagrams between processes of this machine, with the semantics of
/// [`UdpSocket`](super::UdpSocket), but that nothing is lost on the way: when the receiver has no
/// room a send waits for it.
///
/// Datagrams of at most 65,535 bytes are received; a longer one is an error of the receive. What
/// [`send`](UnixDatagram::send) sends goes out in order, and so does what
/// [`send_to`](UnixDatagram::send_to) does; between the two nothing is promised.
///
/// One at a path removes its file when it is dropped.
///
/// ```
/// use thence_reactor::net::UnixDatagram;
/// # thence_reactor::run(async {
///
/// let (here, there) = UnixDatagram::pair()?;
/// here.send("one").await?;
/// here.send("two").await?;
/// assert_eq!(there.recv().await?, "one");
/// assert_eq!(there.recv().await?, "two");
/// # Ok(()) }).unwrap();
/// ```
pub struct UnixDatagram {
    datagrams: Datagrams<UnixAddr>,
    /// Removed with it.
    _file: Option<SocketFile>,
}

impl UnixDatagram {
    /// A socket at `addr`, a path or a [`UnixAddr`].
    ///
    /// ```
    /// # use thence_reactor::net::{UnixDatagram, UnixAddr};
    /// # thence_reactor::run(async {
    /// # let folder = std::env::temp_dir().join(format!("thence-doc-dgram-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// # let path = folder.join("socket");
    /// let server = UnixDatagram::bind(path.as_path())?;
    /// let client = UnixDatagram::unbound()?;
    /// client.send_to("hello", path.as_path()).await?;
    /// assert_eq!(server.recv_from().await?, ("hello".into(), UnixAddr::Unnamed));
    /// # drop(server);
    /// # std::fs::remove_dir(&folder)?;
    /// # Ok(()) }).unwrap();
    /// ```
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
        let hub = Hub::current("UnixDatagram::bind");
        let addr = addr.into();
        let bound = hub.driver.borrow_mut().datagrams(&Address::Unix(addr.clone()));
        let socket = bound.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot bind to {addr}: {error}"))
        })?;
        let file = SocketFile::of(&socket, &addr);
        Ok(UnixDatagram { datagrams: Datagrams::new(hub, socket), _file: file })
    }

    /// A socket without an address: it can send, and nobody can answer.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    #[track_caller]
    pub fn unbound() -> io::Result<Self> {
        Self::bind(UnixAddr::Unnamed)
    }

    /// Two sockets that are connected with each other.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    #[track_caller]
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let hub = Hub::current("UnixDatagram::pair");
        let (one, two) = hub.driver.borrow_mut().pair(SocketKind::Datagram)?;
        let wrap =
            |socket| UnixDatagram { datagrams: Datagrams::new(hub.clone(), socket), _file: None };
        Ok((wrap(one), wrap(two)))
    }

    /// Takes over a socket of the standard library. It is made non-blocking; its file, if it has
    /// one, stays.
    ///
    /// # Errors
    ///
    /// When it is no Unix socket for datagrams, or the reactor's driver has no descriptors
    /// (`manual`).
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    #[track_caller]
    pub fn from_std(socket: std::os::unix::net::UnixDatagram) -> io::Result<Self> {
        let hub = Hub::current("UnixDatagram::from_std");
        let socket = adopted::UNIX_DATAGRAM.adopt(&hub, socket)?;
        Ok(UnixDatagram { datagrams: Datagrams::new(hub, socket), _file: None })
    }

    /// Fixes the other end: [`send`](UnixDatagram::send) goes there.
    ///
    /// # Errors
    ///
    /// When nobody has that address, or this user may not send there.
    pub fn connect(&self, addr: impl Into<UnixAddr>) -> io::Result<()> {
        self.datagrams.connect(Address::Unix(addr.into()))
    }

    /// Sends `bytes` to `addr` as one datagram, when there is room for it.
    ///
    /// # Errors
    ///
    /// The Deferred fails when nobody has that address, this user may not send there, or it is too
    /// long for the operating system.
    #[track_caller]
    pub fn send_to(&self, bytes: impl Into<Bytes>, addr: impl Into<UnixAddr>) -> Deferred<()> {
        let (trigger, deferred) = Deferred::new();
        self.datagrams.send(bytes.into(), Some(Address::Unix(addr.into())), trigger);
        deferred
    }

    /// Sends `bytes` as one datagram to the other end of the pair, or where the socket is
    /// connected.
    ///
    /// # Errors
    ///
    /// As [`send_to`](UnixDatagram::send_to); and with [`io::ErrorKind::NotConnected`] when it is
    /// not.
    #[track_caller]
    pub fn send(&self, bytes: impl Into<Bytes>) -> Deferred<()> {
        let (trigger, deferred) = Deferred::new();
        self.datagrams.send(bytes.into(), None, trigger);
        deferred
    }

    /// The next datagram, and who sent it.
    ///
    /// # Errors
    ///
    /// The Deferred fails when the operating system reports an error of the socket, or the
    /// datagram is too long. That is no end; receive again.
    #[track_caller]
    pub fn recv_from(&self) -> Deferred<(Bytes, UnixAddr)> {
        let (trigger, deferred) = Deferred::new();
        self.datagrams.recv(Receiver::From(trigger));
        deferred
    }

    /// The next datagram.
    ///
    /// # Errors
    ///
    /// As [`recv_from`](UnixDatagram::recv_from).
    #[track_caller]
    pub fn recv(&self) -> Deferred<Bytes> {
        let (trigger, deferred) = Deferred::new();
        self.datagrams.recv(Receiver::Bytes(trigger));
        deferred
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<UnixAddr> {
        self.datagrams.local_addr()
    }

    /// The address it is connected to.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotConnected`] when it is not.
    pub fn peer_addr(&self) -> io::Result<UnixAddr> {
        self.datagrams.peer_addr()
    }

    /// Its descriptor, for options that have no method here. `None` where there is no descriptor.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.datagrams.as_fd()
    }
}

impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("UnixDatagram");
        if let Ok(addr) = self.local_addr() {
            shown.field("addr", &addr);
        }
        shown.finish_non_exhaustive()
    }
}
