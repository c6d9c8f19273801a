//! How a client gets its connections: look-ups, addresses, limits.

use std::net::SocketAddr;
use std::time::Duration;

use thence_core::{Deferred, Failure, Outcome};
use thence_http::{Body, Client, ClientError, ClientErrorKind, ClientOptions, Response};

use crate::common::world::{ANY, INSTANT, World, secs};

fn get(uri: impl AsRef<str>) -> http::Request<Body> {
    http::Request::get(uri.as_ref()).body(Body::empty()).unwrap()
}

/// The kind of the error that a request has ended with; none while it has not ended.
fn kind(answer: Deferred<Response>) -> Option<ClientErrorKind> {
    let kind = std::rc::Rc::new(std::cell::Cell::new(None));
    let told = kind.clone();
    if !answer.is_ready() {
        answer.cancel();
        return None;
    }
    answer.settled().done(move |outcome: Outcome<Response, Failure>| {
        let failure = outcome.err().expect("it must fail");
        told.set(Some(failure.downcast_ref::<ClientError>().expect("a ClientError").kind()));
    });
    kind.get()
}

#[test]
fn requests_to_one_name_wait_for_one_look_up_and_leave_it_to_the_others() {
    let mut world = World::new();
    let upstream = world.manual.listen(ANY).unwrap();
    let uri = format!("http://localhost:{}/", upstream.local_addr().port());
    let client = Client::default();
    let mut answers: Vec<_> = (0..100).map(|_| client.request(get(&uri))).collect();
    world.settle();
    assert_eq!(world.manual.jobs_waiting(), 1);
    for answer in answers.drain(..50) {
        answer.cancel();
        drop(answer);
    }
    world.settle();
    assert!(world.manual.run_job());
    world.settle();
    // `localhost` may be `::1` first, where nobody listens.
    world.pass(Duration::from_millis(300));
    let peers: Vec<_> = std::iter::from_fn(|| upstream.accept()).collect();
    assert_eq!(peers.iter().filter(|peer| !peer.received().is_empty()).count(), 50);
    for peer in &peers {
        peer.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    }
    world.settle();
    for answer in answers {
        answer.map(drop).report();
    }
    world.settle();
    // No answer is kept: a name may move.
    let anew = client.request(get(&uri));
    world.settle();
    assert_eq!(world.manual.jobs_waiting(), 1);
    anew.cancel();
    // The pool keeps the connection that was begun for whoever comes next.
    assert!(world.manual.run_job());
    world.pass(Duration::from_millis(300));
    assert_eq!(client.idle(), 1);
}

#[test]
fn the_limit_for_connecting_covers_the_look_up() {
    let mut world = World::new();
    let answer = Client::default().request(get("http://localhost:9/"));
    world.pass(secs(3) - INSTANT);
    assert!(!answer.is_ready());
    world.pass(INSTANT);
    assert_eq!(kind(answer), Some(ClientErrorKind::ConnectTimeout));
    assert_eq!(world.manual.jobs_waiting(), 0);
}

#[test]
fn a_host_without_an_address_is_told_from_one_that_refuses() {
    let mut world = World::new();
    let unknown = Client::default().request(get(format!("http://{}/", "x".repeat(64))));
    world.settle();
    assert!(world.manual.run_job());
    world.settle();
    assert_eq!(kind(unknown), Some(ClientErrorKind::Unresolved));
    let refusing = Client::default().request(get("http://127.0.0.1:9/"));
    world.settle();
    assert_eq!(kind(refusing), Some(ClientErrorKind::Refused));
    let unclear = Client::default().connect("nowhere");
    world.settle();
    unclear.settled().done(|outcome| {
        let failure = outcome.map(drop).err().expect("it must fail");
        let error = failure.downcast_ref::<ClientError>().unwrap();
        assert_eq!(error.kind(), ClientErrorKind::Unresolved);
    });
}

#[test]
fn whichever_of_several_addresses_answers_is_connected_to() {
    let mut world = World::new();
    let upstream = world.manual.listen(ANY).unwrap();
    let open: SocketAddr = upstream.local_addr();
    let nobody: SocketAddr = "127.0.0.2:9".parse().unwrap();
    let connection = Client::default().connect(vec![nobody, open]);
    world.settle();
    assert!(upstream.accept().is_some());
    connection
        .inspect(move |connection| assert_eq!(connection.peer_addr(), open))
        .map(drop)
        .report();
    world.settle();
}

#[test]
fn limits_without_an_end_are_none() {
    let mut world = World::new();
    let upstream = world.manual.listen(ANY).unwrap();
    let mut options = ClientOptions::default();
    (options.connect, options.head) = (Duration::MAX, Duration::MAX);
    options.idle = Duration::MAX;
    let client = Client::new(options);
    for _ in 0..2 {
        let answer = client.request(get(format!("http://{}/", upstream.local_addr())));
        world.pass(secs(100 * 86_400));
        let Some(peer) = upstream.accept() else { continue };
        peer.send("HTTP/1.1 204 No Content\r\n\r\n");
        world.settle();
        answer.map(drop).report();
        world.settle();
        assert_eq!(client.idle(), 1);
        world.pass(secs(100 * 86_400));
        assert_eq!(client.idle(), 1);
        let again = client.request(get(format!("http://{}/", upstream.local_addr())));
        world.settle();
        assert!(peer.received().ends_with(b"\r\n\r\n"));
        again.cancel();
    }
    drop(client);
}

#[test]
fn who_finds_every_connection_in_use_waits_in_line_and_not_for_ever() {
    let mut world = World::new();
    let upstream = world.manual.listen(ANY).unwrap();
    let uri = format!("http://{}/", upstream.local_addr());
    let mut options = ClientOptions::default();
    options.connections = 1;
    let client = Client::new(options);
    let [first, second, third] = [(); 3].map(|()| client.request(get(&uri)));
    world.pass(secs(2));
    let peer = upstream.accept().unwrap();
    peer.received();
    assert!(upstream.accept().is_none());
    peer.send("HTTP/1.1 204 No Content\r\n\r\n");
    world.settle();
    first.map(drop).report();
    world.settle();
    // The second has its turn now.
    assert!(peer.received().starts_with(b"GET / "));
    world.pass(secs(1) - INSTANT);
    assert!(!third.is_ready());
    world.pass(INSTANT);
    assert_eq!(kind(third), Some(ClientErrorKind::Busy));
    peer.send("HTTP/1.1 204 No Content\r\n\r\n");
    world.settle();
    second.map(drop).report();
    world.settle();
    assert_eq!(client.idle(), 1);
}
