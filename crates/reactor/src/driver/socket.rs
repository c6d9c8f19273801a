//! A descriptor of a driver, shared by the operations that use it.

use std::{
    fmt, io,
    net::Shutdown,
    os::fd::{AsFd, BorrowedFd},
    rc::Rc,
    time::Duration,
};

use super::{Address, manual::Memory, ready::OsSocket};
use crate::net::Keepalive;

/// A listening or connected socket of one driver, or another descriptor it can wait for.
///
/// Clones are the same socket; it is closed when the last of them is gone, and since a pending
/// operation holds one, never under an operation (liburing#782). It belongs to the thread and to
/// the driver that made it: any other driver ends its operations with
/// [`io::ErrorKind::Unsupported`].
#[derive(Clone)]
pub struct Socket(pub(super) Kind);

#[derive(Clone)]
pub(super) enum Kind {
    Memory(Rc<Memory>),
    Os(Rc<OsSocket>),
}

/// What can be done with a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketKind {
    /// It sends and receives datagrams.
    Datagram,
    /// It accepts connections.
    Listener,
    /// Nothing but to wait until it is ready.
    Other,
    /// One end of a pipe.
    Pipe,
    /// A connected stream.
    Stream,
}

impl Socket {
    /// What can be done with it.
    pub fn kind(&self) -> SocketKind {
        match &self.0 {
            Kind::Memory(memory) => memory.kind(),
            Kind::Os(os) => os.kind(),
        }
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<Address> {
        match &self.0 {
            Kind::Memory(memory) => Ok(memory.local_addr()),
            Kind::Os(os) => os.local_addr(),
        }
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// Those of `getpeername`: the connection is gone.
    pub fn peer_addr(&self) -> io::Result<Address> {
        match &self.0 {
            Kind::Memory(memory) => memory.peer_addr(),
            Kind::Os(os) => os.peer_addr(),
        }
    }

    /// Says that nothing more will be sent, or received, or both. What the operating system holds
    /// already is still delivered. A pipe has one direction, and ends when it is closed.
    ///
    /// # Errors
    ///
    /// Those of `shutdown`: the connection is gone.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match &self.0 {
            Kind::Memory(memory) => {
                memory.shutdown(how);
                Ok(())
            }
            Kind::Os(os) => os.shutdown(how),
        }
    }

    /// Whether small writes go out at once (TCP_NODELAY).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`: the connection is gone.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        match &self.0 {
            Kind::Memory(_) => Ok(()),
            Kind::Os(os) => os.set_nodelay(on),
        }
    }

    /// Whether, and how, a quiet peer is asked whether it is still there (SO_KEEPALIVE).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`: the connection is gone, or a number is too large.
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        match &self.0 {
            Kind::Memory(_) => Ok(()),
            Kind::Os(os) => os.set_keepalive(keepalive),
        }
    }

    /// How long what was sent may stay unacknowledged (TCP_USER_TIMEOUT).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`: the connection is gone.
    pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match &self.0 {
            Kind::Memory(_) => Ok(()),
            Kind::Os(os) => os.set_user_timeout(timeout),
        }
    }

    /// Its descriptor, for options that have no method here. `None` where there is no descriptor.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Kind::Memory(_) => None,
            Kind::Os(os) => Some(os.as_fd()),
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Memory(memory) => memory.fmt(f),
            Kind::Os(os) => os.fmt(f),
        }
    }
}
