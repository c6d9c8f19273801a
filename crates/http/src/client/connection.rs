//! Connections to upstreams.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::header::CONTENT_LENGTH;
use hyper::client::conn::http1::{self, SendRequest};
use thence_core::{Canceller, Deferred, Failure, Lease, Pool, flow};
use thence_reactor::net::TcpStream;
use thence_reactor::{DeferredExt, Elapsed, now, sleep};

use super::{ClientError, ClientErrorKind, ClientOptions};
use crate::body::{BodyEnd, Watched};
use crate::io::{Io, Line};
use crate::{Body, Response};

/// A leased connection to an upstream. Dropped, it is closed.
pub struct Connection {
    lease: Lease<Wire>,
    addr: SocketAddr,
    head: Duration,
}

/// What a pool keeps.
struct Wire {
    sender: SendRequest<Body>,
    /// The flow that reads and writes.
    flow: Canceller,
    idle_since: Instant,
    answers: Cell<u64>,
    is_draining: Rc<Cell<bool>>,
    line: Rc<Line>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        // A connection that is not in step any more is cut, not drained: what waits to be sent to an
        // upstream that does not read would keep it for ever.
        self.flow.cancel();
        self.line.stream.abort();
    }
}

impl Connection {
    /// Whether it has answered a request before.
    pub fn is_reused(&self) -> bool {
        self.lease.answers.get() > 0
    }

    /// The address it leads to.
    pub fn peer_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sends a request, whose URI is a path, and gives the answer once its head is there.
    ///
    /// When the answer's body has been read to its end the connection goes back to its pool. If
    /// the body is dropped before, or the Deferred is cancelled, it is closed. Fails with a
    /// [`ClientError`].
    #[track_caller]
    pub fn send(self, request: http::Request<Body>) -> Deferred<Response> {
        let Self { mut lease, addr, head } = self;
        flow(async move {
            let reused = lease.answers.get() > 0;
            let is_head = request.method() == http::Method::HEAD;
            let (request, is_uploaded) = watch_upload(request);
            let mut sleep = std::pin::pin!(sleep(head));
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
                Failure::from(ClientError::new(kind, addr, source).sent(sent, reused))
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
            .field("addr", &self.addr)
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
            let Some(mut lease) = lease.take() else { return };
            let is_fit = !lease.sender.is_closed() && !lease.is_draining.get();
            // Rule 61: behind an upload that still goes on the next request would wait.
            if end == BodyEnd::Whole && is_fit && is_uploaded.get() {
                lease.idle_since = now();
                lease.give_back();
            }
        }))
    })
}

/// A pool for each address.
#[derive(Default)]
pub(super) struct Pools {
    by_addr: RefCell<HashMap<SocketAddr, Pool<Wire>>>,
    is_draining: Rc<Cell<bool>>,
}

impl Pools {
    pub(super) fn lease(&self, addr: SocketAddr, options: ClientOptions) -> Deferred<Connection> {
        let pool = self.pool(addr, options);
        let oldest = now().checked_sub(options.idle);
        let is_draining = self.is_draining.get();
        pool.retain(|wire| {
            let is_stale = oldest.is_some_and(|oldest| wire.idle_since < oldest);
            !is_stale && !wire.sender.is_closed() && !is_draining
        });
        flow(async move {
            loop {
                let mut lease = pool.lease().await?;
                // One that the other side has closed meanwhile says so here, with nothing sent.
                if lease.sender.ready().await.is_ok() {
                    return Ok(Connection { lease, addr, head: options.head });
                }
                if lease.answers.get() == 0 {
                    let error = ClientError::new(ClientErrorKind::Closed, addr, None);
                    return Err(error.into());
                }
            }
        })
    }

    pub(super) fn fresh(&self, addr: SocketAddr, options: ClientOptions) -> Deferred<Connection> {
        self.pool(addr, options).retain(|_| false);
        self.lease(addr, options)
    }

    pub(super) fn idle(&self) -> usize {
        self.by_addr.borrow().values().map(Pool::idle).sum()
    }

    pub(super) fn close_idle(&self) {
        self.is_draining.set(true);
        let pools: Vec<_> = self.by_addr.borrow().values().cloned().collect();
        pools.iter().for_each(|pool| pool.retain(|_| false));
    }

    fn pool(&self, addr: SocketAddr, options: ClientOptions) -> Pool<Wire> {
        let mut pools = self.by_addr.borrow_mut();
        let pool = pools.entry(addr).or_insert_with(|| {
            let is_draining = self.is_draining.clone();
            Pool::new(options.connections, move || dial(addr, options, is_draining.clone()))
        });
        pool.clone()
    }
}

/// Makes a connection and starts the flow that reads and writes it.
fn dial(addr: SocketAddr, options: ClientOptions, is_draining: Rc<Cell<bool>>) -> Deferred<Wire> {
    let connected = TcpStream::connect(addr).timeout(options.connect).map_err(move |failure| {
        if failure.is::<Elapsed>() {
            return ClientError::new(ClientErrorKind::ConnectTimeout, addr, None).into();
        }
        let source = Some(failure.into());
        Failure::from(ClientError::new(ClientErrorKind::Refused, addr, source))
    });
    flow(async move {
        let line = Line::new(connected.await?);
        let (sender, connection) = http1::handshake(Io::new(line.clone())).await?;
        let work = flow(async move {
            if let Err(error) = connection.await {
                // Whoever sent over it was told; an idle one just ends.
                tracing::debug!("connection to {addr}: {error}");
            }
            Ok(())
        });
        let flow = work.canceller();
        work.report();
        Ok(Wire { sender, flow, idle_since: now(), answers: Cell::new(0), is_draining, line })
    })
    .named("connect")
}
