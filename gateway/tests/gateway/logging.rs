//! What becomes of the log costs lines and nothing else.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

use crate::common::{Gate, Upstream, eventually};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_reader_of_the_log_that_is_gone_costs_lines_only() {
    let upstream = Upstream::answering(OK);
    let (mut gate, errors) =
        Gate::unread(&["--to", &upstream.address.to_string(), "--listen", "127.0.0.1:0"]);
    let cookie = gate.cookie("42");
    drop(errors);
    for _ in 0..3 {
        assert_eq!(gate.get("/", &cookie).status, 200);
    }
    assert_eq!(gate.admin("/livez").status, 200);
    eventually(|| (gate.metric("thence_gate_log_lines_lost_total") >= 3.0).then_some(()));
    gate.signal("TERM");
    assert_eq!(gate.wait().code(), Some(0));
}

#[test]
fn a_log_that_nobody_reads_holds_up_neither_requests_nor_the_end() {
    let upstream = Upstream::answering(OK);
    let (mut gate, mut errors) =
        Gate::unread(&["--to", &upstream.address.to_string(), "--listen", "127.0.0.1:0"]);
    let cookie = gate.cookie("42");
    // More than a pipe holds.
    let (path, count) = (format!("/{}", "x".repeat(4000)), 40);
    let mut client = gate.client();
    for _ in 0..count {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{cookie}\r\n"));
        assert_eq!(client.answer(false).status, 200);
    }
    assert_eq!(gate.admin("/livez").status, 200);
    drop(client);
    gate.signal("TERM");
    assert_eq!(gate.wait().code(), Some(0));
    let mut log = String::new();
    errors.read_to_string(&mut log).unwrap();
    assert!(log.lines().filter(|line| line.contains("\"request\"")).count() < count);
}

#[test]
fn a_full_disk_under_the_log_costs_lines_only() {
    // A file that is as full as a disk can be.
    if !fs::exists("/dev/full").unwrap() {
        return;
    }
    let upstream = Upstream::answering(OK);
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let gate =
        Gate::logging_to(&log, &["--to", &upstream.address.to_string(), "--listen", "127.0.0.1:0"]);
    let cookie = gate.cookie("42");
    fs::remove_file(&log).unwrap();
    std::os::unix::fs::symlink("/dev/full", &log).unwrap();
    gate.signal("USR1");
    eventually(|| {
        assert_eq!(gate.get("/", &cookie).status, 200);
        (gate.metric("thence_gate_log_lines_lost_total") >= 3.0).then_some(())
    });
    // There is room again, and a line says how many are missing.
    fs::remove_file(&log).unwrap();
    gate.signal("USR1");
    let said = eventually(|| {
        let log = fs::read_to_string(&log).unwrap_or_default();
        let line = log.lines().find(|line| line.contains("\"lost\""))?;
        serde_json::from_str::<serde_json::Value>(line).ok()
    });
    assert_eq!(said["message"], "log lines were lost");
    assert_eq!(said["lost"], gate.metric("thence_gate_log_lines_lost_total"));
}

#[test]
fn a_log_file_that_was_renamed_is_opened_anew_when_told() {
    let upstream = Upstream::answering(OK);
    let dir = tempfile::tempdir().unwrap();
    let (log, old) = (dir.path().join("log"), dir.path().join("log.1"));
    let gate =
        Gate::logging_to(&log, &["--to", &upstream.address.to_string(), "--listen", "127.0.0.1:0"]);
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o037, 0, "the world reads none");
    fs::rename(&log, &old).unwrap();
    gate.signal("USR1");
    eventually(|| log.exists().then_some(()));
    gate.get("/after", "");
    eventually(|| fs::read_to_string(&log).unwrap().contains("/after").then_some(()));
    assert!(!fs::read_to_string(&old).unwrap().contains("/after"));
}

#[test]
fn a_log_file_that_cannot_be_made_is_explained() {
    let ran = crate::common::gate(["--to", ":9", "--log", "/no/such/folder/log"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("/no/such/folder/log") && ran.err.contains("to do"), "{ran:?}");
}

#[test]
fn output_that_nobody_reads_is_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("sessions.db");
    crate::common::gate(["session", "create", "42", "--store", store.to_str().unwrap()]);
    let store = store.to_str().unwrap();
    for words in [
        &["--help"][..],
        &["--no-such-flag"],
        &["session", "list", "--store", store],
        &["session", "list", "--store", "/no/such/folder/sessions.db"],
        &["doctor", "--store", store],
    ] {
        let mut child = Command::new("sh")
            .args(["-c", "read wait; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_thence-gate")])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let code = child.wait().unwrap().code();
        assert!(matches!(code, Some(0 | 1 | 64)), "{words:?}: {code:?}");
    }
}

#[test]
fn a_failure_is_logged_with_its_trail_and_names_no_frames_on_the_loop() {
    let upstream = Upstream::start(|_, _| false);
    let gate = Gate::before(upstream.address, &[]);
    assert_eq!(gate.get("/", &gate.cookie("42")).status, 502);
    gate.access(1);
    let lines: Vec<_> = gate.log.all().iter().map(ToString::to_string).collect();
    assert!(lines.iter().any(|line| line.contains("    at gateway/src/upstream.rs")), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("backtrace:")), "{lines:?}");
}

#[test]
fn a_log_file_that_outgrows_a_limit_costs_lines_only() {
    let upstream = Upstream::answering(OK);
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let flags = ["--to", &upstream.address.to_string(), "--listen", "127.0.0.1:0"];
    let gate = Gate::logging_to(&log, &flags);
    let cookie = gate.cookie("42");
    let limit = fs::metadata(&log).unwrap().len() + 100;
    let limit = format!("prlimit --pid {} --fsize={limit}", gate.pid());
    if !Command::new("sh").args(["-c", &limit]).status().unwrap().success() {
        return; // Without prlimit it cannot be tried.
    }
    eventually(|| {
        assert_eq!(gate.get("/", &cookie).status, 200);
        (gate.metric("thence_gate_log_lines_lost_total") >= 2.0).then_some(())
    });
}
