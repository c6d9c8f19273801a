//! The gateway's cookie: found in a request, taken out of it, offered to a browser.

use http::{HeaderMap, HeaderValue, header};

use super::{Span, token::MacKey, token::SessionId};

/// Which cookie a listener reads (S12).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cookie {
    /// `sessionId`, on plain HTTP: with `Secure` or `__Host-` a browser would not send it back.
    #[default]
    Plain,
    /// `__Host-sessionId`, on TLS: no other host, and nobody on the way, can have set it.
    Secure,
}

impl Cookie {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "sessionId",
            Self::Secure => "__Host-sessionId",
        }
    }

    /// Both. Neither is the application's business (S13).
    pub const ALL: [Self; 2] = [Self::Secure, Self::Plain];
}

/// What a request's `Cookie` lines say about the session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Presented {
    /// No cookie of ours: an anonymous request, which costs no store operation (S11).
    Nothing,
    /// A value this gateway did not sign: refused without asking the store (S1).
    Malformed,
    /// Two different values: somebody planted one (S12), and guessing which would help them.
    Two,
    /// A value this gateway signed.
    Signed(SessionId),
}

/// Reads the session cookie from every `Cookie` line of a request.
pub fn presented(headers: &HeaderMap, cookie: Cookie, key: &MacKey) -> Presented {
    let mut found: Option<&[u8]> = None;
    for line in headers.get_all(header::COOKIE) {
        for value in pairs(line.as_bytes()).filter_map(|pair| value_of(cookie, pair)) {
            if found.is_some_and(|first| first != value) {
                return Presented::Two;
            }
            found = Some(value);
        }
    }
    match found {
        None => Presented::Nothing,
        Some(value) => key.open(value).map_or(Presented::Malformed, Presented::Signed),
    }
}

/// Takes the session cookie out of the `Cookie` lines (S13). What else they hold keeps its bytes
/// and its order; a line with nothing left goes.
pub fn withhold(headers: &mut HeaderMap) {
    let has_ours = |line: &HeaderValue| pairs(line.as_bytes()).any(|pair| ours(pair).is_some());
    if !headers.get_all(header::COOKIE).iter().any(has_ours) {
        return;
    }
    let lines: Vec<_> = headers.get_all(header::COOKIE).iter().cloned().collect();
    headers.remove(header::COOKIE);
    for line in lines {
        if !has_ours(&line) {
            headers.append(header::COOKIE, line);
            continue;
        }
        let kept: Vec<&[u8]> = pairs(line.as_bytes())
            .filter(|pair| ours(pair).is_none() && !pair.is_empty())
            .collect();
        // Pieces of a valid field value, joined by valid bytes, are one.
        if let (false, Ok(line)) =
            (kept.is_empty(), HeaderValue::from_bytes(&kept.join(&b"; "[..])))
        {
            headers.append(header::COOKIE, line);
        }
    }
}

/// Takes out of an answer what would put another cookie in the place of the session's: it would sign
/// a client out, or in as somebody else. The other lines stay as they are.
pub fn withhold_set(headers: &mut HeaderMap) {
    let sets_ours = |line: &HeaderValue| {
        let pair = pairs(line.as_bytes()).next().unwrap_or_default();
        // A cookie without a name is sent back as its value alone, which may look like a pair
        // (RFC 6265bis, 5.7).
        let pair = pair.strip_prefix(b"=").unwrap_or(pair).trim_ascii();
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        // Browsers compare the prefix without regard to case.
        Cookie::ALL.iter().any(|ours| name.eq_ignore_ascii_case(ours.name().as_bytes()))
    };
    if !headers.get_all(header::SET_COOKIE).iter().any(sets_ours) {
        return;
    }
    let lines: Vec<_> = headers.get_all(header::SET_COOKIE).iter().cloned().collect();
    headers.remove(header::SET_COOKIE);
    for line in lines.into_iter().filter(|line| !sets_ours(line)) {
        headers.append(header::SET_COOKIE, line);
    }
}

/// The `Set-Cookie` value that hands `value` to a browser for `life` (S12).
pub fn set_cookie(cookie: Cookie, value: &str, life: Span) -> String {
    let name = cookie.name();
    let secure = if cookie == Cookie::Secure { "Secure; " } else { "" };
    let seconds = life.millis() / 1000;
    format!("{name}={value}; {secure}HttpOnly; SameSite=Lax; Path=/; Max-Age={seconds}")
}

fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii)
}

fn ours(pair: &[u8]) -> Option<&[u8]> {
    Cookie::ALL.iter().find_map(|cookie| value_of(*cookie, pair))
}

fn value_of(cookie: Cookie, pair: &[u8]) -> Option<&[u8]> {
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    let name = pair[..equals].trim_ascii_end();
    (name == cookie.name().as_bytes()).then(|| pair[equals + 1..].trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> MacKey {
        MacKey::new(&[3; 32])
    }

    fn cookies(lines: &[&str]) -> HeaderMap {
        lines
            .iter()
            .map(|line| (header::COOKIE, HeaderValue::from_str(line).expect("a field value")))
            .collect()
    }

    fn left(lines: &[&str]) -> Vec<String> {
        let mut headers = cookies(lines);
        withhold(&mut headers);
        let text = |v: &HeaderValue| v.to_str().expect("ASCII").to_owned();
        headers.get_all(header::COOKIE).iter().map(text).collect()
    }

    #[test]
    fn a_signed_cookie_is_found_among_others() {
        let id = SessionId::random().unwrap();
        let value = key().seal(&id);
        for line in [
            format!("sessionId={value}"),
            format!("a=1;sessionId={value};b=2"),
            format!("a=1;  sessionId = {value} "),
            format!("sessionId={value}; sessionId={value}"),
        ] {
            assert_eq!(
                presented(&cookies(&[&line]), Cookie::Plain, &key()),
                Presented::Signed(id.clone())
            );
        }
    }

    #[test]
    fn a_request_without_our_cookie_is_anonymous() {
        for lines in [&[][..], &["a=1"], &["xsessionId=1; SESSIONID=2; sessionId"], &[""]] {
            assert_eq!(
                presented(&cookies(lines), Cookie::Plain, &key()),
                Presented::Nothing,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn two_different_session_cookies_are_told_apart_from_one_sent_twice() {
        let value = key().seal(&SessionId::random().unwrap());
        let good = format!("sessionId={value}");
        for lines in [
            &[&good[..], "sessionId=planted"][..],
            &["sessionId=planted", &good],
            &[&format!("{good}; sessionId=")],
            &["sessionId=a; sessionId=b"],
        ] {
            assert_eq!(
                presented(&cookies(lines), Cookie::Plain, &key()),
                Presented::Two,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn a_value_we_did_not_sign_is_malformed() {
        for line in ["sessionId=", "sessionId=abc", "sessionId=\"x\"", "sessionId=a=b"] {
            assert_eq!(
                presented(&cookies(&[line]), Cookie::Plain, &key()),
                Presented::Malformed,
                "{line}"
            );
        }
    }

    #[test]
    fn only_our_cookie_is_withheld() {
        assert_eq!(left(&["sessionId=x"]), [""; 0]);
        assert_eq!(left(&["a=1; sessionId=x; b=2"]), ["a=1; b=2"]);
        assert_eq!(left(&["a=1;  b=2", "sessionId=x; c=3"]), ["a=1;  b=2", "c=3"]);
        assert_eq!(left(&["sessionid=app; mysessionId=1"]), ["sessionid=app; mysessionId=1"]);
    }

    #[test]
    fn a_browser_is_told_to_keep_scripts_and_other_sites_away() {
        assert_eq!(
            set_cookie(Cookie::Plain, "v", Span::seconds(60)),
            "sessionId=v; HttpOnly; SameSite=Lax; Path=/; Max-Age=60"
        );
        assert_eq!(
            set_cookie(Cookie::Secure, "v", Span::seconds(60)),
            "__Host-sessionId=v; Secure; HttpOnly; SameSite=Lax; Path=/; Max-Age=60"
        );
    }

    #[test]
    fn a_listener_on_tls_reads_no_cookie_that_another_could_have_set() {
        let id = SessionId::random().unwrap();
        let value = key().seal(&id);
        let both = cookies(&[&format!("sessionId=planted; __Host-sessionId={value}")]);
        assert_eq!(presented(&both, Cookie::Secure, &key()), Presented::Signed(id));
        let plain = cookies(&[&format!("sessionId={value}")]);
        assert_eq!(presented(&plain, Cookie::Secure, &key()), Presented::Nothing);
        assert_eq!(left(&["a=1; sessionId=x; __Host-sessionId=y; b=2"]), ["a=1; b=2"]);
    }

    proptest! {
        #[test]
        fn no_line_keeps_a_value_we_would_read(line in "[ -~]{0,40}(; ?sessionId ?= ?[a-z]{0,5})?[ -~;]{0,20}") {
            let mut headers = cookies(&[&line]);
            withhold(&mut headers);
            prop_assert_eq!(presented(&headers, Cookie::Plain, &key()), Presented::Nothing);
        }
    }
}
