//! Connections to upstreams.

use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use http::header::CONTENT_LENGTH;
use thence_core::{Deferred, Failure, Lease, flow};
use thence_reactor::dns::Destination;
use thence_reactor::sleep;

use super::pools::Wire;
use super::{ClientError, ClientErrorKind, ClientOptions, target};
use crate::body::{BodyEnd, Watched};
use crate::{Body, Response};

/// A leased connection to an upstream. Dropped, it is closed.
pub struct Connection {
    lease: Lease<Wire>,
    to: Destination,
    options: ClientOptions,
}

impl Connection {
    pub(super) fn new(lease: Lease<Wire>, to: Destination, options: ClientOptions) -> Self {
        Self { lease, to, options }
    }

    /// Whether it has answered a request before.
    pub fn is_reused(&self) -> bool {
        self.lease.answers.get() > 0
    }

    /// The address it leads to.
    pub fn peer_addr(&self) -> SocketAddr {
        self.lease.peer
    }

    /// Sends a request and gives the answer once its head is there. The authority of its URI, if it
    /// has one, becomes its `Host`, as [`Client::request`](super::Client::request) says; it is sent
    /// over this connection all the same.
    ///
    /// When the answer's body has been read to its end the connection goes back to its pool. If
    /// the body is dropped before, or the Deferred is cancelled, it is closed. Fails with a
    /// [`ClientError`].
    #[track_caller]
    pub fn send(self, mut request: http::Request<Body>) -> Deferred<Response> {
        if let Err(error) = target::normalise(&mut request, &self.to) {
            // Nothing was sent: the connection is as good as it was.
            Wire::park(self.lease);
            return Deferred::err(error.into());
        }
        self.send_normal(request)
    }

    /// Sends a request whose target and `Host` are as they have to be.
    #[track_caller]
    pub(super) fn send_normal(self, request: http::Request<Body>) -> Deferred<Response> {
        let Self { mut lease, to, options } = self;
        flow(async move {
            let reused = lease.answers.get() > 0;
            let is_head = request.method() == http::Method::HEAD;
            let (request, is_uploaded) = watch_upload(request);
            let mut sleep = std::pin::pin!(sleep(options.head));
            // hyper takes it from here: from now on some of it may have been sent.
            let mut answer = std::pin::pin!(lease.sender.try_send_request(request));
            let answer = std::future::poll_fn(|cx| {
                if let std::task::Poll::Ready(answer) = answer.as_mut().poll(cx) {
                    return std::task::Poll::Ready(Some(answer));
                }
                sleep.as_mut().poll(cx).map(|()| None)
            })
            .await;
            let error = |kind, source, sent| {
                Failure::from(ClientError::new(kind, Some(&to), source).sent(sent, reused))
            };
            let response = match answer {
                None => return Err(error(ClientErrorKind::HeadTimeout, None, true)),
                Some(Ok(response)) => response,
                Some(Err(mut failed)) => {
                    let was_sent = failed.take_message().is_none();
                    let why = failed.into_error();
                    let kind = if why.is_parse() {
                        ClientErrorKind::BrokenAnswer
                    } else {
                        ClientErrorKind::Closed
                    };
                    return Err(error(kind, Some(why.into()), was_sent));
                }
            };
            lease.answers.set(lease.answers.get() + 1);
            Ok(with_lease(response, lease, is_head, is_uploaded))
        })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("to", &self.to)
            .field("is_reused", &self.is_reused())
            .finish_non_exhaustive()
    }
}

/// Says whether all of the request has been handed to hyper.
fn watch_upload(request: http::Request<Body>) -> (http::Request<Body>, Rc<Cell<bool>>) {
    let is_uploaded = Rc::new(Cell::new(false));
    let uploaded = is_uploaded.clone();
    let request = request.map(|body| {
        if http_body::Body::is_end_stream(&body) {
            uploaded.set(true);
            return body;
        }
        Body::wrap(Watched::new(body, None, move |end| uploaded.set(end == BodyEnd::Whole)))
    });
    (request, is_uploaded)
}

/// The lease travels with the body and goes back at its end.
fn with_lease(
    response: http::Response<hyper::body::Incoming>,
    lease: Lease<Wire>,
    is_head: bool,
    is_uploaded: Rc<Cell<bool>>,
) -> Response {
    let has_no_body = is_head || matches!(response.status().as_u16(), 100..=199 | 204 | 304);
    let length = response.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
    let length = if has_no_body { Some(0) } else { length };
    let mut lease = Some(lease);
    response.map(|body| {
        Body::wrap(Watched::new(Body::wrap(body), length, move |end| {
            let Some(lease) = lease.take() else { return };
            // Rule 61: behind an upload that still goes on the next request would wait.
            if end == BodyEnd::Whole && is_uploaded.get() {
                Wire::park(lease);
            }
        }))
    })
}
