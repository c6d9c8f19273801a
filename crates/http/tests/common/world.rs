//! A clock and a network that only the test moves.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use thence_core::{Deferred, unhandled};
use thence_http::{Body, Request, Response, Server, ServerHandle};
use thence_reactor::Reactor;
use thence_reactor::driver::manual::{Manual, Peer};

pub const ASK: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

pub struct World {
    pub manual: Manual,
    pub reactor: Reactor,
}

impl World {
    pub fn new() -> Self {
        let manual = Manual::new();
        let reactor = Reactor::builder().driver(manual.clone()).build().unwrap();
        Self { manual, reactor }
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
            assert_eq!(unhandled(), 0, "something went unhandled");
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
