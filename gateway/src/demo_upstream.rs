//! The demo's built-in application: shows what yours would receive, and misbehaves when asked to.

use std::{
    fmt::Write as _,
    thread,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Method, Uri, header};
use thence::{
    Deferred, Failure, after,
    http::{Body, Response},
};

use crate::forward::headers::FORWARDED_URI;

/// The answer to a request: [`page`] as text.
pub fn answer(method: &Method, uri: &Uri, headers: &HeaderMap) -> Deferred<Response> {
    page(method, uri, headers).map(|text| {
        let mut answer = Response::new(Body::from(text));
        let kind = HeaderValue::from_static("text/plain; charset=utf-8");
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        answer
    })
}

/// The text for a request to one of the demo's paths, or a failure on purpose. The path is the one
/// the client asked for: the rewritten one carries only the account.
pub fn page(method: &Method, uri: &Uri, headers: &HeaderMap) -> Deferred<String> {
    let text = what_arrived(method, uri, headers);
    let asked = headers.get(FORWARDED_URI).and_then(|asked| asked.to_str().ok());
    match asked.unwrap_or_else(|| uri.path()).split('?').next().unwrap_or_default() {
        "/slow" => after(SLOW)
            .map(move |()| format!("That took {SLOW:?}.\n\n{text}"))
            .map_err(|never| match never {})
            .named("a slow page"),
        "/block" => Deferred::ok(text).map(block_the_loop).named("a page that blocks the loop"),
        "/broken" => Deferred::err(Failure::msg("the demo's application breaks off on purpose")),
        _ => Deferred::ok(text),
    }
}

/// What no callback should do: nothing else on the thread moves until it returns. The watchdog
/// names this function's step.
fn block_the_loop(text: String) -> String {
    let began = Instant::now();
    thread::sleep(BLOCKED);
    format!("The loop stood still for {:?}; the log says where.\n\n{text}", began.elapsed())
}

fn what_arrived(method: &Method, uri: &Uri, headers: &HeaderMap) -> String {
    let mut text = format!("Your app would receive:\n\n{method} {uri} HTTP/1.1\n");
    for (name, value) in headers {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}: {}", titled(name.as_str()), value.to_str().unwrap_or("?"));
    }
    text
}

/// `x-account-id` as people write it.
fn titled(name: &str) -> String {
    let part = |part: &str| part[..1].to_ascii_uppercase() + &part[1..];
    name.split('-').filter(|part| !part.is_empty()).map(part).collect::<Vec<_>>().join("-")
}

const SLOW: Duration = Duration::from_secs(1);
const BLOCKED: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_shows_what_arrived() {
        let mut headers = HeaderMap::new();
        headers.insert("x-account-id", "42".parse().unwrap());
        let text = what_arrived(&Method::GET, &Uri::from_static("/v1/42"), &headers);
        assert!(text.ends_with("GET /v1/42 HTTP/1.1\nX-Account-Id: 42\n"), "{text}");
    }

    #[test]
    fn the_path_that_was_asked_for_decides() {
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_URI, "/broken?x".parse().unwrap());
        let broken = page(&Method::GET, &Uri::from_static("/v1/42"), &headers);
        assert!(broken.is_ready());
        broken
            .recover(|failure| failure.to_string())
            .done(|text| assert!(text.contains("purpose")));
    }
}
