//! A session that ends takes its requests in progress with it (S7).

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::common::{Gate, Upstream, eventually};

/// Sends an event now and then until the connection is closed.
fn events(stream: &mut TcpStream) -> bool {
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    let mut alive = stream.write_all(head).is_ok();
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    while alive {
        alive = stream.write_all(b"data: x\n\n").is_ok() && is_open(stream);
    }
    false
}

fn is_open(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 1]) {
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        Ok(read) => read > 0,
    }
}

fn get(cookie: &str) -> String {
    format!("GET /events HTTP/1.1\r\nHost: a\r\n{cookie}\r\n")
}

#[test]
fn a_stream_of_a_revoked_session_ends_within_a_second_and_no_other() {
    let upstream = Upstream::start(|stream, _| events(stream));
    let gate = Gate::before(upstream.address, &[]);
    let (mut revoked, mut other) = (gate.client(), gate.client());
    revoked.send(get(&gate.cookie("42")));
    other.send(get(&gate.cookie("43")));
    revoked.has_come("data: x");
    other.has_come("data: x");
    gate.session(&["revoke", "--account", "42"]);
    let since = Instant::now();
    assert!(!revoked.answer(false).whole, "the client sees that it was cut");
    assert!(since.elapsed() < Duration::from_millis(1000), "{:?}", since.elapsed());
    upstream.closed.wait_for(1, |()| true);
    let line = &gate.access(1)[0];
    assert_eq!((&line["status"], &line["refused"]), (&200.into(), &"session_ended".into()));
    assert_eq!((&line["account"], &line["outcome"]), (&"42".into(), &"cancelled".into()));
    assert_eq!(gate.metric("thence_gate_requests_in_flight"), 1.0, "the other goes on");
    drop(other);
}

#[test]
fn a_stream_of_a_session_that_ends_during_the_drain_is_cut_and_the_drain_is_over() {
    let upstream = Upstream::start(|stream, _| events(stream));
    let mut gate = Gate::before(upstream.address, &[]);
    let mut client = gate.client();
    client.send(get(&gate.cookie("42")));
    client.has_come("data: x");
    gate.signal("TERM");
    gate.log.wait_for(1, |line| line["message"] == "draining");
    gate.session(&["revoke", "--account", "42"]);
    assert!(!client.answer(false).whole);
    drop(client);
    assert_eq!(gate.wait().code(), Some(0), "nothing was cut by the end of the drain");
}

#[test]
fn a_second_signal_ends_a_stream_without_a_fault() {
    for method in ["GET", "POST"] {
        let upstream = Upstream::start(|stream, _| events(stream));
        let mut gate = Gate::before(upstream.address, &[]);
        let mut client = gate.client();
        client.send(get(&gate.cookie("42")).replace("GET", method));
        client.has_come("data: x");
        gate.signal("TERM");
        gate.log.wait_for(1, |line| line["message"] == "draining");
        gate.signal("TERM");
        assert_eq!(gate.wait().code(), Some(2));
        let line = &gate.access(1)[0];
        assert_eq!((&line["outcome"], &line["refused"]), (&"cancelled".into(), &"draining".into()));
        let is_panic = |line: &&serde_json::Value| line.to_string().contains("panic");
        assert_eq!(gate.log.all().iter().filter(is_panic).count(), 0, "{method}");
    }
}

#[test]
fn a_stream_whose_client_reads_nothing_is_cut_at_the_upstream() {
    let upstream = Upstream::start(|stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 90000000\r\n\r\n");
        while stream.write_all(&[b'x'; 100_000]).is_ok() {}
        false
    });
    let gate = Gate::before(upstream.address, &[]);
    let mut client = gate.client();
    client.send(get(&gate.cookie("42")));
    client.head();
    gate.session(&["revoke", "--account", "42"]);
    upstream.closed.wait_for(1, |()| true);
    assert_eq!(gate.access(1)[0]["refused"], "session_ended");
    drop(client);
}

#[test]
fn a_request_that_waits_for_its_answer_is_401_when_its_session_ends() {
    let upstream = Upstream::start(|stream, _| {
        while is_open(stream) {}
        false
    });
    let gate = Gate::before(upstream.address, &[]);
    let mut client = gate.client();
    let cookie = gate.cookie("42");
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{cookie}Content-Length: 2\r\n\r\nhi"));
    upstream.got.wait_for(1, |_| true);
    gate.session(&["revoke", "--account", "42"]);
    let answer = client.answer(false);
    assert_eq!(answer.status, 401);
    assert!(answer.text().contains("session_ended"), "{}", answer.text());
    upstream.closed.wait_for(1, |()| true);
    let line = &gate.access(1)[0];
    assert_eq!((&line["status"], &line["outcome"]), (&401.into(), &"cancelled".into()));
}

#[test]
fn an_upload_of_a_revoked_session_is_cut() {
    let upstream = Upstream::start(|_, _| true);
    let gate = Gate::before(upstream.address, &[]);
    let mut client = gate.client();
    let cookie = gate.cookie("42");
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{cookie}Transfer-Encoding: chunked\r\n\r\n");
    client.send(head + "2\r\nhi\r\n");
    eventually(|| (gate.metric("thence_gate_requests_in_flight") == 1.0).then_some(()));
    gate.session(&["revoke", "--account", "42"]);
    assert_eq!(client.answer(false).status, 401);
    upstream.closed.wait_for(1, |()| true);
    assert_eq!(gate.access(1)[0]["refused"], "session_ended");
}

#[test]
fn a_session_that_runs_out_ends_its_stream() {
    let upstream = Upstream::start(|stream, _| events(stream));
    let gate = Gate::before(upstream.address, &[]);
    let made = gate.session(&["create", "42", "--ttl", "1s"]).out;
    let mut client = gate.client();
    client.send(get(&format!("Cookie: {}\r\n", made.trim_end())));
    while !client.is_closed() {}
    assert_eq!(gate.access(1)[0]["refused"], "session_ended");
}
