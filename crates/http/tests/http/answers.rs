//! What an upstream may answer, and what is no answer.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use http::Method;
use thence_core::{Failure, Outcome};
use thence_http::{Body, Client, ClientError, ClientErrorKind};
use thence_reactor::driver::manual::Peer;

use crate::common::world::{ANY, World};

/// What becomes of an answer: its body, or the kind of the error, and whether the connection is
/// kept.
fn heard(method: Method, answer: &str) -> (Result<String, ClientErrorKind>, bool) {
    let mut world = World::new();
    let upstream = world.manual.listen(ANY).unwrap();
    let client = Client::default();
    let request = http::Request::builder()
        .method(method)
        .uri(format!("http://{}/", upstream.local_addr()))
        .body(Body::empty())
        .unwrap();
    let asked = client.request(request);
    world.settle();
    let peer = upstream.accept().unwrap();
    peer.received();
    peer.send(answer);
    if !answer.contains("ontent-") && !answer.contains("oding") {
        peer.finish();
    }
    world.settle();
    let told = Rc::new(RefCell::new(None));
    let heard = told.clone();
    asked.and_then(|answer| answer.into_body().collect(1000)).settled().done(
        move |outcome: Outcome<_, Failure>| {
            *heard.borrow_mut() = Some(match outcome {
                Outcome::Ok(body) => Ok(String::from_utf8(body.to_vec()).unwrap()),
                other => Err(kind(&other.err().expect("no stop"))),
            });
        },
    );
    world.settle();
    let heard = told.take().expect("it has ended");
    (heard, client.idle() == 1 && !is_closed(&peer))
}

fn kind(failure: &Failure) -> ClientErrorKind {
    failure.downcast_ref::<ClientError>().expect("a ClientError").kind()
}

fn is_closed(peer: &Peer) -> bool {
    peer.is_at_end() || peer.is_reset()
}

#[test]
fn an_answer_says_one_thing_only_of_where_it_ends() {
    const CHUNKED: &str = "\r\n2\r\nok\r\n0\r\n\r\n";
    for (fields, body, whole) in [
        ("Content-Length: 2", "\r\nok", true),
        ("content-length:2 ", "\r\nok", true),
        ("Transfer-Encoding: chunked", CHUNKED, true),
        ("Transfer-Encoding:  CHUNKED", CHUNKED, true),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", CHUNKED, false),
        ("Content-Length: 1\r\nTransfer-Encoding: chunked", CHUNKED, false),
        ("Content-Length: 0\r\nTransfer-Encoding: chunked", CHUNKED, false),
        ("Content-Length: 2\r\nTransfer-Encoding: chunked", CHUNKED, false),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", CHUNKED, false),
        ("Content-Length: 2, 2", "\r\nok", false),
        ("Content-Length: 2\r\nContent-Length: 2", "\r\nok", false),
        ("Content-Length: 2\r\nContent-Length: 3", "\r\nok", false),
        ("Content-Length: +2", "\r\nok", false),
        ("Content-Length: 0x2", "\r\nok", false),
        ("Content-Length: -2", "\r\nok", false),
        ("Content-Length:", "\r\nok", false),
        ("Content-Length: 99999999999999999999", "\r\nok", false),
        ("Transfer-Encoding: chunked, chunked", CHUNKED, false),
        ("Transfer-Encoding: gzip, chunked", CHUNKED, false),
        ("Transfer-Encoding: chunked, gzip", CHUNKED, false),
        ("Transfer-Encoding: identity", "\r\nok", false),
        ("Transfer-Encoding: xchunked", CHUNKED, false),
        ("Transfer-Encoding:", CHUNKED, false),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", CHUNKED, false),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}");
        let expected = if whole { Ok("ok".to_owned()) } else { Err(ClientErrorKind::BrokenAnswer) };
        assert_eq!(heard(Method::GET, &answer), (expected, whole), "{fields}");
    }
    let old = format!("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n{CHUNKED}");
    assert_eq!(heard(Method::GET, &old), (Err(ClientErrorKind::BrokenAnswer), false));
}

#[test]
fn an_answer_that_ends_with_its_connection_is_whole() {
    let (body, is_kept) = heard(Method::GET, "HTTP/1.1 200 OK\r\n\r\nok");
    assert_eq!((body.as_deref(), is_kept), (Ok("ok"), false));
}

#[test]
fn what_has_no_body_has_none_whatever_it_says() {
    for (method, status) in [
        (Method::HEAD, "200 OK"),
        (Method::GET, "204 No Content"),
        (Method::GET, "304 Not Modified"),
    ] {
        for fields in ["Content-Length: 5", "Transfer-Encoding: chunked", "Content-Length: 5, 5"] {
            let answer = format!("HTTP/1.1 {status}\r\n{fields}\r\n\r\n");
            let expected = (Ok(String::new()), true);
            assert_eq!(heard(method.clone(), &answer), expected, "{status} {fields}");
        }
    }
}

#[test]
fn what_comes_before_an_answer_is_handed_on_in_its_order() {
    let mut world = World::new();
    let upstream = world.manual.listen(ANY).unwrap();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = seen.clone();
    let request = http::Request::get("/").body(Body::empty()).unwrap();
    let connection = Client::default().connect(upstream.local_addr());
    let answer = connection.and_then(move |connection| {
        connection.send_with_interim(request, move |head| {
            log.borrow_mut().push((head.status().as_u16(), head.headers().len()));
        })
    });
    world.settle();
    let peer = upstream.accept().unwrap();
    peer.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    world.settle();
    assert_eq!((seen.take().as_slice(), answer.is_ready()), (&[(100, 0), (103, 1)][..], false));
    peer.send("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
    world.settle();
    let status = Rc::new(Cell::new(0));
    let told = status.clone();
    answer.map(move |answer| told.set(answer.status().as_u16())).report();
    assert_eq!((seen.take().as_slice(), status.get()), (&[(103, 0)][..], 204));
}

#[test]
fn a_panic_in_what_hears_of_interim_answers_ends_the_request_alone() {
    let mut world = World::new();
    let upstream = world.manual.listen(ANY).unwrap();
    let client = Client::default();
    let request = http::Request::get("/").body(Body::empty()).unwrap();
    let answer = client.connect(upstream.local_addr()).and_then(|connection| {
        connection.send_with_interim(request, |_| std::panic::resume_unwind(Box::new("on purpose")))
    });
    world.settle();
    let peer = upstream.accept().unwrap();
    peer.received();
    peer.send("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
    world.settle();
    answer.settled().done(|outcome| assert!(matches!(outcome, Outcome::Stop(_))));
    world.settle();
    assert!(is_closed(&peer) && client.idle() == 0);
}
