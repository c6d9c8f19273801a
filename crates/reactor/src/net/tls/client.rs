//! The client's side.

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};

use thence_core::Deferred;

use super::{
    Certificates, Roots, TlsStream, TlsVersion,
    session::{ClientSide, Engine, Settings},
    stream,
};
use crate::net::Transport;

/// Speaks TLS with servers. A clone shares its sessions.
///
/// ```no_run
/// use thence_core::Failure;
/// use thence_reactor::{net::{TcpStream, tls::{Roots, TlsClient}}, offload};
///
/// # async fn fetch(addr: std::net::SocketAddr) -> Result<(), Failure> {
/// // Reading what the system trusts takes a while.
/// let roots = offload(|| Ok(Roots::system()?)).await?;
/// let client = TlsClient::new(&roots).alpn(["http/1.1"]);
/// let stream = client.connect(TcpStream::connect(addr).await?, "app.example").await?;
/// stream.write("GET / HTTP/1.1\r\nHost: app.example\r\n\r\n").await?;
/// # Ok(()) }
/// ```
#[doc(alias = "TlsConnector")]
#[derive(Clone)]
pub struct TlsClient {
    roots: Roots,
    certificates: Option<Certificates>,
    settings: Settings,
    /// What was made of the certificates with that number.
    made: Arc<Mutex<Option<(u64, ClientSide)>>>,
}

impl TlsClient {
    /// Trusts servers with a certificate that one of `roots` has signed, for the name that was
    /// asked for. It speaks TLS 1.2 and 1.3, offers no application protocol and shows no
    /// certificate.
    pub fn new(roots: &Roots) -> Self {
        TlsClient {
            roots: roots.clone(),
            certificates: None,
            settings: Settings::default(),
            made: Arc::default(),
        }
    }

    /// The application protocols it offers (ALPN): `h2`, `http/1.1`. The server chooses one, which
    /// is none when it knows nothing of this.
    #[must_use]
    pub fn alpn<P: Into<Vec<u8>>>(self, protocols: impl IntoIterator<Item = P>) -> Self {
        let alpn = protocols.into_iter().map(Into::into).collect();
        self.with(|client| client.settings.alpn = alpn)
    }

    /// Shows this to a server that asks who the client is.
    #[doc(alias = "mTLS")]
    #[must_use]
    pub fn certificates(self, certificates: &Certificates) -> Self {
        self.with(|client| client.certificates = Some(certificates.clone()))
    }

    /// Speaks this version of TLS only.
    #[must_use]
    pub fn only(self, version: TlsVersion) -> Self {
        self.with(|client| client.settings.only = Some(version))
    }

    /// Speaks TLS with the host `name`, or an address, at the other end of `stream`.
    ///
    /// It waits for as long as the other end takes: set it a [`timeout`](crate::DeferredExt::timeout).
    /// Cancelled or left before both ends have agreed, the connection is broken.
    ///
    /// # Errors
    ///
    /// The Deferred fails when `name` is none; when the certificate is of nobody that is trusted,
    /// for another name or out of its time; when the other end does not speak TLS, shares no version
    /// or protocol, or hangs up; and when something was written to `stream` that has not left.
    #[track_caller]
    pub fn connect(&self, stream: impl Into<Transport>, name: &str) -> Deferred<TlsStream> {
        stream::secure(stream.into(), self.engine(name))
    }

    /// The client's end of a new connection to `name`.
    pub(super) fn engine(&self, name: &str) -> io::Result<Engine> {
        let current = self.certificates.as_ref().map(Certificates::current);
        let generation = current.as_ref().map_or(0, |(generation, _)| *generation);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, side)) = &*made
            && *of == generation
        {
            return side.engine(name);
        }
        let identity = current.as_ref().map(|(_, identity)| identity);
        let side = ClientSide::new(&self.roots.0, identity, &self.settings);
        made.insert((generation, side)).1.engine(name)
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self.made = Arc::default();
        self
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient")
            .field("certificates", &self.certificates)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
