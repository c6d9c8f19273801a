//! One connection: hyper reads and writes, the reactor owns the work.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use thence_core::{Deferred, Failure, IntoDeferred, flow};
use thence_reactor::net::TcpStream;
use thence_reactor::{after, has_reactor, now};

use super::answer::answer;
use super::door::Door;
use super::opening::{self, Over, Tls};
use super::patience::{Asking, HalfClosed, Patience, linger};
use super::rest::{Rest, Told};
use super::seat::Seat;
use super::{GRACE, HungUp, Live, Request, Response, Shared};
use crate::io::{Io, Line};
use crate::timer::ReactorTimer;

/// A client, as its requests see it.
pub(super) struct Client {
    pub(super) peer: SocketAddr,
    pub(super) tls: Option<Rc<Tls>>,
    pub(super) line: Rc<Line>,
    pub(super) rest: Rc<Rest>,
    pub(super) seat: Rc<Seat>,
    /// Of the request that is being answered.
    pub(super) hung_up: RefCell<Option<HungUp>>,
    /// Whether the head of its answer has gone out.
    pub(super) is_answering: Cell<bool>,
    /// Whether the client of that request knows interim answers: HTTP/1.0 has none.
    pub(super) knows_interim: Cell<bool>,
}

/// Serves one connection until it is closed.
pub(super) fn serve<H, D>(shared: Rc<Shared>, handler: Rc<H>, stream: TcpStream, peer: SocketAddr)
where
    H: Fn(Request) -> D + 'static,
    D: IntoDeferred<Value = Response, Error = Failure> + 'static,
{
    let (trigger, over) = Deferred::infallible();
    let mut over = Over::new(over);
    let place = Place { door: shared.door.clone(), seat: shared.door.enter(peer, trigger) };
    if shared.is_grace_over.get() {
        // It had to wait until now: its request may be here, and not have been read.
        let seat = Rc::downgrade(&place.seat);
        after(GRACE).done(move |()| seat.upgrade().iter().for_each(|seat| seat.tell_over()));
    }
    let live = Live::new(&shared);
    flow(async move {
        let _live = live;
        let seat = place.seat.clone();
        let deadline = now() + shared.options.head;
        let mut line = Line::new(stream);
        let mut tls = None;
        if let Some(server) = &shared.tls {
            let Some(first) = opening::next(&line, deadline, &mut over).await else {
                return Ok(());
            };
            if !opening::is_handshake(first) {
                // Rule 72. Whoever speaks neither is told in a language at least.
                line.stream.send(PLAIN_ON_TLS);
                linger(&line, shared.options.body, &seat, &mut over).await;
                return Ok(());
            }
            let Some(opened) = Rc::into_inner(line) else { return Ok(()) };
            let stream = opened.stream;
            let secured = opening::secure(server, stream, peer, deadline, &mut over).await;
            let Some((stream, agreed)) = secured else { return Ok(()) };
            (line, tls) = (Line::new(stream), Some(agreed));
        }
        seat.speaks(&line);
        let client = Rc::new(Client {
            peer,
            tls,
            line: line.clone(),
            rest: seat.rest.clone(),
            seat: seat.clone(),
            hung_up: RefCell::default(),
            is_answering: Cell::default(),
            knows_interim: Cell::default(),
        });
        converse(&shared, &handler, &client, &mut over).await;
        if !seat.is_evicted() {
            linger(&line, shared.options.body, &seat, &mut over).await;
        }
        drop(place);
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
                .half_close(options.half_close)
                .header_read_timeout(options.head)
                .max_buf_size(options.head_size)
                .serve_connection(io, service),
        );
        if !is_restless {
            shared.awake.add(&client.rest);
        }
        let mut is_ending = false;
        let mut patience = Patience::new(options.body);
        let mut half_closed = HalfClosed::default();
        let mut asking = Asking::default();
        let served = poll_fn(|cx| {
            if !has_reactor() {
                return Poll::Ready(Served::Left("its reactor has ended"));
            }
            let mut polled = Pin::new(&mut *connection).poll(cx);
            // After that: a request that is here already is answered.
            if polled.is_pending() && over.is_told(cx) {
                // Also when it was told before: its place may be wanted only now.
                if client.seat.is_evicted() && client.seat.is_stuck() {
                    return Poll::Ready(Served::Left("its client keeps it waiting"));
                }
                if client.seat.is_evicted() && !client.rest.is_under_way() {
                    return Poll::Ready(Served::Ended(Ok(())));
                }
                if !is_ending {
                    is_ending = true;
                    Pin::new(&mut *connection).graceful_shutdown();
                    polled = Pin::new(&mut *connection).poll(cx);
                }
            }
            if let Poll::Ready(served) = polled {
                return Poll::Ready(Served::Ended(served));
            }
            let is_over = patience.is_over(cx, &client.line);
            client.seat.waits(|rest| rest.answer_waits(patience.waits_since()));
            if is_over {
                return Poll::Ready(Served::Left("its client takes nothing"));
            }
            if options.half_close && client.rest.is_under_way() {
                match client.line.poll_end(cx) {
                    Poll::Ready(Err(_)) => return Poll::Ready(Served::Left("it broke")),
                    Poll::Ready(Ok(())) => {
                        client.may_have_left();
                        if !client.is_answering.get() && client.knows_interim.get() {
                            asking.ask(cx, &client.line);
                            if let Poll::Ready(Err(_)) = client.line.stream.poll_flush(cx) {
                                return Poll::Ready(Served::Left("its client has left"));
                            }
                        }
                        if client.is_answering.get() && half_closed.is_over(cx, &client.line) {
                            let why = "its client sends no more, and there is nothing for it";
                            return Poll::Ready(Served::Left(why));
                        }
                    }
                    Poll::Pending => {}
                }
            }
            match client.rest.told(&client.line, cx.waker()) {
                Told::Rest => return Poll::Ready(Served::Rests),
                Told::Later => shared.awake.add(&client.rest),
                Told::Nothing => {}
            }
            Poll::Pending
        })
        .await;
        let error = match served {
            Served::Rests => {
                // Even empty it would keep hyper's buffer.
                let unused = connection.into_parts().read_buf;
                if !unused.is_empty() {
                    early = unused;
                    is_restless = true;
                }
                continue;
            }
            Served::Left(why) => {
                tracing::debug!("connection of {}: {why}: cut", client.peer);
                drop(connection);
                client.line.stream.abort();
                return;
            }
            Served::Ended(Ok(())) => return,
            Served::Ended(Err(error)) => error,
        };
        tracing::debug!("connection of {}: {error}", client.peer);
        let began = !connection.into_parts().read_buf.is_empty();
        if error.is_timeout() && began {
            // Rule 31: a head that began and did not end in time is answered (RFC 9110
            // §15.5.9); hyper only closes.
            client.line.stream.send(REQUEST_TIMEOUT);
        }
        return;
    }
}

/// Why hyper is not polled any more.
enum Served {
    Ended(hyper::Result<()>),
    /// The client is as good as gone.
    Left(&'static str),
    Rests,
}

impl Client {
    /// An answer or an upload is at its end.
    pub(super) fn ended(&self) {
        self.rest.end();
        self.seat.reconsider();
    }

    fn may_have_left(&self) {
        let hung_up = self.hung_up.take();
        if let Some(hung_up) = hung_up {
            hung_up.leave();
        }
    }
}

/// Gives a place back.
struct Place {
    door: Rc<Door>,
    seat: Rc<Seat>,
}

impl Drop for Place {
    fn drop(&mut self) {
        // Its waiter ends with the connection; what it was told does not matter.
        self.seat.tell_over();
        self.door.leave(&self.seat);
    }
}

const PLAIN_ON_TLS: &str = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\
     Content-Type: text/plain; charset=utf-8\r\nContent-Length: 38\r\n\r\n\
     this port speaks TLS: expected https:\n";
const REQUEST_TIMEOUT: &str =
    "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
