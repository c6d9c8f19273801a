//! Who is served when a server is full.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use thence_core::{Deferred, Trigger};
use thence_http::{ConnectionRef, Request, Response, Server, ServerHandle};
use thence_reactor::driver::manual::Peer;

use crate::common::world::{ANY, ASK, INSTANT, World, secs, whole};

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n";

/// A server with a few places. It answers at once, or for `/wait` when the test says so.
struct Small {
    world: World,
    server: ServerHandle,
    waiting: Rc<RefCell<Vec<Trigger<Response>>>>,
    seen: Rc<RefCell<Option<ConnectionRef>>>,
    port: Cell<u16>,
}

impl Small {
    fn new(places: usize) -> Self {
        let world = World::new();
        let (waiting, seen) = (Rc::<RefCell<Vec<_>>>::default(), Rc::<RefCell<_>>::default());
        let (wait, see) = (waiting.clone(), seen.clone());
        let server = Server::bind(ANY).unwrap().max_connections(places);
        let server = server.serve(move |request: Request| {
            see.replace(Some(request.connection()));
            if request.uri().path() == "/large" {
                return Deferred::ok(Response::new("x".repeat(300_000).into()));
            }
            if request.uri().path() != "/wait" {
                return request.into_inner().into_body().collect(9).map(|_| whole());
            }
            let (trigger, answer) = Deferred::new();
            wait.borrow_mut().push(trigger);
            answer
        });
        Small { world, server, waiting, seen, port: Cell::new(1) }
    }

    fn connect(&mut self) -> Peer {
        self.world.connect(&self.server)
    }

    fn connect_from(&mut self, address: &str) -> Peer {
        self.port.set(self.port.get() + 1);
        let from = SocketAddr::new(address.parse::<IpAddr>().unwrap(), self.port.get());
        let peer = self.world.manual.connect_from(from, self.server.local_addr()).unwrap();
        self.world.settle();
        peer
    }

    fn is_served(&mut self, peer: &Peer) -> bool {
        self.world.tell(peer, ASK).ends_with("whole")
    }

    fn is_closed(&mut self, peer: &Peer) -> bool {
        self.world.settle();
        peer.is_at_end() || peer.is_reset()
    }

    /// Has a request under way.
    fn wait(&mut self, peer: &Peer) {
        let heard = self.world.tell(peer, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(heard, "");
    }

    fn answer(&mut self) {
        let trigger = self.waiting.borrow_mut().remove(0);
        trigger.fire(whole());
        self.world.settle();
    }

    fn counts(&self) -> (usize, u64, u64, bool) {
        (self.server.connections(), self.server.shed(), self.server.waited(), self.server.is_full())
    }
}

#[test]
fn who_comes_to_a_full_server_gets_the_place_of_the_oldest_that_is_idle() {
    let mut small = Small::new(3);
    let old: Vec<_> = (0..3).map(|_| small.connect()).collect();
    for peer in &old {
        assert!(small.is_served(peer));
    }
    small.world.pass(secs(1));
    for n in 0..3 {
        // The ones that are left are used, which makes none of them younger.
        for peer in &old[n..] {
            assert!(small.is_served(peer));
        }
        let new = small.connect();
        assert!(small.is_closed(&old[n]), "{n}");
        assert!(small.is_served(&new));
        assert_eq!(small.counts(), (3, n as u64 + 1, 0, false));
        small.world.pass(secs(1));
        // It stays: a younger one than those of the first three that are left.
        std::mem::forget(new);
    }
}

#[test]
fn what_is_being_read_answered_or_taken_is_not_cut_for_it() {
    let mut small = Small::new(3);
    small.world.manual.set_capacity(1000);
    let [answered, uploads, slow] = [(); 3].map(|()| small.connect());
    small.wait(&answered);
    assert_eq!(small.world.tell(&uploads, &format!("{POST}up")), "");
    // What it was sent does not fit into the connection.
    let many = ASK.repeat(30);
    assert_eq!(slow.send(&many), many.len());
    small.world.pass_slowly(secs(2));
    let new = small.connect();
    small.world.pass_slowly(secs(2));
    assert_eq!(small.counts(), (3, 0, 1, true));
    assert_eq!(small.world.tell(&new, ASK), "");

    // The first that ends leaves its place.
    small.answer();
    assert!(small.world.hear(&answered).ends_with("whole"));
    small.world.pass(Duration::from_millis(100));
    assert!(small.is_closed(&answered));
    assert!(small.world.hear(&new).ends_with("whole"));
    assert_eq!(small.counts(), (3, 1, 1, false));
    assert!(small.world.tell(&uploads, "ld").ends_with("whole"));
    let mut heard = String::new();
    for _ in 0..20 {
        heard += &small.world.hear(&slow);
    }
    assert_eq!(heard.matches("whole").count(), 30);
}

/// Each would have 30 s, if nobody needed its place.
#[test]
fn a_client_that_keeps_its_request_waiting_for_ten_seconds_gives_up_its_place() {
    let large = "GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
    for begin in [&format!("{POST}up"), large] {
        let mut small = Small::new(1);
        small.world.manual.set_capacity(1000);
        let first = small.connect();
        first.send(begin);
        small.world.pass_slowly(secs(5));
        let second = small.connect();
        small.world.pass_slowly(Duration::from_millis(4900));
        assert_eq!((small.is_closed(&first), small.counts()), (false, (1, 0, 1, true)));
        small.world.pass_slowly(secs(2));
        assert_eq!(small.counts(), (1, 1, 1, false), "{begin}");
        small.world.hear(&first);
        assert!(small.is_closed(&first) && small.is_served(&second));
    }
}

#[test]
fn of_several_that_keep_their_requests_waiting_one_leaves_for_one_that_comes() {
    let mut small = Small::new(3);
    let stuck = [(); 3].map(|()| small.connect());
    for peer in &stuck {
        assert_eq!(small.world.tell(peer, &format!("{POST}up")), "");
    }
    small.world.pass_slowly(secs(15));
    let new = small.connect();
    small.world.pass_slowly(secs(2));
    assert!(small.is_served(&new));
    assert_eq!(small.counts(), (3, 1, 0, false));
}

#[test]
fn one_that_was_told_to_close_and_is_stuck_leaves_for_one_that_waits() {
    let mut small = Small::new(1);
    let first = small.connect();
    assert_eq!(small.world.tell(&first, &format!("{POST}up")), "");
    let second = small.connect();
    small.server.close();
    small.world.pass_slowly(secs(13));
    assert!(small.is_closed(&first), "it would have 30 s if nobody needed its place");
    drop(second);
}

#[test]
fn a_server_that_closes_lets_in_who_came_while_another_was_leaving() {
    let mut small = Small::new(1);
    let first = small.connect();
    assert!(small.is_served(&first));
    small.world.pass_slowly(secs(2));
    // Its request comes in the turn in which its place is wanted.
    first.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    let at = small.server.local_addr();
    let others = [(); 2].map(|()| small.world.manual.connect(at).unwrap());
    for peer in &others {
        peer.send(ASK);
    }
    small.world.settle();
    small.server.close();
    small.world.pass_slowly(Duration::from_millis(500));
    small.answer();
    assert!(small.world.hear(&first).ends_with("whole"));
    drop(first);
    for peer in others {
        small.world.pass_slowly(secs(2));
        let heard = small.world.hear(&peer);
        assert!(heard.ends_with("whole"), "{heard:?}");
        drop(peer);
    }
}

/// It is not its client that keeps it.
#[test]
fn a_handler_that_takes_its_time_keeps_its_place() {
    let mut small = Small::new(1);
    let first = small.connect();
    small.wait(&first);
    let second = small.connect();
    small.world.pass_slowly(secs(60));
    assert_eq!(small.counts(), (1, 0, 1, true));
    small.answer();
    assert!(small.world.hear(&first).ends_with("whole"));
    small.world.pass(secs(1));
    assert!(small.is_served(&second));
}

#[test]
fn half_a_head_and_silence_count_as_nothing_after_a_second() {
    for begin in ["", "GET / HTTP/1.1\r\nHos"] {
        let mut small = Small::new(1);
        let first = small.connect();
        assert_eq!(small.world.tell(&first, begin), "");
        let second = small.connect();
        small.world.pass(secs(1) - INSTANT);
        assert_eq!((small.is_closed(&first), small.counts()), (false, (1, 0, 1, true)));
        small.world.pass(INSTANT);
        assert!(small.is_closed(&first));
        assert!(small.is_served(&second));

        // Half of a later head has its second from its first byte on.
        small.world.pass(secs(5));
        assert_eq!(small.world.tell(&second, "GET"), "");
        let third = small.connect();
        small.world.pass(secs(1) - INSTANT);
        assert!(!small.is_closed(&second));
        small.world.pass(secs(1));
        assert!(small.is_closed(&second));
        assert!(small.is_served(&third));
    }
}

#[test]
fn a_connection_that_its_handler_keeps_stays() {
    let mut small = Small::new(2);
    let [kept, other] = [(); 2].map(|()| small.connect());
    for peer in [&other, &kept] {
        assert!(small.is_served(peer));
    }
    let seen = small.seen.take().unwrap();
    seen.keep(true);
    assert!(seen.is_kept() && seen.is_idle());
    small.world.pass(secs(1));
    let third = small.connect();
    assert!(!small.is_closed(&kept) && small.is_closed(&other) && small.is_served(&third));
    small.wait(&third);
    let fourth = small.connect();
    small.world.pass(secs(2));
    assert_eq!(small.counts(), (2, 1, 1, true));
    // Until it is kept no more.
    seen.keep(false);
    assert!(small.is_closed(&kept) && small.is_served(&fourth));
    small.answer();
}

#[test]
fn one_address_keeps_an_eighth_of_the_places_and_no_more() {
    let mut small = Small::new(16);
    let peers: Vec<_> = (0..16).map(|_| small.connect_from("192.0.2.1")).collect();
    let mut refs = Vec::new();
    for peer in &peers {
        assert!(small.is_served(peer));
        let connection = small.seen.take().unwrap();
        connection.keep(true);
        refs.push(connection);
    }
    let kept = |refs: &[ConnectionRef]| refs.iter().filter(|one| one.is_kept()).count();
    assert_eq!(kept(&refs), 2);
    // A place that is not kept any more is another's to keep.
    refs[0].keep(false);
    refs[5].keep(true);
    assert_eq!(kept(&refs), 2);
    small.world.pass(secs(1));
    let new = small.connect_from("192.0.2.2");
    assert!(small.is_served(&new));
    small.seen.take().unwrap().keep(true);
    assert!(small.is_closed(&peers[0]));
    assert_eq!(small.counts(), (16, 1, 0, false));
}

#[test]
fn one_address_does_not_push_out_the_others() {
    let mut small = Small::new(6);
    let others: Vec<_> =
        ["10.0.0.1", "10.0.0.2", "2001:db8:0:1::1"].map(|from| small.connect_from(from)).into();
    // One network of IPv6 is one client.
    let mut hoard: Vec<_> =
        (0..3).map(|n| small.connect_from(&format!("2001:db8:0:2::{n}"))).collect();
    for peer in others.iter().chain(&hoard) {
        assert!(small.is_served(peer));
    }
    small.world.pass(secs(1));
    for n in 0..20 {
        let new = small.connect_from(&format!("2001:db8:0:2:{n}::"));
        assert!(small.is_closed(&hoard.remove(0)), "{n}");
        assert!(small.is_served(&new));
        hoard.push(new);
        small.world.pass(Duration::from_millis(1100));
        // They time out otherwise.
        for peer in others.iter().chain(&hoard) {
            assert!(small.is_served(peer));
        }
    }
    // Somebody else pushes out one of the hoard, too.
    let another = small.connect_from("10.0.0.3");
    assert!(small.is_closed(&hoard[0]) && small.is_served(&another));
    assert!(others.iter().all(|peer| !peer.is_at_end() && !peer.is_reset()));
}

#[test]
fn a_request_that_is_here_is_answered_though_its_place_is_needed() {
    let mut small = Small::new(1);
    let first = small.connect();
    assert!(small.is_served(&first));
    small.world.pass(secs(1));
    // In the same turn, as far as the server can tell.
    first.send(ASK);
    let second = small.world.manual.connect(small.server.local_addr()).unwrap();
    second.send(ASK);
    let answer = small.world.hear(&first);
    assert!(answer.ends_with("whole"), "{answer:?}");
    small.world.pass(secs(2));
    assert!(small.world.hear(&second).ends_with("whole"));
}

#[test]
fn who_was_chosen_to_leave_and_had_a_request_is_in_no_list_afterwards() {
    let mut small = Small::new(2);
    let other = small.connect_from("192.0.2.2");
    small.wait(&other);
    for round in 0..3 {
        let first = small.connect_from("192.0.2.1");
        assert!(small.is_served(&first), "{round}");
        small.world.pass_slowly(secs(2));
        // Its request comes in the turn in which its place is wanted.
        first.send(ASK);
        let second = small.connect_from("192.0.2.3");
        assert!(small.world.hear(&first).ends_with("whole"), "{round}");
        assert!(small.is_closed(&first));
        small.wait(&second);
        // All are busy now: who comes waits, and is served in the end.
        let third = small.connect_from("192.0.2.4");
        small.world.pass_slowly(secs(2));
        assert!(small.server.is_full());
        small.waiting.borrow_mut().pop().unwrap().fire(whole());
        small.world.settle();
        drop(second);
        small.world.pass_slowly(secs(2));
        assert!(small.is_served(&third), "{round}");
        drop(third);
        small.world.pass_slowly(secs(2));
    }
    small.answer();
}

#[test]
fn who_has_left_keeps_no_place_of_its_address() {
    let mut small = Small::new(8);
    for _ in 0..4 {
        let peer = small.connect_from("192.0.2.1");
        assert!(small.is_served(&peer));
        let connection = small.seen.take().unwrap();
        connection.keep(true);
        assert!(connection.is_kept());
        drop(peer);
        small.world.pass_slowly(secs(2));
        assert_eq!(small.server.connections(), 0);
        connection.keep(false);
        connection.keep(true);
        assert!(!connection.is_kept());
    }
}

#[test]
fn a_flood_of_silent_connections_leaves_a_place_for_whoever_asks() {
    let mut small = Small::new(50);
    let mut flood = Vec::new();
    for n in 0..40_u32 {
        for _ in 0..10 {
            flood.push(small.connect_from("10.9.9.9"));
        }
        small.world.pass(Duration::from_millis(150));
        let client = small.connect_from(&format!("10.1.1.{n}"));
        small.world.pass(secs(2));
        assert!(small.is_served(&client), "{n}");
    }
    assert_eq!(small.server.connections(), 50);
}

#[test]
fn a_full_server_that_closes_serves_who_waits() {
    let mut small = Small::new(1);
    let first = small.connect();
    small.wait(&first);
    let second = small.connect();
    assert_eq!(small.world.tell(&second, ASK), "");
    small.server.close();
    small.world.pass(secs(3));
    assert!(!small.server.ended().is_ready());
    small.answer();
    assert!(small.world.hear(&first).contains("connection: close"));
    drop(first);
    let answer = small.world.hear(&second);
    assert!(answer.ends_with("whole"), "{answer:?} {:?}", small.counts());
    drop(second);
    small.world.pass_slowly(secs(2));
    assert!(small.server.ended().is_ready());
}
