//! A TLS connection.

use std::{fmt, io, ops::Deref};

use bytes::Bytes;
use thence_core::Deferred;

use super::{TlsVersion, session::Engine};
use crate::net::Transport;

/// A TLS connection whose handshake is done: a [`Transport`], which has the reads and writes.
///
/// [`shutdown`](Transport::shutdown) says the end by TLS's close_notify, and then by the
/// connection's own. A stream that ends without the first fails its readers with
/// [`io::ErrorKind::UnexpectedEof`], since anybody on the way can
/// cut a connection. Dropping a `TlsStream` says no close_notify: what was written goes out, and the
/// other end learns that there may have been more. End with a `shutdown` what is complete.
///
/// When a stream was dropped and all that was written is out, its connection stays for a second or
/// until the other end ends, and so does the run it is in: to close while something of TLS's own is
/// unread (a server's session tickets, the other's close_notify) would reset the connection, and
/// what was written and has not arrived would be lost.
pub struct TlsStream(Transport);

impl TlsStream {
    pub(in crate::net) fn new(transport: Transport) -> Self {
        TlsStream(transport)
    }

    /// The application protocol both ends speak (ALPN), if they spoke of it.
    pub fn alpn(&self) -> Option<Bytes> {
        self.ask(|engine| engine.alpn().map(Bytes::copy_from_slice)).flatten()
    }

    /// The name the client asked for (SNI). A server has none when the client asked for an address,
    /// or did not say.
    pub fn server_name(&self) -> Option<String> {
        self.ask(|engine| engine.server_name().map(String::from)).flatten()
    }

    /// What the other end has shown, in DER, its own certificate first. A client shows none unless
    /// it was [asked](super::TlsServer::require_client_certificates).
    pub fn peer_certificates(&self) -> Vec<Bytes> {
        self.ask(Engine::peer_certificates).unwrap_or_default()
    }

    /// The version both ends speak.
    ///
    /// # Panics
    ///
    /// Never: the handshake has chosen one.
    pub fn version(&self) -> TlsVersion {
        self.ask(Engine::version).flatten().expect("a handshake that is done has chosen a version")
    }

    fn ask<R>(&self, f: impl FnOnce(&Engine) -> R) -> Option<R> {
        self.0.connection().ask_engine(f)
    }
}

impl Deref for TlsStream {
    type Target = Transport;

    fn deref(&self) -> &Transport {
        &self.0
    }
}

impl From<TlsStream> for Transport {
    fn from(stream: TlsStream) -> Self {
        stream.0
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsStream").field(&self.0).finish()
    }
}

/// Speaks TLS on `transport` from here on.
#[track_caller]
pub(super) fn secure(transport: Transport, engine: io::Result<Engine>) -> Deferred<TlsStream> {
    let (trigger, deferred) = Deferred::new();
    let connection = transport.connection().clone();
    drop(transport);
    match engine {
        Ok(engine) => connection.secure(engine, trigger),
        Err(error) => trigger.fail(error.into()),
    }
    deferred
}
