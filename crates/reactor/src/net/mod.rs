//! Sockets.
//!
//! Reads, writes and accepts are Deferreds on `&self`, and all of them are streams of things:
//! what a waiter does not take, because it left, goes back to where the next one finds it, bytes to
//! the front of the connection's buffer and sockets to the next accept.

#[cfg(any(feature = "futures-io", feature = "tokio-io"))]
pub use self::async_io::AsyncIo;
pub use self::{
    copy::{Copied, copy, copy_both},
    inherited::{Inherited, Which, inherited},
    keepalive::Keepalive,
    protocol::{Protocol, drive},
    streams::{Chunks, Incoming},
    tcp::{TcpListener, TcpStream},
    transport::Transport,
    udp::UdpSocket,
    unix::{UnixListener, UnixStream},
    unix_datagram::UnixDatagram,
};
pub use crate::driver::{Address, UnixAddr};

pub mod tls;

mod acceptor;
mod adopted;
#[cfg(any(feature = "futures-io", feature = "tokio-io"))]
mod async_io;
mod connecting;
mod connection;
mod copy;
mod datagram;
pub mod framing;
mod handout;
mod inbound;
mod inherited;
mod keepalive;
mod line;
mod outbound;
mod protocol;
mod socket_file;
mod streams;
mod tcp;
mod transport;
mod udp;
mod unix;
mod unix_datagram;
mod unix_sends;
