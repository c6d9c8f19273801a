//! The gateway's cookie: found in a request, taken out of it, offered to a browser.

use http::{HeaderMap, HeaderValue, header};

use super::{Span, token::MacKey, token::SessionId};

/// The cookie's name. It has no `__Host-` and no `Secure` because the listener speaks plain HTTP
/// (S12): a browser would not send it back.
pub const NAME: &str = "sessionId";

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
pub fn presented(headers: &HeaderMap, key: &MacKey) -> Presented {
    let mut found: Option<&[u8]> = None;
    for line in headers.get_all(header::COOKIE) {
        for value in pairs(line.as_bytes()).filter_map(ours) {
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

/// The `Set-Cookie` value that hands `value` to a browser for `life` (S12).
pub fn set_cookie(value: &str, life: Span) -> String {
    format!("{NAME}={value}; HttpOnly; SameSite=Lax; Path=/; Max-Age={}", life.millis() / 1000)
}

fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii)
}

fn ours(pair: &[u8]) -> Option<&[u8]> {
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    let name = pair[..equals].trim_ascii_end();
    (name == NAME.as_bytes()).then(|| pair[equals + 1..].trim_ascii_start())
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
            assert_eq!(presented(&cookies(&[&line]), &key()), Presented::Signed(id.clone()));
        }
    }

    #[test]
    fn a_request_without_our_cookie_is_anonymous() {
        for lines in [&[][..], &["a=1"], &["xsessionId=1; SESSIONID=2; sessionId"], &[""]] {
            assert_eq!(presented(&cookies(lines), &key()), Presented::Nothing, "{lines:?}");
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
            assert_eq!(presented(&cookies(lines), &key()), Presented::Two, "{lines:?}");
        }
    }

    #[test]
    fn a_value_we_did_not_sign_is_malformed() {
        for line in ["sessionId=", "sessionId=abc", "sessionId=\"x\"", "sessionId=a=b"] {
            assert_eq!(presented(&cookies(&[line]), &key()), Presented::Malformed, "{line}");
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
            set_cookie("v", Span::seconds(60)),
            "sessionId=v; HttpOnly; SameSite=Lax; Path=/; Max-Age=60"
        );
    }

    proptest! {
        #[test]
        fn no_line_keeps_a_value_we_would_read(line in "[ -~]{0,40}(; ?sessionId ?= ?[a-z]{0,5})?[ -~;]{0,20}") {
            let mut headers = cookies(&[&line]);
            withhold(&mut headers);
            prop_assert_eq!(presented(&headers, &key()), Presented::Nothing);
        }
    }
}
