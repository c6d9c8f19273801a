//! The client's side.

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Certificates, Roots, TlsVersion,
    session::{ClientSide, Engine, Settings},
};

/// Speaks TLS with servers. A clone shares its sessions.
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

    /// The client's end of a new connection to `name`.
    pub(in crate::net) fn engine(&self, name: &str) -> io::Result<Engine> {
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
