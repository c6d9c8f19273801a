//! What crosses the gateway, byte by byte, and what does not (rules 43 to 52).

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
};

use crate::common::{Gate, Lines, Upstream};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn a_live_session_reaches_the_upstream_with_its_identity() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &[]);
    let answer = gate.get("/hello", &gate.cookie("42"));
    assert_eq!((answer.status, &answer.text()[..]), (200, "hello"));
    let got = &upstream.got.all()[0];
    assert_eq!(got.line(), "GET /hello HTTP/1.1");
    assert_eq!(got.field("x-account-id"), Some("42"));
    assert_eq!(got.field("x-session-id").map(str::len), Some(24));
    assert_eq!(got.field("host"), Some("app.test"));
    assert_eq!(got.field("x-forwarded-host"), Some("app.test"));
    assert_eq!(got.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(got.field("x-forwarded-proto"), Some("http"));
    assert_eq!(got.field("via"), Some("1.1 thence-gate"));
    assert_eq!(got.field("cookie"), None, "the gateway's cookie stays here (S13)");
    assert_eq!(got.field("x-request-id"), answer.field("x-request-id"));
}

#[test]
fn a_forged_or_nominated_identity_changes_nothing() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &[]);
    let fields = gate.cookie("42")
        + "X_Account_Id: 1\r\nx-account-id: 1\r\nX-ACCOUNT-ID: 1\r\nForwarded: for=1\r\n\
           X-Forwarded-For: 1\r\nConnection: keep-alive, X-Account-Id, cookie, x-mine\r\nX-Mine: 1\r\n";
    assert_eq!(gate.get("/", &fields).status, 200, "the cookie was read first (rule 45)");
    let got = &upstream.got.all()[0];
    assert_eq!(got.field("x-account-id"), Some("42"));
    assert_eq!(got.head.to_ascii_lowercase().replace('_', "-").matches("x-account-id").count(), 1);
    assert_eq!(got.field("x-forwarded-for"), Some("127.0.0.1"));
    for gone in ["x-mine", "forwarded", "x_account_id"] {
        assert_eq!(got.field(gone), None, "{gone}");
    }
}

#[test]
fn an_identity_forged_behind_the_body_stays_here() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &[]);
    let mut client = gate.client();
    let cookie = gate.cookie("42");
    for _ in 0..2 {
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{cookie}Transfer-Encoding: chunked\r\n\
             Trailer: X-Account-Id\r\n\r\n3\r\nabc\r\n0\r\nX-Account-Id: 1\r\n\r\n"
        ));
        // That the second is understood shows that nothing was left between them.
        assert_eq!(client.answer(false).status, 200);
    }
    for got in upstream.got.all() {
        assert_eq!((got.field("trailer"), &got.body[..]), (None, &b"abc"[..]));
    }
}

#[test]
fn other_cookies_pass() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &[]);
    let cookie = gate.cookie("42").replace("Cookie: ", "Cookie: a=1; ");
    gate.get("/", &cookie.replace("\r\n", "; b=2\r\n"));
    assert_eq!(upstream.got.all()[0].field("cookie"), Some("a=1; b=2"));
}

#[test]
fn path_and_query_keep_their_bytes() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &[]);
    let cookie = gate.cookie("42");
    for path in ["/a//b/../c;v=1", "/%2f%2E%7e?q=%20&&x", "/?", "/x?a=b?c"] {
        assert_eq!(gate.get(path, &cookie).status, 200, "{path}");
        let got = upstream.got.all();
        assert_eq!(got.last().unwrap().line(), format!("GET {path} HTTP/1.1"));
    }
}

#[test]
fn a_rewritten_path_carries_the_account_and_what_was_asked() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &["--rewrite", "/v1/{account}"]);
    gate.get("/hello?a=1", &gate.cookie("a@b.example"));
    let got = &upstream.got.all()[0];
    assert_eq!(got.line(), "GET /v1/a@b.example?a=1 HTTP/1.1");
    assert_eq!(got.field("x-forwarded-uri"), Some("/hello?a=1"));
    assert_eq!(got.field("x-account-id"), Some("a@b.example"));
}

#[test]
fn nobody_reaches_the_path_of_another_account() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &["--rewrite", "/v1/{account}{path}"]);
    let cookie = gate.cookie("42");
    for path in ["/../43/d", "/%2e%2e/43/d", "/x%2f..%2f..%2f43", "/..;/43/d", "/..\\43/d"] {
        let answer = gate.get(path, &cookie);
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.text().contains("unsafe_path"), "{answer:?}");
    }
    let answer = gate.get("/d", &gate.cookie("42/../43"));
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("unsafe_account"), "{answer:?}");
    assert!(upstream.got.all().is_empty());
    assert_eq!(gate.get("/a//./b;c?d=../e", &cookie).status, 200);
    assert_eq!(upstream.got.all()[0].line(), "GET /v1/42/a//./b;c?d=../e HTTP/1.1");
}

#[test]
fn bodies_go_both_ways_by_length_and_in_chunks() {
    let upstream = Upstream::start(|stream, got| {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", got.body.len());
        stream.write_all(answer.as_bytes()).is_ok() && stream.write_all(&got.body).is_ok()
    });
    let gate = Gate::before(upstream.address, &[]);
    let cookie = gate.cookie("42");
    let body = "x".repeat(300_000);
    let head = format!("POST /up HTTP/1.1\r\nHost: a\r\n{cookie}");
    let sized = gate.ask(&format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
    assert_eq!((sized.status, sized.body.len()), (200, body.len()));
    assert_eq!(sized.field("content-length"), Some("300000"));
    let chunks = format!("{:x}\r\n{body}\r\n3\r\nabc\r\n0\r\n\r\n", body.len());
    let chunked = gate.ask(&format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}"));
    assert_eq!((chunked.status, chunked.body.len()), (200, body.len() + 3));
    let got = upstream.got.all();
    assert_eq!(got[0].field("content-length"), Some("300000"));
    assert_eq!(got[1].field("transfer-encoding"), Some("chunked"));
}

#[test]
fn answers_without_a_body_have_none() {
    let upstream = Upstream::start(|stream, got| {
        let answer = match got.line().split(' ').nth(1).unwrap() {
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        };
        stream.write_all(answer.as_bytes()).is_ok()
    });
    let gate = Gate::before(upstream.address, &[]);
    let cookie = gate.cookie("42");
    let mut client = gate.client();
    for (method, path, status) in [("HEAD", "/", 200), ("GET", "/204", 204), ("GET", "/304", 304)] {
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{cookie}\r\n"));
        let answer = client.answer(method == "HEAD");
        assert_eq!(answer.status, status, "{path}");
        let length = (method == "HEAD").then_some("5");
        assert_eq!(answer.field("content-length"), length, "{path}");
    }
    assert!(gate.access(3).iter().all(|line| line["outcome"] == "finished"));
}

#[test]
fn a_chunked_answer_comes_as_it_is_made() {
    let seen = Lines::default();
    let waits = seen.clone();
    let upstream = Upstream::start(move |stream, got| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nKeep-Alive: x\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(b"5\r\nfirst\r\n").unwrap();
        // The rest waits until the client has seen the beginning.
        if got.line().starts_with("GET /held") {
            waits.wait_for(1, |()| true);
        }
        stream.write_all(b"4\r\nlast\r\n0\r\n\r\n").is_ok()
    });
    let gate = Gate::before(upstream.address, &[]);
    let mut client = gate.client();
    client.send(format!("GET /held HTTP/1.1\r\nHost: a\r\n{}\r\n", gate.cookie("42")));
    client.has_come("first\r\n");
    seen.push(());
    let answer = client.answer(false);
    assert_eq!(answer.text(), "firstlast");
    assert_eq!(
        answer.head.matches("et-cookie").count() + answer.head.matches("et-Cookie").count(),
        2
    );
    assert_eq!(answer.field("keep-alive"), None);
}

#[test]
fn one_connection_serves_many_requests_on_one_upstream_connection() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &[]);
    let cookie = gate.cookie("42");
    let before = upstream.closed.all().len();
    let mut client = gate.client();
    for _ in 0..20 {
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{cookie}\r\n"));
        assert_eq!(client.answer(false).text(), "hello");
    }
    assert_eq!(upstream.got.all().len(), 20);
    assert!(upstream.closed.all().len() <= before + 1, "connections are kept");
}

#[test]
fn a_request_that_expects_to_continue_is_told_so_only_with_a_session() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &[]);
    let cookie = gate.cookie("42");
    let mut client = gate.client();
    let expecting = "Content-Length: 3\r\nExpect: 100-continue\r\n";
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{expecting}\r\n"));
    assert!(client.head().starts_with("HTTP/1.1 401"), "rule 33: not 100 first");
    let mut client = gate.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{cookie}{expecting}\r\n"));
    assert!(client.head().starts_with("HTTP/1.1 100"));
    client.send("abc");
    assert_eq!(client.answer(false).status, 200);
    assert_eq!(upstream.got.all()[0].field("expect"), None);
    let other = gate.get("/", &(cookie + "Expect: the-unexpected\r\n"));
    assert_eq!(other.status, 417);
}

#[test]
fn methods_that_no_gateway_passes_on_are_refused() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &[]);
    let cookie = gate.cookie("42");
    let trace = gate.ask(&format!("TRACE / HTTP/1.1\r\nHost: a\r\n{cookie}\r\n"));
    assert_eq!(trace.status, 405);
    assert!(trace.field("allow").unwrap().contains("GET"));
    let connect = gate.ask(&format!("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n{cookie}\r\n"));
    assert_eq!(connect.status, 405);
    let unknown = gate.ask(&format!("PURGE /x HTTP/1.1\r\nHost: a\r\n{cookie}\r\n"));
    assert_eq!(unknown.status, 200, "rule 10");
    assert_eq!(upstream.got.all().len(), 1);
}

#[test]
fn the_authority_of_an_absolute_target_is_the_host() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &[]);
    let cookie = gate.cookie("42");
    let request = format!("GET http://real.test/x?y HTTP/1.1\r\nHost: claimed\r\n{cookie}\r\n");
    assert_eq!(gate.ask(&request).status, 200);
    let got = &upstream.got.all()[0];
    assert_eq!(got.line(), "GET /x?y HTTP/1.1");
    for name in ["host", "x-forwarded-host"] {
        assert_eq!(got.field(name), Some("real.test"), "rule 15");
    }
}

#[test]
fn an_old_client_is_answered_and_its_upstream_asked_in_our_version() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &[]);
    let answer = gate.ask(&format!("GET / HTTP/1.0\r\n{}\r\n", gate.cookie("42")));
    assert_eq!((answer.status, &answer.text()[..]), (200, "hello"));
    let got = &upstream.got.all()[0];
    assert_eq!(got.line(), "GET / HTTP/1.1", "rule 13");
    assert_eq!(got.field("host"), Some(&upstream.address.to_string()[..]));
}

#[test]
fn a_request_has_one_host() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &[]);
    let cookie = gate.cookie("42");
    for hosts in ["", "Host: a\r\nHost: b\r\n", "Host: a\r\nHost: a\r\n"] {
        let answer = gate.ask(&format!("GET / HTTP/1.1\r\n{hosts}{cookie}\r\n"));
        assert_eq!(answer.status, 400, "{hosts}");
    }
    assert!(upstream.got.all().is_empty());
}

#[test]
fn options_of_everything_asks_the_gateway() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &[]);
    let answer = gate.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answer.status, 204);
    assert!(answer.field("allow").unwrap().contains("GET"));
    assert_eq!(gate.access(1)[0]["status"], 204, "it has a line as any other");
    assert_eq!(gate.ask("GET * HTTP/1.1\r\nHost: a\r\n\r\n").status, 400);
    assert!(upstream.got.all().is_empty());
}

#[test]
fn a_loop_is_broken() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &[]);
    let via = "Via: 1.1 thence-gate, 1.1 thence-gate, 1.1 thence-gate, 1.1 thence-gate\r\n";
    assert_eq!(gate.get("/", &(gate.cookie("42") + via)).status, 508);
}

#[test]
fn an_answer_that_says_two_ends_is_502_and_nothing_of_it_is_passed_on() {
    const CHUNKED: &str = "\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    // An answer of its own in one that others read as empty.
    const HIDDEN: &str =
        "\r\n\r\n28\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nEEE\r\n0\r\n\r\n";
    for (fields, body) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", CHUNKED),
        ("Transfer-Encoding: chunked\r\nContent-Length: 2", CHUNKED),
        ("Content-Length: 0\r\nTransfer-Encoding: chunked", HIDDEN),
        ("Content-Length: 2, 2", "\r\n\r\nok"),
        ("Content-Length: 2\r\nContent-Length: 2", "\r\n\r\nok"),
        ("Transfer-Encoding: gzip, chunked", CHUNKED),
    ] {
        let upstream = Upstream::start(move |stream, _| {
            write!(stream, "HTTP/1.1 200 OK\r\n{fields}{body}").is_ok()
        });
        let gate = Gate::before(upstream.address, &[]);
        let answer = gate.get("/", &gate.cookie("42"));
        assert_eq!(answer.status, 502, "{fields}");
        assert!(answer.text().contains("upstream_broken") && !answer.text().contains("EEE"));
    }
}

#[test]
fn a_broken_chunk_of_an_answer_is_seen_as_a_cut() {
    let upstream = Upstream::start(|stream, _| {
        let good = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n";
        stream.write_all(good.as_bytes()).unwrap();
        stream.write_all(b"zz\r\nhello\r\n0\r\n\r\n").unwrap();
        true
    });
    let gate = Gate::before(upstream.address, &[]);
    let mut client = gate.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", gate.cookie("42")));
    while !client.is_closed() {}
    let line = gate.access(1).remove(0);
    assert_eq!(line["refused"], "upstream_broke_off");
}

#[test]
fn an_answer_to_half_an_upload_is_passed_on_though_the_upstream_closes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if stream.read(&mut [0; 4096]).unwrap_or(0) > 0 {
                let answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig";
                stream.write_all(answer).unwrap();
            }
            // What was not read makes that a reset.
        }
    });
    let gate = Gate::before(address, &[]);
    let cookie = gate.cookie("42");
    for _ in 0..10 {
        let mut client = gate.client();
        client
            .send(format!("POST / HTTP/1.1\r\nHost: a\r\n{cookie}Content-Length: 9999999\r\n\r\n"));
        // It may close while this is sent.
        client.try_send([b'x'; 500_000]);
        let answer = client.answer(false);
        assert_eq!((answer.status, answer.text().as_str()), (413, "big"));
    }
}

#[test]
fn what_comes_before_an_answer_is_passed_on_but_for_100() {
    let upstream = Upstream::start(|stream, _| {
        let hints = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        stream.write_all(hints.as_bytes()).is_ok() && stream.write_all(OK.as_bytes()).is_ok()
    });
    let gate = Gate::before(upstream.address, &[]);
    let cookie = gate.cookie("42");
    let mut client = gate.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{cookie}\r\n"));
    let hints = client.head();
    assert!(hints.starts_with("HTTP/1.1 103 ") && hints.contains("link: </a>"), "{hints}");
    assert_eq!(client.answer(false).text(), "hello");
    let mut old = gate.client();
    old.send(format!("GET / HTTP/1.0\r\nHost: a\r\n{cookie}\r\n"));
    assert!(old.head().contains(" 200 "), "HTTP/1.0 knows of none");
}
