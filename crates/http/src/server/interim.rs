//! Interim answers: what a server says before it answers (RFC 9110 §15.2).
//!
//! hyper writes none but 100. They go out beside it, at moments when all that it has written is
//! whole messages.

use std::cell::Cell;
use std::fmt;
use std::rc::{Rc, Weak};

use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, StatusCode};

use crate::io::Line;

/// Sends interim answers to the client of a request, until its answer begins. It may be kept, and
/// cloned, when the request has been taken apart.
///
/// ```
/// # use thence_core::{Deferred, Failure};
/// # use thence_http::{Body, Request, Response, Server};
/// use http::{HeaderMap, HeaderValue, StatusCode, header::LINK};
///
/// # thence_reactor::run(async {
/// Server::bind("127.0.0.1:0")?.serve(|request: Request| {
///     let mut headers = HeaderMap::new();
///     headers.insert(LINK, HeaderValue::from_static("</style.css>; rel=preload"));
///     request.interim().send(StatusCode::EARLY_HINTS, &headers);
///     Deferred::ok(Response::new(Body::from("the page, which took its time")))
/// });
/// # Ok(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Interim {
    /// None when the client knows of no interim answers.
    line: Option<Weak<Line>>,
    exchange: u64,
    /// Whether the client waits for a 100.
    is_expected: Rc<Cell<bool>>,
}

impl Interim {
    pub(super) fn new(line: Option<&Rc<Line>>, exchange: u64, is_expected: Rc<Cell<bool>>) -> Self {
        Self { line: line.map(Rc::downgrade), exchange, is_expected }
    }

    /// Sends one, with these headers, of which those that are about a body or the connection are
    /// left out. Says whether it is on its way.
    ///
    /// Interim answers are advice, so one is dropped rather than kept: when the answer has begun,
    /// when the client speaks HTTP/1.0, left, or does not read, for a 100 that it does not wait for,
    /// and for a status that is no interim one or is 101.
    pub fn send(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return false;
        }
        let is_continue = status == StatusCode::CONTINUE;
        if is_continue && !self.is_expected.get() {
            return false;
        }
        let Some(line) = self.line.as_ref().and_then(Weak::upgrade) else { return false };
        let reason = status.canonical_reason().unwrap_or_default();
        let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
        for (name, value) in headers {
            let is_framing = [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE]
                .contains(name);
            if is_framing || matches!(name.as_str(), "keep-alive" | "proxy-connection") {
                continue;
            }
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        head.extend_from_slice(b"\r\n");
        let is_on_its_way = line.interject(self.exchange, head);
        if is_on_its_way && is_continue {
            self.is_expected.set(false);
        }
        is_on_its_way
    }
}

impl fmt::Debug for Interim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interim").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}
