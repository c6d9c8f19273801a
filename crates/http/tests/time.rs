//! What a server does when time passes, on a clock that only the test moves.

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use thence_core::{Deferred, unhandled};
use thence_http::{Body, Request, Response, Server, ServerHandle};
use thence_reactor::Reactor;
use thence_reactor::driver::manual::{Manual, Peer};

const ASK: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

struct World {
    manual: Manual,
    reactor: Reactor,
}

impl World {
    fn new() -> Self {
        let manual = Manual::new();
        let reactor = Reactor::builder().driver(manual.clone()).build().unwrap();
        Self { manual, reactor }
    }

    fn settle(&mut self) {
        loop {
            self.reactor.turn(Some(Duration::ZERO)).unwrap();
            if self.reactor.next_timeout() != Some(Duration::ZERO) {
                return;
            }
        }
    }

    fn pass(&mut self, by: Duration) {
        self.manual.advance(by);
        self.settle();
    }

    fn server(&mut self, set: impl FnOnce(Server) -> Server) -> ServerHandle {
        let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        set(Server::bind(any).unwrap()).serve(|_: Request| Deferred::ok(whole()))
    }

    fn connect(&mut self, server: &ServerHandle) -> Peer {
        let peer = self.manual.connect(server.local_addr()).unwrap();
        self.settle();
        peer
    }

    /// Sends and gives what comes back at once.
    fn tell(&mut self, peer: &Peer, text: &str) -> String {
        assert_eq!(peer.send(text), text.len());
        self.settle();
        self.hear(peer)
    }

    fn hear(&mut self, peer: &Peer) -> String {
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

fn whole() -> Response {
    Response::new(Body::from("whole"))
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const INSTANT: Duration = Duration::from_millis(1);

#[test]
fn a_head_has_ten_seconds_and_then_408() {
    let mut world = World::new();
    let server = world.server(|server| server);
    let peer = world.connect(&server);
    assert_eq!(world.tell(&peer, "GET / HTTP/1.1\r\nHos"), "");
    world.pass(secs(10) - INSTANT);
    // A byte more is no more time: it is a deadline, not an idle limit.
    assert_eq!(world.tell(&peer, "t"), "");
    world.pass(INSTANT);
    let answer = world.hear(&peer);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(peer.is_at_end());
    assert_eq!(server.connections(), 1, "the answer may still be on its way");
    world.pass(secs(1));
    assert_eq!(server.connections(), 0);
}

#[test]
fn who_says_nothing_is_closed_without_a_word() {
    let mut world = World::new();
    let server = world.server(|server| server);
    let fresh = world.connect(&server);
    let idle = world.connect(&server);
    world.pass(secs(5));
    assert!(world.tell(&idle, ASK).ends_with("whole"));
    world.pass(secs(5));
    assert_eq!((world.hear(&fresh).as_str(), fresh.is_at_end()), ("", true));
    assert!(!idle.is_at_end());
    world.pass(secs(5));
    assert_eq!((world.hear(&idle).as_str(), idle.is_at_end()), ("", true));
}

#[test]
fn an_early_answer_is_not_followed_by_a_408() {
    let mut world = World::new();
    let server = world.server(|server| server);
    let peer = world.connect(&server);
    let early = world.tell(&peer, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    assert!(early.ends_with("whole"), "{early}");
    world.pass(secs(10));
    assert_eq!((world.hear(&peer).as_str(), peer.is_at_end()), ("", true));
}

#[test]
fn a_closed_server_grants_one_last_request_for_a_second() {
    let mut world = World::new();
    let server = world.server(|server| server);
    let [fresh, idle, silent] = [(); 3].map(|()| world.connect(&server));
    assert!(world.tell(&idle, ASK).ends_with("whole"));
    server.close();
    world.pass(secs(1) - INSTANT);
    for peer in [&fresh, &idle] {
        let answer = world.tell(peer, ASK);
        assert!(answer.contains("connection: close") && answer.ends_with("whole"), "{answer}");
        assert!(peer.is_at_end());
    }
    assert!(!silent.is_at_end());
    world.pass(INSTANT);
    assert!(silent.is_at_end());
    drop([fresh, idle, silent]);
    world.settle();
    assert_eq!(server.connections(), 0);
    assert!(server.ended().is_ready());
}

#[test]
fn a_drain_without_connections_waits_for_nothing() {
    let mut world = World::new();
    let began = world.manual.now();
    world
        .reactor
        .run(async {
            let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
            Server::bind(any)?.serve(|_: Request| Deferred::ok(whole()));
            Ok(())
        })
        .unwrap();
    assert_eq!(world.manual.now(), began);
}

#[test]
fn who_comes_when_the_server_is_full_waits_for_room() {
    let mut world = World::new();
    let server = world.server(|server| server.max_connections(1));
    let first = world.connect(&server);
    let second = world.connect(&server);
    assert_eq!(world.tell(&second, ASK), "");
    assert_eq!(server.connections(), 1);
    drop(first);
    assert!(world.hear(&second).ends_with("whole"));
}
