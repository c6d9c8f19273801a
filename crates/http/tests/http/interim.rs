//! What a server says before it answers.

use std::cell::RefCell;
use std::rc::Rc;

use http::header::{CONTENT_LENGTH, HeaderValue, LINK};
use http::{HeaderMap, StatusCode};
use thence_core::{Deferred, Trigger};
use thence_http::{Body, Interim, Request, Response, ServerHandle};

use crate::common::world::{ASK, World, whole};

const HINTS: StatusCode = StatusCode::EARLY_HINTS;
const HINT: &str = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n";

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(LINK, HeaderValue::from_static("</style.css>"));
    // Of a body that an interim answer does not have.
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
    headers
}

/// What a handler has left for the test to answer by, a request after the other.
type Asked = Rc<RefCell<Vec<(Interim, Trigger<Response>)>>>;

fn asked(world: &mut World) -> (ServerHandle, Asked) {
    let asked = Asked::default();
    let log = asked.clone();
    let server = world.serve(move |request: Request| {
        let (trigger, answer) = Deferred::new();
        log.borrow_mut().push((request.interim(), trigger));
        answer
    });
    (server, asked)
}

#[test]
fn hints_go_out_before_the_answer_and_none_after_it_has_begun() {
    let mut world = World::new();
    let (server, asked) = asked(&mut world);
    let peer = world.connect(&server);
    for _ in 0..2 {
        assert_eq!(world.tell(&peer, ASK), "");
        let (interim, answer) = asked.borrow_mut().pop().unwrap();
        for _ in 0..2 {
            assert!(interim.send(HINTS, &headers()));
            assert_eq!(world.hear(&peer), HINT);
        }
        let (mut sender, body) = Body::channel(1024);
        sender.send("begin ").report();
        answer.fire(Response::new(body));
        assert!(world.hear(&peer).starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(!interim.send(HINTS, &headers()), "the answer has begun");
        sender.send("end").report();
        sender.finish();
        assert!(world.hear(&peer).ends_with("3\r\nend\r\n0\r\n\r\n"));
        assert!(!interim.send(HINTS, &headers()), "it was another request");
    }
    drop(peer);
    world.settle();
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_client_hears_only_what_it_understands() {
    let mut world = World::new();
    let (server, asked) = asked(&mut world);
    for (head, statuses, heard) in [
        ("GET / HTTP/1.0\r\n\r\n", vec![100, 103], ""),
        (ASK, vec![100, 101, 200, 304], ""),
        (ASK, vec![102], "HTTP/1.1 102 Processing\r\n\r\n"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
            // The second one nobody waits for.
            vec![100, 100],
            "HTTP/1.1 100 Continue\r\n\r\n",
        ),
    ] {
        let peer = world.connect(&server);
        assert_eq!(world.tell(&peer, head), "");
        let (interim, answer) = asked.borrow_mut().pop().unwrap();
        for status in statuses {
            interim.send(StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
        }
        assert_eq!(world.hear(&peer), heard, "{head}");
        answer.fire(whole());
        peer.send("x");
        assert!(world.hear(&peer).ends_with("whole"));
    }
}

#[test]
fn hints_never_get_into_the_middle_of_the_answer_before() {
    let mut world = World::new();
    world.manual.set_capacity(1000);
    let (server, asked) = asked(&mut world);
    let peer = world.connect(&server);
    peer.send(ASK.repeat(2));
    world.settle();
    let (_, answer) = asked.borrow_mut().pop().unwrap();
    // More than the connection and the reactor hold: hyper keeps the end of it.
    answer.fire(Response::new(Body::from("x".repeat(300_000))));
    let (mut heard, mut sent) = (String::new(), None);
    loop {
        world.settle();
        if sent.is_none()
            && let Some((interim, _)) = asked.borrow().last()
        {
            sent = Some(interim.send(HINTS, &headers()));
        }
        let more = world.hear(&peer);
        if more.is_empty() {
            break;
        }
        heard += &more;
    }
    assert_eq!(sent, Some(true));
    let (_, answer) = asked.borrow_mut().pop().unwrap();
    answer.fire(whole());
    heard += &world.hear(&peer);
    let (first, rest) = heard.split_once(&"x".repeat(300_000)).expect("it came whole");
    assert!(first.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(rest.starts_with(HINT) && rest.ends_with("whole"), "{rest}");
}

#[test]
fn hints_for_a_client_that_does_not_read_are_dropped_sooner_or_later() {
    let mut world = World::new();
    world.manual.set_capacity(1000);
    let (server, asked) = asked(&mut world);
    let peer = world.connect(&server);
    peer.send(ASK);
    world.settle();
    let (interim, answer) = asked.borrow_mut().pop().unwrap();
    let mut sent = 0;
    while interim.send(HINTS, &headers()) {
        sent += 1;
        world.settle();
        assert!(sent < 2000, "they pile up");
    }
    answer.fire(whole());
    let mut heard = String::new();
    for _ in 0..200 {
        heard += &world.hear(&peer);
    }
    assert_eq!(heard.matches(HINT).count(), sent);
    assert!(heard.ends_with("whole"));
}
