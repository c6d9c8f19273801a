//! What an end shows to the other.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    files,
    session::{Identity, Source},
};

/// A certificate, those that lead from it to its CA, and its private key. The certificates are in
/// PEM, the one that is shown first, and so is the key, without a pass phrase.
///
/// A clone is the same handle: [`reload`](Certificates::reload) and
/// [`replace`](Certificates::replace) change what every [`TlsServer`](super::TlsServer) and
/// [`TlsClient`](super::TlsClient) made of it shows in handshakes that begin from then on.
/// Connections go on as they are, and no session of the old certificate is resumed under the new.
///
/// ```
/// use thence_reactor::net::tls::{Certificates, TlsServer};
///
/// # fn main() -> std::io::Result<()> {
/// # let own = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
/// # let dir = std::env::temp_dir().join(format!("thence-certificates-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// # let (chain, key) = (dir.join("app.pem"), dir.join("app.key"));
/// # std::fs::write(&chain, own.cert.pem())?;
/// # std::fs::write(&key, own.signing_key.serialize_pem())?;
/// let certificates = Certificates::from_files(&chain, &key)?;
/// let server = TlsServer::new(&certificates).alpn(["http/1.1"]);
/// // The files have changed:
/// certificates.reload()?;
/// # std::fs::remove_dir_all(&dir)
/// # }
/// ```
#[derive(Clone)]
pub struct Certificates(Arc<Shared>);

struct Shared {
    files: Option<Files>,
    current: Mutex<Current>,
}

struct Files {
    chain: PathBuf,
    key: PathBuf,
}

struct Current {
    identity: Identity,
    /// How often it was changed.
    generation: u64,
}

impl Certificates {
    /// Reads them from files, which may be the same. Files are read here and now; `offload` it
    /// where they are on a slow disk.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, has no certificate or no key, or the key is encrypted or belongs
    /// to another certificate. The error names the file, and says what was expected and what found.
    pub fn from_files(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> io::Result<Self> {
        let files = Files { chain: chain.as_ref().into(), key: key.as_ref().into() };
        let identity = files.read()?;
        Ok(Self::new(Some(files), identity))
    }

    /// Takes them as they are.
    ///
    /// # Errors
    ///
    /// As [`from_files`](Certificates::from_files), without the names.
    pub fn from_pem(chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> io::Result<Self> {
        Ok(Self::new(None, identity(chain.as_ref(), key.as_ref())?))
    }

    /// Reads the files again, as [`from_files`](Certificates::from_files) did, and shows what they
    /// have now.
    ///
    /// # Errors
    ///
    /// As [`from_files`](Certificates::from_files); what was shown before is shown on. One that was
    /// written while its key was not yet is such an error: try again. And when they were not made
    /// from files.
    pub fn reload(&self) -> io::Result<()> {
        let Some(files) = &self.0.files else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "these certificates were not read from files, so there is nothing to read again: \
                 give the new ones to `replace`",
            ));
        };
        self.set(files.read()?);
        Ok(())
    }

    /// Shows these instead.
    ///
    /// # Errors
    ///
    /// As [`from_pem`](Certificates::from_pem); what was shown before is shown on.
    pub fn replace(&self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> io::Result<()> {
        self.set(identity(chain.as_ref(), key.as_ref())?);
        Ok(())
    }

    /// What is shown now, with a number that no other has had.
    pub(super) fn current(&self) -> (u64, Identity) {
        let current = self.lock();
        (current.generation, current.identity.clone())
    }

    fn new(files: Option<Files>, identity: Identity) -> Self {
        let current = Mutex::new(Current { identity, generation: 0 });
        Certificates(Arc::new(Shared { files, current }))
    }

    fn set(&self, identity: Identity) {
        let mut current = self.lock();
        current.generation += 1;
        current.identity = identity;
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn read(&self) -> io::Result<Identity> {
        let (chain, key) = (files::read(&self.chain)?, files::read(&self.key)?);
        let name = |path: &Path| format!("`{}`", path.display());
        Identity::read(
            &Source { name: name(&self.chain), pem: &chain },
            &Source { name: name(&self.key), pem: &key },
        )
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut it = f.debug_struct("Certificates");
        if let Some(files) = &self.0.files {
            it.field("chain", &files.chain).field("key", &files.key);
        }
        it.finish_non_exhaustive()
    }
}

fn identity(chain: &[u8], key: &[u8]) -> io::Result<Identity> {
    Identity::read(
        &Source { name: "the PEM of the certificates".into(), pem: chain },
        &Source { name: "the PEM of the key".into(), pem: key },
    )
}
