//! The upstream: sending a request over a pooled connection, once or, if that is safe, twice.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    task::{Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, StatusCode, request};
use http_body::Body as _;
use thence::{
    Deferred, Failure, flow,
    http::{Body, Client, ClientError, ClientErrorKind, ClientOptions, Connection, Response},
    now, sleep,
};

use crate::{
    answer::Refusal,
    denied::Denied,
    limits::Limits,
    timed::{Fault, Progress, Timed},
    visit::Visit,
};

/// One upstream and its pools of connections.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    limits: Limits,
    /// For requests that are sent in one go: the answer's time runs from then on.
    prompt: Client,
    /// For requests whose body takes as long as it takes: the answer's time begins at its end.
    patient: Client,
}

impl Upstream {
    /// The upstream at `address`. Connects to nothing yet.
    pub fn new(address: SocketAddr, limits: Limits) -> Self {
        let mut options = ClientOptions::default();
        options.connect = limits.connect;
        options.head = limits.answer_head;
        // The bound is on requests; a queue here would be a second one that nobody sees.
        options.connections = limits.in_flight;
        let prompt = Client::new(options);
        options.head = FOR_EVER;
        Self { address, limits, prompt, patient: Client::new(options) }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
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
                Gathered::Stream(body, progress) => {
                    upstream.send_stream(head, body, progress, &sending)
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
        let progress = Progress::begin();
        let timed = Timed::new(body, self.limits.body_idle, progress.clone(), move |fault| {
            visit.body_failed(match fault {
                Fault::BrokenOff | Fault::Invalid => Refusal::BrokenBody,
                Fault::Slow => Refusal::SlowBody,
            });
            if fault == Fault::BrokenOff {
                visit.client_left();
            }
        });
        let body = Body::wrap(timed.without_trailers());
        match size {
            Some(1..=SMALL) => {
                body.collect(SMALL as usize).map(Gathered::Whole).named("gather the body")
            }
            _ => Deferred::ok(Gathered::Stream(body, progress)),
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
        send_over(self.prompt.connect(self.address), first, &visit)
            .or_else(move |failure| {
                // Once: a retry of a retry could go on for ever (rule 66).
                if visit.has_left() || !may_repeat(&head.method, &failure) {
                    return Deferred::err(failure);
                }
                visit.sent_again();
                send_over(
                    upstream.prompt.connect_fresh(upstream.address),
                    request(head, body),
                    &visit,
                )
            })
            .named("send it again where that is safe")
    }

    fn send_stream(
        &self,
        head: request::Parts,
        body: Body,
        progress: Progress,
        visit: &Rc<Visit>,
    ) -> Deferred<Response> {
        let answer = send_over(self.patient.connect(self.address), request(head, body), visit);
        in_time(answer, progress, self.limits.answer_head)
    }
}

enum Gathered {
    Stream(Body, Progress),
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
            connection.send(request).named("send the request").and_then(judge)
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

/// Waits `limit` for an answer, from the moment on at which the upstream last took some of the
/// request's body.
fn in_time(answer: Deferred<Response>, progress: Progress, limit: Duration) -> Deferred<Response> {
    flow(async move {
        let late = answer.canceller();
        let mut answer = pin!(answer.into_future());
        let mut sleep = sleep(limit);
        let answered = poll_fn(|cx| {
            if let Poll::Ready(answered) = answer.as_mut().poll(cx) {
                return Poll::Ready(Some(answered));
            }
            loop {
                ready!(Pin::new(&mut sleep).poll(cx));
                let due = progress.last() + limit;
                if due > now() {
                    sleep.reset(due);
                } else if progress.waits() {
                    // The client is slow, which is the body's affair.
                    sleep.reset(now() + limit);
                } else {
                    return Poll::Ready(None);
                }
            }
        })
        .await;
        answered.unwrap_or_else(|| {
            late.cancel();
            Err(Late.into())
        })
    })
    .named("answer in time")
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

fn denied(failure: Failure, visit: &Visit) -> Denied {
    let kind = failure.downcast_ref::<ClientError>().map(ClientError::kind);
    let refusal = match (visit.body_failure(), kind) {
        (Some(refusal), _) => refusal,
        (None, Some(ClientErrorKind::Refused | ClientErrorKind::Unresolved)) => {
            Refusal::UpstreamRefused
        }
        (None, Some(ClientErrorKind::ConnectTimeout | ClientErrorKind::HeadTimeout)) => {
            Refusal::UpstreamSlow
        }
        (None, None) if failure.is::<Late>() => Refusal::UpstreamSlow,
        (None, _) => Refusal::UpstreamBroken,
    };
    Denied::because(refusal)(failure)
}

/// The answer to a long request did not come in time.
#[derive(Clone, Copy, Debug)]
struct Late;

impl std::fmt::Display for Late {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no answer in time after the request's end")
    }
}

impl std::error::Error for Late {}

/// Bodies up to this size are gathered before the request is sent (rule 66).
const SMALL: u64 = 16 * 1024;
/// The time of a patient client is kept here, not there.
const FOR_EVER: Duration = Duration::from_secs(365 * 86_400);
