//! UDP.

use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    os::fd::BorrowedFd,
};

use bytes::Bytes;
use rustix::net::sockopt;
use thence_core::Deferred;

use super::{
    adopted,
    datagram::{Datagrams, Receiver},
};
use crate::hub::Hub;

/// A socket for datagrams: each is sent and received whole, or not at all.
///
/// * Several may wait for a datagram at once; each gets one, in the order they asked. One that came
///   for somebody who left, or was cancelled, goes to whoever is next.
/// * Datagrams go out in the order they were sent. A send ends when the operating system has it; it
///   says nothing about whether anybody gets it. Left, it goes out; cancelled, it does not, unless
///   it has already.
/// * Dropped, the socket closes when its sends are out and nobody waits for a datagram.
/// * Unlike a listener it does not close when the reactor drains, since what comes may be the
///   answer to something under way. A server ends its loop on [`draining`](crate::draining).
///
/// ```
/// use thence_reactor::net::UdpSocket;
/// # thence_reactor::run(async {
///
/// let server = UdpSocket::bind("127.0.0.1:0")?;
/// let client = UdpSocket::bind("127.0.0.1:0")?;
/// client.send_to("ping", server.local_addr()?).await?;
/// let (bytes, from) = server.recv_from().await?;
/// assert_eq!(bytes, "ping");
/// server.send_to("pong", from).await?;
/// assert_eq!(client.recv().await?, "pong");
/// # Ok(()) }).unwrap();
/// ```
pub struct UdpSocket(Datagrams<SocketAddr>);

impl UdpSocket {
    /// A socket at the first of these addresses that can be had. Port 0 takes one that is free.
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
        let hub = Hub::current("UdpSocket::bind");
        let mut failed = None;
        for addr in addr.to_socket_addrs()? {
            let bound = hub.driver.borrow_mut().datagrams(&addr.into());
            match bound {
                Ok(socket) => return Ok(UdpSocket(Datagrams::new(hub, socket))),
                Err(error) => {
                    let text = format!("cannot bind to {addr}: {error}");
                    failed = Some(io::Error::new(error.kind(), text));
                }
            }
        }
        Err(failed.unwrap_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "no address to bind to")
        }))
    }

    /// Takes over a socket of the standard library, with the options it has. It is made
    /// non-blocking.
    ///
    /// # Errors
    ///
    /// When it is no UDP socket, or the reactor's driver has no descriptors (`manual`).
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    #[track_caller]
    pub fn from_std(socket: std::net::UdpSocket) -> io::Result<Self> {
        let hub = Hub::current("UdpSocket::from_std");
        let socket = adopted::UDP.adopt(&hub, socket)?;
        Ok(UdpSocket(Datagrams::new(hub, socket)))
    }

    /// Fixes the other end: [`send`](UdpSocket::send) goes there, and nothing is received from
    /// anybody else. Nothing is sent by it, so nobody has to be there.
    ///
    /// # Errors
    ///
    /// When there is no way there.
    pub fn connect(&self, addr: SocketAddr) -> io::Result<()> {
        self.0.connect(addr.into())
    }

    /// Sends `bytes` to `addr` as one datagram.
    ///
    /// # Errors
    ///
    /// The Deferred fails when the operating system does not take it: it is too long (65,507 bytes
    /// are the most over IPv4), there is no way there, or a broadcast was not
    /// [allowed](UdpSocket::set_broadcast).
    #[track_caller]
    pub fn send_to(&self, bytes: impl Into<Bytes>, addr: SocketAddr) -> Deferred<()> {
        let (trigger, deferred) = Deferred::new();
        self.0.send(bytes.into(), Some(addr.into()), trigger);
        deferred
    }

    /// Sends `bytes` as one datagram to where the socket is connected.
    ///
    /// # Errors
    ///
    /// As [`send_to`](UdpSocket::send_to); with [`io::ErrorKind::NotConnected`] or
    /// [`io::ErrorKind::InvalidInput`] when it is not connected; and with
    /// [`io::ErrorKind::ConnectionRefused`] when an earlier datagram was refused and no receive has
    /// said so: this one was not sent then, and may be again.
    #[track_caller]
    pub fn send(&self, bytes: impl Into<Bytes>) -> Deferred<()> {
        let (trigger, deferred) = Deferred::new();
        self.0.send(bytes.into(), None, trigger);
        deferred
    }

    /// The next datagram, and who sent it.
    ///
    /// # Errors
    ///
    /// The Deferred fails when the operating system reports an error of the socket. Of a connected
    /// one that is mostly [`io::ErrorKind::ConnectionRefused`]: nobody was at the other end for
    /// something that was sent. That is no end; receive again.
    #[track_caller]
    pub fn recv_from(&self) -> Deferred<(Bytes, SocketAddr)> {
        let (trigger, deferred) = Deferred::new();
        self.0.recv(Receiver::From(trigger));
        deferred
    }

    /// The next datagram.
    ///
    /// # Errors
    ///
    /// As [`recv_from`](UdpSocket::recv_from).
    #[track_caller]
    pub fn recv(&self) -> Deferred<Bytes> {
        let (trigger, deferred) = Deferred::new();
        self.0.recv(Receiver::Bytes(trigger));
        deferred
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The address it is connected to.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotConnected`] when it is not.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }

    /// Its descriptor, for options that have no method here, by socket2 or rustix. `None` where
    /// there is no descriptor.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_fd()
    }
}

/// Options. On a driver without descriptors they are taken and change nothing, but for the groups.
impl UdpSocket {
    /// Whether it may send to broadcast addresses; off unless said.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        self.option(|fd| sockopt::set_socket_broadcast(fd, on))
    }

    /// How many routers a datagram may pass (IPv4).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.option(|fd| sockopt::set_ip_ttl(fd, ttl))
    }

    /// How many routers a datagram to a group may pass (IPv4); 1 unless said.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        self.option(|fd| sockopt::set_ip_multicast_ttl(fd, ttl))
    }

    /// Whether what it sends to a group comes back to this machine (IPv4); on unless said.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    pub fn set_multicast_loop_v4(&self, on: bool) -> io::Result<()> {
        self.option(|fd| sockopt::set_ip_multicast_loop(fd, on))
    }

    /// Receives what is sent to `group`, on the interface that has the address `interface`;
    /// [`Ipv4Addr::UNSPECIFIED`] leaves the choice to the operating system.
    ///
    /// # Errors
    ///
    /// When `group` is none, there is no such interface, or there are no descriptors (`manual`).
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        Ok(sockopt::set_ip_add_membership(self.for_groups()?, &group, &interface)?)
    }

    /// Undoes [`join_multicast_v4`](UdpSocket::join_multicast_v4).
    ///
    /// # Errors
    ///
    /// When it is not in the group.
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        Ok(sockopt::set_ip_drop_membership(self.for_groups()?, &group, &interface)?)
    }

    /// Receives what is sent to `group`, on the interface of that index; 0 leaves the choice to
    /// the operating system.
    ///
    /// # Errors
    ///
    /// When `group` is none, there is no such interface, or there are no descriptors (`manual`).
    pub fn join_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> io::Result<()> {
        Ok(sockopt::set_ipv6_add_membership(self.for_groups()?, &group, interface)?)
    }

    /// Undoes [`join_multicast_v6`](UdpSocket::join_multicast_v6).
    ///
    /// # Errors
    ///
    /// When it is not in the group.
    pub fn leave_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> io::Result<()> {
        Ok(sockopt::set_ipv6_drop_membership(self.for_groups()?, &group, interface)?)
    }

    fn option(
        &self,
        set: impl FnOnce(BorrowedFd<'_>) -> Result<(), rustix::io::Errno>,
    ) -> io::Result<()> {
        match self.as_fd() {
            Some(fd) => Ok(set(fd)?),
            None => Ok(()),
        }
    }

    fn for_groups(&self) -> io::Result<BorrowedFd<'_>> {
        let text = "this reactor's driver has no groups: multicast needs `ready`";
        self.as_fd().ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, text))
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("UdpSocket");
        if let Ok(addr) = self.local_addr() {
            shown.field("addr", &addr);
        }
        shown.finish_non_exhaustive()
    }
}
