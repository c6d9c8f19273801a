//! A request, and whether its client is still there.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use thence_core::{Deferred, Never, Outcome, Stop, Trigger};

use super::interim::Interim;
use super::opening::Tls;
use super::seat::ConnectionRef;
use crate::Body;

/// A request that has arrived: an `http::Request`, and what is known of its client.
#[derive(Debug)]
pub struct Request {
    inner: http::Request<Body>,
    connection: ConnectionRef,
    tls: Option<Rc<Tls>>,
    hung_up: HungUp,
    interim: Interim,
}

impl Request {
    pub(super) fn new(
        inner: http::Request<Body>,
        connection: ConnectionRef,
        tls: Option<Rc<Tls>>,
        hung_up: HungUp,
        interim: Interim,
    ) -> Self {
        Self { inner, connection, tls, hung_up, interim }
    }

    /// The address of whoever sent it.
    pub fn peer_addr(&self) -> SocketAddr {
        self.connection.peer_addr()
    }

    /// The connection it came by, of which it may be said that it is to be kept.
    pub fn connection(&self) -> ConnectionRef {
        self.connection.clone()
    }

    /// What is known of its connection if it came over TLS.
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_deref()
    }

    /// Ends when the client may have left before it had the whole answer: its connection broke, or
    /// it has said that it sends no more, which is what one that leaves says first. It only tells;
    /// the handler is never cut, and what it answers is sent to whoever still reads.
    ///
    /// It ends `Stop(Cancelled)` once the answer was sent whole. [`HungUp::gone`] waits for the
    /// certainty.
    pub fn hung_up(&self) -> Deferred<(), Never> {
        self.hung_up.told()
    }

    /// The same for later, when the request has been taken apart.
    pub fn hang_up(&self) -> HungUp {
        self.hung_up.clone()
    }

    /// What sends interim answers before the answer, such as 103.
    pub fn interim(&self) -> Interim {
        self.interim.clone()
    }

    /// The request itself.
    pub fn into_inner(self) -> http::Request<Body> {
        self.inner
    }
}

impl Deref for Request {
    type Target = http::Request<Body>;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl DerefMut for Request {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.inner
    }
}

/// Whether the client of a request has left.
#[derive(Clone, Default)]
pub struct HungUp(Rc<State>);

#[derive(Default)]
struct State {
    /// It may have left.
    left: Signal,
    /// It has.
    gone: Signal,
}

/// What is told once, to all who wait and who come later.
#[derive(Default)]
struct Signal {
    end: Cell<Option<End>>,
    waiting: RefCell<Vec<Trigger<(), Never>>>,
}

#[derive(Clone, Copy)]
enum End {
    Answered,
    Left,
}

impl HungUp {
    /// Ends when the client may have left; see [`Request::hung_up`].
    pub fn told(&self) -> Deferred<(), Never> {
        self.0.left.told()
    }

    /// Ends when it is certain that the client has not got the whole answer and never will: its
    /// connection broke, or was cut. `Stop(Cancelled)` once the answer was sent whole.
    ///
    /// Of a client that closes its connection that shows no sooner than the answer is sent to it.
    pub fn gone(&self) -> Deferred<(), Never> {
        self.0.gone.told()
    }

    /// Whether it may have left.
    pub fn has_left(&self) -> bool {
        self.0.left.is_left()
    }

    /// Whether it certainly has.
    pub fn is_gone(&self) -> bool {
        self.0.gone.is_left()
    }

    /// It sends no more.
    pub(super) fn leave(&self) {
        self.0.left.end(End::Left);
    }

    /// Its connection is over before the answer is.
    pub(super) fn go(&self) {
        self.0.left.end(End::Left);
        self.0.gone.end(End::Left);
    }

    pub(super) fn answer(&self) {
        self.0.left.end(End::Answered);
        self.0.gone.end(End::Answered);
    }
}

impl Signal {
    fn told(&self) -> Deferred<(), Never> {
        let (trigger, told) = Deferred::infallible();
        match self.end.get() {
            None => {
                let mut waiting = self.waiting.borrow_mut();
                waiting.retain(Trigger::is_wanted);
                waiting.push(trigger);
            }
            Some(end) => settle(trigger, end),
        }
        told
    }

    fn is_left(&self) -> bool {
        matches!(self.end.get(), Some(End::Left))
    }

    fn end(&self, end: End) {
        if self.end.get().is_some() {
            return;
        }
        self.end.set(Some(end));
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(|trigger| settle(trigger, end));
    }
}

impl fmt::Debug for HungUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HungUp").field("has_left", &self.has_left()).finish()
    }
}

fn settle(trigger: Trigger<(), Never>, end: End) {
    match end {
        End::Left => trigger.fire(()),
        End::Answered => trigger.settle(Outcome::Stop(Stop::Cancelled)),
    }
}
