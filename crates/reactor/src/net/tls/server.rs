//! The server's side.

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Certificates, Roots, TlsVersion,
    session::{Engine, ServerSide, Settings},
};

/// Speaks TLS with clients. A clone shares its sessions.
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

    /// The server's end of a new connection.
    pub(in crate::net) fn engine(&self) -> io::Result<Engine> {
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
