//! What the tests of this folder share.

#![allow(dead_code, reason = "each test uses its part")]

pub mod ca;
pub mod reads;
pub mod tls;

use std::{cell::RefCell, net::SocketAddr, rc::Rc, time::Duration};

use thence_core::{Deferred, Fault, Never, Outcome, unhandled};
use thence_reactor::{
    Reactor,
    driver::manual::{Manual, Peer},
    net::{TcpListener, TcpStream},
};

/// A reactor on the manual driver, and the hand that moves it.
pub struct World {
    pub manual: Manual,
    pub reactor: Reactor,
    unhandled: u64,
}

impl World {
    pub fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub fn with(set: impl FnOnce(thence_reactor::Builder) -> thence_reactor::Builder) -> Self {
        let manual = Manual::new();
        let reactor = set(Reactor::builder().driver(manual.clone())).build().unwrap();
        World { manual, reactor, unhandled: unhandled() }
    }

    /// Takes turns until nothing is left to do without waiting.
    pub fn settle(&mut self) {
        loop {
            self.reactor.turn(Some(Duration::ZERO)).unwrap();
            if self.reactor.next_timeout() != Some(Duration::ZERO) {
                return;
            }
        }
    }

    /// Lets time pass, and what is due happen.
    pub fn pass(&mut self, by: Duration) {
        self.manual.advance(by);
        self.settle();
    }

    /// A connection of the reactor, and its other end.
    pub fn connection(&mut self) -> (TcpStream, Peer) {
        let listener = TcpListener::bind(ANY).unwrap();
        let accepted = watch(listener.accept());
        let peer = self.manual.connect(listener.local_addr()).unwrap();
        self.settle();
        let (stream, from) = accepted.ok();
        assert_eq!(from, peer.local_addr());
        (stream, peer)
    }

    /// Lets reports be made.
    pub fn forget_unhandled(&mut self) {
        self.unhandled = unhandled();
    }

    /// How many reports were made that this test did not expect.
    pub fn expect_unhandled(&mut self, n: u64) {
        assert_eq!(unhandled() - self.unhandled, n);
        self.unhandled = unhandled();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(unhandled(), self.unhandled, "something went unhandled");
        }
    }
}

pub const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Keeps the end of a Deferred, once it is there.
pub struct Watched<T, E: Fault>(Rc<RefCell<Option<Outcome<T, E>>>>);

/// Waits for `d` to the end of the test.
pub fn watch<T: 'static, E: Fault>(d: Deferred<T, E>) -> Watched<T, E> {
    let kept = Rc::new(RefCell::new(None));
    let slot = kept.clone();
    d.settled().done(move |outcome| {
        slot.replace(Some(outcome));
    });
    Watched(kept)
}

impl<T, E: Fault + std::fmt::Debug> Watched<T, E> {
    pub fn has_ended(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// How it has ended, if it has.
    pub fn take(&self) -> Option<Outcome<T, E>> {
        self.0.take()
    }

    /// The value it has ended with.
    #[track_caller]
    pub fn ok(&self) -> T {
        match self.0.take() {
            Some(Outcome::Ok(value)) => value,
            Some(Outcome::Err(error)) => panic!("failed: {error:?}"),
            Some(Outcome::Stop(stop)) => panic!("stopped: {stop}"),
            None => panic!("not ended yet"),
        }
    }

    #[track_caller]
    pub fn err(&self) -> E {
        match self.0.take() {
            Some(Outcome::Err(error)) => error,
            Some(Outcome::Ok(_)) => panic!("a value"),
            Some(Outcome::Stop(stop)) => panic!("stopped: {stop}"),
            None => panic!("not ended yet"),
        }
    }

    #[track_caller]
    pub fn is_cancelled(&self) -> bool {
        matches!(&*self.0.borrow(), Some(outcome) if outcome.is_cancelled())
    }

    #[track_caller]
    pub fn stop(&self) -> String {
        match self.0.take() {
            Some(Outcome::Stop(stop)) => stop.to_string(),
            Some(_) => panic!("it has a result"),
            None => panic!("not ended yet"),
        }
    }
}

/// A list that closures write to.
#[derive(Clone)]
pub struct Log<T>(Rc<RefCell<Vec<T>>>);

impl<T: Clone> Log<T> {
    pub fn new() -> Self {
        Log(Rc::default())
    }

    pub fn push(&self, entry: T) {
        self.0.borrow_mut().push(entry);
    }

    pub fn all(&self) -> Vec<T> {
        self.0.borrow().clone()
    }
}

/// Never used; names the type so that a signature stays what it is.
pub fn plain(d: Deferred<(), Never>) -> Deferred<(), Never> {
    d
}
