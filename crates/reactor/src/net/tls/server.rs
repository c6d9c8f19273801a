//! The server's side.

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};

use thence_core::Deferred;

use super::{
    Certificates, Roots, TlsStream, TlsVersion,
    session::{Engine, ServerSide, Settings},
    stream,
};
use crate::net::Transport;

/// Speaks TLS with clients. A clone shares its sessions.
///
/// ```
/// use std::time::Duration;
/// use thence_core::flow;
/// use thence_reactor::{DeferredExt, net::{TcpListener, tls::{Certificates, TlsServer}}};
/// # let own = rcgen::generate_simple_self_signed(["app.example".into()]).unwrap();
/// # let (chain, key) = (own.cert.pem(), own.signing_key.serialize_pem());
/// # thence_reactor::run(async move {
///
/// let server = TlsServer::new(&Certificates::from_pem(chain, key)?).alpn(["h2", "http/1.1"]);
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let serving = flow::<()>(async move {
///     loop {
///         let (stream, _from) = listener.accept().await?;
///         // The next client does not wait for this one's handshake.
///         let accepting = server.accept(stream).timeout(Duration::from_secs(10));
///         flow(async move {
///             let stream = accepting.await?;
///             stream.write(format!("{:?}\n", stream.alpn())).await?;
///             stream.shutdown().await
///         })
///         .report();
///     }
/// });
/// # serving.cancel();
/// # Ok(()) }).unwrap();
/// ```
#[doc(alias = "TlsAcceptor")]
#[derive(Clone)]
pub struct TlsServer {
    certificates: Certificates,
    clients: Option<Roots>,
    settings: Settings,
    /// What was made of the certificates with that number.
    made: Arc<Mutex<Option<(u64, ServerSide)>>>,
}

impl TlsServer {
    /// Shows these certificates. It speaks TLS 1.2 and 1.3, names no application protocol and asks
    /// clients for no certificate.
    pub fn new(certificates: &Certificates) -> Self {
        TlsServer {
            certificates: certificates.clone(),
            clients: None,
            settings: Settings::default(),
            made: Arc::default(),
        }
    }

    /// The application protocols it speaks (ALPN), the one it likes best first: `h2`, `http/1.1`.
    /// A client that offers others only is refused; one that offers none is not.
    #[must_use]
    pub fn alpn<P: Into<Vec<u8>>>(self, protocols: impl IntoIterator<Item = P>) -> Self {
        let alpn = protocols.into_iter().map(Into::into).collect();
        self.with(|server| server.settings.alpn = alpn)
    }

    /// Refuses clients that do not show a certificate which one of `roots` has signed.
    #[doc(alias = "mTLS")]
    #[must_use]
    pub fn require_client_certificates(self, roots: &Roots) -> Self {
        self.with(|server| server.clients = Some(roots.clone()))
    }

    /// Speaks this version of TLS only.
    #[must_use]
    pub fn only(self, version: TlsVersion) -> Self {
        self.with(|server| server.settings.only = Some(version))
    }

    /// Speaks TLS with whoever is at the other end of `stream`.
    ///
    /// It waits for as long as the other end takes: set it a [`timeout`](crate::DeferredExt::timeout).
    /// Cancelled or left before both ends have agreed, the connection is broken. What has come and
    /// was not read is the beginning of the handshake.
    ///
    /// # Errors
    ///
    /// The Deferred fails when the other end does not speak TLS, refuses the certificate, shares no
    /// version or protocol, or hangs up; and when something was written to `stream` that has not
    /// left. The other end is told, as far as TLS has words for it.
    #[track_caller]
    pub fn accept(&self, stream: impl Into<Transport>) -> Deferred<TlsStream> {
        stream::secure(stream.into(), self.engine())
    }

    /// The server's end of a new connection.
    pub(super) fn engine(&self) -> io::Result<Engine> {
        let (generation, identity) = self.certificates.current();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, side)) = &*made
            && *of == generation
        {
            return side.engine();
        }
        let clients = self.clients.as_ref().map(|roots| &roots.0);
        let side = ServerSide::new(&identity, clients, &self.settings);
        made.insert((generation, side)).1.engine()
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self.made = Arc::default();
        self
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer")
            .field("certificates", &self.certificates)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
