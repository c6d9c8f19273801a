//! What time and a peer that does not read do, on a clock and a network that only the test moves.

use std::time::Duration;

use thence_core::{Deferred, flow};
use thence_http::{Body, Client, ClientError, ClientErrorKind, ClientOptions, Request, Server};
use thence_reactor::driver::manual::Peer;

use crate::common::world::{ANY, ASK, INSTANT, World, secs, whole};

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
            Server::bind(ANY)?.serve(|_: Request| Deferred::ok(whole()));
            Ok(())
        })
        .unwrap();
    assert_eq!(world.manual.now(), began);
}

#[test]
fn the_longest_duration_is_no_limit_wherever_there_is_one() {
    let mut world = World::new();
    for limit in [Duration::MAX, Duration::from_secs(u64::MAX / 2), secs(86_400 * 365 * 100)] {
        let server = world.server(|server| server.head_deadline(limit).body_timeout(limit));
        let mut options = ClientOptions::default();
        (options.connect, options.head, options.idle) = (limit, limit, limit);
        let client = Client::new(options);
        for _ in 0..2 {
            let uri = format!("http://{}/", server.local_addr());
            let answer = client.request(http::Request::get(uri).body(Body::empty()).unwrap());
            let body = answer.and_then(|response| response.into_body().collect(64));
            world.settle();
            assert!(body.is_ready());
            body.inspect(|bytes| assert_eq!(bytes, "whole")).report();
            world.pass(secs(86_400));
            assert_eq!((client.idle(), server.connections()), (1, 1), "{limit:?}");
        }
        let silent = world.connect(&server);
        assert_eq!(world.tell(&silent, "GET"), "");
        world.pass(secs(86_400 * 365));
        assert!(!silent.is_at_end() && !silent.is_reset(), "{limit:?}");
        server.close();
        world.pass(secs(2));
    }
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

#[test]
fn a_cut_upload_to_an_upstream_that_does_not_read_keeps_nothing() {
    let mut world = World::new();
    world.manual.set_capacity(1000);
    let upstream = world.manual.listen(ANY).unwrap();
    let uri = format!("http://{}/", upstream.local_addr());
    let upload = http::Request::post(uri).body(Body::from(vec![0; 100_000])).unwrap();
    let answer = Client::default().request(upload);
    world.settle();
    let peer = upstream.accept().unwrap();
    answer.cancel();
    world.settle();
    assert!(answer.is_ready());
    answer.settled().done(|outcome| assert!(outcome.is_cancelled()));
    // Bytes that nobody will ever take would hold this open.
    let began = world.manual.now();
    world.reactor.run(async { Ok(()) }).unwrap();
    assert_eq!(world.manual.now(), began);
    peer.received();
    assert!(peer.is_at_end() || peer.is_reset());
}

#[test]
fn an_upstream_has_thirty_seconds_for_the_head_of_its_answer() {
    let mut world = World::new();
    let upstream = world.manual.listen(ANY).unwrap();
    let uri = format!("http://{}/", upstream.local_addr());
    let answer = Client::default().request(http::Request::get(uri).body(Body::empty()).unwrap());
    world.settle();
    let peer = upstream.accept().unwrap();
    assert!(peer.received().ends_with(b"\r\n\r\n"));
    world.pass(secs(30) - INSTANT);
    // Half a head is none.
    peer.send("HTTP/1.1 200 OK\r\nContent-Le");
    world.settle();
    assert!(!answer.is_ready());
    world.pass(INSTANT);
    assert!(answer.is_ready());
    answer.settled().done(|outcome| {
        let failure = outcome.err().unwrap();
        let error = failure.downcast_ref::<ClientError>().unwrap();
        assert_eq!((error.kind(), error.was_sent()), (ClientErrorKind::HeadTimeout, true));
    });
    assert!(peer.is_at_end() || peer.is_reset());
}

#[test]
fn a_connection_that_idled_for_four_seconds_is_not_used_again() {
    let mut world = World::new();
    let upstream = world.manual.listen(ANY).unwrap();
    let client = Client::default();
    let mut peer = None;
    for (pause, is_new) in [(secs(0), true), (secs(4) - INSTANT, false), (secs(4), true)] {
        world.pass(pause);
        let uri = format!("http://{}/", upstream.local_addr());
        let answer = client.request(http::Request::get(uri).body(Body::empty()).unwrap());
        let body = answer.and_then(|response| response.into_body().collect(64));
        world.settle();
        let accepted = upstream.accept();
        assert_eq!(accepted.is_some(), is_new, "after {pause:?}");
        peer = accepted.or(peer);
        let upstream: &Peer = peer.as_ref().unwrap();
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole");
        world.settle();
        assert!(body.is_ready());
        body.inspect(|bytes| assert_eq!(bytes, "whole")).report();
        world.settle();
        assert_eq!(client.idle(), 1);
    }
}

/// Two connections, given back one second after the other.
fn two_idle(world: &mut World, client: &Client) -> [Peer; 2] {
    let upstream = world.manual.listen(ANY).unwrap();
    let uri = format!("http://{}/", upstream.local_addr());
    let ask = || client.request(http::Request::get(&uri).body(Body::empty()).unwrap());
    let answers = [ask(), ask()];
    world.settle();
    let peers = [(); 2].map(|()| upstream.accept().unwrap());
    for (answer, peer) in answers.into_iter().zip(&peers) {
        world.pass(secs(1));
        assert!(!peer.received().is_empty());
        peer.send("HTTP/1.1 204 No Content\r\n\r\n");
        world.settle();
        answer.map(drop).report();
        world.settle();
    }
    assert_eq!(client.idle(), 2);
    peers
}

#[test]
fn an_idle_connection_closes_by_itself_when_its_time_is_over() {
    let mut world = World::new();
    let client = Client::default();
    let [first, second] = two_idle(&mut world, &client);
    world.pass(secs(3) - INSTANT);
    assert!(!first.is_at_end());
    world.pass(INSTANT);
    assert!((first.is_at_end() || first.is_reset()) && !second.is_at_end());
    world.pass(secs(1));
    assert!(second.is_at_end() || second.is_reset());
    assert_eq!((client.idle(), world.reactor.next_timeout()), (0, None));
}

#[test]
fn an_idle_connection_that_its_peer_closes_is_let_go_of_at_once() {
    let mut world = World::new();
    let client = Client::default();
    let [first, second] = two_idle(&mut world, &client);
    drop(first);
    world.settle();
    assert_eq!((client.idle(), world.reactor.live().driver.operations), (1, 1));
    drop(second);
    world.settle();
    assert_eq!((client.idle(), world.reactor.live().driver.operations), (0, 0));
}

#[test]
fn idle_connections_hold_no_run_open() {
    let mut world = World::new();
    let client = Client::default();
    let peers = two_idle(&mut world, &client);
    let began = world.manual.now();
    world.reactor.run(async { Ok(()) }).unwrap();
    assert_eq!((world.manual.now(), client.idle()), (began, 0));
    assert!(peers.iter().all(|peer| peer.is_at_end() || peer.is_reset()));
}

#[test]
fn the_connection_that_was_used_last_is_used_next() {
    let mut world = World::new();
    let client = Client::default();
    let [_first, second] = two_idle(&mut world, &client);
    let to = second.local_addr();
    let answer =
        client.request(http::Request::get(format!("http://{to}/")).body(Body::empty()).unwrap());
    world.settle();
    assert!(second.received().starts_with(b"GET / "));
    answer.cancel();
    world.settle();
}

#[test]
fn a_connection_made_for_somebody_who_has_left_holds_no_run_open() {
    let mut world = World::new();
    let upstream = world.manual.listen(ANY).unwrap();
    let client = Client::default();
    let began = world.manual.now();
    let to = upstream.local_addr();
    let asking = client.clone();
    let main = async move {
        let connection = asking.connect(to);
        // It is under way, and nobody waits for it when it is there.
        flow(async { Ok(()) }).await?;
        connection.cancel();
        Ok(())
    };
    world.reactor.run(main).unwrap();
    assert_eq!((world.manual.now(), client.idle()), (began, 0));
}

#[test]
fn idle_connections_end_with_their_reactor() {
    let mut world = World::new();
    let client = Client::default();
    let peers = two_idle(&mut world, &client);
    drop(world);
    assert_eq!(client.idle(), 0);
    drop(peers);
}
