//! Starting, the demo, health, and stopping under load.

use std::{
    io::{BufRead as _, Read as _, Write as _},
    net::TcpListener,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use crate::common::{Client, Gate, Lines, Upstream};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn health_and_metrics_are_on_a_listener_of_their_own() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &[]);
    assert_eq!(gate.admin("/livez").status, 200);
    assert_eq!(gate.admin("/readyz").status, 200);
    assert_eq!(gate.admin("/other").status, 404);
    let cookie = gate.cookie("42");
    // No path of the public port is special (rule 74).
    assert_eq!(gate.get("/metrics", "").status, 401);
    assert_eq!(gate.get("/livez", &cookie).text(), "hello");
    let page = gate.admin("/metrics");
    assert!(page.field("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    assert!(page.text().contains("thence_gate_requests_total{route=\"/\",code=\"200\""));
}

#[test]
fn the_demos_lines_do_what_they_say() {
    let mut gate = Gate::start(&["--listen", "127.0.0.1:0"]);
    let mut printed = Vec::new();
    for line in gate.stdout().lines() {
        printed.push(line.unwrap());
        if printed.last().unwrap().starts_with("then:") {
            break;
        }
    }
    let command = |n: usize| {
        let line = printed.iter().find(|line| line.starts_with(&format!("  {n}  "))).unwrap();
        let line = line[5..].split("  ").next().unwrap().to_owned();
        std::process::Command::new("sh").args(["-c", &line]).output().unwrap()
    };
    let out = |n| String::from_utf8(command(n).stdout).unwrap();
    if std::process::Command::new("curl").arg("--version").output().is_err() {
        return; // Without curl the lines cannot be tried.
    }
    assert!(out(1).starts_with("HTTP/1.1 401"));
    let hello = out(2);
    assert!(hello.starts_with("HTTP/1.1 200"), "{hello}");
    assert!(hello.to_ascii_lowercase().contains("x-account-id: 42"), "{hello}");
    assert!(hello.contains("/v1/42"), "{hello}");
    assert_eq!(command(3).status.code(), Some(28), "curl gave up");
    let left = gate.log.wait_for(1, |line| line["status"] == 499);
    assert_eq!((&left[0]["outcome"], &left[0]["upstream"]), (&"finished".into(), &200.into()));
    assert_eq!(command(4).status.code(), Some(0));
    gate.log.wait_for(1, |line| {
        line.to_string().contains("gateway/src/demo") && line.to_string().contains("blocked")
    });
    assert!(out(5).contains("502"));
    gate.log.wait_for(1, |line| {
        let text = line["message"].as_str().unwrap_or_default();
        text.contains("upstream") && text.contains("gateway/src/")
    });
    assert_eq!(out(6), "revoked 1 session of account 42\n");
    assert!(out(2).starts_with("HTTP/1.1 401"));
}

#[test]
fn a_signal_ends_it_when_nothing_is_left_to_do() {
    let upstream = Upstream::answering(OK);
    let mut gate = Gate::before(upstream.address, &[]);
    let mut idle = gate.client();
    idle.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", gate.cookie("42")));
    assert_eq!(idle.answer(false).status, 200);
    gate.signal("TERM");
    assert_eq!(gate.wait().code(), Some(0));
    assert!(idle.is_closed());
}

#[test]
fn what_is_being_answered_when_the_signal_comes_is_answered() {
    let drains = Lines::default();
    let waits = drains.clone();
    let upstream = Upstream::start(move |stream, _| {
        waits.wait_for(1, |()| true);
        stream.write_all(OK.as_bytes()).is_ok()
    });
    let mut gate = Gate::before(upstream.address, &[]);
    let cookie = gate.cookie("42");
    let mut client = gate.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{cookie}\r\n"));
    upstream.got.wait_for(1, |_| true);
    gate.signal("TERM");
    gate.log.wait_for(1, |line| line["message"] == "draining");
    drains.push(());
    let answer = client.answer(false);
    assert_eq!(answer.text(), "hello");
    assert!(client.is_closed());
    assert_eq!(gate.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    // Says nothing, until the gateway is gone.
    let upstream = Upstream::start(|stream, _| {
        let _ = stream.read(&mut [0; 1]);
        false
    });
    let mut gate = Gate::before(upstream.address, &[]);
    let mut client = gate.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", gate.cookie("42")));
    upstream.got.wait_for(1, |_| true);
    gate.signal("TERM");
    gate.log.wait_for(1, |line| line["message"] == "draining");
    gate.signal("TERM");
    assert_eq!(gate.wait().code(), Some(2));
}

#[test]
fn a_signal_under_load_cuts_and_mixes_nothing() {
    let upstream = Upstream::start(|stream, got| {
        let name = got.line().split(' ').nth(1).unwrap();
        let body = format!("{name} {}", "x".repeat(2000));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).is_ok()
    });
    let mut gate = Gate::before(upstream.address, &[]);
    let cookie = gate.cookie("42");
    let (address, answered) = (gate.address, AtomicUsize::new(0));
    let (turned_away, dropped) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for worker in 0..CLIENTS {
            let (cookie, answered) = (&cookie, &answered);
            let (turned_away, dropped) = (&turned_away, &dropped);
            scope.spawn(move || {
                let Some(mut client) = Client::try_to(address) else { return };
                let mut is_fresh = true;
                for number in 0.. {
                    let path = format!("/{worker}-{number}");
                    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{cookie}\r\n");
                    if !client.try_send(&request) || client.is_closed() {
                        // Not a byte of an answer.
                        let count = if is_fresh { turned_away } else { dropped };
                        count.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                    let answer = client.answer(false);
                    assert!(answer.whole && answer.status == 200, "cut: {}", answer.head);
                    assert!(answer.text().starts_with(&format!("{path} ")), "mixed up");
                    answered.fetch_add(1, Ordering::Relaxed);
                    is_fresh = answer.field("connection") == Some("close");
                    if is_fresh {
                        let Some(fresh) = Client::try_to(address) else { return };
                        client = fresh;
                    }
                }
            });
        }
        while answered.load(Ordering::Relaxed) < 4000 {
            thread::yield_now();
        }
        gate.signal("TERM");
        assert_eq!(gate.wait().code(), Some(0));
    });
    assert_eq!(dropped.into_inner(), 0, "a connection that was served is not dropped unsaid");
    // The kernel took these before the listener closed, and the gateway did not any more.
    assert!(turned_away.into_inner() <= CLIENTS, "each once, and then it is refused");
    assert!(gate.access(answered.into_inner()).iter().all(|line| line["status"] == 200));
}

const CLIENTS: usize = 16;

#[test]
fn an_application_that_is_not_up_yet_is_said_and_found_when_it_is() {
    // Where no other test binds, so that nobody is there.
    let closed = TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap();
    let gate = Gate::before(closed, &[]);
    let is_said = |line: &serde_json::Value| line.to_string().contains("cannot be reached yet");
    let said = gate.log.wait_for(1, is_said);
    assert_eq!(said[0]["level"], "WARN");
    assert!(said[0].to_string().contains(&closed.to_string()));
    let cookie = gate.cookie("42");
    assert_eq!(gate.get("/", &cookie).status, 502);
    let listener = TcpListener::bind(closed).unwrap();
    let application = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        stream.write_all(OK.as_bytes()).unwrap();
    });
    assert_eq!(gate.get("/", &cookie).text(), "hello");
    application.join().unwrap();
    assert_eq!(gate.log.all().iter().filter(|line| is_said(line)).count(), 1);
}

#[test]
fn a_name_without_an_address_is_502_until_it_has_one() {
    let gate = Gate::start(&["--to", "no-such-host.invalid:80", "--listen", "127.0.0.1:0"]);
    gate.log.wait_for(1, |line| line.to_string().contains("no-such-host.invalid:80"));
    let cookie = gate.cookie("42");
    assert_eq!(gate.get("/", &cookie).status, 502);
}
