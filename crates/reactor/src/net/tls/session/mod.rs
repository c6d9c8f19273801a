//! All that is asked of rustls.

use std::{fmt, io, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
    client::WebPkiServerVerifier,
    crypto::{CryptoProvider, ring},
    pki_types::ServerName,
    server::WebPkiClientVerifier,
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};

pub(in crate::net) use self::engine::Engine;
use self::{explain::End, pem::invalid};
use super::TlsVersion;

mod engine;
mod explain;
mod pem;
#[cfg(test)]
mod tests;

/// A certificate with its chain and its key.
#[derive(Clone)]
pub(super) struct Identity(Arc<CertifiedKey>);

/// The certificates of those whose signature counts, at least one.
#[derive(Clone)]
pub(super) struct Trust(Arc<RootCertStore>);

/// What both ends can be told.
#[derive(Default, Clone)]
pub(super) struct Settings {
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) only: Option<TlsVersion>,
}

/// Makes the server's ends of connections.
pub(super) struct ServerSide {
    config: Arc<ServerConfig>,
    /// For an error.
    alpn: Arc<str>,
}

/// Makes the client's ends of connections.
pub(super) struct ClientSide {
    config: Arc<ClientConfig>,
    /// For an error.
    alpn: Arc<str>,
}

/// PEM, and what an error calls it.
pub(super) struct Source<'a> {
    pub(super) name: String,
    pub(super) pem: &'a [u8],
}

impl Identity {
    pub(super) fn read(chain: &Source<'_>, key: &Source<'_>) -> io::Result<Self> {
        let certificates = pem::certificates(&chain.name, chain.pem)?;
        let private = pem::private_key(&key.name, key.pem)?;
        match CertifiedKey::from_der(certificates, private, &ring::default_provider()) {
            Ok(pair) => Ok(Identity(Arc::new(pair))),
            Err(rustls::Error::InconsistentKeys(_)) => Err(invalid(format!(
                "the private key in {} does not belong to the certificate in {}: expected the key \
                 of the first certificate there, which has to be the server's own",
                key.name, chain.name
            ))),
            Err(error @ rustls::Error::InvalidCertificate(_)) => {
                Err(invalid(format!("the first certificate in {} is damaged: {error}", chain.name)))
            }
            Err(error) => Err(invalid(format!(
                "the private key in {} cannot be used: {error}; expected RSA of 2048 bits or more, \
                 ECDSA (P-256, P-384) or Ed25519",
                key.name
            ))),
        }
    }
}

impl Trust {
    pub(super) fn read(source: &Source<'_>) -> io::Result<Self> {
        let mut store = RootCertStore::empty();
        for (n, certificate) in pem::certificates(&source.name, source.pem)?.into_iter().enumerate()
        {
            store.add(certificate).map_err(|error| {
                invalid(format!("certificate {} in {} is damaged: {error}", n + 1, source.name))
            })?;
        }
        Ok(Trust(Arc::new(store)))
    }

    /// What the operating system trusts.
    pub(super) fn system() -> io::Result<Self> {
        let mut found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a part of the system's trusted certificates is left out");
        }
        let mut store = RootCertStore::empty();
        let (added, _) = store.add_parsable_certificates(std::mem::take(&mut found.certs));
        if added > 0 {
            return Ok(Trust(Arc::new(store)));
        }
        let mut text = String::from(
            "the system has no trusted certificates: install them (`ca-certificates` on Debian), \
             name a file with SSL_CERT_FILE, or use `Roots::from_file`",
        );
        for error in found.errors {
            text.push_str(&format!("; {error}"));
        }
        Err(io::Error::new(io::ErrorKind::NotFound, text))
    }

    pub(super) fn and(self, other: &Trust) -> Self {
        let mut store = Arc::unwrap_or_clone(self.0);
        store.roots.extend(other.0.roots.iter().cloned());
        Trust(Arc::new(store))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl ServerSide {
    pub(super) fn new(identity: &Identity, clients: Option<&Trust>, settings: &Settings) -> Self {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&versions(settings))
            .expect(BOTH_VERSIONS);
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(trust) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(trust.0.clone(), provider())
                    .build()
                    .expect("trust is in somebody"),
            ),
        };
        let resolver = SingleCertAndKey::from(identity.0.clone());
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = settings.alpn.clone();
        ServerSide { config: Arc::new(config), alpn: listed(&settings.alpn).into() }
    }

    pub(super) fn engine(&self) -> io::Result<Engine> {
        let session = ServerConnection::new(self.config.clone()).map_err(io::Error::other)?;
        Ok(Engine::new(session, End::Server { alpn: self.alpn.clone() }))
    }
}

impl ClientSide {
    pub(super) fn new(trust: &Trust, identity: Option<&Identity>, settings: &Settings) -> Self {
        let verifier = WebPkiServerVerifier::builder_with_provider(trust.0.clone(), provider());
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&versions(settings))
            .expect(BOTH_VERSIONS)
            .with_webpki_verifier(verifier.build().expect("trust is in somebody"));
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let resolver = SingleCertAndKey::from(identity.0.clone());
                builder.with_client_cert_resolver(Arc::new(resolver))
            }
        };
        config.alpn_protocols = settings.alpn.clone();
        ClientSide { config: Arc::new(config), alpn: listed(&settings.alpn).into() }
    }

    /// `name` is a host's name or an address.
    pub(super) fn engine(&self, name: &str) -> io::Result<Engine> {
        let parsed = ServerName::try_from(name.to_owned()).map_err(|_| {
            let text = format!("`{name}` is neither the name of a host nor an IP address");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        let session =
            ClientConnection::new(self.config.clone(), parsed).map_err(io::Error::other)?;
        let end = End::Client { name: name.into(), alpn: self.alpn.clone() };
        Ok(Engine::new(session, end))
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("alpn", &listed(&self.alpn))
            .field("only", &self.only)
            .finish()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("chain", &self.0.cert.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("roots", &self.len()).finish()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn versions(settings: &Settings) -> Vec<&'static SupportedProtocolVersion> {
    match settings.only {
        None => vec![&TLS13, &TLS12],
        Some(TlsVersion::Tls12) => vec![&TLS12],
        Some(TlsVersion::Tls13) => vec![&TLS13],
    }
}

/// For people.
fn listed(alpn: &[Vec<u8>]) -> String {
    let names: Vec<_> = alpn.iter().map(|name| name.escape_ascii().to_string()).collect();
    names.join(", ")
}

const BOTH_VERSIONS: &str = "ring has suites for TLS 1.2 and 1.3";
