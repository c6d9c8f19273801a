//! A descriptor of a driver, shared by the operations that use it.

use std::{
    fmt, io,
    net::{Shutdown, SocketAddr},
    rc::Rc,
};

use super::{manual::Memory, ready::OsSocket};

/// A listening or connected socket of one driver.
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

impl Socket {
    /// The address of this end.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
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
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Kind::Memory(memory) => memory.peer_addr(),
            Kind::Os(os) => os.peer_addr(),
        }
    }

    /// Says that nothing more will be sent, or received, or both. What the operating system holds
    /// already is still delivered.
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
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Memory(memory) => memory.fmt(f),
            Kind::Os(os) => os.fmt(f),
        }
    }
}
