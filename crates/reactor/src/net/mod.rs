//! Sockets.
//!
//! Reads, writes and accepts are Deferreds on `&self`, and all of them are streams of things:
//! what a waiter does not take, because it left, goes back to where the next one finds it, bytes to
//! the front of the connection's buffer and sockets to the next accept.

pub use self::{
    protocol::{Protocol, drive},
    tcp::{TcpListener, TcpStream},
    transport::Transport,
    unix::{UnixListener, UnixStream},
};
pub use crate::driver::{Address, UnixAddr};

pub mod tls;

mod acceptor;
mod connecting;
mod connection;
mod inbound;
mod line;
mod outbound;
mod protocol;
mod tcp;
mod transport;
mod unix;
