//! What a request says of where it goes: its target, its `Host`, its credentials (RFC 9112 §3.2).
//!
//! hyper writes down what it is given. So everything here is made of the parsed parts of a URI by a
//! rule, and whatever cannot be said by one is refused before anything is sent.

use std::fmt;

use http::header::{AUTHORIZATION, HOST, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Uri, Version};
use thence_reactor::dns::Destination;

use super::{ClientError, ClientErrorKind};
use crate::Body;

/// Where a request goes, by the authority of its URI.
pub(super) fn destination(uri: &Uri) -> Result<Destination, ClientError> {
    match uri.scheme() {
        None => {}
        Some(scheme) if *scheme == Scheme::HTTP => {}
        Some(scheme) => {
            return Err(refused(format_args!(
                "its scheme is `{scheme}`, and this client speaks http:// only"
            )));
        }
    }
    let Some(authority) = uri.authority() else {
        return Err(refused("its URI has no host; expected http://HOST[:PORT]/.."));
    };
    let (host, port) = parts(authority)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    Ok(Destination::from((bare.unwrap_or(host), port.unwrap_or(DEFAULT_PORT))))
}

/// Makes of a request what an origin server is sent: a path, one valid `Host`, and no password
/// where everybody can read it. `to` is what `Host` says of a URI that has no authority.
pub(super) fn normalise(request: &mut Request<Body>, to: &Destination) -> Result<(), ClientError> {
    if request.method() == Method::CONNECT {
        return Err(refused("CONNECT asks a proxy for a tunnel, which this client cannot use"));
    }
    // hyper panics at a version that it cannot write.
    if request.version() != Version::HTTP_10 {
        *request.version_mut() = Version::HTTP_11;
    }
    let target = target(request)?;
    let said = match request.uri().authority() {
        Some(authority) => {
            let (host, port) = parts(authority)?;
            Some((host_field(host, port)?, credentials(authority)))
        }
        None => None,
    };
    let (host, credentials) = match said {
        Some((host, credentials)) => (Some(host), credentials),
        None => (None, None),
    };
    let mut given = request.headers().get_all(HOST).iter();
    match (given.next(), given.next()) {
        (Some(_), Some(_)) => return Err(refused("it has more than one Host")),
        (Some(given), None) if !is_host_field(given.as_bytes()) => {
            return Err(refused(format_args!("its Host {given:?} is not HOST[:PORT]")));
        }
        (Some(_), None) => {}
        (None, _) => {
            let host = match host {
                Some(host) => host,
                None => of_destination(to)?,
            };
            request.headers_mut().insert(HOST, host);
        }
    }
    if let Some(credentials) = credentials {
        request.headers_mut().entry(AUTHORIZATION).or_insert(credentials);
    }
    *request.uri_mut() = Uri::from(target);
    Ok(())
}

/// The path and the query, or `*`.
fn target(request: &Request<Body>) -> Result<PathAndQuery, ClientError> {
    let path = request.uri().path_and_query().map_or("", PathAndQuery::as_str);
    if path == "*" && request.method() != Method::OPTIONS {
        return Err(refused("its target is `*`, which only OPTIONS may ask for"));
    }
    if path.starts_with('/') || path == "*" {
        return Ok(request.uri().path_and_query().cloned().unwrap_or_else(root));
    }
    PathAndQuery::try_from(format!("/{path}"))
        .map_err(|error| refused(format_args!("its target `{path}`: {error}")))
}

fn root() -> PathAndQuery {
    PathAndQuery::from_static("/")
}

/// Host, with the brackets of an IPv6 address, and port of an authority.
fn parts(authority: &Authority) -> Result<(&str, Option<u16>), ClientError> {
    let text = without_credentials(authority);
    let not = |what: &str| refused(format_args!("`{text}` is not HOST[:PORT]: {what}"));
    let (host, port) = split(text).ok_or_else(|| not("there is no such host"))?;
    match port {
        None | Some("") => Ok((host, None)),
        Some(port) => match port.parse() {
            Ok(port) => Ok((host, Some(port))),
            Err(_) => Err(not("there is no such port")),
        },
    }
}

fn without_credentials(authority: &Authority) -> &str {
    let text = authority.as_str();
    text.rsplit_once('@').map_or(text, |(_, host)| host)
}

/// Host and port, if the host is a name or an address as a URI may have it (RFC 3986 §3.2.2).
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    let end = match text.starts_with('[') {
        true => text.find(']')? + 1,
        false => text.find(':').unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at(end);
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(is_of_a_name),
    };
    match rest.strip_prefix(':') {
        _ if !is_host => None,
        None => rest.is_empty().then_some((host, None)),
        Some(port) => port.bytes().all(|byte| byte.is_ascii_digit()).then_some((host, Some(port))),
    }
}

fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)
}

/// Whether this may stand in a `Host`. An empty one is for a target without an authority.
fn is_host_field(value: &[u8]) -> bool {
    value.is_empty() || std::str::from_utf8(value).is_ok_and(|text| split(text).is_some())
}

fn host_field(host: &str, port: Option<u16>) -> Result<HeaderValue, ClientError> {
    let field = match port.filter(|port| *port != DEFAULT_PORT) {
        Some(port) => HeaderValue::try_from(format!("{host}:{port}")),
        None => HeaderValue::from_str(host),
    };
    field.map_err(|error| refused(format_args!("`{host}` is no Host: {error}")))
}

fn of_destination(to: &Destination) -> Result<HeaderValue, ClientError> {
    let text = to.to_string();
    // Of several addresses the first is as good as any.
    let first = text.split(", ").next().unwrap_or_default();
    match split(first) {
        Some((host, port)) => host_field(host, port.and_then(|port| port.parse().ok())),
        None => Err(refused(format_args!("`{first}` is no Host, and it has none"))),
    }
}

/// A user and a password in the URI, as `Authorization` says them (RFC 7617).
fn credentials(authority: &Authority) -> Option<HeaderValue> {
    let (said, _) = authority.as_str().rsplit_once('@')?;
    let (user, password) = said.split_once(':').unwrap_or((said, ""));
    let mut plain = decoded(user);
    plain.push(b':');
    plain.extend(decoded(password));
    let mut value = HeaderValue::try_from(format!("Basic {}", base64(&plain))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        let hex =
            others.get(..2).filter(|hex| *first == b'%' && hex.iter().all(u8::is_ascii_hexdigit));
        let hex = hex.and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &others[2..];
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    bytes
}

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let place = (bits >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit <= chunk.len() { char::from(DIGITS[place]) } else { '=' });
        }
    }
    text
}

fn refused(why: impl fmt::Display) -> ClientError {
    ClientError::new(ClientErrorKind::InvalidRequest, None, Some(why.to_string().into()))
}

const DEFAULT_PORT: u16 = 80;
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
