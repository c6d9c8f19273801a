//! `--rewrite`: the path the upstream sees.

use std::{fmt, str::FromStr};

use http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::session::Account;

/// A template such as `/v1/{account}`: `{account}` is the session's account, `{path}` the path the
/// client asked for. The client's query goes along unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    parts: Vec<Part>,
    written: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Account,
    Literal(String),
    Path,
}

impl Rewrite {
    /// The target for `asked` in a session of `account`.
    pub fn apply(&self, asked: &PathAndQuery, account: &Account) -> PathAndQuery {
        let mut target = String::with_capacity(asked.as_str().len() + self.written.len());
        for part in &self.parts {
            match part {
                // An account must not break out of its segment, nor begin the query.
                Part::Account => {
                    target.extend(utf8_percent_encode(account.as_str(), &IN_SEGMENT));
                }
                Part::Literal(text) => target.push_str(text),
                Part::Path => target.push_str(asked.path()),
            }
        }
        if let Some(query) = asked.query() {
            target.push('?');
            target.push_str(query);
        }
        // A literal was checked when it was read, an account is encoded, and the rest was a path.
        PathAndQuery::try_from(target).unwrap_or_else(|_| PathAndQuery::from_static("/"))
    }
}

impl FromStr for Rewrite {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected a path such as '/v1/{account}', with {account} and {path}";
        if !text.starts_with('/') && !text.starts_with("{path}") {
            return Err(format!("it must begin with `/`; {expected}"));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, more)) = rest.split_once('{') {
            let (name, more) =
                more.split_once('}').ok_or_else(|| format!("`{{` is never closed; {expected}"))?;
            parts.extend(literal_part(literal)?);
            parts.push(match name {
                "account" => Part::Account,
                "path" => Part::Path,
                _ => return Err(format!("`{{{name}}}` means nothing here; {expected}")),
            });
            rest = more;
        }
        parts.extend(literal_part(rest)?);
        Ok(Self { parts, written: text.to_owned() })
    }
}

impl fmt::Display for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

fn literal_part(text: &str) -> Result<Option<Part>, String> {
    if let Some(odd) = text.chars().find(|c| !c.is_ascii_graphic() || "?#\"<>\\^`{|}".contains(*c))
    {
        return Err(format!("`{odd}` cannot stand in a path"));
    }
    Ok((!text.is_empty()).then(|| Part::Literal(text.to_owned())))
}

/// Everything but RFC 3986's unreserved characters.
const IN_SEGMENT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rewritten(template: &str, asked: &str, account: &str) -> String {
        let template: Rewrite = template.parse().expect(template);
        let asked = asked.parse().expect(asked);
        template.apply(&asked, &account.parse().expect(account)).to_string()
    }

    #[test]
    fn the_path_of_the_deck_carries_the_account() {
        assert_eq!(rewritten("/v1/{account}", "/hello", "42"), "/v1/42");
        assert_eq!(rewritten("/v1/{account}", "/hello?a=%2F&b", "42"), "/v1/42?a=%2F&b");
        assert_eq!(rewritten("/a/{account}{path}", "//x/../%2f?", "7"), "/a/7//x/../%2f?");
        assert_eq!(rewritten("{path}/{account}", "/x", "7"), "/x/7");
    }

    #[test]
    fn an_account_stays_in_its_segment() {
        assert_eq!(rewritten("/v1/{account}/x", "/", "a/../b"), "/v1/a%2F..%2Fb/x");
        assert_eq!(rewritten("/v1/{account}", "/", "1?admin=1#f"), "/v1/1%3Fadmin%3D1%23f");
        assert_eq!(rewritten("/v1/{account}", "/", "%2e%2e"), "/v1/%252e%252e");
        assert_eq!(rewritten("/v1/{account}", "/", "{path}"), "/v1/%7Bpath%7D");
    }

    #[test]
    fn a_template_that_makes_no_path_is_refused() {
        for bad in ["", "v1", "/{acount}", "/{account", "/a b", "/a?b={account}", "/a}b", "/\u{e9}"]
        {
            bad.parse::<Rewrite>().expect_err(bad);
        }
    }

    proptest! {
        #[test]
        fn any_account_is_one_segment_that_decodes_to_it(account in "[!-~]{1,128}") {
            prop_assume!(account != "." && account != "..");
            let target = rewritten("/v1/{account}/end", "/x?q", &account);
            let segments: Vec<_> = target.strip_suffix("?q").unwrap().split('/').collect();
            prop_assert_eq!(segments.len(), 4);
            let decoded = percent_encoding::percent_decode_str(segments[2]).decode_utf8().unwrap();
            prop_assert_eq!(decoded, account);
        }

        #[test]
        fn the_clients_path_and_query_keep_their_bytes(asked in "/[a-zA-Z0-9%/._~;,=&!-]{0,40}(\\?[a-z%=&/?]{0,20})?") {
            prop_assert_eq!(rewritten("{path}", &asked, "1"), asked);
        }
    }
}
