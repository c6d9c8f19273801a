//! A clock and a network that only the test moves.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use thence_core::{Deferred, Failure, IntoDeferred, Report, set_failure_hook};
use thence_http::{Body, Request, Response, Server, ServerHandle};
use thence_reactor::Reactor;
use thence_reactor::driver::manual::{Manual, Peer};

pub const ASK: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

pub struct World {
    pub manual: Manual,
    pub reactor: Reactor,
    reports: Rc<RefCell<Vec<String>>>,
}

impl World {
    pub fn new() -> Self {
        let reports = Rc::<RefCell<Vec<String>>>::default();
        let log = reports.clone();
        set_failure_hook(move |report: &Report| log.borrow_mut().push(report.message().into()));
        let manual = Manual::new();
        let reactor = Reactor::builder().driver(manual.clone()).build().unwrap();
        Self { manual, reactor, reports }
    }

    pub fn settle(&mut self) {
        loop {
            self.reactor.turn(Some(Duration::ZERO)).unwrap();
            if self.reactor.next_timeout() != Some(Duration::ZERO) {
                return;
            }
        }
    }

    pub fn pass(&mut self, by: Duration) {
        self.manual.advance(by);
        self.settle();
    }

    pub fn server(&mut self, set: impl FnOnce(Server) -> Server) -> ServerHandle {
        set(Server::bind(ANY).unwrap()).serve(|_: Request| Deferred::ok(whole()))
    }

    /// A server with a handler of its own.
    pub fn serve<D>(&mut self, handler: impl Fn(Request) -> D + 'static) -> ServerHandle
    where
        D: IntoDeferred<Value = Response, Error = Failure> + 'static,
    {
        Server::bind(ANY).unwrap().serve(handler)
    }

    /// Lets a longer time pass, as a clock does: in small steps.
    pub fn pass_slowly(&mut self, by: Duration) {
        for _ in 0..by.as_millis() / 100 {
            self.pass(Duration::from_millis(100));
        }
    }

    /// What was reported since this was last asked for.
    pub fn reports(&mut self) -> Vec<String> {
        self.reports.take()
    }

    pub fn connect(&mut self, server: &ServerHandle) -> Peer {
        let peer = self.manual.connect(server.local_addr()).unwrap();
        self.settle();
        peer
    }

    /// Sends and gives what comes back at once.
    pub fn tell(&mut self, peer: &Peer, text: &str) -> String {
        assert_eq!(peer.send(text), text.len());
        self.settle();
        self.hear(peer)
    }

    pub fn hear(&mut self, peer: &Peer) -> String {
        self.settle();
        String::from_utf8(peer.received()).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.reports.take(), Vec::<String>::new(), "something went unhandled");
        }
    }
}

pub fn whole() -> Response {
    Response::new(Body::from("whole"))
}

pub fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
pub const INSTANT: Duration = Duration::from_millis(1);
