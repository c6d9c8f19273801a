//! The upstream: sending a request over a pooled connection, once or, if that is safe, twice.

use std::{cell::Cell, fmt, rc::Rc, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode, request};
use http_body::Body as _;
use thence::{
    Deferred, Failure, Outcome,
    http::{
        Body, BodyFaultKind, Client, ClientError, ClientErrorKind, ClientOptions, Connection,
        Response,
    },
    reactor::dns::Destination,
};

use crate::{answer::Refusal, denied::Denied, limits::Limits, upload::Upload, visit::Visit};

/// One upstream and its pool of connections.
#[derive(Debug)]
pub struct Upstream {
    to: Destination,
    client: Client,
    reach: Cell<Reach>,
}

/// Whether the upstream can be reached, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Nothing speaks against it. `Lost` when a connection is not made in time.
    Fine,
    /// It did not take a connection in time. The next request tries again, which makes it `Tried`.
    Lost,
    /// Somebody tries again, and nobody else has to wait as long as they do. `Fine` when they are
    /// through to it, or refused; `Lost` when they are not, or leave.
    Tried,
}

impl Upstream {
    /// The upstream at `to`. Connects to nothing yet; a name is looked up for each connection.
    pub fn new(to: impl Into<Destination>, limits: Limits) -> Self {
        let mut options = ClientOptions::default();
        options.connect = limits.connect;
        options.head = limits.answer_head;
        options.upload = limits.body_idle;
        // A stream of events or a long poll is quiet for hours (rule 31). TCP's keepalive ends one
        // whose other end is gone.
        options.body = Duration::MAX;
        options.connections = limits.upstream_connections;
        let (to, client) = (to.into(), Client::new(options));
        Self { to, client, reach: Cell::new(Reach::Fine) }
    }

    /// Where it is.
    pub fn destination(&self) -> &Destination {
        &self.to
    }

    /// Says in the log when it cannot be reached: requests are answered 502 or 504 until it can.
    pub fn look(self: &Rc<Self>) {
        let to = self.to.clone();
        self.connect()
            .map(drop)
            .recover(move |failure| {
                let expected = "an application that accepts connections there";
                tracing::warn!("the upstream {to} cannot be reached yet ({failure:#}): {expected}");
            })
            .report();
    }

    /// Sends a request and gives the answer once its head is there. What the client hears of a
    /// failure is said by its kind (rule 65).
    pub fn send(
        self: &Rc<Self>,
        head: request::Parts,
        body: Body,
        visit: &Rc<Visit>,
    ) -> Deferred<Response, Denied> {
        let (upstream, sending) = (self.clone(), visit.clone());
        let denying = visit.clone();
        self.gathered(body, visit)
            .and_then(move |body| match body {
                Gathered::Whole(bytes) => upstream.send_whole(head, bytes, &sending),
                Gathered::Stream(body) => {
                    send_over(upstream.connect(), request(head, body), &sending)
                }
            })
            .named("exchange with the upstream")
            .map_err(move |failure| denied(failure, &denying))
            .named("say what the client is told")
    }

    /// Reads a body that is small and said so: then the request can be sent again, and a client
    /// that trickles it holds no connection to the upstream (rules 32, 66).
    fn gathered(&self, body: Body, visit: &Rc<Visit>) -> Deferred<Gathered> {
        let (size, visit) = (body.size_hint().exact(), visit.clone());
        if size == Some(0) {
            return Deferred::ok(Gathered::Whole(Bytes::new()));
        }
        let body = Body::wrap(Upload::new(body, move |fault| {
            visit.body_failed(match fault {
                BodyFaultKind::TimedOut => Refusal::SlowBody,
                _ => Refusal::BrokenBody,
            });
            if fault == BodyFaultKind::BrokenOff {
                visit.client_left();
            }
        }));
        match size {
            Some(1..=SMALL) => {
                body.collect(SMALL as usize).map(Gathered::Whole).named("gather the body")
            }
            _ => Deferred::ok(Gathered::Stream(body)),
        }
    }

    fn send_whole(
        self: &Rc<Self>,
        head: request::Parts,
        body: Bytes,
        visit: &Rc<Visit>,
    ) -> Deferred<Response> {
        let (upstream, visit) = (self.clone(), visit.clone());
        let first = request(head.clone(), body.clone());
        send_over(self.connect(), first, &visit)
            .or_else(move |failure| {
                // Once: a retry of a retry could go on for ever (rule 66).
                if visit.has_left() || !may_repeat(&head.method, &failure) {
                    return Deferred::err(failure);
                }
                visit.sent_again();
                send_over(
                    upstream.client.connect_fresh(upstream.to.clone()),
                    request(head, body),
                    &visit,
                )
            })
            .named("send it again where that is safe")
    }

    /// A connection, unless it is known that there is none to be had and somebody looks already.
    fn connect(self: &Rc<Self>) -> Deferred<Connection> {
        let trying = match self.reach.get() {
            _ if self.client.idle() > 0 => None,
            Reach::Fine => None,
            Reach::Lost => Some(Trying::begin(self.clone())),
            Reach::Tried => return Deferred::err(Unreachable.into()),
        };
        let upstream = self.clone();
        self.client.connect(self.to.clone()).then(move |outcome| {
            match &outcome {
                // One that was there already, or a place in the line, says nothing about the way.
                Outcome::Ok(connection) if connection.is_reused() => {}
                Outcome::Ok(_) => upstream.reach.set(Reach::Fine),
                Outcome::Err(failure) => match kind(failure) {
                    Some(ClientErrorKind::ConnectTimeout) => upstream.reach.set(Reach::Lost),
                    Some(ClientErrorKind::Refused) => upstream.reach.set(Reach::Fine),
                    _ => {}
                },
                Outcome::Stop(_) => {}
            }
            drop(trying);
            Deferred::ended(outcome)
        })
    }
}

/// Somebody looks whether the upstream can be reached again.
struct Trying(Rc<Upstream>);

impl Trying {
    fn begin(upstream: Rc<Upstream>) -> Self {
        upstream.reach.set(Reach::Tried);
        Self(upstream)
    }
}

impl Drop for Trying {
    fn drop(&mut self) {
        if self.0.reach.get() == Reach::Tried {
            self.0.reach.set(Reach::Lost);
        }
    }
}

enum Gathered {
    Stream(Body),
    Whole(Bytes),
}

/// Until the connection is there nothing has been sent, and whoever leaves is forgotten.
fn send_over(
    connection: Deferred<Connection>,
    request: http::Request<Body>,
    visit: &Rc<Visit>,
) -> Deferred<Response> {
    let visit = visit.clone();
    connection
        .named("connect to the upstream")
        .and_then(move |connection| {
            visit.sent();
            // What comes before the answer helps the client all the same (rule 35).
            connection
                .send_with_interim(request, move |head| visit.answers_soon(&head))
                .named("send the request")
                .and_then(judge)
        })
        .named("send over a connection")
}

/// A switch of protocols that nobody asked for is no answer (rule 39).
fn judge(answer: Response) -> Result<Response, Failure> {
    match answer.status() {
        StatusCode::SWITCHING_PROTOCOLS => {
            Err(Failure::msg("the upstream switched protocols unasked"))
        }
        _ => Ok(answer),
    }
}

fn request(head: request::Parts, body: impl Into<Body>) -> http::Request<Body> {
    http::Request::from_parts(head, body.into())
}

/// Rule 66: what provably never left, or what may be done twice and met a pooled connection that
/// was closing. A body is gathered whole by then.
fn may_repeat(method: &Method, failure: &Failure) -> bool {
    let Some(error) = failure.downcast_ref::<ClientError>() else { return false };
    error.kind() == ClientErrorKind::Closed
        && error.was_reused()
        && (!error.was_sent() || method.is_idempotent())
}

fn kind(failure: &Failure) -> Option<ClientErrorKind> {
    failure.downcast_ref::<ClientError>().map(ClientError::kind)
}

fn denied(failure: Failure, visit: &Visit) -> Denied {
    let refusal = match (visit.body_failure(), kind(&failure)) {
        (Some(refusal), _) => refusal,
        (None, Some(ClientErrorKind::Busy)) => Refusal::UpstreamBusy,
        (None, Some(ClientErrorKind::Refused | ClientErrorKind::Unresolved)) => {
            Refusal::UpstreamRefused
        }
        (
            None,
            Some(
                ClientErrorKind::ConnectTimeout
                | ClientErrorKind::HeadTimeout
                | ClientErrorKind::UploadTimeout,
            ),
        ) => Refusal::UpstreamSlow,
        (None, None) if failure.is::<Unreachable>() => Refusal::UpstreamSlow,
        (None, _) => Refusal::UpstreamBroken,
    };
    Denied::because(refusal)(failure)
}

/// The upstream took no connection in time, and whether it does again is being looked at.
#[derive(Clone, Copy, Debug)]
struct Unreachable;

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no connection in time, a moment ago")
    }
}

impl std::error::Error for Unreachable {}

/// Bodies up to this size are gathered before the request is sent (rule 66).
const SMALL: u64 = 16 * 1024;
