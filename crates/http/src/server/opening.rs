//! What comes before HTTP: the wait for a client's first bytes, and TLS.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use thence_core::{Deferred, Never, Outcome};
use thence_reactor::net::Transport;
use thence_reactor::net::tls::{TlsServer, TlsVersion};
use thence_reactor::{has_reactor, sleep_until};

use crate::io::Line;

/// What is known of a request's connection when it came over TLS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tls {
    server_name: Option<String>,
    version: TlsVersion,
}

impl Tls {
    /// The host the client asked for in its handshake (SNI). None when it gave an address, or gave
    /// none.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// The version spoken.
    pub fn version(&self) -> TlsVersion {
        self.version
    }
}

/// What tells a connection that its time is up. It may be asked again after it did.
pub(super) struct Over {
    told: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Over {
    pub(super) fn new(over: Deferred<(), Never>) -> Self {
        Self { told: Some(Box::pin(over.into_future())) }
    }

    /// Whether it is.
    pub(super) fn is_told(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(told) = &mut self.told else { return true };
        if told.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.told = None;
        true
    }
}

/// The first of the bytes that come next, which stay where they are. None when there will be none,
/// when none came until `deadline`, and when the connection's time is up.
pub(super) async fn next(line: &Line, deadline: Instant, over: &mut Over) -> Option<u8> {
    if !has_reactor() {
        return None;
    }
    let mut late = sleep_until(deadline);
    poll_fn(|cx| {
        let mut first = None;
        let mut peek = |bytes: &[u8]| {
            first = bytes.first().copied();
            0
        };
        if line.stream.poll_read(cx, &mut peek).is_ready() {
            line.is_over.set(first.is_none());
            return Poll::Ready(first);
        }
        if over.is_told(cx) || Pin::new(&mut late).poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        Poll::Pending
    })
    .await
}

/// Speaks TLS with a client that has begun to. None when that comes to nothing.
pub(super) async fn secure(
    server: &TlsServer,
    stream: Transport,
    peer: SocketAddr,
    deadline: Instant,
    over: &mut Over,
) -> Option<(Transport, Rc<Tls>)> {
    let handshake = server.accept(stream);
    let mut handshake = Box::pin(handshake.settled().into_future());
    let mut late = sleep_until(deadline);
    let agreed = poll_fn(|cx| {
        if let Poll::Ready(agreed) = handshake.as_mut().poll(cx) {
            return Poll::Ready(Some(agreed));
        }
        if over.is_told(cx) || Pin::new(&mut late).poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        Poll::Pending
    })
    .await;
    match agreed {
        Some(Outcome::Ok(stream)) => {
            let tls = Tls { server_name: stream.server_name(), version: stream.version() };
            Some((stream.into(), Rc::new(tls)))
        }
        Some(Outcome::Err(failure)) => {
            tracing::debug!("connection of {peer}: {failure:#}");
            None
        }
        Some(Outcome::Stop(_)) | None => None,
    }
}

/// Whether a client's first byte is that of TLS: all its handshakes begin with this one.
pub(super) fn is_handshake(first: u8) -> bool {
    first == 22
}
