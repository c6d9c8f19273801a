//! Which header fields cross the gateway (rules 43 to 47, 52, 53).
//!
//! The order is what makes the identity header worth something: what `Connection` nominates goes
//! first, then what belongs to one hop, then every spelling of what the gateway says itself, and
//! only then the gateway says it. Nothing a client writes can remove or forge it.

use std::{fmt::Write as _, net::IpAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::managed::is_managed;
use crate::session::{Session, cookie};

/// The account the session belongs to.
pub const ACCOUNT: HeaderName = HeaderName::from_static("x-account-id");
/// The session's public handle; never the cookie.
pub const SESSION: HeaderName = HeaderName::from_static("x-session-id");
/// The request's id, in both directions.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The path and query the client asked for, when `--rewrite` changed them.
pub const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// What the gateway says about a request.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Whose request it is.
    pub session: &'a Session,
    /// The peer's address. It is not a proxy we trust, so it is all we know of the client
    /// (rule 53).
    pub peer: IpAddr,
    /// The id in the log.
    pub request_id: &'a str,
    /// Whether it came over TLS.
    pub is_tls: bool,
    /// What the client asked for, if the upstream sees another target.
    pub asked: Option<&'a str>,
}

/// The fields the upstream gets for what a client sent.
pub fn to_upstream(client: &HeaderMap, said: Said<'_>) -> HeaderMap {
    let mut fields = client.clone();
    let wants_trailers = accepts_trailers(client);
    remove_hop_by_hop(&mut fields);
    // Trailers stay here, so they are not announced (rule 26).
    fields.remove(header::TRAILER);
    // The body is read through the gateway, which has said 100 itself by then (rule 33).
    fields.remove(header::EXPECT);
    // Many servers hand `_` and `-` to an app under one name (CVE-2025-64484). One with `_` goes
    // whatever it means (rule 47).
    remove_names(&mut fields, |name| name.contains('_') || is_managed(name));
    cookie::withhold(&mut fields);
    if wants_trailers {
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
        fields.insert(header::CONNECTION, HeaderValue::from_static("TE"));
    }
    append_via(&mut fields);

    set(&mut fields, ACCOUNT, said.session.account.as_str());
    set(&mut fields, SESSION, said.session.handle.as_str());
    set(&mut fields, REQUEST_ID, said.request_id);
    set(&mut fields, FORWARDED_FOR, &said.peer.to_canonical().to_string());
    let scheme = if said.is_tls { "https" } else { "http" };
    set(&mut fields, FORWARDED_PROTO, scheme);
    if let Some(host) = client.get(header::HOST) {
        fields.insert(FORWARDED_HOST, host.clone());
    }
    if let Some(asked) = said.asked {
        set(&mut fields, FORWARDED_URI, asked);
    }
    fields
}

/// The fields the client gets for what the upstream sent.
pub fn to_client(upstream: &HeaderMap, request_id: &str) -> HeaderMap {
    let mut fields = upstream.clone();
    remove_hop_by_hop(&mut fields);
    cookie::withhold_set(&mut fields);
    set(&mut fields, REQUEST_ID, request_id);
    // The answer depended on the cookie, whatever the app says (S14).
    if !varies_by_cookie(&fields) {
        fields.append(header::VARY, HeaderValue::from_static("Cookie"));
    }
    fields
}

/// The fields the client gets of what the upstream said before its answer.
pub fn before_answer(upstream: &HeaderMap) -> HeaderMap {
    let mut fields = upstream.clone();
    remove_hop_by_hop(&mut fields);
    cookie::withhold_set(&mut fields);
    fields
}

/// How often a request has been through a gateway of this name: more than a few times is a loop
/// (rule 48).
pub fn times_seen(client: &HeaderMap) -> usize {
    elements(client, &header::VIA)
        .filter(|element| element.split_ascii_whitespace().nth(1) == Some(PSEUDONYM))
        .count()
}

/// Rules 43 and 44: what `Connection` nominates, `Connection`, and what belongs to one hop anyway.
fn remove_hop_by_hop(fields: &mut HeaderMap) {
    let nominated: Vec<HeaderName> = elements(fields, &header::CONNECTION)
        .filter_map(|element| HeaderName::from_bytes(element.as_bytes()).ok())
        .collect();
    for name in nominated {
        // A message without Host is no request; nominating it is not a way to make one.
        if name != header::HOST {
            fields.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        fields.remove(*name);
    }
}

fn remove_names(fields: &mut HeaderMap, goes: impl Fn(&str) -> bool) {
    let gone: Vec<HeaderName> = fields.keys().filter(|name| goes(name.as_str())).cloned().collect();
    for name in gone {
        fields.remove(name);
    }
}

fn accepts_trailers(client: &HeaderMap) -> bool {
    elements(client, &header::TE).any(|element| element.eq_ignore_ascii_case("trailers"))
}

fn varies_by_cookie(fields: &HeaderMap) -> bool {
    elements(fields, &header::VARY)
        .any(|element| element == "*" || element.eq_ignore_ascii_case("cookie"))
}

fn append_via(fields: &mut HeaderMap) {
    let mut via = String::new();
    for line in fields.get_all(header::VIA).iter().filter_map(|line| line.to_str().ok()) {
        // Writing to a String cannot fail.
        let _ = write!(via, "{line}, ");
    }
    via.push_str("1.1 ");
    via.push_str(PSEUDONYM);
    set(fields, header::VIA, &via);
}

/// The elements of a list field, over all of its lines.
fn elements<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    fields
        .get_all(name)
        .iter()
        // An element that is no text names no field; the others of its line still count.
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .filter_map(|element| std::str::from_utf8(element.trim_ascii()).ok())
        .filter(|element| !element.is_empty())
}

fn set(fields: &mut HeaderMap, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => {
            fields.insert(name, value);
        }
        // Saying nothing is safe: every spelling of it was removed before.
        Err(_) => {
            fields.remove(name);
        }
    }
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const PSEUDONYM: &str = "thence-gate";
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests;
