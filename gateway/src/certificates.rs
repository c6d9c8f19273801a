//! The certificate that the gateway shows.

use std::path::Path;

use thence::reactor::net::tls::{Certificates, TlsServer};

use crate::exit::Trouble;

/// Reads a certificate and its key.
///
/// # Errors
/// When a file cannot be read or does not have what it should, or the two do not belong together.
pub fn read(cert: &Path, key: &Path) -> Result<Certificates, Trouble> {
    Certificates::from_files(cert, key).map_err(|error| {
        Trouble::new(
            error,
            "a certificate with those that lead to its CA, the gateway's own first, and its key, in \
             PEM and without a pass phrase",
            "check --tls-cert and --tls-key",
        )
    })
}

/// TLS as the gateway speaks it: HTTP/1.1 inside.
pub fn tls(certificates: &Certificates) -> TlsServer {
    TlsServer::new(certificates).alpn(["http/1.1"])
}
