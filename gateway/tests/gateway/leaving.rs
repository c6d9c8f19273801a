//! What a client's leaving means: not sent, cancelled, or run to its end. One log line each.

use std::{
    io::{Read as _, Write as _},
    sync::{Arc, Condvar, Mutex},
};

use crate::common::{Gate, SOON, Upstream};

/// A door that an upstream waits behind until the test opens it.
#[derive(Clone, Default)]
struct Door(Arc<(Mutex<bool>, Condvar)>);

impl Door {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let shut = self.0.0.lock().unwrap();
        let (_open, late) = self.0.1.wait_timeout_while(shut, SOON, |open| !*open).unwrap();
        assert!(!late.timed_out(), "nobody opened");
    }
}

fn request(method: &str, cookie: &str) -> String {
    format!("{method} /slow HTTP/1.1\r\nHost: a\r\n{cookie}Content-Length: 0\r\n\r\n")
}

/// A line's status, outcome and upstream status.
fn said(line: &serde_json::Value) -> (u64, &str, Option<u64>) {
    (line["status"].as_u64().unwrap(), line["outcome"].as_str().unwrap(), line["upstream"].as_u64())
}

/// How many lines there are, once there are as many as there should be at least.
fn requests(gate: &Gate, expected: usize) -> usize {
    gate.access(expected);
    // Two lines for one request would be written by now: it is no longer in flight.
    assert_eq!(gate.metric("thence_gate_requests_in_flight"), 0.0);
    gate.log.all().iter().filter(|line| line["message"] == "request").count()
}

#[test]
fn a_safe_request_is_cancelled_and_its_connection_closed() {
    // Reads until the gateway closes: it must, or this hangs.
    let upstream = Upstream::start(|stream, got| {
        if got.line().starts_with("GET /slow") {
            let closed = matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_));
            assert!(closed);
            return false;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_ok()
    });
    let gate = Gate::before(upstream.address, &[]);
    let cookie = gate.cookie("42");
    let mut client = gate.client();
    client.send(request("GET", &cookie));
    upstream.got.wait_for(1, |_| true);
    client.leave();
    assert_eq!(said(&gate.access(1)[0]), (499, "cancelled", None));
    // The probe at the start was one connection; this is the other.
    upstream.closed.wait_for(2, |()| true);
    assert_eq!(gate.get("/", &cookie).status, 200);
    assert_eq!(requests(&gate, 2), 2, "one line each");
    assert_eq!(gate.metric("thence_gate_requests_in_flight"), 0.0);
}

#[test]
fn any_other_request_runs_to_its_end_and_keeps_its_connection() {
    let door = Door::default();
    let held = door.clone();
    let upstream = Upstream::start(move |stream, got| {
        if got.line().starts_with("POST") {
            held.wait();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").is_ok()
    });
    let gate = Gate::before(upstream.address, &[]);
    let cookie = gate.cookie("42");
    let mut client = gate.client();
    client.send(request("POST", &cookie));
    upstream.got.wait_for(1, |_| true);
    client.leave();
    gate.wait_for_metric("thence_gate_requests_left_behind", 1.0);
    assert_eq!(gate.get("/", &cookie).status, 200);
    door.open();
    let lines = gate.access(2);
    let post = lines.iter().find(|line| line["method"] == "POST").unwrap();
    assert_eq!(said(post), (499, "finished", Some(200)));
    assert_eq!(upstream.closed.all().len(), 1, "only the probe's connection has been closed");
    assert_eq!(requests(&gate, 2), 2);
}

#[test]
fn a_large_answer_to_nobody_is_not_read_to_its_end() {
    let door = Door::default();
    let held = door.clone();
    let upstream = Upstream::start(move |stream, got| {
        if got.line().starts_with("GET") {
            return stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_ok();
        }
        held.wait();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n");
        // Far more than any buffer on the way: this only ends when the gateway closes.
        for _ in 0..50 {
            if stream.write_all(&[b'x'; 1_000_000]).is_err() {
                return false;
            }
        }
        panic!("all of it was read");
    });
    let gate = Gate::before(upstream.address, &[]);
    let mut client = gate.client();
    client.send(request("POST", &gate.cookie("42")));
    upstream.got.wait_for(1, |_| true);
    client.leave();
    gate.wait_for_metric("thence_gate_requests_left_behind", 1.0);
    door.open();
    assert_eq!(said(&gate.access(1)[0]), (499, "finished", Some(200)));
    upstream.closed.wait_for(2, |()| true);
}

#[test]
fn leaving_in_the_middle_of_an_answer_is_one_line_with_the_status_that_was_sent() {
    let upstream = Upstream::start(move |stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n");
        while stream.write_all(&[b'x'; 100_000]).is_ok() {}
        false
    });
    let gate = Gate::before(upstream.address, &[]);
    let cookie = gate.cookie("42");
    for (method, outcome) in [("GET", "cancelled"), ("POST", "finished")] {
        let mut client = gate.client();
        client.send(request(method, &cookie));
        client.head();
        client.leave();
        let lines = gate.log.wait_for(1, |line| line["method"] == method);
        assert_eq!(said(&lines[0]), (200, outcome, Some(200)));
        assert_eq!(lines[0]["refused"], "client_left");
    }
    assert_eq!(requests(&gate, 2), 2);
}

#[test]
fn a_client_that_leaves_in_its_own_body_is_no_failure_of_the_upstream() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let gate = Gate::before(upstream.address, &[]);
    let cookie = gate.cookie("42");
    let mut client = gate.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{cookie}Content-Length: 100\r\n\r\nhalf"));
    client.leave();
    assert_eq!(said(&gate.access(1)[0]), (499, "not sent", None), "a small body is gathered first");
    assert!(upstream.got.all().is_empty());
    let mut client = gate.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{cookie}Content-Length: 99999\r\n\r\nhalf"));
    upstream.got.wait_for(0, |_| true);
    client.leave();
    let line = &gate.access(2)[1];
    assert_eq!(line["status"], 499);
    let page = gate.admin("/metrics").text();
    assert!(!page.contains("upstream_failures_total{"), "{page}");
}

#[test]
fn a_body_that_is_no_body_ends_its_connection() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let gate = Gate::before(upstream.address, &[]);
    let mut client = gate.client();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{}", gate.cookie("42"));
    client.send(head + "Transfer-Encoding: chunked\r\n\r\n5x\r\nhello\r\n");
    let answer = client.answer(false);
    assert_eq!((answer.status, answer.field("connection")), (400, Some("close")));
    assert!(client.is_closed());
    let line = &gate.access(1)[0];
    assert_eq!((&line["status"], &line["refused"]), (&400.into(), &"broken_body".into()));
}

#[test]
fn a_client_that_only_sends_no_more_gets_its_answer() {
    let door = Door::default();
    let held = door.clone();
    let upstream = Upstream::start(move |stream, _| {
        held.wait();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").is_ok()
    });
    let gate = Gate::before(upstream.address, &[]);
    let mut client = gate.client();
    client.send(request("GET", &gate.cookie("42")));
    upstream.got.wait_for(1, |_| true);
    client.sends_no_more();
    // It is asked whether it is there, which is no answer.
    assert!(client.head().starts_with("HTTP/1.1 102 "));
    door.open();
    let answer = client.answer(false);
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    assert_eq!(said(&gate.access(1)[0]), (200, "finished", Some(200)));
}
