//! A descriptor of the operating system, and what is called on it.
//!
//! The calls go through rustix, which makes them directly; none of them waits.

use std::{
    cell::RefCell,
    ffi::OsStr,
    fmt,
    io::{self, ErrorKind, IoSlice},
    net::Shutdown,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    rc::Rc,
    time::Duration,
};

use mio::Interest;
use rustix::{
    buffer::spare_capacity,
    io::Errno,
    net::{
        self, AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketAddrAny,
        SocketAddrUnix, SocketFlags, SocketType, sockopt,
    },
};

use super::signal::Signal;
use crate::{
    driver::{Address, Buffers, Key, SocketKind, UnixAddr},
    net::Keepalive,
};

/// A descriptor, and the driver's entry for it.
pub(in crate::driver) struct OsSocket {
    fd: OwnedFd,
    kind: SocketKind,
    source: Key,
    retired: Retired,
    /// It receives a signal, as long as it is open.
    _signal: Option<Signal>,
}

/// Sources whose socket is gone, for the driver to forget. The socket cannot tell it directly: its
/// last clone may be dropped while the driver is at work.
#[derive(Clone, Default)]
pub(super) struct Retired(Rc<RefCell<Vec<Key>>>);

impl OsSocket {
    pub(super) fn new(fd: OwnedFd, kind: SocketKind, source: Key, retired: Retired) -> Self {
        OsSocket { fd, kind, source, retired, _signal: None }
    }

    pub(super) fn of_signal(fd: OwnedFd, signal: Signal, source: Key, retired: Retired) -> Self {
        OsSocket { fd, kind: SocketKind::Stream, source, retired, _signal: Some(signal) }
    }

    pub(super) fn source(&self) -> Key {
        self.source
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// What the poll shall tell of it.
    pub(super) fn interest(&self) -> Interest {
        match self.kind {
            SocketKind::Listener | SocketKind::Other => Interest::READABLE,
            SocketKind::Datagram | SocketKind::Pipe | SocketKind::Stream => {
                Interest::READABLE | Interest::WRITABLE
            }
        }
    }

    pub(super) fn accept(&self) -> io::Result<(OwnedFd, Address)> {
        self.expect(SocketKind::Listener)?;
        loop {
            match net::acceptfrom_with(&self.fd, fresh()) {
                Ok((stream, from)) => {
                    let from = from.map_or(Ok(Address::Unix(UnixAddr::Unnamed)), address)?;
                    send_at_once(&stream, &from);
                    return Ok((stream, from));
                }
                // accept(2): what is already wrong with that connection is no fault of the
                // listener, and the next one is behind it.
                Err(Errno::CONNABORTED | Errno::CONNRESET | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether a connection under way is there now.
    pub(super) fn connected(&self) -> io::Result<bool> {
        sockopt::socket_error(&self.fd)??;
        match net::getpeername(&self.fd) {
            Ok(peer) => {
                if let Some(peer) = peer {
                    send_at_once(&self.fd, &address(peer)?);
                }
                Ok(true)
            }
            Err(Errno::NOTCONN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    #[inline]
    pub(super) fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.kind {
            SocketKind::Stream => Ok(net::recv(&self.fd, buffer, RecvFlags::empty())?.0),
            SocketKind::Pipe => Ok(rustix::io::read(&self.fd, buffer)?),
            _ => Err(ErrorKind::InvalidInput.into()),
        }
    }

    /// Receives into the room that `buffer` has.
    #[inline]
    pub(super) fn recv_into(&self, buffer: &mut Vec<u8>) -> io::Result<()> {
        let room = spare_capacity(buffer);
        match self.kind {
            SocketKind::Stream => net::recv(&self.fd, room, RecvFlags::empty())?.0,
            SocketKind::Pipe => rustix::io::read(&self.fd, room)?,
            _ => return Err(ErrorKind::InvalidInput.into()),
        };
        Ok(())
    }

    pub(super) fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, Address)> {
        self.expect(SocketKind::Datagram)?;
        let (n, _, from) = net::recvfrom(&self.fd, buffer, RecvFlags::empty())?;
        Ok((n, from.map_or(Ok(Address::Unix(UnixAddr::Unnamed)), address)?))
    }

    /// Sends from the front of `buffers` and takes what was sent off them.
    #[inline]
    pub(super) fn send(&self, buffers: &mut Buffers) -> io::Result<usize> {
        loop {
            let result = match self.kind {
                SocketKind::Stream if buffers.is_one_piece() => {
                    net::send(&self.fd, buffers.first(), QUIET)
                }
                SocketKind::Stream | SocketKind::Pipe => self.send_pieces(buffers),
                _ => return Err(ErrorKind::InvalidInput.into()),
            };
            match result {
                Err(Errno::INTR) => {}
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    buffers.advance(n);
                    return Ok(n);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn send_pieces(&self, buffers: &Buffers) -> rustix::io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let used = buffers.fill(&mut slices);
        match self.kind {
            SocketKind::Pipe => rustix::io::writev(&self.fd, &slices[..used]),
            _ => {
                let mut nothing = SendAncillaryBuffer::default();
                net::sendmsg(&self.fd, &slices[..used], &mut nothing, QUIET)
            }
        }
    }

    pub(super) fn send_to(&self, bytes: &[u8], to: Option<&Address>) -> io::Result<usize> {
        self.expect(SocketKind::Datagram)?;
        loop {
            let result = match to {
                None => net::send(&self.fd, bytes, QUIET),
                Some(Address::Ip(to)) => net::sendto(&self.fd, bytes, QUIET, to),
                Some(Address::Unix(to)) => net::sendto(&self.fd, bytes, QUIET, &unix(to)?),
            };
            match result {
                Err(Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    pub(in crate::driver) fn local_addr(&self) -> io::Result<Address> {
        address(net::getsockname(&self.fd)?)
    }

    pub(in crate::driver) fn peer_addr(&self) -> io::Result<Address> {
        net::getpeername(&self.fd)?.map_or(Ok(Address::Unix(UnixAddr::Unnamed)), address)
    }

    pub(in crate::driver) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let how = match how {
            Shutdown::Both => net::Shutdown::Both,
            Shutdown::Read => net::Shutdown::Read,
            Shutdown::Write => net::Shutdown::Write,
        };
        Ok(net::shutdown(&self.fd, how)?)
    }

    pub(in crate::driver) fn set_nodelay(&self, on: bool) -> io::Result<()> {
        Ok(sockopt::set_tcp_nodelay(&self.fd, on)?)
    }

    pub(in crate::driver) fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        if let Some(Keepalive { idle, interval, probes }) = keepalive {
            sockopt::set_tcp_keepidle(&self.fd, idle.max(SECOND))?;
            sockopt::set_tcp_keepintvl(&self.fd, interval.max(SECOND))?;
            sockopt::set_tcp_keepcnt(&self.fd, probes.max(1))?;
        }
        Ok(sockopt::set_socket_keepalive(&self.fd, keepalive.is_some())?)
    }

    pub(in crate::driver) fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        // 0 is its own rule. What it cannot count is three weeks and more.
        let most = i32::MAX.unsigned_abs();
        let millis = |timeout: Duration| u32::try_from(timeout.as_millis()).unwrap_or(most);
        let millis = timeout.map_or(0, |timeout| millis(timeout).clamp(1, most));
        Ok(sockopt::set_tcp_user_timeout(&self.fd, millis)?)
    }

    pub(in crate::driver) fn kind(&self) -> SocketKind {
        self.kind
    }

    fn expect(&self, kind: SocketKind) -> io::Result<()> {
        if self.kind != kind {
            return Err(ErrorKind::InvalidInput.into());
        }
        Ok(())
    }
}

impl AsFd for OsSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for OsSocket {
    fn drop(&mut self) {
        // The descriptor closes after this, and with it goes its registration: nobody duplicates
        // it. What an unlikely duplicate would still report finds no source.
        self.retired.0.borrow_mut().push(self.source);
    }
}

impl fmt::Debug for OsSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.raw_fd())
    }
}

impl Retired {
    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    pub(super) fn take(&self) -> Vec<Key> {
        self.0.take()
    }
}

/// A listening socket.
pub(super) fn listen(addr: &Address) -> io::Result<OwnedFd> {
    let fd = open(addr, SocketType::STREAM)?;
    if let Address::Ip(_) = addr {
        // A server that is started again must not wait for the last one's connections to time out.
        sockopt::set_socket_reuseaddr(&fd, true)?;
    }
    bind(&fd, addr)?;
    net::listen(&fd, BACKLOG)?;
    Ok(fd)
}

pub(super) fn datagrams(addr: &Address) -> io::Result<OwnedFd> {
    let fd = open(addr, SocketType::DGRAM)?;
    bind(&fd, addr)?;
    Ok(fd)
}

pub(super) fn pair(kind: SocketKind) -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = match kind {
        SocketKind::Datagram => SocketType::DGRAM,
        SocketKind::Stream => SocketType::STREAM,
        _ => return Err(ErrorKind::InvalidInput.into()),
    };
    Ok(net::socketpair(AddressFamily::UNIX, kind, fresh(), None)?)
}

/// A connection that is there, or under way.
pub(super) fn connect(to: &Address) -> io::Result<OwnedFd> {
    let fd = open(to, SocketType::STREAM)?;
    let connecting = match to {
        Address::Ip(to) => net::connect(&fd, to),
        Address::Unix(to) => net::connect(&fd, &unix(to)?),
    };
    match connecting {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(fd),
        Err(error) => Err(error.into()),
    }
}

fn open(addr: &Address, kind: SocketType) -> io::Result<OwnedFd> {
    let family = match addr {
        Address::Ip(addr) if addr.is_ipv4() => AddressFamily::INET,
        Address::Ip(_) => AddressFamily::INET6,
        Address::Unix(_) => AddressFamily::UNIX,
    };
    Ok(net::socket_with(family, kind, fresh(), None)?)
}

fn bind(fd: &OwnedFd, addr: &Address) -> io::Result<()> {
    match addr {
        Address::Ip(addr) => net::bind(fd, addr)?,
        Address::Unix(UnixAddr::Unnamed) => {}
        Address::Unix(addr) => net::bind(fd, &unix(addr)?)?,
    }
    Ok(())
}

fn send_at_once(fd: &OwnedFd, peer: &Address) {
    if let Address::Ip(_) = peer {
        // Fails when the connection is gone by now, which its first receive will say.
        let _ = sockopt::set_tcp_nodelay(fd, true);
    }
}

/// What the operating system gave, as what we have.
fn address(any: SocketAddrAny) -> io::Result<Address> {
    if any.address_family() == AddressFamily::UNIX {
        let unix = SocketAddrUnix::try_from(any)?;
        // An address without any name counts as an empty one.
        if let Some(name) = unix.abstract_name().filter(|name| !name.is_empty()) {
            return Ok(UnixAddr::Abstract(name.to_owned()).into());
        }
        return Ok(Address::Unix(match unix.path_bytes() {
            Some(path) if !path.is_empty() => UnixAddr::Path(OsStr::from_bytes(path).into()),
            _ => UnixAddr::Unnamed,
        }));
    }
    Ok(Address::Ip(std::net::SocketAddr::try_from(any)?))
}

fn unix(addr: &UnixAddr) -> io::Result<SocketAddrUnix> {
    match addr {
        #[cfg(target_os = "linux")]
        UnixAddr::Abstract(name) => Ok(SocketAddrUnix::new_abstract_name(name)?),
        UnixAddr::Path(path) => SocketAddrUnix::new(path).map_err(|error| {
            let text = format!("{} is no path for a socket: {error}", path.display());
            io::Error::new(ErrorKind::InvalidInput, text)
        }),
        other => Err(io::Error::new(
            ErrorKind::InvalidInput,
            format!("{other} is no address for a socket here"),
        )),
    }
}

/// What every new socket is: not waiting, and nobody's but ours (no child inherits it).
fn fresh() -> SocketFlags {
    SocketFlags::NONBLOCK | SocketFlags::CLOEXEC
}

/// A broken connection is an error, never a signal.
const QUIET: SendFlags = SendFlags::NOSIGNAL;

const BACKLOG: i32 = 4096;

const SECOND: Duration = Duration::from_secs(1);

/// How many buffers one send takes: well below the 1,024 that systems allow, and what is over goes
/// with the next one.
const SLICES: usize = 64;
