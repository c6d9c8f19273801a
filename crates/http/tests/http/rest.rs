//! Idle connections rest, and nobody notices.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use thence_core::Deferred;
use thence_http::{Body, Request, Response, Server};
use thence_reactor::after;

use crate::common::world::{ANY, ASK, World, secs, whole};

const A_WHILE: Duration = Duration::from_secs(1);

#[test]
fn a_connection_rests_between_its_requests() {
    let mut world = World::new();
    let server = world.server(|server| server);
    let peer = world.connect(&server);
    assert_eq!(server.awake(), 0, "a fresh one has nothing to hold a buffer for");
    for _ in 0..3 {
        assert!(world.tell(&peer, ASK).ends_with("whole"));
        assert_eq!(server.awake(), 1);
        world.pass(A_WHILE);
        world.pass(A_WHILE);
        assert_eq!((server.awake(), server.connections()), (0, 1));
    }
    peer.finish();
    world.settle();
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_connection_in_use_does_not_rest() {
    let mut world = World::new();
    let server = world.server(|server| server);
    let peer = world.connect(&server);
    for _ in 0..20 {
        assert!(world.tell(&peer, ASK).ends_with("whole"));
        world.pass(Duration::from_millis(90));
        assert_eq!(server.awake(), 1);
    }
}

#[test]
fn half_a_head_keeps_it_awake_and_has_no_more_time_than_elsewhere() {
    let mut world = World::new();
    let server = world.server(|server| server);
    let peer = world.connect(&server);
    assert!(world.tell(&peer, ASK).ends_with("whole"));
    world.pass(A_WHILE);
    world.pass(A_WHILE);
    assert_eq!(world.tell(&peer, &ASK[..9]), "");
    world.pass(A_WHILE);
    world.pass(A_WHILE);
    assert_eq!(server.awake(), 1);
    assert!(world.tell(&peer, &ASK[9..]).ends_with("whole"));

    assert_eq!(world.tell(&peer, &ASK[..9]), "");
    for _ in 0..10 {
        world.pass(A_WHILE);
    }
    assert!(world.hear(&peer).starts_with("HTTP/1.1 408 "));
}

#[test]
fn a_head_that_came_half_with_another_request_is_kept_over_a_rest() {
    let mut world = World::new();
    let server = world.server(|server| server);
    let peer = world.connect(&server);
    let (begin, end) = ASK.split_at(9);
    assert!(world.tell(&peer, &format!("{ASK}{begin}")).ends_with("whole"));
    for _ in 0..5 {
        world.pass(A_WHILE);
    }
    assert!(world.tell(&peer, end).ends_with("whole"));
    // Again, and never its end: its time is up though the connection was told to rest meanwhile.
    assert!(world.tell(&peer, &format!("{ASK}{begin}")).ends_with("whole"));
    for _ in 0..11 {
        world.pass(A_WHILE);
    }
    assert!(world.hear(&peer).starts_with("HTTP/1.1 408 "));
}

#[test]
fn a_request_that_takes_its_time_is_not_cut() {
    let mut world = World::new();
    let server = Server::bind(ANY).unwrap();
    let server =
        server.serve(|_: Request| after(secs(3)).map(|()| whole()).map_err(|n| match n {}));
    let peer = world.connect(&server);
    assert_eq!(world.tell(&peer, ASK), "");
    for _ in 0..3 {
        world.pass(A_WHILE);
    }
    assert!(world.hear(&peer).ends_with("whole"));
}

#[test]
fn an_upload_that_takes_its_time_is_read_to_its_end() {
    let mut world = World::new();
    let server = Server::bind(ANY).unwrap();
    let server = server.serve(|request: Request| {
        let body = request.into_inner().into_body();
        body.collect(100).map(|bytes| Response::new(Body::from(bytes)))
    });
    let peer = world.connect(&server);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf";
    assert_eq!(world.tell(&peer, head), "");
    for _ in 0..5 {
        world.pass(A_WHILE);
    }
    assert!(world.tell(&peer, "half").ends_with("halfhalf"));
    world.pass(A_WHILE);
    world.pass(A_WHILE);
    assert_eq!((server.awake(), server.connections()), (0, 1), "it rests after uploads too");
}

#[test]
fn an_answer_that_its_client_does_not_take_stays_whole() {
    let mut world = World::new();
    let server = Server::bind(ANY).unwrap();
    let large = || Response::new(Body::from("x".repeat(300_000)));
    let server = server.serve(move |_: Request| Deferred::ok(large()));
    let peer = world.connect(&server);
    world.manual.set_capacity(10_000);
    peer.send(ASK);
    world.settle();
    for _ in 0..5 {
        world.pass(A_WHILE);
    }
    let mut answer = String::new();
    while answer.len() < 300_000 {
        let more = world.hear(&peer);
        assert!(!more.is_empty(), "{} bytes came", answer.len());
        answer += &more;
    }
    assert_eq!(answer.bytes().filter(|byte| *byte == b'x').count(), 300_000);
}

#[test]
fn a_connection_at_rest_is_closed_when_its_time_is_up() {
    let mut world = World::new();
    let server = world.server(|server| server);
    let peer = world.connect(&server);
    assert!(world.tell(&peer, ASK).ends_with("whole"));
    for _ in 0..99 {
        world.pass(Duration::from_millis(100));
    }
    assert_eq!((server.awake(), peer.is_at_end()), (0, false));
    world.pass(Duration::from_millis(100));
    assert_eq!((world.hear(&peer).as_str(), peer.is_at_end()), ("", true));
}

#[test]
fn a_server_that_closes_lets_one_at_rest_have_its_last_request() {
    let mut world = World::new();
    let server = world.server(|server| server);
    let [asks, is_silent] = [(); 2].map(|()| world.connect(&server));
    for peer in [&asks, &is_silent] {
        assert!(world.tell(peer, ASK).ends_with("whole"));
    }
    world.pass(A_WHILE);
    world.pass(A_WHILE);
    assert_eq!(server.awake(), 0);
    server.close();
    world.pass(Duration::from_millis(500));
    let answer = world.tell(&asks, ASK);
    assert!(answer.contains("connection: close") && answer.ends_with("whole"), "{answer}");
    assert!(!is_silent.is_at_end());
    world.pass(A_WHILE);
    assert!(is_silent.is_at_end());
}

#[test]
fn a_connection_that_closes_does_not_rest_instead() {
    let mut world = World::new();
    world.manual.set_capacity(1000);
    let server = Server::bind(ANY).unwrap();
    let asked = Rc::new(Cell::new(0));
    let seen = asked.clone();
    let server = server.serve(move |_: Request| {
        asked.set(asked.get() + 1);
        let mut response = Response::new(Body::from("x".repeat(20_000)));
        response.headers_mut().insert("connection", "close".parse().unwrap());
        Deferred::ok(response)
    });
    let peer = world.connect(&server);
    peer.send(ASK);
    world.settle();
    for _ in 0..3 {
        world.pass(A_WHILE);
    }
    // What follows the last answer is not served.
    peer.send(ASK);
    let mut answers = String::new();
    for _ in 0..100 {
        answers += &world.hear(&peer);
    }
    assert_eq!((seen.get(), answers.matches("HTTP/1.1 200 OK").count()), (1, 1));
    assert!(peer.is_at_end() && answers.ends_with('x'));
}
