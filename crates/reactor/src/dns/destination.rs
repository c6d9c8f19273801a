//! Where to connect to.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
};

use thence_core::{Deferred, Failure};

use super::{happy_eyeballs, lookup};

/// Where to connect to: an address, several of them, or a name and a port.
///
/// It is made from everything people write there: `"example.org:443"`, `("example.org", 443)`,
/// `"[::1]:80"`, a [`SocketAddr`], an IP address and a port, a list of addresses.
///
/// ```
/// use thence_reactor::dns::Destination;
///
/// assert_eq!(Destination::from("example.org:443"), Destination::from(("example.org", 443)));
/// assert_eq!(Destination::from("127.0.0.1:80"), Destination::from(([127, 0, 0, 1], 80)));
/// assert_eq!(Destination::from("example.org:443").to_string(), "example.org:443");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination(Kind);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    Addresses(Vec<SocketAddr>),
    Name(String, u16),
    /// A text that is none of these; said when somebody wants to go there.
    Unclear(String),
}

impl Destination {
    /// The addresses, looked up if need be.
    ///
    /// # Errors
    ///
    /// The Deferred fails as [`lookup`], and when this was made from a text without a port.
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    #[track_caller]
    pub fn addresses(&self) -> Deferred<Vec<SocketAddr>> {
        match &self.0 {
            Kind::Addresses(addresses) => Deferred::ok(addresses.clone()),
            Kind::Name(host, port) => lookup(host, *port),
            Kind::Unclear(text) => Deferred::err(Failure::msg(format!(
                "`{text}` is not where one can connect to: it takes a host and a port, as in \
                 `example.org:443`, `127.0.0.1:80` or `[::1]:80`"
            ))),
        }
    }

    /// Has `connect` make a connection to one of the addresses, by [`happy_eyeballs`].
    ///
    /// # Errors
    ///
    /// The Deferred fails as [`addresses`](Destination::addresses) and [`happy_eyeballs`].
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    #[track_caller]
    pub fn connect<T: 'static>(
        &self,
        connect: impl Fn(SocketAddr) -> Deferred<T> + 'static,
    ) -> Deferred<T> {
        if let Some(address) = self.only_address() {
            return connect(address);
        }
        let name = self.to_string();
        self.addresses()
            .and_then(move |addresses| happy_eyeballs(addresses, connect))
            .map_err(move |failure| failure.context(format!("cannot connect to {name}")))
    }

    /// The address, if that is all there is to it.
    pub(crate) fn only_address(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kind::Addresses(addresses) if addresses.len() == 1 => Some(addresses[0]),
            _ => None,
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Addresses(addresses) => {
                for (n, address) in addresses.iter().enumerate() {
                    write!(f, "{}{address}", if n == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Kind::Name(host, port) => write!(f, "{host}:{port}"),
            Kind::Unclear(text) => f.write_str(text),
        }
    }
}

impl From<SocketAddr> for Destination {
    fn from(address: SocketAddr) -> Self {
        Destination(Kind::Addresses(vec![address]))
    }
}

impl From<SocketAddrV4> for Destination {
    fn from(address: SocketAddrV4) -> Self {
        Self::from(SocketAddr::from(address))
    }
}

impl From<SocketAddrV6> for Destination {
    fn from(address: SocketAddrV6) -> Self {
        Self::from(SocketAddr::from(address))
    }
}

impl From<(IpAddr, u16)> for Destination {
    fn from(address: (IpAddr, u16)) -> Self {
        Self::from(SocketAddr::from(address))
    }
}

impl From<(Ipv4Addr, u16)> for Destination {
    fn from(address: (Ipv4Addr, u16)) -> Self {
        Self::from(SocketAddr::from(address))
    }
}

impl From<(Ipv6Addr, u16)> for Destination {
    fn from(address: (Ipv6Addr, u16)) -> Self {
        Self::from(SocketAddr::from(address))
    }
}

impl From<([u8; 4], u16)> for Destination {
    fn from(address: ([u8; 4], u16)) -> Self {
        Self::from(SocketAddr::from(address))
    }
}

impl From<Vec<SocketAddr>> for Destination {
    fn from(addresses: Vec<SocketAddr>) -> Self {
        Destination(Kind::Addresses(addresses))
    }
}

impl From<&[SocketAddr]> for Destination {
    fn from(addresses: &[SocketAddr]) -> Self {
        Self::from(addresses.to_vec())
    }
}

impl From<(String, u16)> for Destination {
    fn from((host, port): (String, u16)) -> Self {
        match host.parse::<IpAddr>() {
            Ok(ip) => Self::from((ip, port)),
            Err(_) => Destination(Kind::Name(host, port)),
        }
    }
}

impl From<(&str, u16)> for Destination {
    fn from((host, port): (&str, u16)) -> Self {
        Self::from((host.to_owned(), port))
    }
}

impl From<&str> for Destination {
    fn from(text: &str) -> Self {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Self::from(address);
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && !host.contains(':') => match port.parse() {
                Ok(port) => Destination(Kind::Name(host.to_owned(), port)),
                Err(_) => Destination(Kind::Unclear(text.to_owned())),
            },
            _ => Destination(Kind::Unclear(text.to_owned())),
        }
    }
}

impl From<String> for Destination {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&String> for Destination {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}
