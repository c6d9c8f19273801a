//! Every timeout, on a clock the test moves (rules 31, 32, 65).

use std::{cell::RefCell, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use thence::{
    Never, Reactor,
    driver::manual::{Manual, Peer, PeerListener},
    http::Server,
};
use thence_gate::{
    gate::Gate,
    limits::Limits,
    metrics::Metrics,
    request_id::RequestIds,
    session::{Cookie, Life, Span, Stamp, Store},
    sessions::Sessions,
    upstream::Upstream,
};

/// A gateway in a world of its own: nothing happens in it that the test does not do.
struct World {
    reactor: Reactor,
    world: Manual,
    gate: Rc<Gate>,
    address: SocketAddr,
    upstream: PeerListener,
    cookie: String,
    _dir: tempfile::TempDir,
}

impl World {
    fn new(limits: Limits) -> Self {
        Self::before("127.0.0.1:9000", limits)
    }

    /// A gateway before an upstream of that name, which is on port 9000.
    fn before(to: &str, limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&dir.path().join("sessions.db")).unwrap());
        let life = Life { absolute: Span::seconds(86_400), idle: None };
        let session = store.create(&"42".parse().unwrap(), life, Stamp::now()).unwrap();
        let world = Manual::new();
        let reactor = Reactor::builder().driver(world.clone()).build().unwrap();
        let upstream = world.listen(SocketAddr::from(([127, 0, 0, 1], 9000))).unwrap();
        let metrics = Rc::new(Metrics::default());
        let gate = Rc::new(Gate {
            sessions: Rc::new(Sessions::new(store, Cookie::Plain, metrics.clone())),
            metrics,
            upstream: Rc::new(Upstream::new(to, limits)),
            rewrite: None,
            ids: RequestIds::new([0; 4]),
            limits,
            door: Rc::default(),
        });
        let server = Server::bind("127.0.0.1:8080").unwrap();
        let server = server.head_deadline(limits.request_head).body_timeout(limits.body_idle);
        let address = server.local_addr();
        let serving = gate.clone();
        server
            .serve(move |request| serving.respond(request).map_err(|never: Never| match never {}));
        let cookie = format!("Cookie: sessionId={}\r\n", session.value);
        Self { reactor, world, gate, address, upstream, cookie, _dir: dir }
    }

    /// Lets everything happen that needs no time.
    fn settle(&mut self) {
        for _ in 0..20 {
            self.reactor.turn(Some(Duration::ZERO)).unwrap();
        }
    }

    fn run_jobs(&mut self) {
        self.settle();
        while self.world.run_job() {}
        self.settle();
    }

    /// Time passes in steps, as it would.
    fn wait(&mut self, time: Duration) {
        let step = Duration::from_millis(100);
        let mut left = time;
        while !left.is_zero() {
            let step = step.min(left);
            self.world.advance(step);
            self.settle();
            left -= step;
        }
    }

    fn connect(&mut self) -> Talk {
        let client = self.world.connect(self.address).unwrap();
        self.settle();
        Talk::new(client)
    }

    /// A client whose request has been looked up.
    fn ask(&mut self, method: &str, fields: &str, body: &str) -> Talk {
        let client = self.connect();
        let cookie = &self.cookie;
        client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n{cookie}{fields}\r\n{body}"));
        self.run_jobs();
        client
    }

    /// What the upstream has been connected to and has not accepted yet.
    fn accept(&self) -> Option<Talk> {
        self.upstream.accept().map(Talk::new)
    }

    fn counted(&self, code: u16, outcome: &str) -> bool {
        let labels = format!("code=\"{code}\",outcome=\"{outcome}\"}} 1\n");
        self.gate.metrics.render().contains(&labels)
    }
}

/// The other end of a connection, and what has come over it so far.
struct Talk {
    peer: Peer,
    heard: RefCell<Vec<u8>>,
}

impl Talk {
    fn new(peer: Peer) -> Self {
        Self { peer, heard: RefCell::default() }
    }

    fn text(&self) -> String {
        self.heard.borrow_mut().extend(self.peer.received());
        String::from_utf8(self.heard.borrow().clone()).unwrap()
    }

    /// The first line, empty before there is one.
    fn status(&self) -> String {
        self.text().lines().next().unwrap_or_default().to_owned()
    }

    fn is_over(&self) -> bool {
        self.text();
        self.peer.is_at_end() || self.peer.is_reset()
    }

    fn send(&self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        assert_eq!(self.peer.send(bytes), bytes.len());
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_upstream_that_does_not_answer_is_504() {
    let mut world = World::new(Limits::default());
    let client = world.ask("GET", "", "");
    let asked = world.accept().unwrap();
    assert!(asked.text().starts_with("GET / HTTP/1.1\r\n"));
    world.wait(29 * SECOND);
    assert_eq!(client.status(), "");
    world.wait(2 * SECOND);
    assert_eq!(client.status(), "HTTP/1.1 504 Gateway Timeout");
    assert!(asked.is_over(), "and its connection is closed");
    assert!(world.counted(504, "finished"));
}

#[test]
fn a_long_upload_is_not_cut_while_it_moves() {
    let mut world = World::new(Limits::default());
    let client = world.ask("POST", "Content-Length: 100000\r\n", "");
    let asked = world.accept().unwrap();
    for _ in 0..10 {
        world.wait(20 * SECOND);
        client.send([b'x'; 10_000]);
        world.settle();
        asked.text();
    }
    assert_eq!(client.status(), "", "200 s, and nobody lost patience");
    assert!(asked.text().len() > 100_000);
    world.wait(29 * SECOND);
    asked.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    world.settle();
    assert_eq!(client.status(), "HTTP/1.1 200 OK");
}

#[test]
fn the_answer_to_a_long_upload_has_its_time_from_the_uploads_end() {
    let mut world = World::new(Limits::default());
    let client = world.ask("POST", "Content-Length: 20000\r\n", "");
    world.wait(20 * SECOND);
    client.send([b'x'; 20_000]);
    world.settle();
    world.wait(29 * SECOND);
    assert_eq!(client.status(), "");
    world.wait(2 * SECOND);
    assert_eq!(client.status(), "HTTP/1.1 504 Gateway Timeout");
}

#[test]
fn an_upload_that_stops_is_408_and_holds_no_upstream_connection() {
    for length in [100, 100_000] {
        let mut world = World::new(Limits::default());
        let client = world.ask("POST", &format!("Content-Length: {length}\r\n"), "half");
        let asked = world.accept();
        assert_eq!(asked.is_some(), length > 16_384, "small ones are gathered");
        world.wait(31 * SECOND);
        assert_eq!(client.status(), "HTTP/1.1 408 Request Timeout", "{length}");
        assert!(asked.is_none_or(|asked| asked.is_over()));
        assert!(world.counted(408, "finished"));
        assert!(!world.gate.metrics.render().contains("upstream_failures_total{"));
    }
}

#[test]
fn an_answer_may_be_quiet_for_hours() {
    for head in ["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
        let mut world = World::new(Limits::default());
        let client = world.ask("GET", "", "");
        let asked = world.accept().unwrap();
        asked.send(head);
        asked.send("event");
        world.settle();
        world.wait(3600 * SECOND);
        assert!(client.text().contains("event") && !client.is_over() && !asked.is_over());
        asked.send("again");
        world.settle();
        assert!(client.text().contains("again"));
        asked.peer.finish();
        world.settle();
        assert!(
            client.peer.is_at_end() || client.text().contains("Content-Length: 10") || {
                client.text().contains("content-length: 10") || client.text().ends_with("0\r\n\r\n")
            }
        );
    }
}

#[test]
fn a_quiet_answer_that_breaks_off_is_cut_short() {
    let mut world = World::new(Limits::default());
    let client = world.ask("GET", "", "");
    let asked = world.accept().unwrap();
    asked.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    world.settle();
    world.wait(3600 * SECOND);
    asked.peer.reset();
    world.settle();
    assert!(client.text().ends_with("half"));
    assert!(client.is_over(), "rule 59");
}

#[test]
fn requests_wait_in_line_for_a_connection_and_not_for_ever() {
    let mut world = World::new(Limits { upstream_connections: 1, ..Limits::default() });
    let first = world.ask("GET", "", "");
    let second = world.ask("GET", "", "");
    let asked = world.accept().unwrap();
    assert!(world.accept().is_none());
    world.wait(2 * SECOND);
    asked.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    world.settle();
    assert_eq!(first.status(), "HTTP/1.1 200 OK");
    assert_eq!(asked.text().matches("GET / HTTP/1.1").count(), 2, "the next has its turn");
    let third = world.ask("GET", "", "");
    world.wait(2 * SECOND);
    assert_eq!(third.status(), "");
    world.wait(2 * SECOND);
    assert_eq!(third.status(), "HTTP/1.1 503 Service Unavailable");
    assert!(third.text().contains("retry-after: 1") && third.text().contains("upstream_busy"));
    asked.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    world.settle();
    assert_eq!(second.status(), "HTTP/1.1 200 OK");
}

#[test]
fn while_an_upstream_is_lost_one_request_finds_out_and_the_others_do_not_wait() {
    // A name is looked up for as long as the test lets it.
    let mut world = World::before("localhost:9000", Limits::default());
    let first = world.ask("GET", "", "");
    world.wait(4 * SECOND);
    assert_eq!(first.status(), "HTTP/1.1 504 Gateway Timeout");
    for is_found in [false, true] {
        let both = [(); 2].map(|()| world.connect());
        for client in &both {
            client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", world.cookie));
        }
        world.run_jobs();
        assert_eq!(both[0].status(), "", "it is the one who looks");
        assert_eq!(both[1].status(), "HTTP/1.1 504 Gateway Timeout");
        if !is_found {
            world.wait(4 * SECOND);
            assert_eq!(both[0].status(), "HTTP/1.1 504 Gateway Timeout");
            continue;
        }
        world.run_jobs();
        // `localhost` may be `::1` first, where nobody listens.
        world.wait(SECOND);
        let asked = world.accept().unwrap();
        assert!(asked.text().starts_with("GET / "));
        asked.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        world.settle();
        assert_eq!(both[0].status(), "HTTP/1.1 204 No Content");
        let both = [world.ask("GET", "", ""), world.ask("GET", "", "")];
        world.run_jobs();
        world.wait(SECOND);
        assert!(world.accept().is_some() && world.accept().is_some());
        assert!(both.iter().all(|client| client.status().is_empty()));
    }
}

#[test]
fn whoever_looks_for_a_lost_upstream_and_leaves_keeps_nobody_out() {
    let mut world = World::before("localhost:9000", Limits::default());
    world.ask("GET", "", "");
    world.wait(4 * SECOND);
    let looks = world.ask("GET", "", "");
    looks.peer.reset();
    world.settle();
    let next = world.ask("GET", "", "");
    assert_eq!(next.status(), "");
    world.run_jobs();
    world.wait(SECOND);
    assert!(std::iter::from_fn(|| world.accept()).any(|asked| asked.text().starts_with("GET ")));
}

#[test]
fn a_head_that_does_not_come_is_408() {
    let mut world = World::new(Limits::default());
    let client = world.connect();
    client.send("GET / HTTP/1.1\r\nHo");
    world.wait(11 * SECOND);
    assert_eq!(client.status(), "HTTP/1.1 408 Request Timeout");
    assert!(client.is_over());
}

#[test]
fn who_leaves_during_the_look_up_is_never_sent() {
    let mut world = World::new(Limits::default());
    let client = world.connect();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{}Content-Length: 0\r\n\r\n", world.cookie));
    world.settle();
    assert_eq!(world.world.jobs_waiting(), 1);
    client.peer.reset();
    world.settle();
    assert!(world.counted(499, "not sent"));
    assert_eq!(world.world.jobs_waiting(), 0, "nor is it looked up");
    world.run_jobs();
    assert!(world.accept().is_none());
    assert_eq!(world.gate.metrics.in_flight.get(), 0);
}

#[test]
fn a_look_up_without_an_answer_is_503() {
    let mut world = World::new(Limits::default());
    let client = world.connect();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", world.cookie));
    world.settle();
    world.wait(Duration::from_millis(300));
    assert_eq!(client.status(), "HTTP/1.1 503 Service Unavailable");
    assert!(client.text().contains("retry-after: 1"));
    assert!(world.accept().is_none());
}

#[test]
fn one_request_too_many_is_503() {
    let mut world = World::new(Limits { in_flight: 2, ..Limits::default() });
    let waiting = [world.ask("GET", "", ""), world.ask("GET", "", "")];
    let refused = world.ask("GET", "", "");
    assert_eq!(refused.status(), "HTTP/1.1 503 Service Unavailable");
    assert!(refused.text().contains("retry-after: 1"));
    for client in &waiting {
        assert_eq!(client.status(), "");
        world.accept().unwrap().send("HTTP/1.1 204 No Content\r\n\r\n");
    }
    world.settle();
    let served = world.ask("GET", "", "");
    assert_eq!(served.status(), "", "there is room again");
}

#[test]
fn a_safe_request_that_meets_a_closing_connection_is_sent_once_more() {
    let mut world = World::new(Limits::default());
    let first = world.ask("GET", "", "");
    let kept = world.accept().unwrap();
    kept.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    world.settle();
    assert_eq!(first.status(), "HTTP/1.1 200 OK");
    let second = world.ask("GET", "", "");
    assert!(world.accept().is_none(), "the pooled connection is used");
    kept.peer.reset();
    world.settle();
    let fresh = world.accept().expect("a fresh one is");
    fresh.peer.reset();
    world.settle();
    assert!(world.accept().is_none(), "no retry of a retry");
    assert_eq!(second.status(), "HTTP/1.1 502 Bad Gateway");
    assert!(world.gate.metrics.render().contains("thence_gate_retries_total 1\n"));
}

#[test]
fn a_post_that_meets_a_closing_connection_is_not_sent_again() {
    let mut world = World::new(Limits::default());
    world.ask("GET", "", "");
    let kept = world.accept().unwrap();
    kept.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    world.settle();
    let post = world.ask("POST", "Content-Length: 1\r\n", "x");
    assert!(kept.text().contains("POST / HTTP/1.1"));
    kept.peer.reset();
    world.settle();
    assert!(world.accept().is_none());
    assert_eq!(post.status(), "HTTP/1.1 502 Bad Gateway");
}

#[test]
fn an_upstream_that_does_not_read_is_504() {
    let mut world = World::new(Limits::default());
    let client = world.ask("POST", "Content-Length: 1000000\r\n", "");
    let asked = world.accept().unwrap();
    for _ in 0..100 {
        // As much as goes in; what is on the way is bounded.
        client.peer.send([b'x'; 10_000]);
        world.settle();
    }
    world.wait(31 * SECOND);
    assert_eq!(client.status(), "HTTP/1.1 504 Gateway Timeout");
    drop(asked);
}
