//! The other end of a connection, in the hands of a test.

use std::{
    fmt, io,
    net::{Shutdown, SocketAddr},
    rc::Rc,
};

use bytes::Bytes;

use super::{Manual, Memory};
use crate::driver::Address;

/// The far end of a connection. Dropped, it closes; what was not read by then resets it.
pub struct Peer(Rc<Memory>);

impl Peer {
    pub(super) fn new(memory: Rc<Memory>) -> Self {
        Peer(memory)
    }

    /// Sends what fits, and says how much that was: less than all when the other side does not
    /// read, nothing when it is gone.
    pub fn send(&self, bytes: impl AsRef<[u8]>) -> usize {
        self.0.send(bytes.as_ref()).unwrap_or(0)
    }

    /// All that has arrived and was not taken before.
    pub fn received(&self) -> Vec<u8> {
        match self.0.recv(usize::MAX) {
            Some(Ok(bytes)) => bytes.to_vec(),
            _ => Vec::new(),
        }
    }

    /// At most `max` bytes of what has arrived.
    pub fn receive(&self, max: usize) -> Vec<u8> {
        match self.0.recv(max) {
            Some(Ok(bytes)) => bytes.to_vec(),
            _ => Vec::new(),
        }
    }

    /// Whether everything was received and no more will come.
    pub fn is_at_end(&self) -> bool {
        self.0.is_finished()
    }

    /// Whether the connection was reset.
    pub fn is_reset(&self) -> bool {
        self.0.is_reset()
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        self.0.shutdown(Shutdown::Write);
    }

    /// Breaks the connection.
    pub fn reset(&self) {
        self.0.reset();
    }

    /// The address of this end.
    ///
    /// # Panics
    ///
    /// When it is a Unix socket: see [`local_address`](Peer::local_address).
    pub fn local_addr(&self) -> SocketAddr {
        self.local_address().ip().expect("a socket of the internet")
    }

    /// The address of this end, of whatever family.
    pub fn local_address(&self) -> Address {
        self.0.local_addr()
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A listener outside of the reactor.
pub struct PeerListener(Rc<Memory>);

impl PeerListener {
    pub(super) fn new(memory: Rc<Memory>) -> Self {
        PeerListener(memory)
    }

    /// The next connection, when there is one.
    pub fn accept(&self) -> Option<Peer> {
        self.0.accept().map(Peer)
    }

    /// The address of this end.
    ///
    /// # Panics
    ///
    /// When it is a Unix socket: see [`local_address`](PeerListener::local_address).
    pub fn local_addr(&self) -> SocketAddr {
        self.local_address().ip().expect("a socket of the internet")
    }

    /// The address of this end, of whatever family.
    pub fn local_address(&self) -> Address {
        self.0.local_addr()
    }
}

impl fmt::Debug for PeerListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A socket for datagrams outside of the reactor.
pub struct PeerDatagrams {
    manual: Manual,
    memory: Rc<Memory>,
}

impl PeerDatagrams {
    pub(super) fn new(manual: Manual, memory: Rc<Memory>) -> Self {
        PeerDatagrams { manual, memory }
    }

    /// Sends one datagram; false when the receiver has no room for it, and it was not sent.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::ConnectionRefused`] when there is no such Unix socket.
    pub fn send_to(&self, bytes: impl Into<Bytes>, to: impl Into<Address>) -> io::Result<bool> {
        let world = self.manual.0.borrow();
        let sent = world.send_datagram(&self.memory, bytes.into(), Some(&to.into()))?;
        Ok(sent.is_some())
    }

    /// The next datagram, and who sent it.
    pub fn receive(&self) -> Option<(Bytes, Address)> {
        self.memory.recv_from(usize::MAX)?.ok()
    }

    /// The address of this end.
    ///
    /// # Panics
    ///
    /// When it is a Unix socket: see [`local_address`](PeerDatagrams::local_address).
    pub fn local_addr(&self) -> SocketAddr {
        self.local_address().ip().expect("a socket of the internet")
    }

    /// The address of this end, of whatever family.
    pub fn local_address(&self) -> Address {
        self.memory.local_addr()
    }
}

impl fmt::Debug for PeerDatagrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.memory.fmt(f)
    }
}
