//! What went wrong, in words for people.

use std::{io, sync::Arc};

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible, pki_types::UnixTime};

/// What an error has to know about this end.
#[derive(Debug, Clone)]
pub(super) enum End {
    Client { name: String, alpn: Arc<str> },
    Server { alpn: Arc<str> },
}

/// Turns an error of a session into one for people. `first` is how the other end began.
pub(super) fn explain(error: &Error, end: &End, first: &[u8]) -> io::Error {
    let text = match (error, end) {
        (Error::InvalidMessage(_), End::Server { .. }) if is_http_request(first) => {
            "the client speaks plain HTTP where TLS was expected: it should use `https://`, or a \
             port without TLS"
                .into()
        }
        (Error::InvalidMessage(_), End::Client { name, .. }) if begin_alike(first, b"HTTP/") => {
            format!("`{name}` answers in plain HTTP where TLS was expected: is it the right port?")
        }
        (Error::InvalidMessage(_), _) if !first.is_empty() && first[0] != HANDSHAKE => {
            format!(
                "the other end does not speak TLS: it began with `{}`, expected a handshake",
                first.escape_ascii()
            )
        }
        (Error::InvalidCertificate(error), end) => certificate(error, end),
        (Error::NoCertificatesPresented, _) => "the other end presented no certificate".into(),
        (Error::NoApplicationProtocol, End::Client { alpn, .. } | End::Server { alpn }) => {
            format!("no application protocol (ALPN) in common: this end speaks {alpn}")
        }
        (Error::AlertReceived(AlertDescription::UnknownCA), _) => {
            "the other end refused this one's certificate: it does not know who signed it".into()
        }
        (Error::AlertReceived(AlertDescription::CertificateExpired), _) => {
            "the other end refused this one's certificate: it has expired".into()
        }
        (Error::AlertReceived(AlertDescription::CertificateRequired), _) => {
            "the other end expected a certificate of this one, which has none".into()
        }
        (
            Error::AlertReceived(AlertDescription::NoApplicationProtocol),
            End::Client { alpn, .. },
        ) => {
            format!("the server speaks none of the application protocols (ALPN) offered: {alpn}")
        }
        (Error::AlertReceived(alert), _) => format!("the other end ended TLS with {alert:?}"),
        (
            Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled,
            ),
            _,
        ) => "no version of TLS in common: this end speaks 1.2 and 1.3, unless it was told to \
              speak one of them only"
            .into(),
        (error, _) => format!("TLS: {error}"),
    };
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn certificate(error: &CertificateError, end: &End) -> String {
    let (whose, remedy) = match end {
        End::Client { name, .. } => (format!("the certificate of `{name}`"), "the server's"),
        End::Server { .. } => ("the client's certificate".into(), "the client's"),
    };
    match error {
        CertificateError::UnknownIssuer => format!(
            "{whose} is signed by nobody that is trusted here: add its CA to the trusted roots, \
             or the missing intermediate certificate to {remedy} chain"
        ),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names: Vec<_> = presented.iter().map(|name| readable(name)).collect();
            match names.is_empty() {
                true => format!("{whose} names no host at all, and it has to name this one"),
                false => format!("{whose} is for another name: it is for {}", names.join(", ")),
            }
        }
        CertificateError::NotValidForName => format!("{whose} is for another name"),
        CertificateError::ExpiredContext { time, not_after } => {
            format!("{whose} expired {} ago", days(*not_after, *time))
        }
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "{whose} is valid from {} from now on: is the clock right?",
            days(*time, *not_before)
        ),
        CertificateError::BadSignature => format!(
            "{whose} has a signature that is not right: is it of another CA of the same name?"
        ),
        CertificateError::Revoked => format!("{whose} was revoked"),
        error => format!("{whose} is refused: {error}"),
    }
}

/// `DnsName("example.com")` is how rustls gives it.
fn readable(presented: &str) -> &str {
    presented.split('"').nth(1).unwrap_or(presented)
}

fn days(from: UnixTime, to: UnixTime) -> String {
    let seconds = to.as_secs().saturating_sub(from.as_secs());
    match seconds / 86_400 {
        0 => format!("{seconds} seconds"),
        1 => "a day".into(),
        days => format!("{days} days"),
    }
}

fn is_http_request(first: &[u8]) -> bool {
    const METHODS: [&[u8]; 9] = [
        b"CONNECT ",
        b"DELETE ",
        b"GET ",
        b"HEAD ",
        b"OPTIONS ",
        b"PATCH ",
        b"POST ",
        b"PRI ",
        b"PUT ",
    ];
    METHODS.iter().any(|method| begin_alike(first, method))
}

/// As far as both go: the rest of it may not be there yet.
fn begin_alike(a: &[u8], b: &[u8]) -> bool {
    let both = a.len().min(b.len());
    both > 0 && a[..both] == b[..both]
}

/// The first byte of a record that carries a handshake.
const HANDSHAKE: u8 = 22;
