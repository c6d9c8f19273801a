//! Besides tables, what three servers make of a path, written down from what they do: nginx 1.22,
//! Node 22 (`new URL` and `path.posix.normalize` as people serve files with it) and Python 3.11's
//! `http.server`. What passes has to stay below the account for each of them.

use percent_encoding::percent_decode;
use proptest::prelude::*;

use super::*;

#[test]
fn every_spelling_of_a_step_up_is_seen() {
    for path in [
        "/../43/d",
        "/x/..",
        "/..",
        "/%2e%2e/43/d",
        "/.%2E/43/d",
        "/%252e%252e/43",
        "/%25252e%2525252e/43",
        "/%%32%65%%32%65/43",
        "/..;/43/d",
        "/..;a=b/43/d",
        "/..%3b/43/d",
        "/..%253ba/43/d",
        "/x/..%00/43",
        "/..%20/43",
        "/..%09/43",
        "/..%00x",
        "/..%23x",
        "/..%3fx",
        "/..%253fx/",
        "/%u002e%u002e/43",
        "/%c0%ae%c0%ae/43",
        "/%C0%2e%c0%2e/43",
        "/.%ff./43",
        "/%e0%80%ae%e0%80%ae/43",
        "/%f0%80%80%ae./43",
        "/%f8%80%80%80%ae./43",
        "/%fc%80%80%80%80%ae./43",
        "/%25c0%25ae./43",
        "/%c0%a52e./43",
    ] {
        assert!(!stays_behind(path), "{path}");
    }
}

#[test]
fn every_spelling_of_a_border_that_is_no_slash_is_seen() {
    for path in [
        "/x%2f..%2f43",
        "/x%2Fy",
        "/x%5cy",
        "/x\\y",
        "/..\\43",
        "/x%255c43",
        "/x%u2f",
        "/x%u002f",
        "/x%c0%afy",
        "/x%c1%9cy",
        "/x%e0%80%af",
        "/x%e0%81%9c",
        "/x%f0%80%80%af",
        "/x%25e0%2580%25af",
    ] {
        let sees = !stays_behind(path);
        // `%u2f` is no escape of anybody's.
        assert_eq!(sees, path != "/x%u2f", "{path}");
    }
}

#[test]
fn what_only_looks_like_it_passes() {
    for path in [
        "/",
        "//",
        "//d//",
        "/./d/.",
        "/...",
        "/..d",
        "/d..",
        "/.d",
        "/a.b..c/d",
        "/a;b=../c",
        "/%2e",
        "/%2e%2e%2e",
        "/who%3F",
        "/100%25",
        "/%zz%",
        "/%2",
        "/%C3%BC/\u{fc}",
        "/%e2%82%ac",
        "/%f0%9f%98%80",
        "/a%20b",
        "/:@!$&'()*+,=~",
    ] {
        assert!(stays_behind(path), "{path}");
    }
}

#[test]
fn the_end_of_a_path_is_seen_in_every_spelling() {
    for path in ["/x%3f", "/x%253Fy/", "/%23", "/x%00", "/%c0%80", "/%e0%80%bf"] {
        assert!(ends_early(path), "{path}");
    }
    for path in ["/x", "/x%3", "/%c3%bf", "/x;y"] {
        assert!(!ends_early(path), "{path}");
    }
}

#[test]
fn an_account_is_one_segment_or_none() {
    for good in ["42", "a@b.example", "...", "a+b", "a:b", "~"] {
        assert!(is_one_segment(good), "{good}");
    }
    for bad in ["", ".", "..", "a/b", "a\\b", "a;b", "a?b", "a#b", "a%2fb", "100%", "a|b"] {
        assert!(!is_one_segment(bad), "{bad}");
    }
}

#[test]
fn a_path_of_nothing_but_encoded_percents_costs_its_length_alone() {
    // Decoded layer by layer this would take 64 Ki * 32 Ki steps.
    let path = format!("/%{}2e.", "25".repeat(32 * 1024));
    assert!(!stays_behind(&path));
}

/// Segments as servers resolve them; None for a request they refuse.
type Resolved = Option<Vec<Vec<u8>>>;

fn climb<'a>(segments: impl Iterator<Item = &'a [u8]>, beyond_root: Option<()>) -> Resolved {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for segment in segments {
        match segment {
            b"" | b"." => {}
            b".." => {
                if kept.pop().is_none() {
                    beyond_root?;
                }
            }
            other => kept.push(other.to_vec()),
        }
    }
    Some(kept)
}

/// Decodes once, merges slashes, resolves, and refuses what would leave the root.
fn nginx(path: &str) -> Resolved {
    let decoded: Vec<u8> = percent_decode(path.as_bytes()).collect();
    if decoded.contains(&0) {
        return None;
    }
    climb(decoded.split(|byte| *byte == b'/'), None)
}

/// `new URL(target).pathname`: `\` is `/`, `%2e` is `.`; then decoded once and normalised.
fn node(path: &str) -> Resolved {
    let path = path.replace('\\', "/");
    let dots = |segment: &str| segment.replace("%2e", ".").replace("%2E", ".");
    let mut url: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match dots(segment).as_str() {
            ".." => drop(url.pop()),
            "." => {}
            _ => url.push(segment),
        }
    }
    let decoded: Vec<u8> = percent_decode(url.join("/").as_bytes()).collect();
    climb(decoded.split(|byte| *byte == b'/'), Some(()))
}

/// `translate_path`: decoded once, normalised, and `..` that is left is dropped.
fn python(path: &str) -> Resolved {
    let decoded: Vec<u8> = percent_decode(path.as_bytes()).collect();
    climb(decoded.split(|byte| *byte == b'/'), Some(()))
}

/// Tomcat and Jetty: parameters go, then it is decoded, then resolved.
fn servlet(path: &str) -> Resolved {
    let bare = |segment: &str| segment.split(';').next().unwrap_or_default().to_owned();
    let bare: Vec<String> = path.split('/').map(bare).collect();
    let decoded: Vec<u8> = percent_decode(bare.join("/").as_bytes()).collect();
    climb(decoded.split(|byte| *byte == b'/' || *byte == b'\\'), Some(()))
}

/// A server behind a proxy that has decoded already.
fn twice(path: &str) -> Resolved {
    let once: Vec<u8> = percent_decode(path.as_bytes()).collect();
    let decoded: Vec<u8> = percent_decode(&once).collect();
    climb(decoded.split(|byte| *byte == b'/' || *byte == b'\\'), Some(()))
}

fn odd_path() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "/",
        "/",
        "/",
        ".",
        ".",
        "..",
        "%2e",
        "%2E",
        "%2f",
        "%2F",
        "%5c",
        "\\",
        ";",
        ";a=b",
        "%3b",
        "%25",
        "%252e",
        "%252f",
        "%c0%ae",
        "%c0%af",
        "%e0%80%af",
        "43",
        "d",
        "a",
        "%00",
        "%20",
        "%",
        "%2",
        "u002f",
        "~",
        "%c3%bc",
    ]);
    prop::collection::vec(pieces, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn what_passes_stays_below_the_account_for_every_server(path in odd_path()) {
        if !stays_behind(&path) {
            return Ok(());
        }
        let target = format!("/v1/42{path}");
        for (server, resolve) in [
            ("nginx", nginx as fn(&str) -> Resolved),
            ("node", node),
            ("python", python),
            ("servlet", servlet),
            ("twice", twice),
        ] {
            if let Some(segments) = resolve(&target) {
                let below = segments.iter().take(2).map(Vec::as_slice).eq([&b"v1"[..], b"42"]);
                prop_assert!(below, "{} resolves {} to {:?}", server, target, segments);
            }
        }
    }

    #[test]
    fn a_path_without_anything_odd_always_passes(path in "(/[a-zA-Z0-9_~-]{1,8}(\\.[a-z]{1,4})?){1,6}/?") {
        prop_assert!(stays_behind(&path));
    }
}
