//! Whom an end trusts.

use std::{fmt, io, path::Path};

use super::{
    files,
    session::{Source, Trust},
};

/// The certificates of the authorities (CAs) whose signature makes another's certificate good.
///
/// ```no_run
/// use thence_reactor::net::tls::{Roots, TlsClient};
///
/// # fn main() -> std::io::Result<()> {
/// // What the system trusts, and a company's own.
/// let roots = Roots::system()?.and(&Roots::from_file("/etc/ssl/company-ca.pem")?);
/// let client = TlsClient::new(&roots);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Roots(pub(super) Trust);

impl Roots {
    /// What the operating system trusts, which is what an administrator has set up, a company's own
    /// CA among it; SSL_CERT_FILE and SSL_CERT_DIR name others. Some hundred certificates are
    /// read and parsed here and now: do it once, and `offload` it where that matters.
    ///
    /// # Errors
    ///
    /// When there is not one.
    pub fn system() -> io::Result<Self> {
        Ok(Roots(Trust::system()?))
    }

    /// All certificates of a file of PEM.
    ///
    /// # Errors
    ///
    /// When it cannot be read, has none, or one that is damaged. The error names the file.
    pub fn from_file(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let pem = files::read(path)?;
        Ok(Roots(Trust::read(&Source { name: format!("`{}`", path.display()), pem: &pem })?))
    }

    /// All certificates of `pem`.
    ///
    /// # Errors
    ///
    /// When it has none, or one that is damaged.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> io::Result<Self> {
        let source = Source { name: "the PEM of the trusted roots".into(), pem: pem.as_ref() };
        Ok(Roots(Trust::read(&source)?))
    }

    /// These and those.
    #[must_use]
    pub fn and(self, other: &Roots) -> Self {
        Roots(self.0.and(&other.0))
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roots").field("certificates", &self.0.len()).finish()
    }
}
