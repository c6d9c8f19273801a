//! Which host a request is for is said once, and well; the rest is refused before a handler sees it.

use std::cell::Cell;
use std::rc::Rc;

use thence_core::Deferred;
use thence_http::{Request, Server};

use crate::common::world::{ANY, World, whole};

/// Asks once on a connection of its own. Gives the answer, whether the handler was asked, and
/// whether the connection is closed.
fn ask(head: &str) -> (String, bool, bool) {
    let mut world = World::new();
    let was_asked = Rc::new(Cell::new(false));
    let asked = was_asked.clone();
    let server = Server::bind(ANY).unwrap().serve(move |_: Request| {
        asked.set(true);
        Deferred::ok(whole())
    });
    let peer = world.connect(&server);
    let answer = world.tell(&peer, head);
    (answer, was_asked.get(), peer.is_at_end())
}

#[test]
fn a_request_that_names_its_host_once_and_well_is_served() {
    for head in [
        "GET / HTTP/1.0\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n",
        "GET / HTTP/1.1\r\nHost: a:\r\n",
        "GET / HTTP/1.1\r\nHost: A-b_c.example.:65535\r\n",
        "GET / HTTP/1.1\r\nHost: 127.0.0.1:80\r\n",
        "GET / HTTP/1.1\r\nHost: [::1]\r\n",
        "GET / HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n",
        "GET / HTTP/1.1\r\nHost: a%20b!$&'()*+,;=~\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: b\r\n",
        "GET http://[::1]:80/ HTTP/1.1\r\nHost: [::1]:80\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n",
    ] {
        let (answer, was_asked, _) = ask(&format!("{head}\r\n"));
        assert!(answer.ends_with("whole") && was_asked, "{head:?}: {answer}");
    }
}

#[test]
fn a_request_that_does_not_is_refused_before_its_handler_is_asked() {
    for head in [
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n",
        "GET / HTTP/1.1\r\nHost: a/c\r\n",
        "GET / HTTP/1.1\r\nHost: http://a\r\n",
        "GET / HTTP/1.1\r\nHost: a, b\r\n",
        "GET / HTTP/1.1\r\nHost: a\"b\r\n",
        "GET / HTTP/1.1\r\nHost: a\\b\r\n",
        "GET / HTTP/1.1\r\nHost: a?b\r\n",
        "GET / HTTP/1.1\r\nHost: a#b\r\n",
        "GET / HTTP/1.1\r\nHost: user@a\r\n",
        "GET / HTTP/1.1\r\nHost: user:word@a\r\n",
        "GET / HTTP/1.1\r\nHost: :80\r\n",
        "GET / HTTP/1.1\r\nHost: a:b\r\n",
        "GET / HTTP/1.1\r\nHost: a:+80\r\n",
        "GET / HTTP/1.1\r\nHost: a:65536\r\n",
        "GET / HTTP/1.1\r\nHost: a:80:80\r\n",
        "GET / HTTP/1.1\r\nHost: ::1\r\n",
        "GET / HTTP/1.1\r\nHost: [::1\r\n",
        "GET / HTTP/1.1\r\nHost: [::1]80\r\n",
        "GET / HTTP/1.1\r\nHost: [a]\r\n",
        "GET / HTTP/1.1\r\nHost: a%2\r\n",
        "GET / HTTP/1.1\r\nHost: a%zz\r\n",
        "GET / HTTP/1.1\r\nHost: \u{e4}\r\n",
        "GET http://user@a/ HTTP/1.1\r\nHost: a\r\n",
        "GET http://a:b/ HTTP/1.1\r\nHost: a\r\n",
        "GET http://a/ HTTP/1.1\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: b c\r\n",
        "CONNECT user@a:80 HTTP/1.1\r\nHost: a:80\r\n",
    ] {
        let (answer, was_asked, is_closed) = ask(&format!("{head}\r\n"));
        assert!(answer.contains(" 400 Bad Request\r\n"), "{head:?}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{head:?}: {answer}");
        assert!(is_closed && !was_asked, "{head:?}");
    }
}

/// What its client sends next is not HTTP (RFC 9110 §9.3.6).
#[test]
fn a_connect_that_is_answered_closes_its_connection() {
    let next = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (answer, was_asked, is_closed) =
        ask(&format!("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n{next}"));
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert!(was_asked && is_closed);
}

#[test]
fn a_request_whose_body_is_coded_in_a_way_that_nobody_undoes_is_refused() {
    let mut world = World::new();
    let server = world.server(|server| server);
    for (fields, status) in [
        ("Transfer-Encoding: chunked", "200"),
        ("Transfer-Encoding: Chunked", "200"),
        ("Transfer-Encoding: gzip, chunked", "501"),
        ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", "501"),
        ("Transfer-Encoding: chunked, chunked", "501"),
        ("Transfer-Encoding: chunked, gzip", "400"),
    ] {
        let peer = world.connect(&server);
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n");
        let heard = world.tell(&peer, &head);
        assert_eq!(heard.get(9..12), Some(status), "{fields}: {heard}");
    }
}
