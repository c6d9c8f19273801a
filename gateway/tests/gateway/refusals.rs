//! Requests that get an answer of the gateway's own (rules 65 to 71, S8, S11, S12).

use std::io::Write as _;

use crate::common::{Gate, Upstream, eventually};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn no_session_is_401_and_costs_no_store_operation() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &[]);
    for fields in ["", "Cookie: a=1\r\n", "Cookie: sessionId=garbage\r\n"] {
        let answer = gate.get("/hello", fields);
        assert_eq!(answer.status, 401);
        assert!(answer.field("www-authenticate").unwrap().starts_with("Cookie realm="));
        assert_eq!(answer.field("cache-control"), Some("no-store"));
        assert_eq!(answer.field("set-cookie"), None);
    }
    assert!(upstream.got.all().is_empty());
    assert_eq!(gate.metric("thence_gate_session_lookup_seconds_count"), 0.0, "S11, S1");
    assert_eq!(gate.metric("thence_gate_session_lookups_total{result=\"malformed\"}"), 1.0);
}

#[test]
fn two_different_cookies_are_400() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &[]);
    let fields = gate.cookie("42") + &gate.cookie("43");
    assert_eq!(gate.get("/", &fields).status, 400);
    assert!(upstream.got.all().is_empty());
}

#[test]
fn a_revoked_session_is_401_from_the_next_request_on() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &[]);
    let cookie = gate.cookie("42");
    assert_eq!(gate.get("/", &cookie).status, 200);
    gate.session(&["revoke", "--account", "42"]);
    assert_eq!(gate.get("/", &cookie).status, 401);
    assert_eq!(gate.metric("thence_gate_session_lookups_total{result=\"revoked\"}"), 1.0);
}

#[test]
fn a_store_that_fails_is_503_and_never_401() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &[]);
    let cookie = gate.cookie("42");
    let store = rusqlite::Connection::open(gate.store()).unwrap();
    store.execute_batch("ALTER TABLE session RENAME TO away").unwrap();
    let answer = gate.get("/", &cookie);
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
    assert_eq!(answer.field("set-cookie"), None);
    let ready = |status| eventually(|| (gate.admin("/readyz").status == status).then_some(()));
    ready(503);
    assert_eq!(gate.admin("/livez").status, 200);
    store.execute_batch("ALTER TABLE away RENAME TO session").unwrap();
    assert_eq!(gate.get("/", &cookie).status, 200);
    ready(200);
}

#[test]
fn an_upstream_that_is_gone_is_502_and_not_named() {
    let upstream = Upstream::start(|_, _| false);
    let gate = Gate::before(upstream.address, &[]);
    let answer = gate.get("/", &gate.cookie("42"));
    assert_eq!(answer.status, 502);
    let port = upstream.address.port().to_string();
    assert!(!answer.head.contains(&port) && !answer.text().contains(&port), "rule 71");
    let id = answer.field("x-request-id").unwrap().to_owned();
    assert!(answer.text().contains(&id));
    let line = &gate.access(1)[0];
    assert_eq!((&line["status"], &line["request_id"]), (&502.into(), &id.into()));
}

#[test]
fn an_upstream_that_talks_nonsense_is_502() {
    let upstream = Upstream::answering("HTTP/9 yes\r\n\r\n");
    let gate = Gate::before(upstream.address, &[]);
    assert_eq!(gate.get("/", &gate.cookie("42")).status, 502);
}

#[test]
fn a_failure_leaves_its_trail_in_the_log() {
    let upstream = Upstream::start(|_, _| false);
    let gate = Gate::before(upstream.address, &[]);
    gate.get("/", &gate.cookie("42"));
    let failed = gate.log.wait_for(1, |line| {
        line["message"].as_str().is_some_and(|text| text.contains("upstream_broken"))
    });
    let text = failed[0]["message"].as_str().unwrap();
    assert!(
        text.contains("gateway/src/") && text.contains("(exchange with the upstream)"),
        "{text}"
    );
}

#[test]
fn an_answer_that_breaks_off_is_seen_to() {
    let upstream = Upstream::start(|stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        false
    });
    let gate = Gate::before(upstream.address, &[]);
    let answer = gate.get("/", &gate.cookie("42"));
    assert_eq!(answer.status, 200);
    assert!(!answer.whole, "rule 59");
    assert_eq!(gate.access(1)[0]["refused"], "upstream_broke_off");
}

#[test]
fn browsers_get_a_page() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &[]);
    let answer = gate.get("/", "Accept: text/html,*/*;q=0.8\r\n");
    assert!(answer.field("content-type").unwrap().starts_with("text/html"));
    assert!(answer.text().contains("<h1>401"));
}

#[test]
fn a_safe_request_on_a_connection_that_died_is_sent_once_more() {
    // Each connection is closed after its first answer, without saying so.
    let upstream = Upstream::start(|stream, got| {
        let first = stream.write_all(OK.as_bytes()).is_ok();
        first && got.line().contains("/keep")
    });
    let gate = Gate::before(upstream.address, &[]);
    let cookie = gate.cookie("42");
    for _ in 0..20 {
        assert_eq!(gate.get("/", &cookie).status, 200);
        // The second request may find the pooled connection closing.
        assert_eq!(gate.get("/", &cookie).status, 200);
    }
    assert_eq!(gate.access(40).iter().filter(|line| line["status"] == 200).count(), 40);
}

#[test]
fn a_post_is_never_sent_twice() {
    let upstream = Upstream::start(|stream, got| {
        !got.line().starts_with("POST") && stream.write_all(OK.as_bytes()).is_ok()
    });
    let gate = Gate::before(upstream.address, &[]);
    let cookie = gate.cookie("42");
    gate.get("/", &cookie);
    let post = format!("POST / HTTP/1.1\r\nHost: a\r\n{cookie}Content-Length: 1\r\n\r\nx");
    assert_eq!(gate.ask(&post).status, 502);
    let posts = upstream.got.all().iter().filter(|got| got.line().starts_with("POST")).count();
    assert_eq!(posts, 1);
    assert_eq!(gate.metric("thence_gate_retries_total"), 0.0);
}

#[test]
fn what_is_in_the_cookie_and_the_query_is_not_logged() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &[]);
    let cookie = gate.cookie("42");
    gate.get("/x?token=s3cret", &cookie);
    let line = &gate.access(1)[0];
    assert_eq!(line["path"], "/x?token=..");
    assert_eq!(line["account"], "42");
    let secret = cookie.trim_end().rsplit('=').next().unwrap();
    let log: String = gate.log.all().iter().map(ToString::to_string).collect();
    assert!(!log.contains("s3cret") && !log.contains(secret));
    assert_eq!(gate.log.all().iter().filter(|line| line["message"] == "request").count(), 1);
}
