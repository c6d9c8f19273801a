//! Addresses as people type them: `:9000`, `127.0.0.1:9000`, `http://app:9000`.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _},
    str::FromStr,
};

use thence::reactor::dns::Destination;

use crate::exit::Trouble;

/// Where the gateway listens when nothing is said: loopback, never the whole network unasked.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// The same when it speaks TLS.
pub const DEFAULT_LISTEN_TLS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);
/// Where it shows its metrics when nothing is said.
pub const DEFAULT_METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901);

/// An address to listen on. `:8080` is loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected an IP address and a port, such as 127.0.0.1:8080 or :8080";
        let full = text.strip_prefix(':').map(|port| format!("127.0.0.1:{port}"));
        full.as_deref().unwrap_or(text).parse().map(Self).map_err(|_| expected.to_owned())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A [`Listen`] that only this machine can reach (rule 74).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loopback(pub SocketAddr);

impl FromStr for Loopback {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Listen(address) = text.parse()?;
        if !address.ip().is_loopback() {
            return Err(
                "expected a loopback address, such as 127.0.0.1:9901: the metrics are not \
                        for the network"
                    .into(),
            );
        }
        Ok(Self(address))
    }
}

/// The upstream: a host and a port, spoken to in plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    host: String,
    port: u16,
}

impl Upstream {
    /// The same for whoever connects to it: a name is looked up then.
    pub fn destination(&self) -> Destination {
        Destination::from((self.host.trim_matches(['[', ']']), self.port))
    }

    /// Its first address, asked of the system's resolver. Blocks.
    ///
    /// # Errors
    /// When the name has no address.
    pub fn resolve(&self) -> Result<SocketAddr, Trouble> {
        let unknown = |why: &dyn fmt::Display| {
            Trouble::new(
                format_args!("--to {self}: {why}"),
                "the name or address of a host that the system's resolver knows",
                "check the spelling, or give the IP address",
            )
        };
        let host = self.host.trim_matches(['[', ']']);
        let mut found = (host, self.port).to_socket_addrs().map_err(|error| unknown(&error))?;
        found.next().ok_or_else(|| unknown(&"the name has no address"))
    }
}

impl From<SocketAddr> for Upstream {
    fn from(address: SocketAddr) -> Self {
        let host = match address.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        Self { host, port: address.port() }
    }
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected :9000, 127.0.0.1:9000 or http://host:9000";
        if text.starts_with("https://") {
            return Err("an upstream behind TLS cannot be spoken to yet; expected http://".into());
        }
        let plain = text.strip_prefix("http://");
        let authority = plain.map(|rest| rest.strip_suffix('/').unwrap_or(rest)).unwrap_or(text);
        if plain.is_some() && authority.contains(['/', '?', '#']) {
            return Err("a path does not belong here: use --rewrite for it".into());
        }
        let full = if authority.starts_with(':') {
            format!("127.0.0.1{authority}")
        } else {
            authority.to_owned()
        };
        let parsed: http::uri::Authority = full.parse().map_err(|_| expected.to_owned())?;
        if parsed.as_str().contains('@') || parsed.host().is_empty() {
            return Err(expected.into());
        }
        // Only a URL has a port that goes without saying.
        let port = match parsed.port_u16() {
            Some(port) if port > 0 => port,
            None if plain.is_some() && !parsed.as_str().ends_with(':') => 80,
            _ => return Err(expected.into()),
        };
        Ok(Self { host: parsed.host().to_owned(), port })
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_are_read_as_people_write_them() {
        for (text, read) in [
            (":9000", "127.0.0.1:9000"),
            ("127.0.0.1:9000", "127.0.0.1:9000"),
            ("app:9000", "app:9000"),
            ("[::1]:9000", "[::1]:9000"),
            ("http://app", "app:80"),
            ("http://app:9000/", "app:9000"),
            ("http://:9000", "127.0.0.1:9000"),
        ] {
            assert_eq!(text.parse::<Upstream>().expect(text).to_string(), read);
        }
    }

    #[test]
    fn what_is_no_upstream_is_refused_with_an_example() {
        let refused =
            ["", ":", "app", ":0", ":70000", "app:", "http://", "u@app:9000", "http://app:"];
        for text in refused {
            let said = text.parse::<Upstream>().expect_err(text);
            assert!(said.contains(":9000"), "{text}: {said}");
        }
        assert!("https://app".parse::<Upstream>().unwrap_err().contains("TLS"));
        assert!("http://app/v1".parse::<Upstream>().unwrap_err().contains("--rewrite"));
    }

    #[test]
    fn a_bare_port_listens_on_loopback() {
        let read = |text: &str| text.parse::<Listen>().map(|listen| listen.0.to_string());
        assert_eq!(read(":8080").as_deref(), Ok("127.0.0.1:8080"));
        assert_eq!(read("0.0.0.0:80").as_deref(), Ok("0.0.0.0:80"));
        assert_eq!(read("[::1]:80").as_deref(), Ok("[::1]:80"));
        for bad in ["8080", "localhost:80", ":", ":x", "http://127.0.0.1:80"] {
            assert!(read(bad).unwrap_err().contains(":8080"), "{bad}");
        }
    }

    #[test]
    fn metrics_are_not_for_the_network() {
        ":9901".parse::<Loopback>().unwrap();
        "[::1]:9901".parse::<Loopback>().unwrap();
        "0.0.0.0:9901".parse::<Loopback>().unwrap_err();
        "192.0.2.1:9901".parse::<Loopback>().unwrap_err();
    }

    #[test]
    fn an_address_resolves_to_itself() {
        let address: SocketAddr = "[::1]:9000".parse().unwrap();
        assert_eq!(Upstream::from(address).resolve().unwrap(), address);
    }
}
