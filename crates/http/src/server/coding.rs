//! Whether a request's body is coded in a way that somebody undoes (RFC 9112 §6.1).
//!
//! hyper asks that the last coding is `chunked`, and closes the connection behind one that has a
//! `Content-Length` as well, so nothing hides a request. Other codings it lets pass, and a body would
//! reach its reader as they left it.

use http::header::TRANSFER_ENCODING;
use http::{Request, StatusCode};

/// What is wrong with the coding of a request's body, for its client.
pub(super) fn fault<B>(request: &Request<B>) -> Option<(StatusCode, &'static str)> {
    let mut codings = request.headers().get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next()?;
    let is_plain = coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    if is_plain && codings.next().is_none() {
        return None;
    }
    Some((StatusCode::NOT_IMPLEMENTED, "the only Transfer-Encoding here is chunked"))
}
