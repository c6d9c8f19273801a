//! A request and its answer over a leased connection.

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Version};
use http_body::Body as _;
use thence_core::{Deferred, Failure, Lease, flow};
use thence_reactor::dns::Destination;
use thence_reactor::{now, sleep};

use super::answer::{AnswerBody, framing_fault};
use super::interim::Interim;
use super::pace::Upload;
use super::pools::Wire;
use super::{ClientError, ClientErrorKind, ClientOptions, target};
use crate::body::{Measured, stated_length};
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
    pub fn send(self, request: Request<Body>) -> Deferred<Response> {
        self.send_normalised(request, None::<fn(_)>)
    }

    /// As [`Connection::send`]; calls `interim` with each head that comes before that of the answer
    /// (1xx), in a callback. Such as 103 has fields that are worth having early.
    #[track_caller]
    pub fn send_with_interim(
        self,
        request: Request<Body>,
        interim: impl FnMut(http::Response<()>) + 'static,
    ) -> Deferred<Response> {
        self.send_normalised(request, Some(interim))
    }

    #[track_caller]
    fn send_normalised(
        self,
        mut request: Request<Body>,
        interim: Option<impl FnMut(http::Response<()>) + 'static>,
    ) -> Deferred<Response> {
        let normalised = target::normalise(&mut request, &self.to);
        match normalised.and_then(|()| with_framing(request)) {
            Ok(request) => self.exchange(request, interim),
            Err(error) => {
                // Nothing was sent: the connection is as good as it was.
                Wire::park(self.lease);
                Deferred::err(error.into())
            }
        }
    }

    /// Sends a request that says all it has to say.
    #[track_caller]
    pub(super) fn exchange(
        self,
        mut request: Request<Body>,
        mut interim: Option<impl FnMut(http::Response<()>) + 'static>,
    ) -> Deferred<Response> {
        let Self { mut lease, to, options } = self;
        flow(async move {
            let reused = lease.answers.get() > 0;
            let error = |kind, source, sent| {
                Failure::from(ClientError::new(kind, Some(&to), source).sent(sent, reused))
            };
            let method = request.method().clone();
            let heads = interim.as_ref().map(|_| Interim::watch(&mut request));
            let (body, upload) = Upload::watch(std::mem::take(request.body_mut()));
            *request.body_mut() = body;
            // How much of an upload has been taken is seen by looking.
            let step = options.head.min(options.upload / 4).max(INSTANT);
            let pace = lease.pace.clone();
            let mut sleep = sleep(step);
            // hyper takes it from here: from now on some of it may have been sent.
            let mut answer = pin!(lease.sender.try_send_request(request));
            let answer = poll_fn(|cx| {
                let answer = answer.as_mut().poll(cx);
                if let (Some(heads), Some(interim)) = (&heads, &mut interim) {
                    while let Some(head) = heads.next(cx.waker()) {
                        interim(head);
                    }
                }
                if let Poll::Ready(answer) = answer {
                    return Poll::Ready(Ok(answer));
                }
                while Pin::new(&mut sleep).poll(cx).is_ready() {
                    let now = now();
                    let due = upload.due(&pace, options.head, options.upload);
                    if let Some((_, kind)) = due.filter(|(due, _)| *due <= now) {
                        return Poll::Ready(Err(kind));
                    }
                    // Whoever is waited for may change, and with them the limit, but only to a
                    // moment that is at least a step away.
                    let look = now.checked_add(step).unwrap_or_else(|| now + NEVER);
                    sleep.reset(due.map_or(look, |(due, _)| due.min(look)));
                }
                Poll::Pending
            })
            .await;
            let response = match answer {
                Err(late) => return Err(error(late, None, true)),
                Ok(Ok(response)) => response,
                Ok(Err(mut failed)) => {
                    let was_sent = failed.take_message().is_none();
                    let why = failed.into_error();
                    let kind = if why.is_parse() {
                        ClientErrorKind::BrokenAnswer
                    } else if why.is_user() {
                        ClientErrorKind::BrokenUpload
                    } else {
                        ClientErrorKind::Closed
                    };
                    return Err(error(kind, Some(why.into()), was_sent));
                }
            };
            let fault = framing_fault(&method, response.status(), response.headers());
            if let Some(fault) = fault {
                return Err(error(ClientErrorKind::BrokenAnswer, Some(fault.into()), true));
            }
            lease.answers.set(lease.answers.get() + 1);
            let limit = options.body;
            Ok(response.map(|body| Body::wrap(AnswerBody::new(body, lease, upload, to, limit))))
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

/// Has a request say where its body ends, and its body end there. hyper writes what it is told:
/// one byte too many would be the beginning of the next request.
pub(super) fn with_framing(request: Request<Body>) -> Result<Request<Body>, ClientError> {
    let refused = |why| ClientError::new(ClientErrorKind::InvalidRequest, None, Some(why));
    let (mut head, body) = request.into_parts();
    if head.version == Version::HTTP_10 {
        head.headers.remove(TRANSFER_ENCODING);
    } else if head.headers.contains_key(TRANSFER_ENCODING) {
        // hyper writes chunks then, and no length. No origin server has to know another coding.
        head.headers.remove(CONTENT_LENGTH);
        head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        return Ok(Request::from_parts(head, body));
    }
    let stated = stated_length(&head.headers).map_err(|fault| refused(fault.into()))?;
    let Some(length) = stated.or(body.size_hint().exact()) else {
        if head.version == Version::HTTP_10 {
            return Err(refused("HTTP/1.0 has no body of an unknown length".into()));
        }
        if matches!(head.method, Method::GET | Method::HEAD) {
            // hyper would leave it out.
            head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        return Ok(Request::from_parts(head, body));
    };
    if length == 0 && body.is_end_stream() {
        return Ok(Request::from_parts(head, body));
    }
    let body = Measured::new(body, length).map_err(|fault| refused(fault.into()))?;
    Ok(Request::from_parts(head, Body::wrap(body)))
}

/// Looking costs something, so not more often than this.
const INSTANT: Duration = Duration::from_millis(1);
/// As far as a clock can be trusted to count.
const NEVER: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);
