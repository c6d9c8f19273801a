//! A request, and whether its client is still there.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use thence_core::{Deferred, Never, Outcome, Stop, Trigger};

use super::opening::Tls;
use crate::Body;

/// A request that has arrived: an `http::Request`, and what is known of its client.
#[derive(Debug)]
pub struct Request {
    inner: http::Request<Body>,
    peer: SocketAddr,
    tls: Option<Rc<Tls>>,
    hung_up: HungUp,
}

impl Request {
    pub(super) fn new(
        inner: http::Request<Body>,
        peer: SocketAddr,
        tls: Option<Rc<Tls>>,
        hung_up: HungUp,
    ) -> Self {
        Self { inner, peer, tls, hung_up }
    }

    /// The address of whoever sent it.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// What is known of its connection if it came over TLS.
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_deref()
    }

    /// Ends when the client has left before it had the whole answer, as far as that can be seen:
    /// its connection ended, or a half of it did. It only tells; the handler is never cut.
    ///
    /// It ends `Stop(Cancelled)` once the answer was sent whole.
    pub fn hung_up(&self) -> Deferred<(), Never> {
        self.hung_up.told()
    }

    /// The same for later, when the request has been taken apart.
    pub fn hang_up(&self) -> HungUp {
        self.hung_up.clone()
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
    end: Cell<Option<End>>,
    waiting: RefCell<Vec<Trigger<(), Never>>>,
}

#[derive(Clone, Copy)]
enum End {
    Answered,
    Left,
}

impl HungUp {
    /// Ends when the client has left; see [`Request::hung_up`].
    pub fn told(&self) -> Deferred<(), Never> {
        let (trigger, told) = Deferred::infallible();
        match self.0.end.get() {
            None => {
                let mut waiting = self.0.waiting.borrow_mut();
                waiting.retain(Trigger::is_wanted);
                waiting.push(trigger);
            }
            Some(end) => settle(trigger, end),
        }
        told
    }

    /// Whether it has left.
    pub fn has_left(&self) -> bool {
        matches!(self.0.end.get(), Some(End::Left))
    }

    pub(super) fn leave(&self) {
        self.end(End::Left);
    }

    pub(super) fn answer(&self) {
        self.end(End::Answered);
    }

    fn end(&self, end: End) {
        if self.0.end.get().is_some() {
            return;
        }
        self.0.end.set(Some(end));
        let waiting = std::mem::take(&mut *self.0.waiting.borrow_mut());
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
