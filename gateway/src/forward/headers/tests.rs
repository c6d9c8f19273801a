use proptest::prelude::*;

use super::{super::managed, *};
use crate::session::SessionId;

fn session() -> Session {
    Session {
        key: SessionId::random().unwrap().row_key(),
        account: "42".parse().unwrap(),
        handle: SessionId::random().unwrap().row_key().handle(),
        touch: false,
    }
}

fn fields(lines: &[(&str, &str)]) -> HeaderMap {
    let line = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).expect(name), value.parse().expect(value))
    };
    lines.iter().map(line).collect()
}

fn upstream_sees(lines: &[(&str, &str)]) -> HeaderMap {
    let session = session();
    let peer = "192.0.2.7".parse().unwrap();
    to_upstream(
        &fields(lines),
        Said { session: &session, peer, request_id: "r-1", is_tls: false, asked: None },
    )
}

fn values(fields: &HeaderMap, name: &str) -> Vec<String> {
    fields.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[test]
fn the_upstream_learns_who_asks_and_how() {
    let seen = upstream_sees(&[("host", "app.test:8080"), ("accept", "*/*")]);
    assert_eq!(values(&seen, "x-account-id"), ["42"]);
    assert_eq!(values(&seen, "x-session-id")[0].len(), 24);
    assert_eq!(values(&seen, "x-request-id"), ["r-1"]);
    assert_eq!(values(&seen, "x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(values(&seen, "x-forwarded-proto"), ["http"]);
    assert_eq!(values(&seen, "x-forwarded-host"), ["app.test:8080"]);
    assert_eq!(values(&seen, "host"), ["app.test:8080"], "rule 52");
    assert_eq!(values(&seen, "via"), ["1.1 thence-gate"]);
    assert_eq!(values(&seen, "accept"), ["*/*"]);
    assert!(!seen.contains_key("x-forwarded-uri"));
}

#[test]
fn a_rewritten_request_carries_what_was_asked_for() {
    let (session, peer) = (session(), "::ffff:192.0.2.7".parse().unwrap());
    let said = Said {
        session: &session,
        peer,
        request_id: "r",
        is_tls: true,
        asked: Some("/hello?a=%2f"),
    };
    let seen = to_upstream(&fields(&[("x-forwarded-uri", "/forged")]), said);
    assert_eq!(values(&seen, "x-forwarded-uri"), ["/hello?a=%2f"]);
    assert_eq!(values(&seen, "x-forwarded-for"), ["192.0.2.7"], "as IPv4, which it is");
}

#[test]
fn what_connection_nominates_goes_and_so_does_what_belongs_to_one_hop() {
    let seen = upstream_sees(&[
        ("connection", "close, X-Mine"),
        ("connection", "x-other,,"),
        ("x-mine", "1"),
        ("X-Other", "1"),
        ("x-stays", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic x"),
        ("transfer-encoding", "chunked"),
        ("te", "gzip"),
        ("upgrade", "websocket"),
        ("expect", "100-continue"),
    ]);
    let mut names: Vec<_> = seen.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let ours = ["via", "x-account-id", "x-forwarded-for", "x-forwarded-proto", "x-request-id"];
    assert_eq!(names, [&ours[..], &["x-session-id", "x-stays"]].concat());
}

#[test]
fn nominating_the_identity_does_not_remove_it() {
    for nominated in ["X-Account-Id", "x-account-id", "X-ACCOUNT-ID, X-Session-Id, X-Request-Id"] {
        let seen = upstream_sees(&[("connection", nominated), ("x-account-id", "1")]);
        assert_eq!(values(&seen, "x-account-id"), ["42"], "{nominated}");
        assert_eq!(values(&seen, "x-request-id"), ["r-1"]);
    }
}

#[test]
fn nominating_host_does_not_remove_it() {
    let seen = upstream_sees(&[("connection", "host"), ("host", "app.test")]);
    assert_eq!(values(&seen, "host"), ["app.test"]);
}

#[test]
fn a_forged_identity_is_dropped_in_every_spelling() {
    let forged = [
        ("X-Account-Id", "1"),
        ("x-account-id", "2"),
        ("X_Account_Id", "3"),
        ("x-account_id", "4"),
        ("X_SESSION-ID", "5"),
        ("X_Forwarded_For", "6"),
        ("Forwarded", "for=7"),
        ("X-Real-IP", "8"),
        ("X-Forwarded-For", "9"),
        ("X-Forwarded-Proto", "https"),
    ];
    let seen = upstream_sees(&forged);
    assert_eq!(values(&seen, "x-account-id"), ["42"]);
    assert_eq!(values(&seen, "x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(values(&seen, "x-forwarded-proto"), ["http"]);
    assert!(seen.keys().all(|name| !name.as_str().contains('_')));
    assert!(!seen.contains_key("forwarded") && !seen.contains_key("x-real-ip"));
}

#[test]
fn the_gateways_cookie_stays_here_and_the_apps_go_on() {
    let seen = upstream_sees(&[("cookie", "a=1; sessionId=s; b=2"), ("cookie", "sessionId=s")]);
    assert_eq!(values(&seen, "cookie"), ["a=1; b=2"]);
}

#[test]
fn trailers_are_asked_for_anew() {
    let seen = upstream_sees(&[("te", "gzip, Trailers"), ("connection", "te")]);
    assert_eq!(values(&seen, "te"), ["trailers"]);
    assert_eq!(values(&seen, "connection"), ["TE"]);
}

#[test]
fn lines_of_one_name_keep_their_order() {
    let seen = upstream_sees(&[("accept", "b"), ("x", "1"), ("accept", "a")]);
    assert_eq!(values(&seen, "accept"), ["b", "a"]);
}

#[test]
fn a_loop_is_seen_in_via() {
    let client = fields(&[("via", "1.1 other, 1.1 thence-gate"), ("via", "1.1 thence-gate (x)")]);
    assert_eq!(times_seen(&client), 2);
    let seen = upstream_sees(&[("via", "1.1 other, 1.1 thence-gate"), ("via", "1.0 b")]);
    assert_eq!(values(&seen, "via"), ["1.1 other, 1.1 thence-gate, 1.0 b, 1.1 thence-gate"]);
}

#[test]
fn the_client_gets_the_answer_without_its_hop() {
    let answer = fields(&[
        ("connection", "close, x-hop"),
        ("x-hop", "1"),
        ("transfer-encoding", "chunked"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("vary", "Accept"),
        ("x_odd", "kept: the app may name its fields as it likes"),
    ]);
    let seen = to_client(&answer, "r-1");
    assert_eq!(values(&seen, "set-cookie"), ["a=1", "b=2"]);
    assert_eq!(values(&seen, "vary"), ["Accept", "Cookie"]);
    assert_eq!(values(&seen, "x-request-id"), ["r-1"]);
    assert!(seen.contains_key("x_odd"));
    assert!(!seen.contains_key("connection") && !seen.contains_key("x-hop"));
    assert!(!seen.contains_key("transfer-encoding"));
}

#[test]
fn an_app_cannot_put_its_own_cookie_in_the_place_of_the_sessions() {
    let seen = to_client(
        &fields(&[
            ("set-cookie", "sessionId=planted; Path=/"),
            ("set-cookie", "a=1"),
            ("set-cookie", "__host-SESSIONID=planted; Path=/; Secure"),
            ("set-cookie", "__Host-sessionId =planted"),
            ("set-cookie", "=sessionId=planted"),
            ("set-cookie", "sessionId"),
            ("set-cookie", "mySessionId=app"),
        ]),
        "r",
    );
    assert_eq!(values(&seen, "set-cookie"), ["a=1", "mySessionId=app"]);
}

#[test]
fn an_answer_that_varies_by_cookie_already_is_left_alone() {
    for vary in ["cookie", "Accept, Cookie", "*"] {
        assert_eq!(values(&to_client(&fields(&[("vary", vary)]), "r"), "vary"), [vary]);
    }
}

/// Names that a server might fold to a managed one, in any letter case.
fn spelling() -> impl Strategy<Value = String> {
    let families = managed::FAMILIES.iter().map(|family| format!("{family}any"));
    let names = managed::NAMES.iter().map(|name| (*name).to_owned()).chain(families);
    let managed = prop::sample::select(names.collect::<Vec<_>>());
    (managed, any::<u64>(), any::<u64>()).prop_map(|(name, upper, other)| {
        let fold = ['-', '_', '.', '~', '!', '*', '|', '+', '#', '$', '&', '^', '`', '\'', '%'];
        let spell = |(at, c): (usize, char)| match c {
            '-' => fold[(other >> at) as usize % fold.len()],
            c if upper >> at & 1 == 1 => c.to_ascii_uppercase(),
            c => c,
        };
        name.chars().enumerate().map(spell).collect()
    })
}

proptest! {
    #[test]
    fn no_spelling_of_a_managed_name_is_forwarded(
        names in prop::collection::vec(spelling(), 1..8),
        nominated in prop::collection::vec(spelling(), 0..4),
    ) {
        let nominated = nominated.join(",");
        let mut lines: Vec<_> = names.iter().map(|name| (&name[..], "forged")).collect();
        lines.push(("connection", &nominated));
        let seen = upstream_sees(&lines);
        prop_assert!(seen.values().all(|value| value != "forged"));
        prop_assert_eq!(values(&seen, "x-account-id"), ["42"]);
        prop_assert_eq!(values(&seen, "x-session-id").len(), 1);
    }

    #[test]
    fn any_connection_line_leaves_identity_and_host(line in "[ -~]{0,60}") {
        let seen = upstream_sees(&[("connection", &line), ("host", "h")]);
        prop_assert_eq!(values(&seen, "x-account-id"), ["42"]);
        prop_assert_eq!(values(&seen, "host"), ["h"]);
    }
}
