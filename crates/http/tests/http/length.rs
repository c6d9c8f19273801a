//! An answer is as long as it says, or it is none.

use std::cell::Cell;
use std::rc::Rc;

use http::HeaderValue;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use thence_core::{Deferred, flow};
use thence_http::{Body, Request, Response};

use crate::common::world::{ASK, World, secs, whole};

fn streamed(chunks: &[&'static str]) -> Body {
    let (mut sender, body) = Body::channel(1024);
    for chunk in chunks {
        sender.send(*chunk).report();
    }
    sender.finish();
    body
}

fn answer(body: Body, lengths: &[&'static str]) -> Response {
    let mut response = Response::new(body);
    for length in lengths {
        response.headers_mut().append(CONTENT_LENGTH, HeaderValue::from_static(length));
    }
    response
}

/// Asks for `/first` and, on the same connection, for what follows; gives all that comes back, and
/// whether the connection is closed.
fn ask_twice(
    world: &mut World,
    method: &str,
    first: impl Fn() -> Response + 'static,
) -> (String, bool) {
    let server = world.serve(move |request: Request| {
        Deferred::ok(if request.uri().path() == "/first" { first() } else { whole() })
    });
    let peer = world.connect(&server);
    let all =
        format!("{method} /first HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    let heard = world.tell(&peer, &all);
    (heard, peer.is_at_end() || peer.is_reset())
}

#[test]
fn an_answer_whose_length_is_known_to_be_wrong_is_reported_and_answered_with_500() {
    let cases: [(fn() -> Body, &[&str], &str); 10] = [
        (|| Body::from("hello"), &["3"], "Content-Length is 3, but the body has 5 bytes"),
        (|| Body::from("hello"), &["10"], "Content-Length is 10, but the body has 5 bytes"),
        (|| streamed(&[]), &["1"], "Content-Length is 1, but the body has 0 bytes"),
        (Body::empty, &["1"], "Content-Length is 1, but the body has 0 bytes"),
        (|| Body::from("hello"), &["5", "5"], "there is more than one Content-Length"),
        (|| Body::from("hello"), &["5", "3"], "there is more than one Content-Length"),
        (|| Body::from("hello"), &["+5"], "Content-Length is \"+5\": expected a number"),
        (|| Body::from("hello"), &["5, 5"], "Content-Length is \"5, 5\": expected a number"),
        (|| streamed(&["hello"]), &["five"], "Content-Length is \"five\": expected a number"),
        (|| streamed(&["hello"]), &["0"], "Content-Length is 0, but the body is not empty"),
    ];
    for (body, lengths, report) in cases {
        let mut world = World::new();
        let (heard, is_closed) = ask_twice(&mut world, "GET", move || answer(body(), lengths));
        assert!(heard.starts_with("HTTP/1.1 500 "), "{lengths:?}: {heard}");
        assert!(heard.contains("connection: close") && !heard.contains("hello"), "{heard}");
        assert!(is_closed && !heard.contains("whole"), "{lengths:?}: {heard}");
        assert_eq!(world.reports(), [report]);
    }
}

#[test]
fn an_answer_that_turns_out_longer_or_shorter_is_reported_and_cut() {
    let cases: [(&[&str], &str, &str); 4] = [
        (&["hello"], "3", ""),
        (&["hel", "lo"], "3", ""),
        (&["hel", "lo"], "4", "hel"),
        (&["hello"], "10", "hello"),
    ];
    for (chunks, length, passed) in cases {
        let mut world = World::new();
        let chunks: &[_] = Box::leak(chunks.into());
        let (heard, is_closed) =
            ask_twice(&mut world, "GET", move || answer(streamed(chunks), &[length]));
        let body = heard.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        assert!(passed.starts_with(body), "{chunks:?} as {length}: {heard}");
        assert!(is_closed && !heard.contains("whole"), "{chunks:?} as {length}: {heard}");
        let what = if chunks.concat().len() > 4 && length != "10" { "longer" } else { "shorter" };
        assert_eq!(
            world.reports(),
            [format!("Content-Length is {length}, but the body is {what}")],
            "{chunks:?} as {length}"
        );
    }
}

#[test]
fn an_answer_of_the_right_length_is_followed_by_the_next() {
    let cases: [fn() -> Response; 4] = [
        || answer(Body::from("hello"), &["5"]),
        || answer(streamed(&["hel", "lo"]), &["5"]),
        || answer(streamed(&[]), &["0"]),
        || answer(Body::empty(), &["0"]),
    ];
    for first in cases {
        let mut world = World::new();
        let (heard, is_closed) = ask_twice(&mut world, "GET", first);
        assert_eq!(heard.matches("HTTP/1.1 200 OK").count(), 2, "{heard}");
        assert!(heard.ends_with("whole") && !is_closed, "{heard}");
    }
}

#[test]
fn what_an_answer_without_a_body_says_of_a_length_is_its_own_affair() {
    for (method, status, shown) in [("HEAD", 200, true), ("GET", 304, false), ("GET", 204, false)] {
        for body in ["", "hello"] {
            let mut world = World::new();
            let (heard, is_closed) = ask_twice(&mut world, method, move || {
                let mut response = answer(Body::from(body), &["10"]);
                *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
                response
            });
            assert_eq!(heard.contains("content-length: 10\r\n"), shown, "{heard}");
            assert!(!heard.contains("hello") && !is_closed, "{heard}");
            assert!(heard.ends_with("whole"), "{heard}");
        }
    }
}

#[test]
fn how_an_answer_is_framed_is_the_servers_affair() {
    let cases: [(&[&str], &[&str], &str); 5] = [
        (&["chunked"], &[], "200"),
        (&["Chunked"], &[], "200"),
        (&["gzip, chunked"], &[], "500"),
        (&["chunked", "chunked"], &[], "500"),
        (&["chunked"], &["5"], "500"),
    ];
    for (codings, lengths, status) in cases {
        let mut world = World::new();
        let (heard, _) = ask_twice(&mut world, "GET", move || {
            let mut response = answer(streamed(&["hello"]), lengths);
            for coding in codings {
                let coding = HeaderValue::from_static(coding);
                response.headers_mut().append(TRANSFER_ENCODING, coding);
            }
            response
        });
        assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")), "{codings:?}: {heard}");
        let is_served = status == "200";
        assert_eq!(heard.contains("\r\n5\r\nhello\r\n0\r\n\r\n"), is_served, "{heard}");
        assert_eq!(world.reports().is_empty(), is_served);
    }
}

#[test]
fn an_interim_status_is_no_answer() {
    let mut world = World::new();
    let (heard, is_closed) = ask_twice(&mut world, "GET", || {
        let mut response = whole();
        *response.status_mut() = http::StatusCode::EARLY_HINTS;
        response
    });
    assert!(heard.starts_with("HTTP/1.1 500 ") && is_closed, "{heard}");
    assert_eq!(world.reports(), ["103 Early Hints is no final answer"]);
}

/// It cannot be seen before its last byte has gone out; then its writer is told.
#[test]
fn who_writes_on_after_the_last_byte_is_told_that_nobody_reads() {
    let mut world = World::new();
    let kept = Rc::new(Cell::new(None));
    let sender = kept.clone();
    let (heard, is_closed) = ask_twice(&mut world, "GET", move || {
        let (mut sender, body) = Body::channel(1024);
        sender.send("hello").report();
        kept.set(Some(sender));
        answer(body, &["5"])
    });
    assert!(heard.contains("hello") && heard.ends_with("whole") && !is_closed, "{heard}");
    let mut sender = sender.take().unwrap();
    assert!(sender.reader_left());
    flow(async move { sender.send("more").await }).report();
    assert_eq!(world.reports(), ["nobody reads this body any more"]);
}

#[test]
fn an_answer_that_breaks_off_at_once_is_seen_to_have_begun() {
    let mut world = World::new();
    let server = world.serve(|_: Request| {
        let (sender, body) = Body::channel(10);
        sender.fail("the disk is gone");
        Deferred::ok(Response::new(body))
    });
    let peer = world.connect(&server);
    let heard = world.tell(&peer, ASK);
    assert!(heard.starts_with("HTTP/1.1 200 ") && !heard.contains("0\r\n\r\n"), "{heard}");
    world.pass(secs(2));
    assert!(peer.is_at_end() || peer.is_reset());
}
