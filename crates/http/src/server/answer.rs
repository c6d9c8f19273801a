//! One request and its answer: hyper waits, the reactor owns the work.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::rc::Rc;

use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderValue, TRANSFER_ENCODING,
};
use http::{Method, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use thence_core::{Deferred, Failure, IntoDeferred, Never, Outcome};

use super::connection::Client;
use super::upload::Upload;
use super::{ConnectionRef, HungUp, Interim, Options, Request, Response, Shared, coding, host};
use crate::body::{
    Body, BodyEnd, BodyError, BodyFault, BodyFaultKind, Measured, Watched, stated_length,
};

/// What hyper awaits. Dropping it leaves; the work goes on.
pub(super) async fn answer<H, D>(
    shared: &Rc<Shared>,
    handler: &Rc<H>,
    request: http::Request<Incoming>,
    client: &Rc<Client>,
) -> Result<Response, Closed>
where
    H: Fn(Request) -> D + 'static,
    D: IntoDeferred<Value = Response, Error = Failure> + 'static,
{
    // Its head has come whole.
    client.line.is_read();
    client.rest.request();
    if let Some(fault) = host::fault(&request) {
        return Ok(refuse(StatusCode::BAD_REQUEST, fault));
    }
    if let Some((status, fault)) = coding::fault(&request) {
        return Ok(refuse(status, fault));
    }
    client.rest.begin();
    let hung_up = HungUp::default();
    let waiting = Waiting(Some(hung_up.clone()));
    client.is_answering.set(false);
    client.hung_up.replace(Some(hung_up.clone()));
    let is_head = request.method() == Method::HEAD;
    let is_connect = request.method() == Method::CONNECT;
    let is_expected = Rc::new(Cell::new(is_expected(&request)));
    client.knows_interim.set(request.version() >= Version::HTTP_11);
    let line = Some(&client.line).filter(|_| client.knows_interim.get());
    let interim = Interim::new(line, client.line.begin_exchange(), is_expected.clone());
    let (head, incoming) = request.into_parts();
    let idle = shared.options.body;
    let (upload, body) = Upload::begin(incoming, is_expected, client, hung_up.clone(), idle);
    let request = http::Request::from_parts(head, body);
    let connection = ConnectionRef(client.seat.clone());
    let request = Request::new(request, connection, client.tls.clone(), hung_up, interim);

    let (handler, options, peer) = (handler.clone(), shared.options, client.peer);
    let work = Deferred::attempt(move || handler(request)).then(move |outcome| {
        let outcome = match outcome {
            Outcome::Ok(response) => {
                framed(response, is_head).map_or_else(Outcome::Err, Outcome::Ok)
            }
            outcome => outcome,
        };
        Ok::<_, Never>(told(outcome, options, peer))
    });
    let Some(mut response) = work.await else { return Err(Closed) };

    // What a client sends after CONNECT is not HTTP (RFC 9110 §9.3.6).
    // A server that closes has no second to wait for the rest of an upload.
    if shared.is_closing.get() || is_connect || !upload.ends().await {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    client.is_answering.set(true);
    client.line.begin_answer();
    let hung_up = waiting.go_on();
    if has_no_body(response.status(), is_head) {
        hung_up.answer();
        client.ended();
        return Ok(response);
    }
    let client = client.clone();
    Ok(response.map(|body| {
        Body::wrap(Watched::new(body, move |end| {
            match end {
                BodyEnd::Whole => hung_up.answer(),
                // Cut, the client has not got it whole, and never will.
                BodyEnd::Broken | BodyEnd::Dropped => hung_up.go(),
            }
            client.ended();
        }))
    }))
}

/// Whether the client sends its body only when it is told to.
fn is_expected(request: &http::Request<Incoming>) -> bool {
    let expected = request.headers().get(EXPECT).map(HeaderValue::as_bytes);
    request.version() >= Version::HTTP_11
        && expected.is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
}

/// Sees to it that an answer is as long as it says, so that the next one begins where it ends.
fn framed(mut response: Response, is_head: bool) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
        return Err(Failure::msg(format_args!("{status} is no final answer")));
    }
    let stated = stated_length(response.headers())?;
    let codings: Vec<_> = response.headers().get_all(TRANSFER_ENCODING).iter().collect();
    match (codings.as_slice(), stated) {
        ([], _) => {}
        // What an answer brings along that is relayed: hyper says it by itself where it holds.
        ([coding], None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            response.headers_mut().remove(TRANSFER_ENCODING);
        }
        _ => {
            let why = "Transfer-Encoding is the server's to set: the answer cannot be framed";
            return Err(BodyFault::new(BodyFaultKind::WrongLength, why).into());
        }
    }
    if has_no_body(status, is_head) {
        // hyper would compare the lengths, and poll what is never sent.
        let body = std::mem::take(response.body_mut());
        let known = http_body::Body::size_hint(&body).exact().filter(|known| *known > 0);
        if let (true, None, Some(known)) = (is_head, stated, known) {
            response.headers_mut().insert(CONTENT_LENGTH, known.into());
        }
        return Ok(response);
    }
    let Some(stated) = stated else { return Ok(response) };
    let body = std::mem::take(response.body_mut());
    // It fails on the way to the client, where nobody else sees it.
    *response.body_mut() = Body::wrap(Measured::new(body, stated)?.map_err(|error: BodyError| {
        if !error.is::<BodyFault>() {
            return error;
        }
        Deferred::<()>::err(Failure::boxed(error)).report();
        BodyError::from("the answer is not as long as it said")
    }));
    Ok(response)
}

fn has_no_body(status: StatusCode, is_head: bool) -> bool {
    is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Turns the end of a handler into an answer. A failure is reported, whoever still waits, unless it
/// is what the client did wrong.
fn told(
    outcome: Outcome<Response>,
    options: Options,
    peer: std::net::SocketAddr,
) -> Option<Response> {
    let outcome = match outcome {
        Outcome::Ok(response) => return Some(response),
        outcome => outcome,
    };
    if let Outcome::Err(failure) = &outcome
        && let Some(fault) = BodyFault::behind(failure).filter(|fault| fault.is_upload())
    {
        let (status, why) = match fault.kind() {
            BodyFaultKind::TimedOut => (StatusCode::REQUEST_TIMEOUT, "the body came too slowly"),
            BodyFaultKind::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, "the body is too long"),
            _ => (StatusCode::BAD_REQUEST, "the body broke off, or is none"),
        };
        tracing::debug!("request of {peer}: {}: {fault}", status.as_u16());
        return Some(refuse(status, why));
    }
    Deferred::ended(outcome).report();
    if options.close_on_failure {
        return None;
    }
    Some(refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal server error"))
}

/// An answer of the server's own, after which the connection closes.
fn refuse(status: StatusCode, why: &str) -> Response {
    let mut response = Response::new(Body::from(format!("{why}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// A client that waits for the head of an answer. Dropped before that, it has left.
struct Waiting(Option<HungUp>);

impl Waiting {
    fn go_on(mut self) -> HungUp {
        self.0.take().unwrap_or_default()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(hung_up) = self.0.take() {
            hung_up.go();
        }
    }
}

/// Makes hyper close the connection.
#[derive(Debug)]
pub(super) struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the handler gave no answer")
    }
}

impl Error for Closed {}
