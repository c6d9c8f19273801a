//! Whether a request says well which host it is for (RFC 9112 §3.2).
//!
//! What is unclear here is read differently by whoever stands behind or before this server.

use std::net::Ipv6Addr;

use http::header::HOST;
use http::{Request, Version};

/// What is wrong with the host of a request, for its client.
pub(super) fn fault<B>(request: &Request<B>) -> Option<&'static str> {
    let mut lines = request.headers().get_all(HOST).iter();
    match (lines.next(), lines.next()) {
        (None, _) if request.version() >= Version::HTTP_11 => return Some("there is no Host"),
        (Some(_), Some(_)) => return Some("there is more than one Host"),
        // A client that has no host to name sends an empty one.
        (Some(host), None) if !host.is_empty() && !is_authority(host.as_bytes()) => {
            return Some("Host is not HOST or HOST:PORT");
        }
        _ => {}
    }
    let authority = request.uri().authority()?;
    let is_well_formed = is_authority(authority.as_str().as_bytes());
    (!is_well_formed).then_some("the target's host is not HOST or HOST:PORT")
}

/// `host [ ":" port ]` of RFC 3986, without a user: one who is named there is nobody's, and hides
/// the host behind it.
fn is_authority(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            if address.parse::<Ipv6Addr>().is_err() {
                return false;
            }
            return match port.strip_prefix(':') {
                Some(port) => is_port(port),
                None => port.is_empty(),
            };
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    !host.is_empty() && is_name(host.as_bytes()) && is_port(port)
}

/// `reg-name`, of which an IPv4 address is one too.
fn is_name(mut bytes: &[u8]) -> bool {
    while let Some((first, rest)) = bytes.split_first() {
        bytes = match (first, rest) {
            (b'%', [a, b, rest @ ..]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => rest,
            (byte, rest) if byte.is_ascii_alphanumeric() || MARKS.contains(byte) => rest,
            _ => return false,
        };
    }
    true
}

/// Also none at all.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

const MARKS: &[u8] = b"-._~!$&'()*+,;=";
