//! The body of a request, as its handler reads it.
//!
//! What its client does wrong is a [`BodyFault`]. When the handler answers before the end, what is
//! left is read away if that is little, or the answer says that the connection closes: hyper would
//! close it without a word.

use std::cell::Cell;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use thence_reactor::{Sleep, now, sleep};

use super::HungUp;
use super::connection::Client;
use crate::body::{Body, BodyError, BodyFault, BodyFaultKind};

/// What the server keeps of an upload while its handler has the body.
pub(super) struct Upload(Rc<State>);

struct State {
    is_at_end: Cell<bool>,
    /// Whether the client waits to be told that it may send.
    is_expected: Rc<Cell<bool>>,
    /// What the handler has left unread.
    left: Cell<Option<Incoming>>,
    /// Not held: a handler may keep the body longer than the connection lasts.
    client: Weak<Client>,
}

impl Upload {
    /// An upload that has begun, and the body to read it by.
    pub(super) fn begin(
        incoming: Incoming,
        is_expected: Rc<Cell<bool>>,
        client: &Rc<Client>,
        hung_up: HungUp,
        idle: Duration,
    ) -> (Self, Body) {
        let is_at_end = incoming.is_end_stream();
        let state = Rc::new(State {
            is_at_end: Cell::new(is_at_end),
            is_expected,
            left: Cell::new(None),
            client: Rc::downgrade(client),
        });
        if is_at_end {
            return (Self(state), Body::empty());
        }
        client.rest.begin();
        let state_of_reader = state.clone();
        let reader =
            Reader { incoming: Some(incoming), state: state_of_reader, hung_up, idle, late: None };
        (Self(state), Body::upload(reader))
    }

    /// Whether it is at its end, now that there is an answer. Reads the rest away when the handler
    /// has left it and it is small.
    pub(super) async fn ends(self) -> bool {
        let state = self.0;
        if state.is_at_end.get() || state.is_expected.get() {
            return state.is_at_end.get();
        }
        let Some(mut left) = state.left.take() else { return false };
        let announced = left.size_hint().exact();
        if announced.is_some_and(|announced| announced > SMALL_REST) {
            return false;
        }
        // In chunks it may have no end, but often that is all that was not asked for.
        let mut late = sleep(if announced.is_some() { SHORT_REST } else { NO_REST });
        let mut passed = 0;
        poll_fn(|cx| {
            loop {
                match Pin::new(&mut left).poll_frame(cx) {
                    Poll::Ready(None) => {
                        state.end();
                        return Poll::Ready(());
                    }
                    Poll::Ready(Some(Ok(frame))) => {
                        passed += frame.data_ref().map_or(0, |data| data.len() as u64);
                    }
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(()),
                    Poll::Pending => return Pin::new(&mut late).poll(cx),
                }
                if passed > SMALL_REST {
                    return Poll::Ready(());
                }
            }
        })
        .await;
        state.is_at_end.get()
    }
}

impl State {
    fn end(&self) {
        if !self.is_at_end.replace(true)
            && let Some(client) = self.client.upgrade()
        {
            client.line.is_read();
            client.ended();
        }
    }
}

struct Reader {
    /// None after its end.
    incoming: Option<Incoming>,
    state: Rc<State>,
    hung_up: HungUp,
    /// How long the client may send nothing while it is read.
    idle: Duration,
    late: Option<Sleep>,
}

impl Reader {
    fn fail(&mut self, fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.incoming = None;
        self.moves();
        Poll::Ready(Some(Err(fault.upload(true).into())))
    }

    /// It does not wait any more.
    fn moves(&mut self) {
        if self.late.take().is_some() {
            self.waits(None);
        }
    }

    fn waits(&self, since: Option<Instant>) {
        if let Some(client) = self.state.client.upgrade() {
            client.seat.waits(|rest| rest.upload_waits(since));
        }
    }

    /// Whether nothing has come for too long. Only a reader that waits is kept waiting: the time in
    /// which nobody reads does not count.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        if self.late.is_none() {
            self.waits(Some(now()));
        }
        let late = self.late.get_or_insert_with(|| sleep(self.idle));
        if Pin::new(&mut *late).poll(cx).is_pending() {
            return false;
        }
        if now() < late.deadline() + AWAY {
            return true;
        }
        let mut late = sleep(self.idle);
        let is_late = Pin::new(&mut late).poll(cx).is_ready();
        self.late = Some(late);
        is_late
    }
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        this.state.is_expected.set(false);
        match Pin::new(&mut *incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                // Nothing comes behind trailers, and a reader that drops them may ask for no more.
                if incoming.is_end_stream() || frame.is_trailers() {
                    this.state.end();
                }
                this.moves();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) if is_broken_off(&error) => {
                // hyper lets the handler answer a client that broke off its upload.
                this.hung_up.leave();
                let fault = BodyFault::new(BodyFaultKind::BrokenOff, "the upload was broken off");
                this.fail(fault.source(error))
            }
            Poll::Ready(Some(Err(error))) => {
                let fault = BodyFault::new(BodyFaultKind::Malformed, "the upload is no body");
                this.fail(fault.source(error))
            }
            Poll::Ready(None) => {
                this.incoming = None;
                this.moves();
                this.state.end();
                Poll::Ready(None)
            }
            Poll::Pending if this.is_late(cx) => {
                let idle = this.idle;
                let why = format!("nothing of the upload came for {idle:?}");
                this.fail(BodyFault::new(BodyFaultKind::TimedOut, why))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.incoming {
            Some(incoming) => incoming.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.moves();
        if !self.state.is_at_end.get() {
            self.state.left.set(self.incoming.take());
        }
    }
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

/// How much of an upload is read for nobody, and for how long, to keep its connection.
const SMALL_REST: u64 = 64 * 1024;
const SHORT_REST: Duration = Duration::from_secs(1);
/// The same where nobody knows whether there is more.
const NO_REST: Duration = Duration::from_millis(100);
/// A reader that comes so much later than its timer was away meanwhile.
const AWAY: Duration = Duration::from_secs(1);
