//! Sockets that were made elsewhere.

use std::{io, os::fd::OwnedFd};

use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::{
    driver::{Socket, SocketKind},
    hub::Hub,
};

/// What a descriptor has to be.
pub(super) struct Expected {
    families: &'static [AddressFamily],
    kind: SocketKind,
}

pub(super) const TCP_LISTENER: Expected = Expected { families: IP, kind: SocketKind::Listener };
pub(super) const TCP_STREAM: Expected = Expected { families: IP, kind: SocketKind::Stream };
pub(super) const UDP: Expected = Expected { families: IP, kind: SocketKind::Datagram };
pub(super) const UNIX_DATAGRAM: Expected = Expected { families: UNIX, kind: SocketKind::Datagram };
pub(super) const UNIX_LISTENER: Expected = Expected { families: UNIX, kind: SocketKind::Listener };
pub(super) const UNIX_STREAM: Expected = Expected { families: UNIX, kind: SocketKind::Stream };

impl Expected {
    /// Takes `fd` over, when it is that.
    pub(super) fn adopt(&self, hub: &Hub, fd: impl Into<OwnedFd>) -> io::Result<Socket> {
        let fd = fd.into();
        self.check(&fd)?;
        hub.driver.borrow_mut().adopt(fd, self.kind)
    }

    fn check(&self, fd: &OwnedFd) -> io::Result<()> {
        let family = sockopt::socket_domain(fd)?;
        if !self.families.contains(&family) {
            return Err(wrong(match family {
                AddressFamily::UNIX => "it is a Unix socket, and one of the internet is expected",
                AddressFamily::INET | AddressFamily::INET6 => {
                    "it is a socket of the internet, and a Unix socket is expected"
                }
                _ => "it is a socket of another family than the one expected",
            }));
        }
        let datagrams = self.kind == SocketKind::Datagram;
        match (datagrams, sockopt::socket_type(fd)?) {
            (true, SocketType::DGRAM) | (false, SocketType::STREAM) => {}
            (true, _) => return Err(wrong("it is no socket for datagrams")),
            (false, _) => return Err(wrong("it is no socket for streams")),
        }
        match (self.kind == SocketKind::Listener, sockopt::socket_acceptconn(fd)?) {
            (true, false) => Err(wrong("it does not listen: call `listen` on it first")),
            (false, true) => Err(wrong("it listens, and one that does not is expected")),
            _ => Ok(()),
        }
    }
}

fn wrong(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

const IP: &[AddressFamily] = &[AddressFamily::INET, AddressFamily::INET6];
const UNIX: &[AddressFamily] = &[AddressFamily::UNIX];
