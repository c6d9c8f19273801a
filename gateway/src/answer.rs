//! Answers the gateway makes itself: errors that name no upstream and are never cached (rules 65,
//! 68, 70, 71).

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::{
    forward::{headers::REQUEST_ID, rewrite::Unsafe},
    session::Cookie,
};

/// Why the gateway answers instead of the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The client's body is no body, or broke off.
    BrokenBody,
    /// The gateway is stopping.
    Draining,
    /// The gateway itself failed.
    Fault,
    /// The request has been through this gateway too often (rule 48).
    Loop,
    /// No cookie, or one that proves nothing (any more).
    NoSession,
    /// A method that no gateway should pass on: CONNECT, and TRACE, which reflects cookies (rules
    /// 16, 49).
    Method,
    /// The connection was made to another host (rule 72).
    Misdirected,
    /// As many requests are in flight as may be.
    Overloaded,
    /// The session was in force when the request came, and ended while it was being served (S7).
    SessionEnded,
    /// The session store did not answer (S8).
    StoreDown,
    /// The client did not send its body in time (rules 31, 32).
    SlowBody,
    /// Two different session cookies (S12).
    TwoSessions,
    /// The account cannot stand in a path, where `--rewrite` puts it.
    UnsafeAccount,
    /// The path could be read as one outside of what `--rewrite` allows (rule 51).
    UnsafePath,
    /// The client expects something other than 100-continue (rule 34).
    UnknownExpectation,
    /// The upstream's answer was no answer, or broke off before it began.
    UpstreamBroken,
    /// As many connections to the upstream as there may be were in use for too long.
    UpstreamBusy,
    /// The upstream could not be reached.
    UpstreamRefused,
    /// The upstream took too long to be reached or to begin its answer.
    UpstreamSlow,
}

impl Refusal {
    /// The status the client gets (rule 65).
    pub fn status(self) -> StatusCode {
        match self {
            Self::BrokenBody | Self::TwoSessions | Self::UnsafePath => StatusCode::BAD_REQUEST,
            Self::Fault => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::NoSession | Self::SessionEnded => StatusCode::UNAUTHORIZED,
            Self::UnsafeAccount => StatusCode::FORBIDDEN,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::UnknownExpectation => StatusCode::EXPECTATION_FAILED,
            Self::UpstreamBroken | Self::UpstreamRefused => StatusCode::BAD_GATEWAY,
            Self::Draining | Self::Overloaded | Self::StoreDown | Self::UpstreamBusy => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::UpstreamSlow => StatusCode::GATEWAY_TIMEOUT,
            Self::Loop => StatusCode::LOOP_DETECTED,
        }
    }

    /// A word for programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::BrokenBody => "broken_body",
            Self::Draining => "draining",
            Self::Fault => "internal",
            Self::Loop => "loop",
            Self::Method => "method",
            Self::Misdirected => "misdirected",
            Self::NoSession => "no_session",
            Self::Overloaded => "overloaded",
            Self::SessionEnded => "session_ended",
            Self::StoreDown => "sessions_unavailable",
            Self::SlowBody => "body_too_slow",
            Self::TwoSessions => "two_sessions",
            Self::UnsafeAccount => "unsafe_account",
            Self::UnsafePath => "unsafe_path",
            Self::UnknownExpectation => "unknown_expectation",
            Self::UpstreamBroken => "upstream_broken",
            Self::UpstreamBusy => "upstream_busy",
            Self::UpstreamRefused => "upstream_unreachable",
            Self::UpstreamSlow => "upstream_timeout",
        }
    }

    /// A sentence for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::BrokenBody => "The request's body did not come to its end.",
            Self::Draining => "The gateway is shutting down. Try again in a moment.",
            Self::Fault => "The gateway failed.",
            Self::Loop => "The request goes round in a loop between gateways.",
            Self::Method => "This method is not passed on.",
            Self::Misdirected => "The request's Host is not the one this connection was made to.",
            Self::NoSession => "You are not signed in, or your session has ended.",
            Self::Overloaded => "Too many requests are being served. Try again in a moment.",
            Self::SessionEnded => "Your session has ended.",
            Self::StoreDown => {
                "Sessions cannot be looked up at the moment. You are not signed out."
            }
            Self::SlowBody => "The request's body did not arrive in time.",
            Self::TwoSessions => "The request has two different session cookies.",
            Self::UnsafeAccount => "The account's id cannot stand in a path of this application.",
            Self::UnsafePath => "The request's path could be read as one outside of the account's.",
            Self::UnknownExpectation => "The request expects something that is not known here.",
            Self::UpstreamBroken => "The application gave no valid answer.",
            Self::UpstreamBusy => "The application is busy. Try again in a moment.",
            Self::UpstreamRefused => "The application cannot be reached.",
            Self::UpstreamSlow => "The application did not answer in time.",
        }
    }

    /// The answer, in HTML for who prefers it and in JSON otherwise (rule 68).
    pub fn answer(self, client: &HeaderMap, request_id: &str) -> Response<Bytes> {
        let (kind, body) = if prefers_html(client) {
            ("text/html; charset=utf-8", self.html(request_id))
        } else {
            ("application/json", self.json(request_id))
        };
        let mut answer = Response::new(Bytes::from(body));
        *answer.status_mut() = self.status();
        let fields = answer.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // The body's language depends on it, and whether there is a body of ours on the cookie.
        fields.insert(header::VARY, HeaderValue::from_static("Accept, Cookie"));
        if let Ok(id) = HeaderValue::from_str(request_id) {
            fields.insert(REQUEST_ID, id);
        }
        if matches!(self, Self::BrokenBody | Self::SlowBody) {
            // Where the next request would begin, nobody knows (rule 27).
            fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        match self.status() {
            StatusCode::METHOD_NOT_ALLOWED => {
                fields.insert(header::ALLOW, HeaderValue::from_static(METHODS));
            }
            StatusCode::UNAUTHORIZED => {
                fields.insert(header::WWW_AUTHENTICATE, challenge(Cookie::Plain));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                fields.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        answer
    }

    fn json(self, request_id: &str) -> String {
        let error = json!({
            "error": self.word(),
            "message": self.sentence(),
            "status": self.status().as_u16(),
            "request_id": request_id,
        });
        format!("{error}\n")
    }

    fn html(self, request_id: &str) -> String {
        let status = self.status();
        let title = status.canonical_reason().unwrap_or_default();
        // A request id is letters, digits and dashes: nothing in it needs escaping.
        format!(
            "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\n\
             <h1>{code} {title}</h1>\n<p>{sentence}</p>\n<p><small>Request {request_id}</small>\
             </p>\n</html>\n",
            code = status.as_u16(),
            sentence = self.sentence(),
        )
    }
}

impl From<Unsafe> for Refusal {
    fn from(target: Unsafe) -> Self {
        match target {
            Unsafe::Account => Self::UnsafeAccount,
            Unsafe::Path => Self::UnsafePath,
        }
    }
}

/// How a client proves who it is (rule 68).
pub fn challenge(cookie: Cookie) -> HeaderValue {
    HeaderValue::from_static(match cookie {
        Cookie::Plain => "Cookie realm=\"thence-gate\", cookie-name=\"sessionId\"",
        Cookie::Secure => "Cookie realm=\"thence-gate\", cookie-name=\"__Host-sessionId\"",
    })
}

/// Whether `Accept` likes HTML better than JSON. Who says nothing, or `*/*`, gets JSON.
fn prefers_html(client: &HeaderMap) -> bool {
    let (mut html, mut json) = (0, 0);
    let lines = client.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    for range in lines.flat_map(|line| line.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let weight = parts.find_map(weight).unwrap_or(1000);
        match kind.to_ascii_lowercase().as_str() {
            "text/html" | "application/xhtml+xml" => html = weight.max(html),
            "application/json" => json = weight.max(json),
            _ => {}
        }
    }
    html > json
}

/// `q=0.5` in thousandths.
fn weight(parameter: &str) -> Option<u32> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let weight: f32 = value.trim().parse().ok()?;
    Some((weight.clamp(0.0, 1.0) * 1000.0) as u32)
}

/// What a client of this gateway may use, and more: methods we do not know pass (rule 10).
pub const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Refusal; 19] = [
        Refusal::BrokenBody,
        Refusal::Draining,
        Refusal::Fault,
        Refusal::Loop,
        Refusal::Method,
        Refusal::Misdirected,
        Refusal::NoSession,
        Refusal::Overloaded,
        Refusal::SessionEnded,
        Refusal::StoreDown,
        Refusal::SlowBody,
        Refusal::TwoSessions,
        Refusal::UnsafeAccount,
        Refusal::UnsafePath,
        Refusal::UnknownExpectation,
        Refusal::UpstreamBroken,
        Refusal::UpstreamBusy,
        Refusal::UpstreamRefused,
        Refusal::UpstreamSlow,
    ];

    fn accepting(accept: &str) -> HeaderMap {
        [(header::ACCEPT, accept.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn every_refusal_names_the_request_and_is_not_cached() {
        for refusal in ALL {
            for accept in ["text/html", "*/*"] {
                let answer = refusal.answer(&accepting(accept), "abc-1");
                assert_eq!(answer.headers()["cache-control"], "no-store");
                assert_eq!(answer.headers()["x-request-id"], "abc-1");
                let body = String::from_utf8(answer.body().to_vec()).unwrap();
                assert!(body.contains("abc-1") && body.contains(refusal.sentence()), "{body}");
            }
        }
    }

    #[test]
    fn a_401_says_how_to_prove_who_you_are() {
        let answer = Refusal::NoSession.answer(&HeaderMap::new(), "r");
        assert_eq!(answer.status(), 401);
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
        assert!(challenge.starts_with("Cookie realm=\""), "{challenge}");
    }

    #[test]
    fn a_503_says_when_to_come_back_and_is_the_only_one_that_does() {
        for refusal in ALL {
            let answer = refusal.answer(&HeaderMap::new(), "r");
            let retry = answer.headers().get("retry-after").map(|v| v.to_str().unwrap());
            assert_eq!(retry, (answer.status() == 503).then_some("1"), "{refusal:?}");
        }
    }

    #[test]
    fn a_store_that_is_down_signs_nobody_out() {
        let answer = Refusal::StoreDown.answer(&HeaderMap::new(), "r");
        assert_eq!(answer.status(), 503);
        assert!(!answer.headers().contains_key("set-cookie"));
        assert!(!answer.headers().contains_key("www-authenticate"));
    }

    #[test]
    fn browsers_get_html_and_programs_json() {
        let firefox = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (accept, html) in [
            (firefox, true),
            ("*/*", false),
            ("application/json", false),
            ("application/json, text/html;q=0.9", false),
            ("text/html;q=0.9;x=1, application/json;q=0.1", true),
            ("text/html; Q=0", false),
            ("text/plain", false),
        ] {
            assert_eq!(prefers_html(&accepting(accept)), html, "{accept}");
        }
        assert!(!prefers_html(&HeaderMap::new()));
    }

    #[test]
    fn json_is_json() {
        let answer = Refusal::UpstreamSlow.answer(&HeaderMap::new(), "r-9");
        let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(body["error"], "upstream_timeout");
        assert_eq!(body["status"], 504);
        assert_eq!(body["request_id"], "r-9");
    }
}
