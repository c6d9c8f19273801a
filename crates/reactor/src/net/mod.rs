//! TCP.
//!
//! Reads, writes and accepts are Deferreds on `&self`, and all of them are streams of things:
//! what a waiter does not take, because it left, goes back to where the next one finds it, bytes to
//! the front of the connection's buffer and sockets to the next accept.

pub use self::{listener::TcpListener, stream::TcpStream};

mod connecting;
mod connection;
mod inbound;
mod listener;
mod outbound;
mod stream;
pub mod tls;
