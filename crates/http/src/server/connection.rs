//! One connection: hyper reads and writes, the reactor owns the work.

use std::cell::Cell;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use thence_core::{Deferred, Failure, IntoDeferred, Outcome, flow};
use thence_reactor::DeferredExt;
use thence_reactor::net::TcpStream;

use super::{HungUp, Live, Options, Request, Response, Shared};
use crate::Body;
use crate::body::{BodyEnd, Watched};
use crate::io::Io;
use crate::timer::ReactorTimer;

/// Serves one connection until it is closed.
pub(super) fn serve<H, D>(shared: Rc<Shared>, handler: Rc<H>, stream: TcpStream, peer: SocketAddr)
where
    H: Fn(Request) -> D + 'static,
    D: IntoDeferred<Value = Response, Error = Failure> + 'static,
{
    let (over, mut over_told) = grace(&shared);
    let live = Live::new(&shared);
    flow(async move {
        let (_live, _over) = (live, over);
        let io = Io::new(stream);
        let (stream, is_over) = (io.stream.clone(), io.is_over.clone());
        let options = shared.options;
        let service = service_fn(|request| {
            let (shared, handler) = (shared.clone(), handler.clone());
            async move { answer(&shared, &handler, request, peer).await }
        });
        let mut connection = http1::Builder::new()
            .timer(ReactorTimer)
            .header_read_timeout(options.head)
            .max_buf_size(options.head_size)
            .serve_connection(io, service);
        let mut is_told = false;
        let served = poll_fn(|cx| {
            if !is_told && over_told.as_mut().poll(cx).is_ready() {
                is_told = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            Pin::new(&mut connection).poll(cx)
        })
        .await;
        if let Err(error) = served {
            tracing::debug!("connection of {peer}: {error}");
            let began = !connection.into_parts().read_buf.is_empty();
            if error.is_timeout() && began {
                // Rule 31: a head that began and did not end in time is answered (RFC 9110
                // §15.5.9); hyper only closes.
                stream.write(REQUEST_TIMEOUT).report();
            }
        }
        if !is_over.get() {
            linger(stream).await;
        }
        Ok(())
    })
    .report();
}

/// Lets the client read to the end before the connection goes (RFC 9112 §9.6): closing over bytes
/// that nobody read resets it, and an answer that is still on its way is lost with it (rule 27).
async fn linger(stream: Rc<TcpStream>) {
    let until_end = flow(async move {
        stream.shutdown().await?;
        while !stream.read(65_536).await?.is_empty() {}
        Ok(())
    });
    // However it ended: it was over before.
    drop(until_end.timeout(LINGER).settled().await);
}

type OverTold = Pin<Box<dyn Future<Output = ()>>>;

/// Enters the connection in the server's list, and gives what tells it that its time is up.
fn grace(shared: &Rc<Shared>) -> (Entry, OverTold) {
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
    (Entry { shared: shared.clone(), id }, Box::pin(over.into_future()))
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
    peer: SocketAddr,
) -> Result<Response, Closed>
where
    H: Fn(Request) -> D + 'static,
    D: IntoDeferred<Value = Response, Error = Failure> + 'static,
{
    let hung_up = HungUp::default();
    let waiting = Waiting(Some(hung_up.clone()));
    let is_head = request.method() == http::Method::HEAD;
    let leaving = hung_up.clone();
    let request = request.map(|body| {
        Body::wrap(body.map_err(move |error| {
            // hyper lets the handler answer a client that broke off its upload.
            if is_broken_off(&error) {
                leaving.leave();
            }
            error
        }))
    });
    let request = Request::new(request, peer, hung_up);

    let (handler, options) = (handler.clone(), shared.options);
    let work = Deferred::attempt(move || handler(request))
        .then(move |outcome| Ok::<_, thence_core::Never>(told(outcome, options)));
    let Some(mut response) = work.await else { return Err(Closed) };

    let hung_up = waiting.go_on();
    if shared.is_closing.get() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let has_no_body = is_head || matches!(response.status().as_u16(), 204 | 304);
    if has_no_body {
        hung_up.answer();
        return Ok(response);
    }
    let length = response.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
    Ok(response.map(|body| {
        Body::wrap(Watched::new(body, length, move |end| match end {
            BodyEnd::Whole | BodyEnd::Broken => hung_up.answer(),
            BodyEnd::Dropped => hung_up.leave(),
        }))
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
    let mut response = Response::new(Body::from("internal server error\n"));
    *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Some(response)
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
const REQUEST_TIMEOUT: &str =
    "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
