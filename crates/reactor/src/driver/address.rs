//! Where a socket is.

use std::{
    fmt, io,
    net::SocketAddr,
    os::unix::net as unix,
    path::{Path, PathBuf},
};

/// The address of a socket, of whatever family.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// Of the internet.
    Ip(SocketAddr),
    /// Of this machine.
    Unix(UnixAddr),
}

/// The address of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UnixAddr {
    /// A name that is no file: Linux only. It is gone with its socket.
    Abstract(Vec<u8>),
    /// A file.
    Path(PathBuf),
    /// None, as of one half of a pair and of most clients.
    Unnamed,
}

impl Address {
    /// The address of the internet.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] for one of another family.
    pub fn ip(self) -> io::Result<SocketAddr> {
        match self {
            Address::Ip(addr) => Ok(addr),
            Address::Unix(_) => {
                Err(io::Error::new(io::ErrorKind::InvalidInput, "this is a Unix socket"))
            }
        }
    }

    /// The address of this machine.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] for one of another family.
    pub fn unix(self) -> io::Result<UnixAddr> {
        match self {
            Address::Unix(addr) => Ok(addr),
            Address::Ip(_) => {
                Err(io::Error::new(io::ErrorKind::InvalidInput, "this is no Unix socket"))
            }
        }
    }
}

impl UnixAddr {
    /// The file, when it is one.
    pub fn as_path(&self) -> Option<&Path> {
        match self {
            UnixAddr::Path(path) => Some(path),
            _ => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(addr) => addr.fmt(f),
            Address::Unix(addr) => addr.fmt(f),
        }
    }
}

impl fmt::Display for UnixAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnixAddr::Abstract(name) => write!(f, "@{}", name.escape_ascii()),
            UnixAddr::Path(path) => path.display().fmt(f),
            UnixAddr::Unnamed => f.write_str("(unnamed)"),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(addr: SocketAddr) -> Self {
        Address::Ip(addr)
    }
}

impl From<UnixAddr> for Address {
    fn from(addr: UnixAddr) -> Self {
        Address::Unix(addr)
    }
}

impl From<&Path> for UnixAddr {
    fn from(path: &Path) -> Self {
        UnixAddr::Path(path.to_owned())
    }
}

impl From<unix::SocketAddr> for UnixAddr {
    fn from(addr: unix::SocketAddr) -> Self {
        if let Some(path) = addr.as_pathname() {
            return UnixAddr::Path(path.to_owned());
        }
        #[cfg(target_os = "linux")]
        if let Some(name) = std::os::linux::net::SocketAddrExt::as_abstract_name(&addr) {
            return UnixAddr::Abstract(name.to_owned());
        }
        UnixAddr::Unnamed
    }
}
