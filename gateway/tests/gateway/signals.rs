//! Signals that tell the gateway something end nothing.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use crate::common::{Gate, Upstream, eventually, gate};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_signal_that_ends_nothing_says_what_it_did() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &[]);
    for signal in ["HUP", "USR1", "USR2"] {
        gate.signal(signal);
        gate.log.wait_for(1, |line| {
            line["message"].as_str().unwrap_or_default().contains(&format!("SIG{signal}"))
        });
    }
    assert_eq!(gate.get("/", &gate.cookie("42")).status, 200);
}

#[test]
fn what_is_unfinished_is_logged_when_asked_for() {
    let upstream = Upstream::start(|_, _| {
        std::thread::park();
        false
    });
    let gate = Gate::before(upstream.address, &[]);
    let mut client = gate.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", gate.cookie("42")));
    upstream.got.wait_for(1, |_| true);
    gate.signal("USR2");
    let said = gate.log.wait_for(1, |line| line["in_flight"] == 1);
    assert!(said[0]["places"].as_u64().unwrap() > 0);
    gate.log.wait_for(1, |line| {
        line["message"].as_str().unwrap_or_default().contains("unfinished at gateway/src/gate.rs")
    });
}

#[test]
fn a_signal_that_comes_during_the_start_is_obeyed_after_it() {
    let upstream = Upstream::answering(OK);
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("sessions.db");
    let store = store.to_str().unwrap();
    assert_eq!(gate(["session", "create", "42", "--store", store]).code, 0);
    // It cannot go on while somebody else has the store.
    let held = rusqlite::Connection::open(store).unwrap();
    held.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_thence-gate"))
        .args(["--to", &upstream.address.to_string(), "--store", store])
        .args(["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // SIGHUP, SIGUSR1 and SIGUSR2 are 1, 10 and 12.
    let all: u64 = 1 << 0 | 1 << 9 | 1 << 11;
    eventually(|| {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t"))?;
        (u64::from_str_radix(caught, 16).unwrap() & all == all).then_some(())
    });
    let pid = child.id();
    let kill = format!("kill -s HUP {pid}; kill -s USR1 {pid}; kill -s USR2 {pid}");
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    drop(held);
    let mut left: BTreeSet<_> = ["SIGHUP", "SIGUSR1", "SIGUSR2", "\"listening\""].into();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    for line in lines.map(Result::unwrap) {
        left.retain(|said| !line.contains(*said));
        if left.is_empty() {
            break;
        }
    }
    assert!(left.is_empty(), "{left:?}: {:?}", child.try_wait());
    child.kill().unwrap();
    child.wait().unwrap();
}
