//! One connection: hyper reads and writes, the reactor owns the work.

use std::cell::Cell;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use thence_core::{Deferred, Failure, IntoDeferred, Outcome, flow};
use thence_reactor::net::TcpStream;
use thence_reactor::{DeferredExt, now};

use super::host;
use super::opening::{self, Over, Tls};
use super::rest::{Rest, Told};
use super::{HungUp, Live, Options, Request, Response, Shared};
use crate::Body;
use crate::body::{BodyEnd, Watched};
use crate::io::{Io, Line};
use crate::timer::ReactorTimer;

/// A client, as its requests see it.
struct Client {
    peer: SocketAddr,
    tls: Option<Rc<Tls>>,
    line: Rc<Line>,
    rest: Rc<Rest>,
}

/// Serves one connection until it is closed.
pub(super) fn serve<H, D>(shared: Rc<Shared>, handler: Rc<H>, stream: TcpStream, peer: SocketAddr)
where
    H: Fn(Request) -> D + 'static,
    D: IntoDeferred<Value = Response, Error = Failure> + 'static,
{
    let (entry, mut over) = grace(&shared);
    let live = Live::new(&shared);
    flow(async move {
        let (_live, _entry) = (live, entry);
        let deadline = now() + shared.options.head;
        let mut line = Line::new(stream);
        let mut tls = None;
        if let Some(server) = &shared.tls {
            let Some(first) = opening::next(&line, deadline, &mut over).await else {
                return Ok(());
            };
            if !opening::is_handshake(first) {
                // Rule 72. Whoever speaks neither is told in a language at least.
                line.stream.write(PLAIN_ON_TLS).report();
                linger(&line).await;
                return Ok(());
            }
            let Some(opened) = Rc::into_inner(line) else { return Ok(()) };
            let stream = opened.stream;
            let secured = opening::secure(server, stream, peer, deadline, &mut over).await;
            let Some((stream, agreed)) = secured else { return Ok(()) };
            (line, tls) = (Line::new(stream), Some(agreed));
        }
        let rest = Rc::new(Rest::default());
        let client = Rc::new(Client { peer, tls, line: line.clone(), rest });
        converse(&shared, &handler, &client, &mut over).await;
        if !line.is_over.get() {
            linger(&line).await;
        }
        Ok(())
    })
    .report();
}

/// Requests and answers, to the end of the connection. Between them, when nothing comes for a
/// while, it rests without hyper.
async fn converse<H, D>(shared: &Rc<Shared>, handler: &Rc<H>, client: &Rc<Client>, over: &mut Over)
where
    H: Fn(Request) -> D + 'static,
    D: IntoDeferred<Value = Response, Error = Failure> + 'static,
{
    let options = shared.options;
    let mut early = Bytes::new();
    // A connection that broke off its rest with half a head would have its time for it anew.
    let mut is_restless = false;
    loop {
        if early.is_empty() {
            let deadline = client.rest.idle_since() + options.head;
            if opening::next(&client.line, deadline, over).await.is_none() {
                return;
            }
        }
        let service = service_fn(|request| {
            let (shared, handler, client) = (shared.clone(), handler.clone(), client.clone());
            async move { answer(&shared, &handler, request, &client).await }
        });
        let io = Io::after(client.line.clone(), std::mem::take(&mut early));
        // Not in the flow itself, which would be as large at rest.
        let mut connection = Box::new(
            http1::Builder::new()
                .timer(ReactorTimer)
                .header_read_timeout(options.head)
                .max_buf_size(options.head_size)
                .serve_connection(io, service),
        );
        if !is_restless {
            shared.awake.add(&client.rest);
        }
        let mut is_ending = false;
        let served = poll_fn(|cx| {
            if !is_ending && over.is_told(cx) {
                is_ending = true;
                Pin::new(&mut *connection).graceful_shutdown();
            }
            if let Poll::Ready(served) = Pin::new(&mut *connection).poll(cx) {
                return Poll::Ready(Some(served));
            }
            match client.rest.told(&client.line, cx.waker()) {
                Told::Rest => return Poll::Ready(None),
                Told::Later => shared.awake.add(&client.rest),
                Told::Nothing => {}
            }
            Poll::Pending
        })
        .await;
        let error = match served {
            None => {
                // Even empty it would keep hyper's buffer.
                let unused = connection.into_parts().read_buf;
                if !unused.is_empty() {
                    early = unused;
                    is_restless = true;
                }
                continue;
            }
            Some(Ok(())) => return,
            Some(Err(error)) => error,
        };
        tracing::debug!("connection of {}: {error}", client.peer);
        let began = !connection.into_parts().read_buf.is_empty();
        if error.is_timeout() && began {
            // Rule 31: a head that began and did not end in time is answered (RFC 9110
            // §15.5.9); hyper only closes.
            client.line.stream.write(REQUEST_TIMEOUT).report();
        }
        return;
    }
}

/// Lets the client read to the end before the connection goes (RFC 9112 §9.6): closing over bytes
/// that nobody read resets it, and an answer that is still on its way is lost with it (rule 27).
async fn linger(line: &Rc<Line>) {
    let line = line.clone();
    let until_end = flow(async move {
        line.stream.shutdown().await?;
        while !line.stream.read(65_536).await?.is_empty() {}
        Ok(())
    });
    // However it ended: it was over before.
    drop(until_end.timeout(LINGER).settled().await);
}

/// Enters the connection in the server's list, and gives what tells it that its time is up.
fn grace(shared: &Rc<Shared>) -> (Entry, Over) {
    let (trigger, over) = Deferred::infallible();
    let id = NEXT.with(|next| {
        next.set(next.get() + 1);
        next.get()
    });
    // One that was let in late has no time left.
    let trigger = if shared.is_grace_over.get() {
        trigger.fire(());
        None
    } else {
        Some(trigger)
    };
    shared.connections.borrow_mut().insert(id, trigger);
    (Entry { shared: shared.clone(), id }, Over::new(over))
}

struct Entry {
    shared: Rc<Shared>,
    id: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let trigger = self.shared.connections.borrow_mut().remove(&self.id).flatten();
        // Its waiter ends with the connection; what it was told does not matter.
        if let Some(trigger) = trigger {
            trigger.fire(());
        }
        let room = self.shared.room.take();
        if let Some(room) = room {
            room.fire(());
        }
    }
}

/// What hyper awaits. Dropping it leaves; the work goes on.
async fn answer<H, D>(
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
    client.line.has_begun.set(false);
    client.rest.request();
    client.rest.begin();
    if let Some(fault) = host::fault(&request) {
        client.rest.end();
        return Ok(refuse(http::StatusCode::BAD_REQUEST, fault));
    }
    let hung_up = HungUp::default();
    let waiting = Waiting(Some(hung_up.clone()));
    let is_head = request.method() == http::Method::HEAD;
    let is_connect = request.method() == http::Method::CONNECT;
    let request = request.map(|body| upload(body, client, hung_up.clone()));
    let request = Request::new(request, client.peer, client.tls.clone(), hung_up);

    let (handler, options) = (handler.clone(), shared.options);
    let work = Deferred::attempt(move || handler(request))
        .then(move |outcome| Ok::<_, thence_core::Never>(told(outcome, options)));
    let Some(mut response) = work.await else { return Err(Closed) };

    let hung_up = waiting.go_on();
    // What a client sends after CONNECT is not HTTP (RFC 9110 §9.3.6).
    if shared.is_closing.get() || is_connect {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let has_no_body = is_head || matches!(response.status().as_u16(), 204 | 304);
    if has_no_body {
        hung_up.answer();
        client.rest.end();
        return Ok(response);
    }
    let length = response.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
    let rest = client.rest.clone();
    Ok(response.map(|body| {
        Body::wrap(Watched::new(body, length, move |end| {
            match end {
                BodyEnd::Whole | BodyEnd::Broken => hung_up.answer(),
                BodyEnd::Dropped => hung_up.leave(),
            }
            rest.end();
        }))
    }))
}

/// A request's body as its handler gets it.
fn upload(body: Incoming, client: &Rc<Client>, hung_up: HungUp) -> Body {
    let is_empty = http_body::Body::is_end_stream(&body);
    let body = Body::wrap(body.map_err(move |error| {
        // hyper lets the handler answer a client that broke off its upload.
        if is_broken_off(&error) {
            hung_up.leave();
        }
        error
    }));
    if is_empty {
        return body;
    }
    client.rest.begin();
    let client = client.clone();
    Body::wrap(Watched::new(body, None, move |end| {
        // Of one that was not read to its end hyper still has something to do.
        if end == BodyEnd::Whole {
            client.line.has_begun.set(false);
            client.rest.end();
        }
    }))
}

/// Whether bytes are missing, and not wrong. hyper says so by the kind of an I/O error, somewhere
/// among the causes.
fn is_broken_off(error: &hyper::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)) {
            return false;
        }
        cause = error.source();
    }
    true
}

/// Turns the end of a handler into an answer; a failure is reported, whoever still waits.
fn told(outcome: Outcome<Response>, options: Options) -> Option<Response> {
    match outcome {
        Outcome::Ok(response) => return Some(response),
        outcome => {
            Deferred::ended(outcome).report();
        }
    }
    if options.close_on_failure {
        return None;
    }
    Some(refuse(http::StatusCode::INTERNAL_SERVER_ERROR, "internal server error"))
}

/// An answer of the server's own, after which the connection closes.
fn refuse(status: http::StatusCode, why: &str) -> Response {
    let mut response = Response::new(Body::from(format!("{why}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
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
            hung_up.leave();
        }
    }
}

/// Makes hyper close the connection.
#[derive(Debug)]
struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the handler gave no answer")
    }
}

impl Error for Closed {}

thread_local! {
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// How long a client may take to read the last answer and close.
const LINGER: Duration = Duration::from_secs(1);
const PLAIN_ON_TLS: &str = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\
     Content-Type: text/plain; charset=utf-8\r\nContent-Length: 38\r\n\r\n\
     this port speaks TLS: expected https:\n";
const REQUEST_TIMEOUT: &str =
    "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
