//! `--rewrite`: the path the upstream sees.

use std::{fmt, str::FromStr};

use super::border;
use crate::session::Account;
use http::uri::PathAndQuery;

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

/// Why a request has no target under a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsafe {
    /// The account is not one segment of a path for every server.
    Account,
    /// Some server would read the path that was asked for as one outside of the template's.
    Path,
}

impl Rewrite {
    /// The target for `asked` in a session of `account`: nothing in it is changed, it is made or
    /// refused.
    ///
    /// # Errors
    /// When an application could read it as a target outside of what the template says (rule 51).
    pub fn apply(&self, asked: &PathAndQuery, account: &Account) -> Result<PathAndQuery, Unsafe> {
        let mut target = String::with_capacity(asked.as_str().len() + self.written.len());
        for (at, part) in self.parts.iter().enumerate() {
            match part {
                Part::Account if !border::is_one_segment(account.as_str()) => {
                    return Err(Unsafe::Account);
                }
                Part::Account => target.push_str(account.as_str()),
                Part::Literal(text) => target.push_str(text),
                Part::Path => {
                    let is_last = at + 1 == self.parts.len();
                    if !asked.path().starts_with('/')
                        || !is_last && border::ends_early(asked.path())
                    {
                        return Err(Unsafe::Path);
                    }
                    target.push_str(asked.path());
                }
            }
        }
        // A path with nothing before or behind it has nothing to leave.
        if self.parts != [Part::Path] && !border::stays_behind(&target) {
            return Err(Unsafe::Path);
        }
        if let Some(query) = asked.query() {
            target.push('?');
            target.push_str(query);
        }
        // What was a path and a literal is one again, unless it has become too long for any.
        PathAndQuery::try_from(target).map_err(|_| Unsafe::Path)
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
        let sample = text.replace("{account}", "a").replace("{path}", "/");
        if !border::stays_behind(&sample) {
            return Err(format!("`..`, `\\`, %2F and %5C are no part of a path; {expected}"));
        }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tried(template: &str, asked: &str, account: &str) -> Result<String, Unsafe> {
        let template: Rewrite = template.parse().expect(template);
        let asked = asked.parse().expect(asked);
        let target = template.apply(&asked, &account.parse().expect(account))?;
        Ok(target.to_string())
    }

    fn rewritten(template: &str, asked: &str, account: &str) -> String {
        tried(template, asked, account).expect(asked)
    }

    #[test]
    fn the_path_of_the_deck_carries_the_account() {
        assert_eq!(rewritten("/v1/{account}", "/hello", "42"), "/v1/42");
        assert_eq!(rewritten("/v1/{account}", "/hello?a=%2F&b", "42"), "/v1/42?a=%2F&b");
        assert_eq!(rewritten("/a/{account}{path}", "//x/./%2e?", "7"), "/a/7//x/./%2e?");
        assert_eq!(rewritten("{path}/{account}", "/x", "7"), "/x/7");
        assert_eq!(rewritten("/u/{account}.json", "/", "a@b.example"), "/u/a@b.example.json");
    }

    #[test]
    fn nobody_leaves_the_segment_of_the_account() {
        for asked in ["/../43/d", "/%2e%2e/43/d", "/x%2f..%2f..%2f43", "/..;/43", "//../..\\43"] {
            assert_eq!(tried("/v1/{account}{path}", asked, "42"), Err(Unsafe::Path), "{asked}");
            assert_eq!(tried("/app{path}", asked, "42"), Err(Unsafe::Path), "{asked}");
            assert_eq!(rewritten("/v1/{account}", asked, "42"), "/v1/42", "it is not used");
            assert_eq!(rewritten("{path}", asked, "42"), asked, "there is nothing to leave");
        }
    }

    #[test]
    fn a_path_cannot_swallow_the_account_behind_it() {
        for asked in ["/x%3f", "/x%253F", "/x%23y", "/x%00"] {
            assert_eq!(tried("{path}/{account}", asked, "42"), Err(Unsafe::Path), "{asked}");
        }
        assert_eq!(rewritten("/v1/{account}{path}", "/who%3F", "42"), "/v1/42/who%3F");
    }

    #[test]
    fn a_dot_of_the_path_and_one_of_the_template_are_no_step_up() {
        assert_eq!(tried("/a{path}.", "/.", "42"), Err(Unsafe::Path));
    }

    #[test]
    fn an_account_that_is_no_single_segment_reaches_nobody() {
        for account in ["a/../b", "1?admin=1#f", "%2e%2e", "a;b", "100%", "a\\b", "{path}"] {
            assert_eq!(tried("/v1/{account}/x", "/", account), Err(Unsafe::Account), "{account}");
            assert_eq!(rewritten("/x{path}", "/y", account), "/x/y", "it is not used");
        }
    }

    #[test]
    fn a_target_too_long_for_a_request_is_refused_and_not_shortened() {
        let asked = format!("/{}", "x".repeat(65_000));
        let template = format!("/{}{{path}}", "y".repeat(1_000));
        assert_eq!(tried(&template, &asked, "42"), Err(Unsafe::Path));
    }

    #[test]
    fn a_template_that_makes_no_path_is_refused() {
        for bad in [
            "",
            "v1",
            "/{acount}",
            "/{account",
            "/a b",
            "/a?b={account}",
            "/a}b",
            "/\u{e9}",
            "/{account}/../x",
            "/a/%2e%2e{path}",
            "/a%2Fb",
        ] {
            bad.parse::<Rewrite>().expect_err(bad);
        }
    }

    proptest! {
        #[test]
        fn any_account_is_one_segment_as_it_is_or_refused(account in "[!-~]{1,128}") {
            prop_assume!(account != "." && account != "..");
            if let Ok(target) = tried("/v1/{account}/end", "/x?q", &account) {
                let segments: Vec<_> = target.strip_suffix("?q").unwrap().split('/').collect();
                prop_assert_eq!(segments, ["", "v1", &account, "end"]);
            }
        }

        #[test]
        fn the_clients_path_and_query_keep_their_bytes(asked in "/[a-zA-Z0-9%/._~;,=&!-]{0,40}(\\?[a-z%=&/?]{0,20})?") {
            prop_assert_eq!(rewritten("{path}", &asked, "1"), asked.clone());
            if let Ok(target) = tried("/v1/{account}{path}", &asked, "1") {
                prop_assert_eq!(target, format!("/v1/1{asked}"));
            }
        }
    }
}
