//! The certificate that the gateway shows, and reading it again.

use std::path::Path;

use thence::{
    Signal, flow, offload,
    reactor::net::tls::{Certificates, TlsServer},
    signal,
};

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

/// Reads the files again at each SIGHUP. What is wrong with them is said, and what was shown before
/// is shown on; connections go on either way.
pub fn reload_on_hangup(certificates: Certificates) {
    flow::<()>(async move {
        loop {
            signal(Signal::Hangup).await;
            let certificates = certificates.clone();
            // A slow disk must not hold the loop up.
            match offload(move || Ok(certificates.reload()?)).await {
                Ok(()) => tracing::info!("SIGHUP: certificate and key are read again"),
                Err(failure) => tracing::error!("SIGHUP: the old certificate stays: {failure}"),
            }
        }
    })
    .report();
}
